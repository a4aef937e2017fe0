"""Start, find and stop the embedded AWS of one directory, from outside its process.

The directory holds server.json (who it is) and server.log (what it printed). A process is ours when it answers, at the
endpoint that server.json names, with the id that server.json names: a recycled process id or a stranger on the port
is never taken for it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_READY_SECONDS = 30
_STOP_SECONDS = 15
_IDENTITY_PATH = "/_localaws"
_HOST = "127.0.0.1"


class ControlError(Exception):
    """The embedded AWS cannot be started or stopped; the text says why and what to try."""


@dataclass(frozen=True)
class Server:
    """A running embedded AWS."""

    endpoint: str
    pid: int
    id: str
    directory: str


def status(directory: Path) -> Server | None:
    """The embedded AWS of `directory`, or None when it is not running."""
    try:
        known = Server(**json.loads((directory / "server.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # never started, ended, or not written by us: what counts is who answers
    answering = _ask(known.endpoint)
    return known if answering == known else None


def start(directory: Path, port: int, idle_hours: float, delays: float = 0) -> tuple[Server, bool]:
    """The embedded AWS of `directory`, started on `port` (0: any free one) if need be; and whether it was started now.

    `idle_hours`: it ends itself after so long unasked. `delays`: see localaws/delays.py; 0 is none.
    Raises ControlError when the port is another program's, or when it does not come up.
    """
    if running := status(directory):
        if port not in (0, urlsplit(running.endpoint).port):
            raise ControlError(
                f"the embedded AWS of this folder runs at {running.endpoint}, not on LOCAL_PORT {port}; "
                f"stop it with: invoke local.stop"
            )
        return running, False
    if port and (stranger := _taken(port)):
        raise ControlError(f"LOCAL_PORT {port} is taken by {stranger}; or choose another LOCAL_PORT (0: any free one)")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    log = directory / "server.log"
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        command = [sys.executable, "-m", "localaws", "--port", str(port), "--directory", str(directory.resolve())]
        process = subprocess.Popen(
            [*command, "--idle-hours", str(idle_hours), "--delays", str(delays)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return _wait_until_ready(directory, process, log), True


def stop(directory: Path) -> Server | None:
    """End the embedded AWS of `directory` and wait until it is gone; None when it was not running."""
    running = status(directory)
    if not running:
        return None
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _ask(running.endpoint) == running:
        if time.monotonic() > deadline:
            raise ControlError(f"the embedded AWS (process {running.pid}) did not end in {_STOP_SECONDS} s; kill it")
        time.sleep(0.02)
    return running


def _wait_until_ready(directory: Path, process: subprocess.Popen[bytes], log: Path) -> Server:
    deadline = time.monotonic() + _READY_SECONDS
    while not (ready := status(directory)):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            said = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            raise ControlError(f"the embedded AWS did not start; its last line ({log}): {said[-1]}")
        time.sleep(0.01)
    return ready


def _ask(endpoint: str) -> Server | None:
    """Who answers at `endpoint`, if it is an embedded AWS."""
    try:
        connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=2)
        connection.request("GET", _IDENTITY_PATH)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return Server(**answer)
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return None


def _taken(port: int) -> str:
    """Who has the port, in words with what to do; empty when it is free."""
    if other := _ask(f"http://{_HOST}:{port}"):
        return f"the embedded AWS of {other.directory} (process {other.pid}): stop it there with invoke local.stop"
    try:
        connection = http.client.HTTPConnection(_HOST, port, timeout=2)
        connection.connect()
        connection.close()
    except OSError:
        return ""
    return f"another program: find it with `lsof -nP -iTCP:{port} -sTCP:LISTEN` and stop it"
