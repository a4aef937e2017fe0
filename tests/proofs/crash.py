"""Kill -9 before and after every API call of deploy, smoke and clean: both commands pick up, nothing is twice or left.

`python -m soak.crash [COUNT]`: so many points, spread evenly; 0, the default: all.
"""

from __future__ import annotations

import signal
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.forks import count_argument, forking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.forks import Forks

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Point:
    """One place to kill a command at: before or after the how manieth call of an operation."""

    command: str
    when: str
    number: int
    operation: str

    def strike(self, project: Forks) -> None:
        """Run the command, killed at this point."""
        project.stop((self.when, self.number, self.operation), self.command).expect(KILLED)

    def __str__(self) -> str:
        """The point in words."""
        return f"{self.command} killed {self.when} its {self.operation} number {self.number}"


def main() -> None:
    """Strike at the points, and print how many there were."""
    with tempfile.TemporaryDirectory() as folder, forking(Path(folder) / "project") as project:
        struck, there = prove(project, count_argument(0))
    print(f"killed at {struck} of {there} points; deploy converged and clean left nothing after each")


def prove(project: Forks, count: int = 0) -> tuple[int, int]:
    """Strike at `count` points (0: all); returns how many were struck, and how many there are."""
    deployed, points = survey(project)
    chosen = points[:: max(1, -(-len(points) // count))] if count else points
    proofs: dict[str, Callable[[Forks, Point, Any], None]] = {
        "deploy": prove_deploy,
        "smoke": prove_smoke,
        "clean": prove_clean,
    }
    for point in chosen:
        try:
            proofs[point.command](project, point, deployed)
        except AssertionError as error:
            raise AssertionError(f"{point}: {error}") from error
    return len(chosen), len(points)


def survey(project: Forks) -> tuple[Any, list[Point]]:
    """What a deployment that nobody disturbs makes, and each point of the three commands."""
    deploy = project.invoke("deploy").expect(0).calls
    deployed = project.state()
    smoke = project.invoke("smoke").expect(0).calls
    clean = project.invoke("clean").expect(0).calls
    assert project.holds_nothing()
    return deployed, [*_points("deploy", deploy), *_points("smoke", smoke), *_points("clean", clean)]


def _points(command: str, calls: list[str]) -> Iterator[Point]:
    """Before and after each call; of smoke's looks for its item, which differ in number, the first."""
    made: Counter[str] = Counter()
    for operation in calls:
        made[operation] += 1
        if operation == "FilterLogEvents" and made[operation] > 1:
            continue
        for when in ("before", "after"):
            yield Point(command, when, made[operation], operation)


def prove_deploy(project: Forks, point: Point, deployed: Any) -> None:
    """After a killed deploy, deploy makes what it would have made, and clean leaves nothing."""
    point.strike(project)
    project.invoke("deploy").expect(0)
    assert project.state() == deployed
    project.invoke("clean").expect(0)
    assert project.holds_nothing()
    point.strike(project)
    project.invoke("clean").expect(0)
    assert project.holds_nothing()


def prove_smoke(project: Forks, point: Point, deployed: Any) -> None:
    """After a killed smoke, smoke proves the pipeline, and clean takes the item left behind for smoke's own."""
    project.invoke("deploy").expect(0)
    point.strike(project)
    project.invoke("smoke").expect(0)
    project.invoke("deploy").expect(0)
    assert project.state()["mappings"] == deployed["mappings"]
    project.invoke("clean").expect(0)
    assert project.holds_nothing()


def prove_clean(project: Forks, point: Point, deployed: Any) -> None:
    """After a killed clean, clean leaves nothing, and deploy makes what it would have made on an empty account."""
    project.invoke("deploy").expect(0)
    point.strike(project)
    project.invoke("clean").expect(0)
    assert project.holds_nothing()
    project.invoke("deploy").expect(0)
    point.strike(project)
    project.invoke("deploy").expect(0)
    assert project.state() == deployed
    project.invoke("clean").expect(0)
    assert project.holds_nothing()


if __name__ == "__main__":
    main()
