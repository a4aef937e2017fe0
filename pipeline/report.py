"""Rendering events: as lines for a person, and as one JSON document for a program (docs/json.md)."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .events import Changed, Result, Started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .events import Event, Events, Returned
    from .resources.change import Action, Change, Diff

SIGNS: dict[Action, str] = {
    "created": "+",
    "updated": "~",
    "replaced": "!",
    "unchanged": "=",
    "deleted": "-",
    "absent": "=",
}

_VALUE_CHARACTERS = 60
_JSON_VERSION = 2


@dataclass
class Report:
    """The report of one task.

    With `dry_run`, it lists every attribute of a change, and counts the changes at the end. `about` describes the
    pipeline in the JSON document. `summarize` says what exists when the task is interrupted or fails.
    """

    task: str
    as_json: bool = False
    dry_run: bool = False
    about: dict[str, str] = field(default_factory=dict)
    summarize: Callable[[], str] = str
    step: str = ""
    _changes: list[Changed] = field(default_factory=list)
    _seconds: list[float] = field(default_factory=list)
    _started: dict[str, float] = field(default_factory=dict)
    _results: dict[str, Any] = field(default_factory=dict)

    def render(self, events: Events[Returned]) -> Returned:
        """Run a step and render its events. Returns what the step returns."""
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                returned: Returned = end.value
                return returned
            self._render(event)

    def result(self, text: str, values: Mapping[str, Any] | None = None) -> None:
        """Report the answer of a command: `text` on stdout, or `values` in the document."""
        self._results |= values or {}
        if text and not self.as_json:
            self._line(text)

    def end(self, error: str = "") -> None:
        """Print the end of the report: the count of a plan; the document, with the error if there is one."""
        if self.dry_run and self._changes and not error:
            count = Counter(event.change.action for event in self._changes)
            actions: tuple[Action, ...] = ("created", "updated", "replaced", "deleted", "unchanged")
            self._line(f"plan: {', '.join(f'{count[action]} {action}' for action in actions)}; nothing was written")
        if not self.as_json:
            return
        steps = zip(self._changes, self._seconds, strict=True)
        document = {
            "version": _JSON_VERSION,
            "task": self.task,
            "planned": self.dry_run,
            **self.about,
            "steps": [{"step": event.step, **document_of(event.change), "seconds": s} for event, s in steps],
            "result": self._results,
            "error": error or None,
        }
        print(json.dumps(document, indent=2, default=str), flush=True)  # noqa: T201 - the document

    def _render(self, event: Event) -> None:
        if isinstance(event, Result):
            self.result(event.text, event.values)
            return
        self.step = event.step
        if isinstance(event, Started):
            self._started[event.step] = time.monotonic()
        elif isinstance(event, Changed):
            seconds = time.monotonic() - self._started[event.step]
            self._changes.append(event)
            self._seconds.append(round(seconds, 3))
            self._line(line(event.step, event.change, seconds, inline=not self.dry_run))
            if self.dry_run:
                self._attributes(event.change)

    def _attributes(self, change: Change) -> None:
        for diff in change.diffs:
            unset = diff.old is None and not diff.new and diff.new is not False
            if not unset:
                self._line(f"    {diff_text(diff)}")

    def _line(self, text: str) -> None:
        """A line for a person: on stdout, unless the document goes there."""
        print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)


def document_of(change: Change) -> dict[str, Any]:
    """A change in the JSON document."""
    return {
        "resource": change.resource,
        "action": change.action,
        "arn": change.arn,
        "changes": [{"setting": diff.setting, "old": diff.old, "new": diff.new} for diff in change.diffs],
        "note": change.note,
    }


def line(step: str, change: Change, seconds: float | None = None, *, inline: bool = True) -> str:
    """A change as one line: sign, step, resource, differences, time."""
    shown = change.diffs if inline and change.action in ("updated", "replaced") else ()
    text = "; ".join(filter(None, [*map(diff_text, shown), change.note]))
    if change.action == "absent":
        text = text or "does not exist"
    took = "" if seconds is None else f"{seconds:.2f} s"
    return "  ".join(filter(None, (f"{SIGNS[change.action]} {step:<16} {change.resource}", text, took)))


def diff_text(diff: Diff) -> str:
    """One parameter, with its old and new value."""
    if diff.old is None:
        return f"{diff.setting}: {_shown(diff.new)}"
    return f"{diff.setting}: {_shown(diff.old)} -> {_shown(diff.new)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    half = _VALUE_CHARACTERS // 2
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:half]}...{text[-half:]}"
