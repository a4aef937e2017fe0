"""Live progress on a terminal: a line for each step that runs, and a bar for long work.

Only this module imports rich, which takes 50 ms, and only a task on a terminal imports this module.
"""

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.spinner import Spinner
from rich.table import Table

from .events import Changed, Event, Progress, Started, Waiting


class Screen:
    """The region below a task's lines. It disappears at the end. Use its `live` in a `with` statement."""

    def __init__(self) -> None:
        self._console = Console(markup=False, highlight=False)
        self._spinner = Spinner("dots" if self._console.encoding.startswith("utf") else "line")
        self._running: dict[str, tuple[float, str]] = {}
        shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        self._bars = Bars(*shown, TimeRemainingColumn(), console=self._console)
        self.live = Live(console=self._console, transient=True, get_renderable=self._region, refresh_per_second=8)

    def print(self, text: str) -> None:
        """Print a line above the region. The terminal wraps the line, so users can copy it as one line."""
        # Without this lock, rich's own thread can draw a region of another height between the parts of this line.
        with self.live._lock:  # noqa: SLF001
            self._console.print(text, soft_wrap=True)

    def show(self, event: Event) -> None:
        """Show an event of a step: the step runs, waits, or makes progress."""
        if isinstance(event, Started):
            self._running.setdefault(event.step, (time.monotonic(), ""))
        elif isinstance(event, Waiting):
            began, _ = self._running.get(event.step, (time.monotonic(), ""))
            self._running[event.step] = began, f"waiting for {event.text}"
        elif isinstance(event, Changed):
            self._running.pop(event.step, None)
        elif isinstance(event, Progress) and event.done:
            self._running.pop(event.step, None)
            tasks = [task for task in self._bars.tasks if task.description == event.step]
            bar = tasks[0].id if tasks else self._bars.add_task(event.step, total=None, rate="")
            rate = event.done / max(self._bars.tasks[bar].elapsed or 0, 0.1)
            self._bars.update(bar, completed=event.done, total=event.total or None, rate=f"{rate:.0f}/s")

    def _region(self) -> Any:
        now = time.monotonic()
        lines = Table.grid()
        lines.add_column(no_wrap=True, overflow="ellipsis")
        frame = self._spinner.render(now)
        for step, (began, text) in list(self._running.items()):
            lines.add_row(f"{frame} {step:<16} {now - began:>4.0f} s  {text}")
        return Group(lines, self._bars) if self._bars.tasks else lines
