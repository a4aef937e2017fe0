"""A closed pipe, stdin or stdout, a full disk and a limited terminal stop no work; Ctrl-C ends it with one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.harness.project import bare_environment

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject
    from tests.harness.project import Project

# As `invoke`, and writes a line to stderr when tasks.py has begun to be imported and imports the first large module.
STARTED = """
import sys
class Announce:
    def find_spec(self, name, *_):
        if name == "dev":
            sys.meta_path.remove(self)
            sys.stderr.write("imported\\n")
            sys.stderr.flush()
sys.meta_path.insert(0, Announce())
sys.argv[0] = "invoke"
from invoke.main import program
program.run(["invoke", *sys.argv[1:]])
"""
pytestmark = pytest.mark.proof  # each test starts Python, as a person does

# In shares of the time that the command takes.
MOMENTS = [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def start(project: Project, *words: str) -> subprocess.Popen[str]:
    """Start `invoke` as a process of its own, and wait until it imports tasks.py."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTED, *words],
        cwd=project.folder,
        env={**bare_environment(), "LOCAL_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert process.stderr.readline() == "imported\n"
    return process


@pytest.fixture(scope="module")
def duration(project: ForkedProject) -> float:
    """The seconds that `deploy clean` takes from the import of tasks.py on."""
    for _ in range(2):  # the second time, everything is compiled
        process = start(project, "deploy", "clean")
        began = time.monotonic()
        assert process.wait() == 0
    return time.monotonic() - began


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("again", [None, 0.02], ids=["once", "twice"])
def test_ctrl_c_ends_with_one_line(project: ForkedProject, duration: float, moment: float, again: float | None) -> None:
    process = start(project, "deploy", "clean")
    time.sleep(moment * duration)
    process.send_signal(signal.SIGINT)
    if again is not None:
        time.sleep(again)
        process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    if "nothing remains" in output:
        return  # it was faster than before
    assert (process.returncode, errors.count("\n"), "interrupted" in errors) == (130, 1, True), errors


def test_after_ctrl_c_the_same_commands_converge(project: ForkedProject) -> None:
    project.run("deploy", "smoke", "clean")


def test_the_line_after_ctrl_c_says_what_exists(project: ForkedProject) -> None:
    project.run("create-role")
    process = start(project, "fetch-logs")  # waits for the log group
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors == (
        "fetch-logs: interrupted. Existing resources: role stream-demo-role. "
        "Continue with invoke deploy, or delete them with invoke clean\n"
    )
    project.run("clean")


def shell(project: Project, command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in which `invoke` is this Python's."""
    invoke = f'invoke() {{ "{sys.executable}" -m invoke "$@"; }}\n'
    environment = {**bare_environment(), "LOCAL_PORT": "0", **settings}
    return subprocess.run(
        ["bash", "-c", invoke + command],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_deploy_goes_on_when_the_reader_of_its_output_is_gone(project: ForkedProject) -> None:
    ended = shell(project, "invoke deploy | head -1; echo ${PIPESTATUS[0]}", PIPELINE_NAME="piped")
    assert (ended.stdout.splitlines()[-1], ended.stderr) == ("0", "")
    assert project.invoke("deploy", PIPELINE_NAME="piped").expect(0).writes == []


@pytest.mark.parametrize("command", ["invoke status | head -1 > /dev/null", "invoke status --json | true"])
def test_a_pipe_that_closes_early_is_no_traceback(project: ForkedProject, command: str) -> None:
    ended = shell(project, command + "; echo ${PIPESTATUS[0]}")
    assert (ended.stdout, ended.stderr) == ("0\n", "")


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_stops_no_work(project: ForkedProject, stream: str) -> None:
    assert shell(project, f"invoke create-table {stream}", PIPELINE_NAME="streams").returncode == 0
    ended = shell(project, f"invoke clean {stream}", PIPELINE_NAME="streams")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "streams" not in project.client("dynamodb").list_tables()["TableNames"]


def test_put_item_without_stdin_says_what_is_missing(project: ForkedProject) -> None:
    ended = shell(project, "invoke put-item <&-")
    assert ended.returncode == 1
    assert "standard input contains no item" in ended.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")  # noqa: PTH110
def test_a_full_disk_stops_no_work_and_is_reported_once(project: ForkedProject) -> None:
    ended = shell(project, "invoke deploy > /dev/full", PIPELINE_NAME="full")
    assert (ended.returncode, ended.stderr) == (0, "<stdout>: No space left on device\n")
    assert project.invoke("deploy", PIPELINE_NAME="full").expect(0).writes == []


def test_a_terminal_without_a_character_shows_its_code(project: ForkedProject) -> None:
    project.run("create-table", PIPELINE_NAME="latin")
    item = 'invoke put-item --item \'{"name": "\N{SNOWMAN}", "price": 1e999}\''
    ended = shell(project, item, PIPELINE_NAME="latin", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    filtered = shell(
        project, 'invoke runbook --set TAGS=\'{"a": "\N{SNOWMAN}"}\'', PYTHONIOENCODING="latin-1", PYTHONUTF8="0"
    )
    assert (filtered.returncode, filtered.stderr) == (0, "") or "TAGS" in filtered.stderr
