"""Start, find and stop the local AWS of a directory, from another process.

The directory holds server.json, its identity, and server.log, its output. A process is the local AWS of the directory
if it responds with the id in server.json at the endpoint in server.json. A recycled process id, or another program on
the port, does not. Who starts or stops it holds a lock on server.lock.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localaws import HOST, IDENTITY_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

_READY_SECONDS = 30
_STOP_SECONDS = 15


class ControlError(Exception):
    """The local AWS cannot be started or stopped. The message says why, and what to try."""


@dataclass(frozen=True)
class Server:
    """A running local AWS."""

    endpoint: str
    pid: int
    id: str
    directory: str


def status(directory: Path) -> Server | None:
    """Find the local AWS of `directory`; None if it is not running."""
    known = _known(directory)
    return known if known and _identity(known.endpoint) == known else None


def _known(directory: Path) -> Server | None:
    """Read server.json; None if the local AWS was never started, has exited, or the file is not from it."""
    try:
        return Server(**json.loads((directory / "server.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def start(
    directory: Path, port: int, idle_hours: float, delays: float = 0, *, access_log: bool = False
) -> tuple[Server, bool]:
    """Start the local AWS of `directory` on `port` (0: any free port) unless it runs; return it, and whether it is new.

    It exits after `idle_hours` without a request. `delays` is the factor of localaws/delays.py; 0 turns them off.
    With `access_log`, it logs who may do what (localaws/iam/access_log.py).
    Raises ControlError if another program uses the port, or if the local AWS does not start.
    """
    if running := _running(directory, port):
        return running, False
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    with _lock(directory):
        if running := _running(directory, port):
            return running, False  # another process has just started it
        return _start(directory, port, idle_hours, delays, access_log=access_log), True


def _running(directory: Path, port: int) -> Server | None:
    """Find the local AWS of `directory`. Raises ControlError if it has another port than the one asked for."""
    running = status(directory)
    if running and port not in (0, urlsplit(running.endpoint).port):
        raise ControlError(
            f"The local AWS of this directory is already running at {running.endpoint}, not on LOCAL_PORT {port}; "
            f"stop it with: invoke local.stop"
        )
    return running


def _start(directory: Path, port: int, idle_hours: float, delays: float, *, access_log: bool) -> Server:
    if port and (user := _user_of(port)):
        raise ControlError(f"LOCAL_PORT {port} is in use by {user}; or set another LOCAL_PORT (0: any free port)")
    log = directory / "server.log"
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        command = [sys.executable, "-m", "localaws", "--port", str(port), "--directory", str(directory.resolve())]
        options = ["--idle-hours", str(idle_hours), "--delays", str(delays), *["--access-log"][: int(access_log)]]
        process = subprocess.Popen(
            [*command, *options],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return _wait_until_ready(directory, process, log)


def set_debugger(directory: Path, port: int, source: Path, *, wait: bool) -> None:
    """Start the next processes of functions under debugpy on `port`, with breakpoints in `source`; 0: without it.

    With `wait`, they wait for a client (localaws/lambda_/debugger.py). Raises ControlError if debugpy is not installed.
    """
    file = directory / "debug.json"
    if not port:
        file.unlink(missing_ok=True)
        return
    if not find_spec("debugpy"):
        raise ControlError(f"LOCAL_DEBUG_PORT {port} requires debugpy: {sys.executable} -m pip install debugpy")
    draft = directory / "debug.new"
    draft.write_text(json.dumps({"port": port, "wait": wait, "source": str(source)}))
    draft.replace(file)


def stop(directory: Path) -> Server | None:
    """Stop the local AWS of `directory`, wait until it writes nothing anymore; return None if it was not running."""
    if not status(directory):
        return None
    with _lock(directory):
        running = status(directory)
        return running and _stop(directory, running)


def _stop(directory: Path, running: Server) -> Server:
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _known(directory) == running:  # it deletes server.json last, after it has ended its functions
        if time.monotonic() > deadline:
            raise ControlError(f"The local AWS (process {running.pid}) did not exit within {_STOP_SECONDS} s; kill it")
        time.sleep(0.02)
    return running


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Let one process at a time start or stop the local AWS of a directory. The system releases a dead one's lock."""
    with (directory / "server.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wait_until_ready(directory: Path, process: subprocess.Popen[bytes], log: Path) -> Server:
    deadline = time.monotonic() + _READY_SECONDS
    while not (ready := status(directory)):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            lines = log.read_text(errors="replace").strip().splitlines() or ["(none)"]
            raise ControlError(f"The local AWS did not start. The last line of {log}: {lines[-1]}")
        time.sleep(0.01)
    return ready


def _identity(endpoint: str) -> Server | None:
    """Return the local AWS that responds at `endpoint`, or None."""
    try:
        connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=2)
        connection.request("GET", IDENTITY_PATH)
        identity = json.loads(connection.getresponse().read())
        connection.close()
        return Server(**identity)
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return None


def _user_of(port: int) -> str:
    """Describe who uses the port, and what to do about it; "" if it is free."""
    if other := _identity(f"http://{HOST}:{port}"):
        return f"the local AWS of {other.directory} (process {other.pid}): stop it there with invoke local.stop"
    try:
        connection = http.client.HTTPConnection(HOST, port, timeout=2)
        connection.connect()
        connection.close()
    except OSError:
        return ""
    return f"another program: find it with `lsof -nP -iTCP:{port} -sTCP:LISTEN` and stop it"
