"""fetch-logs --follow: every invocation of all processes, as it ends, until Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.project import bare_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.forked import ForkedProject
    from tests.harness.project import Project

pytestmark = pytest.mark.proof  # each test starts Python, as a person does

SETTINGS = {
    "PIPELINE_NAME": "followed",
    "FUNCTION_HANDLER": "moody.handler",
    "FUNCTION_TIMEOUT": "1",
    "MAXIMUM_RETRY_ATTEMPTS": "0",
    "BATCH_SIZE": "1",
}
HANDLER = """
import time
def handler(event, context):
    name = event["Records"][0]["dynamodb"]["Keys"]["name"]["S"]
    print('{"handles": "%s"}' % name)
    if name == "bad":
        raise ValueError("a bad item")
    if name == "slow":
        time.sleep(5)
"""
ITEMS = ["before", "one", "bad", "slow", "two"]  # a timeout ends the process


def start(project: Project, output: Path, words: str = "", **settings: str) -> subprocess.Popen[str]:
    """Start `invoke fetch-logs --follow` in a shell, with its stdout in a file."""
    with output.open("w") as stdout:
        return subprocess.Popen(
            ["bash", "-c", f"{sys.executable} -m invoke fetch-logs --follow {words}"],
            cwd=project.folder,
            env={**bare_environment(), "LOCAL_PORT": "0", **SETTINGS, **settings},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )


def wait_for(path: Path, pattern: str, number: int = 1) -> None:
    deadline = time.monotonic() + 30
    while len(re.findall(pattern, path.read_text())) < number:
        assert time.monotonic() < deadline, f"{pattern} is not in {path.read_text()}"
        time.sleep(0.1)


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C. Return the exit code and stderr."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


class Followed:
    """What two `fetch-logs --follow`, one with --json, showed of the items, and how they ended."""

    def __init__(self, project: ForkedProject, folder: Path) -> None:
        (project.folder / "lambda_src" / "moody.py").write_text(HANDLER)
        project.run("deploy", "put-item", "--item", '{"name": "before"}', **SETTINGS)
        text, lines, first = folder / "text", folder / "lines", folder / "first"
        processes = [start(project, text, "--pretty"), start(project, lines, "--json")]
        self.unread = start(project, first, "| head -1")
        for path in (text, lines, first):
            wait_for(path, "INIT_START")
        items = "".join(json.dumps({"name": item}) + "\n" for item in ITEMS[1:])
        project.invoke("put-item", "--file", "-", stdin=items, **SETTINGS).expect(0)
        for path in (text, lines):
            wait_for(path, r"END RequestId: \S+", len(ITEMS))
        self.ended = [interrupt(process) for process in processes]
        self.text = text.read_text()
        self.documents: list[dict[str, Any]] = [json.loads(line) for line in lines.read_text().splitlines()]


@pytest.fixture(scope="module")
def followed(project: ForkedProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    yield Followed(project, tmp_path_factory.mktemp("followed"))
    (project.folder / "lambda_src" / "moody.py").unlink()


def test_ctrl_c_ends_follow_with_success(followed: Followed) -> None:
    assert [code for code, _ in followed.ended] == [0, 0]


def test_follow_shows_each_invocation_once_in_all_log_streams(followed: Followed) -> None:
    assert re.findall(r'"handles": "(\w+)"', followed.text) == ITEMS


def test_follow_keeps_the_lines_of_an_invocation_together(followed: Followed) -> None:
    ids = re.findall(r"^(?:START|END|REPORT) RequestId: (\S+)", followed.text, re.MULTILINE)
    assert ids == [each for request_id in dict.fromkeys(ids) for each in [request_id] * 3]


def test_pretty_indents_json(followed: Followed) -> None:
    assert '{\n  "handles": "one"\n}\n' in followed.text


def test_each_line_of_json_is_one_invocation(followed: Followed) -> None:
    assert [re.findall(r'"handles": "(\w+)"', "".join(each["lines"])) for each in followed.documents] == [
        [item] for item in ITEMS
    ]


def test_the_documents_name_the_log_streams_of_all_processes(followed: Followed) -> None:
    first, *_, last = followed.documents
    assert first["log_stream"] != last["log_stream"]


def test_the_end_sums_up_the_reports(followed: Followed) -> None:
    _, errors = followed.ended[0]
    counts = r"invocations: 5, failed: 2, cold starts: \d; "
    assert re.search(counts + r"duration: p50 [\d.]+ ms, max 1\d+ ms; memory used: at most \d+ MB", errors), errors


def test_follow_waits_for_a_log_group_that_is_created_later(project: ForkedProject, tmp_path: Path) -> None:
    process = start(project, tmp_path / "out", PIPELINE_NAME="later-followed")
    assert process.stderr
    assert "log group /aws/lambda/later-followed does not exist yet; Ctrl-C ends" in process.stderr.readline()
    logs, group = project.client("logs"), "/aws/lambda/later-followed"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    events = [{"timestamp": int(time.time() * 1000), "message": f"{each} RequestId: 1"} for each in ("START", "REPORT")]
    logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
    wait_for(tmp_path / "out", "START RequestId: 1\nREPORT RequestId: 1\n")
    assert interrupt(process)[0] == 0


def test_follow_ends_when_nobody_reads_its_output(followed: Followed) -> None:
    assert followed.unread.wait(timeout=20) == 0


@pytest.mark.parametrize(("variables", "red"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_errors_are_red_on_a_terminal_with_colors(
    project: ForkedProject, followed: Followed, variables: dict[str, str], red: bool
) -> None:
    assert followed.text
    terminal, end = pty.openpty()
    environment = {**bare_environment(), "LOCAL_PORT": "0", "TERM": "xterm", **SETTINGS, **variables}
    command = [sys.executable, "-m", "invoke", "fetch-logs", "--filter", "ValueError"]
    process = subprocess.Popen(command, cwd=project.folder, env=environment, stdout=end, stderr=end)
    assert process.wait(timeout=30) == 0
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    os.close(end)
    assert ("\x1b[31m[ERROR] ValueError: a bad item" in shown) is red
