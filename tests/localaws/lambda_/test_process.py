"""The process that runs a function, and its output."""

from __future__ import annotations

import os
import re
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from localaws.lambda_.environment import Environment, Invocation
from localaws.lambda_.output import Output
from localaws.lambda_.process import Process, ProcessExited
from tests.localaws.conftest import clients, start
from tests.localaws.deployed import deploy

if TYPE_CHECKING:
    from pathlib import Path

MEGABYTE = 1_048_576


def frame(message: str) -> bytes:
    data = message.encode()
    return b"\xa5\x5a\x00\x01" + len(data).to_bytes(4, "big") + bytes(8) + data


def ignore(messages: list[str]) -> None:
    """Ignore what the process prints."""


def ignore_all(*_: object) -> None:
    """Ignore a log line."""


@pytest.mark.parametrize(
    ("command", "variable", "error"),
    [("/does/not/exist", "", FileNotFoundError), (sys.executable, "\0", ValueError)],
)
def test_process_that_cannot_start_leaks_no_descriptors(
    tmp_path: Path, command: str, variable: str, error: type[Exception]
) -> None:
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - the number
    for _ in range(3):
        with pytest.raises(error):
            Process([command], tmp_path, {"VARIABLE": variable}, ignore)
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208 - the number


def test_process_that_has_ended_is_not_killed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id may be that of another process by then."""
    one = Process([sys.executable, "-c", ""], tmp_path, {}, ignore)
    with pytest.raises(ProcessExited, match="exit status 0"):
        one.next_call(time.monotonic() + 20)
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, _: killed.append(pid))
    one.kill()
    one.end()
    assert killed == []


def test_children_of_a_process_that_exits_are_killed(tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid)"
    output: list[str] = []
    one = Process([sys.executable, "-c", code], tmp_path, {"PATH": os.defpath}, output.extend)
    with pytest.raises(ProcessExited):
        one.next_call(time.monotonic() + 20)
    child = int("".join(output))
    one.end()
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("data", [frame("\u3042" * MEGABYTE), ("\u3042" * MEGABYTE).encode()], ids=["frame", "text"])
def test_message_over_a_megabyte_becomes_several_events(data: bytes) -> None:
    output = Output()
    messages = [each for start in range(0, len(data), 65_536) for each in output.feed(data[start : start + 65_536])]
    messages += output.flush()
    assert "".join(messages) == "\u3042" * MEGABYTE
    assert [len(each.encode()) <= MEGABYTE - 26 for each in messages] == [True] * 4


@pytest.mark.proof  # prints ten megabytes
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory from /proc")
@pytest.mark.parametrize("code", ["print('x' * 10_000_000)", "print(('x' * 99 + '\\n') * 100_000)"])
def test_ten_megabytes_of_output_take_no_more_memory(tmp_path: Path, code: str) -> None:
    server, url = start(tmp_path)

    def peak() -> int:
        with open(f"/proc/{server.pid}/status") as status:  # noqa: PTH123
            return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read())[0]) // 1024

    try:
        deploy(clients(url), "def handler(event, context): print('warm')").invoke()
        before = peak()
        deploy(clients(url), f"def handler(event, context): {code}", Timeout=60).invoke()
        assert peak() - before <= 10
    finally:
        server.terminate()
        server.wait(timeout=10)


def test_environment_that_is_killed_before_its_process_starts_runs_nothing(tmp_path: Path) -> None:
    """The server may exit at that moment."""
    started = tmp_path / "started"
    code = f"import time; time.sleep(0.3); open({str(started)!r}, 'w')"
    log = SimpleNamespace(**dict.fromkeys(("init_start", "init_report", "start", "end", "write"), ignore_all), tail="")
    one = Environment(lambda: Process([sys.executable, "-c", code], tmp_path, {}, ignore), cast("Any", log), 5, 128)
    one.kill()
    assert "Runtime.ExitError" in one.invoke(Invocation("id", "arn", b"{}")).payload.decode()
    time.sleep(0.5)
    assert not started.exists()
