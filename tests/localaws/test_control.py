"""Starting and stopping the local AWS of a directory, from several processes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localaws import control
from tests.localaws.conftest import clients, start
from tests.localaws.deployed import deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.proof  # each test starts a local AWS

ROOT = Path(__file__).resolve().parents[2]
# Prints the process id of the server, and whether this process started it.
START = """
import sys
from pathlib import Path
from localaws import control
server, is_new = control.start(Path(sys.argv[1]), 0, 1)
print(server.pid, is_new)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "local"
    control.stop(tmp_path / "local")


def servers(directory: Path) -> list[int]:
    """The process ids of the servers that run for a directory."""
    listing = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 1) for line in listing.splitlines()]
    return [int(pid) for pid, command in lines if "-m localaws " in command and f"--directory {directory} " in command]


def run_start(directory: Path) -> str:
    command = [sys.executable, "-c", START, str(directory)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def exited(process: subprocess.Popen[bytes]) -> bool:
    try:
        return process.wait(timeout=10) == 0
    except subprocess.TimeoutExpired:
        return False


def test_starts_at_once_end_with_one_server_that_all_of_them_report(directory: Path) -> None:
    with ThreadPoolExecutor() as pool:
        outputs = sorted(pool.map(run_start, [directory] * 4))
    (pid,) = servers(directory)
    assert outputs == [f"{pid} False"] * 3 + [f"{pid} True"]


def test_starts_and_stops_at_once_leave_one_server_at_most(directory: Path) -> None:
    def stop(_: int) -> None:
        time.sleep(0.5)
        control.stop(directory)

    with ThreadPoolExecutor() as pool:
        stopping = [pool.submit(stop, number) for number in range(2)]
        list(pool.map(run_start, [directory] * 2))
        for each in stopping:
            each.result()
    running = control.status(directory)
    deadline = time.monotonic() + 10
    while servers(directory) != ([running.pid] if running else []):
        assert time.monotonic() < deadline, "another server runs for this directory"
        time.sleep(0.1)


def test_a_stopped_server_leaves_no_function_that_writes_to_its_directory(directory: Path) -> None:
    server, _ = control.start(directory, 0, 1)
    function = deploy(clients(server.endpoint), "def handler(event, context): __import__('time').sleep(5)")
    for _ in range(10):  # some of them start while the server stops
        function.invoke(InvocationType="Event")
    control.stop(directory)
    assert list(directory.glob("functions-*")) == []


def test_lock_of_a_killed_process_is_released(directory: Path) -> None:
    directory.mkdir()
    command = "import sys, time; from pathlib import Path; from localaws import control\n"
    command += "with control._lock(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", command, str(directory)], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdout.readline() == b"locked\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert run_start(directory).endswith("True")


@pytest.mark.proof  # waits until the server looks at its record
@pytest.mark.parametrize("text", ['{"id": "of another server"}', None], ids=["another", "none"])
def test_server_exits_when_the_record_is_not_its_own(tmp_path: Path, text: str | None) -> None:
    process, _ = start(tmp_path)
    record = tmp_path / "server.json"
    if text is None:
        record.unlink()
    else:
        record.write_text(text)
    assert exited(process)
    assert (record.read_text() if record.exists() else None) == text


def test_exiting_server_removes_its_own_record(tmp_path: Path) -> None:
    process, _ = start(tmp_path)
    assert json.loads((tmp_path / "server.json").read_text())["pid"] == process.pid
    process.terminate()
    assert exited(process)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the names


def test_debugger_that_is_not_installed_is_an_error_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "debugpy", None)
    with pytest.raises(
        control.ControlError, match=r"^LOCAL_DEBUG_PORT 5678 requires debugpy: \S+ -m pip install debugpy$"
    ):
        control.set_debugger(tmp_path, 5678, tmp_path, wait=False)
