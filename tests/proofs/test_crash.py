"""A deploy, smoke or clean killed before or after any of its API calls: the next command completes the work.

`invoke dev.soak --only crash` kills at every point, with AWS's delays: the next command meets resources in transition.
It runs once AWS lists what the killed command did, four seconds later: nobody can find what AWS does not show.
Many points run at the same time, each on a local AWS of its own. A few points run where time passes `QUICK` times as
fast, as in test_faults.py.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.harness.forked import KillPoint, forked_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof

QUICK = 10
FEW = 10
MOST = 0.8  # of the points have to be reached
WORKERS = 12  # they wait more than they compute: two cores bear as many


class NotReachedError(Exception):
    """The command ended before the point: with delays, it may not make a call that it makes without."""


@dataclass(frozen=True)
class Kill:
    """A command killed at one point."""

    command: str
    point: KillPoint

    def run(self, project: ForkedProject) -> None:
        outcome = project.kill_at(self.point, self.command)
        if outcome.returncode == 0:
            raise NotReachedError
        outcome.expect(-SIGKILL)
        project.wait_until_listed()

    def __str__(self) -> str:
        return f"{self.command} killed {self.point}"


def test_deploy_and_clean_complete_what_a_killed_command_leaves(
    tmp_path: Path, count: Callable[[int, int], int], record_figures: Callable[[str], None]
) -> None:
    with forked_project(tmp_path / "survey") as project:
        deployed, kills = survey(project)
    assert len(kills) > 100
    most = count(5, len(kills))
    chosen = kills[:: max(1, -(-len(kills) // most))]
    assert 1 < len(chosen) <= most
    reached: list[Kill] = []
    failed: list[str] = []
    check = partial(check_all, deployed, QUICK if len(chosen) <= FEW else 1, reached, failed)
    with ThreadPoolExecutor(WORKERS) as pool:
        shares = [chosen[n::WORKERS] for n in range(WORKERS)]
        list(pool.map(check, shares, (tmp_path / str(n) for n in range(WORKERS))))
    assert not failed, f"{len(failed)} of {len(chosen)} points\n" + "\n\n".join(failed)
    assert len(reached) >= MOST * len(chosen)
    record_figures(
        f"killed at {len(reached)} of {len(kills)} points; deploy converged and clean left nothing after each"
    )


def check_all(
    deployed: Any, speed: float, reached: list[Kill], failed: list[str], kills: Sequence[Kill], folder: Path
) -> None:
    """Check these kills, one after the other, in a project of their own. Add them to those reached, or failed."""
    if not kills:
        return
    with forked_project(folder, speed=speed, delays=True) as project:
        for kill in kills:
            try:
                CHECKS[kill.command](project, kill, deployed)
                reached.append(kill)
            except NotReachedError:
                project.delete_everything()
            except (AssertionError, ClientError) as error:
                failed.append(f"{kill}: {error}")
                project.delete_everything()


def survey(project: ForkedProject) -> tuple[Any, list[Kill]]:
    """Return the snapshot of an undisturbed deployment, and every point to kill the three commands at."""
    deploy = project.invoke("deploy").expect(0).calls
    deployed = project.snapshot()
    smoke = project.invoke("smoke").expect(0).calls
    clean = project.invoke("clean").expect(0).calls
    assert project.is_empty()
    return deployed, [*points("deploy", deploy), *points("smoke", smoke), *points("clean", clean)]


def points(command: str, calls: list[str]) -> Iterator[Kill]:
    """Yield a point before and after each call; smoke polls the log a varying number of times, so only the first."""
    counts: Counter[str] = Counter()
    for operation in calls:
        counts[operation] += 1
        if operation == "FilterLogEvents" and counts[operation] > 1:
            continue
        for when in ("before", "after"):
            yield Kill(command, KillPoint(when, operation, counts[operation]))


def check_deploy(project: ForkedProject, kill: Kill, deployed: Any) -> None:
    """After a killed deploy, deploy creates what an undisturbed one creates, and clean removes all of it."""
    kill.run(project)
    project.invoke("deploy").expect(0)
    assert project.snapshot() == deployed
    clean(project)
    kill.run(project)
    clean(project)


def check_smoke(project: ForkedProject, kill: Kill, deployed: Any) -> None:
    """After a killed smoke, smoke passes, and clean recognizes the item that was left behind as smoke's."""
    project.invoke("deploy").expect(0)
    kill.run(project)
    project.invoke("smoke").expect(0)
    project.invoke("deploy").expect(0)
    assert project.snapshot()["mappings"] == deployed["mappings"]
    clean(project)


def check_clean(project: ForkedProject, kill: Kill, deployed: Any) -> None:
    """After a killed clean, clean removes the rest, and deploy creates what it creates in an empty account."""
    project.invoke("deploy").expect(0)
    kill.run(project)
    clean(project)
    project.invoke("deploy").expect(0)
    kill.run(project)
    project.invoke("deploy").expect(0)
    assert project.snapshot() == deployed
    clean(project)


def clean(project: ForkedProject) -> None:
    """Run clean and assert that the account is empty."""
    project.invoke("clean").expect(0)
    assert project.is_empty()


CHECKS = {"deploy": check_deploy, "smoke": check_smoke, "clean": check_clean}
