"""Projects for the tests that run `invoke`, and the length of the proofs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localaws import control
from tests.harness.forked import ForkedProject, fork_server, started
from tests.harness.project import Project, copy_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from subprocess import Popen


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the proofs, which `invoke dev.soak` passes."""
    parser.addoption("--full", action="store_true", help="Run the proofs at full length.")
    parser.addoption("--count", type=int, default=0, help="Run the proofs with this many points, seeds, records ...")


def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are CPUs: most tests wait for another process at times."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the end-to-end tests, whose modules take longest: workers that start one late end late."""
    items.sort(key=lambda item: item.path.parent.name != "tests")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that proofs recorded."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "figures":
                terminalreporter.write_line(str(value))


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Choose how much of a proof to run: `count(few, all_of_it)`."""
    chosen: int = request.config.getoption("--count")
    full: bool = request.config.getoption("--full")
    return lambda few, all_of_it: chosen or (all_of_it if full else few)


@pytest.fixture
def record_figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Print these lines after the run."""
    return lambda figures: record_property("figures", figures)


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Project]]:
    """Create projects whose local AWS is not started yet."""
    projects: list[Project] = []

    def create() -> Project:
        projects.append(copy_project(tmp_path_factory.mktemp("project")))
        return projects[-1]

    yield create
    for project in projects:
        control.stop(project.folder / ".local")


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Popen[str]]]:
    folder = tmp_path_factory.mktemp("forked") / "project"
    with fork_server(folder) as server:
        yield folder, server


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest, _server: tuple[Path, Popen[str]]) -> Iterator[ForkedProject]:
    """A project with an empty local AWS for the tests of a module, whose commands are forked.

    For the commands, time passes SPEED times as fast, if the module sets that.
    """
    with started(ForkedProject(*_server, getattr(request.module, "SPEED", 1))) as forked:
        yield forked
