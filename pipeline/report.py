"""What a task did, for a person: one line a step; for a program: one JSON document (docs/json.md)."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .resources.change import Change, Action, Diff

SIGNS: dict[Action, str] = {
    "created": "+",
    "updated": "~",
    "replaced": "!",
    "unchanged": "=",
    "deleted": "-",
    "absent": "=",
}

_SHOWN_CHARACTERS = 60
_JSON_VERSION = 1


@dataclass
class Report:
    """One task's telling. `planned` (`invoke --dry`) tells attribute by attribute, and counts at the end.

    A `quiet` one prints nothing: its `changes` are what is wanted of it. `standing` says what there is when the task is
    interrupted.
    """

    task: str
    as_json: bool = False
    planned: bool = False
    quiet: bool = False
    about: dict[str, str] = field(default_factory=dict)
    now: str = ""
    standing: Callable[[], str] = str
    changes: list[Change] = field(default_factory=list)
    _steps: list[dict[str, Any]] = field(default_factory=list)
    _results: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[Change], None]]:
        """Time one step; yields what tells its changes."""
        self.now = name
        began = time.monotonic()
        yield lambda change: self._tell(name, change, time.monotonic() - began)

    def result(self, text: str, **values: Any) -> None:
        """Tell a result: as text on stdout, or by name in the document."""
        self._results |= values
        if text and not self.as_json:
            print(text, flush=True)  # noqa: T201 - this is where it is printed

    def end(self, error: str = "") -> None:
        """Tell what is told at the end: the plan's count, or the document, with the error if there was one."""
        if self.planned and self.changes and not error and not self.quiet:
            count = Counter(change.action for change in self.changes)
            told = ", ".join(
                f"{count[did]} {did}" for did in ("created", "updated", "replaced", "deleted", "unchanged")
            )
            self._line(f"plan: {told}; nothing was written")
        if not self.as_json:
            return
        document = {
            "version": _JSON_VERSION,
            "task": self.task,
            "planned": self.planned,
            **self.about,
            "steps": self._steps,
            "result": self._results,
            "error": error or None,
        }
        print(json.dumps(document, indent=2, default=str), flush=True)  # noqa: T201

    def _tell(self, name: str, change: Change, seconds: float) -> None:
        self.changes.append(change)
        self._line(line(name, change, seconds, inline=not self.planned))
        if self.planned:
            for difference in change.diffs:
                if difference.old is None and not difference.new and difference.new is not False:
                    continue  # of what is not there yet, what stays unset
                self._line(f"    {told(difference)}")
        self._steps.append({"step": name, **described(change), "seconds": round(seconds, 3)})

    def _line(self, text: str) -> None:
        """A line for a person: on stdout, unless that is the document's."""
        if not self.quiet:
            print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)


def described(change: Change) -> dict[str, Any]:
    """A change as the document has it."""
    return {
        "resource": change.resource,
        "did": change.action,
        "arn": change.arn,
        "changes": [{"setting": d.setting, "old": d.old, "new": d.new} for d in change.diffs],
        "note": change.note,
    }


def line(step: str, change: Change, seconds: float | None = None, *, inline: bool = True) -> str:
    """The step's one line: sign, step, resource, what changed, time."""
    shown = change.diffs if inline and change.action in ("updated", "replaced") else ()
    said = "; ".join(filter(None, [*map(told, shown), change.note]))
    if change.action == "absent":
        said = said or "is not there"
    took = "" if seconds is None else f"{seconds:.2f} s"
    return "  ".join(filter(None, (f"{SIGNS[change.action]} {step:<16} {change.resource}", said, took)))


def told(difference: Diff) -> str:
    """One setting, from what to what."""
    if difference.old is None:
        return f"{difference.setting}: {_shown(difference.new)}"
    return f"{difference.setting}: {_shown(difference.old)} -> {_shown(difference.new)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    half = _SHOWN_CHARACTERS // 2
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:half]}...{text[-half:]}"
