"""Live progress on a terminal: what a step waits for while it runs, and the plain lines at the end."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import pseudo_terminal
from tests.harness.project import ROOT, bare_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.project import Project

pytestmark = pytest.mark.proof  # each test starts Python, as a person does
INVOKE = [sys.executable, "-m", "invoke"]
TERMINAL = {"TERM": "xterm", "LOCAL_PORT": "0"}


@pytest.fixture(scope="module")
def late_project(new_project: Callable[[], Project]) -> Project:
    """A project whose local AWS is a little late."""
    project = new_project()
    project.run("local.start", LOCAL_AWS_DELAYS="0.1")
    return project


def on_terminal(project: Project, *words: str, columns: int = 100, **settings: str) -> tuple[str, list[str]]:
    environment = {**bare_environment(), **TERMINAL, **settings}
    return pseudo_terminal.run([*INVOKE, *words], project.folder, environment, columns)


def test_steps_that_run_are_shown_with_their_time_and_the_plain_lines_remain(late_project: Project) -> None:
    plain = late_project.run("deploy", PIPELINE_NAME="plain").splitlines()
    written, screen = on_terminal(late_project, "deploy", PIPELINE_NAME="watched")
    assert re.search(r"create-table +\d+ s .*\r?\n.*create-function +\d+ s", written)  # both at a time
    assert "waiting for mapping watched -> watched to become Enabled" in written
    assert [shape(line) for line in screen] == [shape(line.replace("plain", "watched")) for line in plain]


def shape(line: str) -> str:
    """A line without its times, and without the sign of the zip, which is built once."""
    return re.sub(r"^.( zip-code)|\d+\.\d+( s)", r"\1\2", line)


@pytest.mark.parametrize("setting", ["NO_COLOR=1", "TERM=dumb", "CI=true"])
def test_output_is_plain_where_a_terminal_is_not_for_watching(late_project: Project, setting: str) -> None:
    environment: Any = dict([setting.split("=")])
    written, _ = on_terminal(late_project, "create-role", PIPELINE_NAME="unwatched", **environment)
    assert "\x1b" not in written


def test_the_region_fits_a_narrow_terminal_and_lines_are_not_cut(late_project: Project) -> None:
    written, screen = on_terminal(late_project, "deploy", "smoke", PIPELINE_NAME="narrow", columns=40)
    region = re.findall(r"[\u2800-\u28ff] [^\x1b\r\n]*", written)
    assert region
    assert max(map(len, region)) <= 40
    assert any("…" in line for line in region)
    record = next(line for line in screen if line.startswith("  record"))
    assert json.loads(record.partition("record")[2])["eventName"] == "INSERT"


def test_a_locale_without_unicode_gets_ascii(late_project: Project) -> None:
    written, _ = on_terminal(late_project, "create-table", PIPELINE_NAME="ascii", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert "create-table" in written
    assert written.isascii()


def test_many_items_are_shown_as_a_bar_with_rate_and_time_left(late_project: Project) -> None:
    late_project.run("create-table", PIPELINE_NAME="bar")
    items = "".join(json.dumps({"name": f"item {number}"}) + "\n" for number in range(3000))
    (late_project.folder / "items.jsonl").write_text(items)
    written, screen = on_terminal(late_project, "put-item", "--file", "items.jsonl", PIPELINE_NAME="bar")
    assert re.search(r"put-item .*\d+/3000 \d+/s \d:\d\d:\d\d", re.sub(r"\x1b\[\d+m", "", written))
    assert screen[-1].startswith("+ put-item         3000 items in table bar")


# Prints lines as fast as it can, while rich's thread draws a region that becomes higher and lower.
LINES = """
from pipeline.events import Changed, Started
from pipeline.live import Screen
from pipeline.resources.change import Change
screen = Screen()
screen.live.refresh_per_second = 2000
with screen.live:
    for number in range(300):
        for step in "abc":
            screen.show(Started(step))
        for step in "abc":
            screen.show(Changed(step, Change(step, "created")))
            screen.print(f"{step} {number}")
"""


def test_no_line_is_lost_while_the_region_changes_its_height() -> None:
    environment = {**bare_environment(), **TERMINAL, "PYTHONPATH": str(ROOT)}
    _, screen = pseudo_terminal.run([sys.executable, "-c", LINES], ROOT, environment)
    assert screen == [f"{step} {number}" for number in range(300) for step in "abc"]
