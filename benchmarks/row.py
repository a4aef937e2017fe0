"""A row of the table: two sides that take turns in one run, so that other load on the machine affects both."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.project import copy_project, invoke

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPTS = Path(__file__).parent / "scripts"


class Sides(NamedTuple):
    """The seconds of both sides, and a note for the page."""

    ours: list[float]
    theirs: list[float]
    note: str = ""


@dataclass(frozen=True)
class Row:
    """Two sides to compare. `goal`: ours takes at most so many times as long, or with `faster`, the reverse.

    `runs` limits the number of runs of a row that takes long.
    """

    name: str
    work: str
    against: str
    goal: float
    measure: Callable[[Bench], Sides]
    faster: bool = False
    runs: int = 100

    def ratio(self, sides: Sides) -> float:
        """The ratio of the medians, as `goal` has it."""
        ratio = statistics.median(sides.ours) / statistics.median(sides.theirs)
        return 1 / ratio if self.faster else ratio

    def is_met(self, sides: Sides) -> bool:
        """Whether the goal is met."""
        return self.ratio(sides) >= self.goal if self.faster else self.ratio(sides) <= self.goal


@dataclass
class Bench:
    """Where the rows measure: copies of the project in `folder`, each side `runs` times. `long`: a million items."""

    folder: Path
    runs: int
    long: bool = False

    @cached_property
    def project(self) -> Path:
        """A copy of the project whose local AWS runs, and has served each service once."""
        project = self.new_project("project")
        invoke(project, "deploy", "smoke", "clean")
        return project

    @cached_property
    def endpoint(self) -> str:
        """The endpoint URL of its local AWS."""
        return invoke(self.project, "local.start").strip()

    @cached_property
    def empty(self) -> Path:
        """A folder with an empty `tasks.py`."""
        folder = self.folder / "empty"
        folder.mkdir()
        (folder / "tasks.py").write_text("")
        return folder

    def new_project(self, name: str) -> Path:
        """Another copy of the project."""
        project = self.folder / name
        copy_project(project)
        return project

    def close(self) -> None:
        """Stop what runs."""
        for project in self.folder.iterdir():
            if (project / "localaws").exists():
                invoke(project, "local.stop")


def compare(
    runs: int, ours: Callable[[], object], theirs: Callable[[], object], after: Callable[[], object] = lambda: None
) -> Sides:
    """Measure both sides, which take turns. `after` restores the state and is not timed."""
    sides = Sides([], [])
    for _ in range(runs):
        sides.ours.append(seconds_of(ours))
        after()
        sides.theirs.append(seconds_of(theirs))
        after()
    return sides


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
