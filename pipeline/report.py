"""Render events as lines of text and as one JSON document (docs/json.md), and ask for confirmation."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from .events import Changed, Event, Progress, Result, Started
from .resources.change import Change, Diff, UserError

SIGNS = {"created": "+", "updated": "~", "replaced": "!", "unchanged": "=", "deleted": "-", "absent": "="}

_VALUE_CHARACTERS = 60
_PROGRESS_SECONDS = 5


@dataclass
class Report:
    """The report of one task.

    With `live`, a region of the terminal shows the running steps. With `dry_run`, the report lists every attribute of a
    change, and counts the changes. With `streaming`, each result is a JSON document on a separate line, and the task's
    document follows only on failure. `about` describes the pipeline. `summarize` lists what exists when the task fails.
    """

    task: str
    as_json: bool = False
    dry_run: bool = False
    live: bool = False
    about: dict[str, str] = field(default_factory=dict)
    summarize: Callable[[], str] = str
    streaming: bool = False
    step: str = ""
    _steps: list[dict[str, Any]] = field(default_factory=list)
    _started: dict[str, float] = field(default_factory=dict)
    _results: dict[str, Any] = field(default_factory=dict)
    _screen: Any = None
    _progress_at: float = 0.0

    def render(self, events: Iterable[Event]) -> None:
        """Run a step and render its events."""
        if self.live and not self._screen:
            from .live import Screen  # noqa: PLC0415 - slow to import

            self._screen = Screen()
        with self._screen.live if self._screen else nullcontext():
            self._render(events)

    def _render(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._screen:
                self._screen.show(event)
            if isinstance(event, Result):
                self.result(event.text, event.values)
                continue
            self.step = event.step
            if isinstance(event, Started):
                self._started[event.step] = time.monotonic()
            elif isinstance(event, Changed):
                seconds = time.monotonic() - self._started[event.step]
                self._steps.append({"step": event.step, **document_of(event.change), "seconds": round(seconds, 3)})
                self._line(line(event.step, event.change, seconds, inline=not self.dry_run))
                for diff in event.change.diffs if self.dry_run else ():
                    if diff.old is not None or diff.new or diff.new is False:
                        self._line(f"    {diff_text(diff)}")
            elif isinstance(event, Progress) and not (event.done and self._screen):
                self._progress(event)

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        if not event.done or now > max(self._progress_at, self._started[event.step]) + _PROGRESS_SECONDS:
            self._progress_at = now
            sys.stderr.write(f"{event.step}: {event.text}\n")

    def result(self, text: str, values: Mapping[str, Any] | None = None) -> None:
        """Print the result of a command: `text` on stdout, or `values` in the JSON document, which joins lists."""
        if self.streaming:
            print(json.dumps(values), flush=True)  # noqa: T201 - a document
            return
        for name, value in (values or {}).items():
            if isinstance(value, list) and self.as_json:
                self._results.setdefault(name, []).extend(value)
            else:
                self._results[name] = value
        if text and not self.as_json:
            self._line(text)

    def end(self, error: str = "") -> None:
        """End the report: print the summary of a plan, and the JSON document."""
        if self.dry_run and not error and (self._steps or (self._started and not self._results)):
            count = Counter(step["action"] for step in self._steps)
            actions = ("created", "updated", "replaced", "deleted", "unchanged")
            counts = ", ".join(f"{count[action]} {action}" for action in actions)
            self._line(f"plan: {counts}; nothing was written" if self._steps else "plan: nothing to change")
        if self.as_json and (error or not self.streaming):
            about = {"version": 2, "task": self.task, "planned": self.dry_run, **self.about}
            document = {**about, "steps": self._steps, "result": self._results, "error": error or None}
            indent = None if self.streaming else 2
            print(json.dumps(document, indent=indent, default=str), flush=True)  # noqa: T201 - the document

    def _line(self, text: str) -> None:
        """Print a line on stdout, or on stderr if the JSON document goes to stdout."""
        if self._screen:
            self._screen.print(text)
        else:
            print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)


def document_of(change: Change) -> dict[str, Any]:
    """A change in the JSON document."""
    changes = [vars(diff) for diff in change.diffs]
    about = {"resource": change.resource, "action": change.action, "arn": change.arn}
    return {**about, "changes": changes, "note": change.note}


def line(step: str, change: Change, seconds: float | None = None, *, inline: bool = True) -> str:
    """Format a change as one line: sign, step, resource, differences, time."""
    shown = change.diffs if inline and change.action in ("updated", "replaced") else ()
    note = change.note or ("does not exist" if change.action == "absent" else "")
    text = "; ".join(filter(None, [*map(diff_text, shown), note]))
    took = "" if seconds is None else f"{seconds:.2f} s"
    return "  ".join(filter(None, (f"{SIGNS[change.action]} {step:<16} {change.resource}", text, took)))


def diff_text(diff: Diff) -> str:
    """Format a parameter with its old and new value."""
    old = "" if diff.old is None else f"{_shown(diff.old)} -> "
    return f"{diff.setting}: {old}{_shown(diff.new)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    half = _VALUE_CHARACTERS // 2
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:half]}...{text[-half:]}"


def confirm(step: str, changes: Sequence[Change], words: tuple[str, ...], *, assume_yes: bool) -> None:
    """Show the changes on stderr. Raise UserError unless a person types one of `words`, or `assume_yes` is true."""
    sys.stderr.write("".join(line(step, change) + "\n" for change in changes))
    if assume_yes:
        return
    if not sys.stdin.isatty():
        raise UserError("stdin is not a terminal; pass --yes to continue without confirmation. Nothing was changed.")
    sys.stderr.write(f"Type {words[0]} to continue: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() not in words:
        raise UserError(f"aborted. Nothing was changed. To continue, run the task again and type: {words[0]}")
