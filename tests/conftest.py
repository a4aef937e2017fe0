"""Projects for the tests that run `invoke`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localaws import control
from tests.forks import forking
from tests.project import Project, copy_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are CPUs: most tests wait for another process now and then."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Project]]:
    """Make a project of one's own, whose embedded AWS has not been started yet."""
    made: list[Project] = []

    def make() -> Project:
        made.append(copy_project(tmp_path_factory.mktemp("project")))
        return made[-1]

    yield make
    for each in made:
        control.stop(each.folder / ".local")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for the tests of a module, its commands forked from a warm process; each test names its pipeline."""
    with forking(tmp_path_factory.mktemp("warm") / "project") as forks:
        yield forks
