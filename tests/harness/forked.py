"""A project whose commands are forked from a process that has imported everything, and can be killed at any API call.

Forking makes a command several times faster than starting Python for it.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localaws import control
from pipeline.session import is_read
from tests.harness.project import Project, bare_environment, copy_project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SERVER = Path(__file__).with_name("fork_server.py")
_LISTED_SECONDS = 4.0  # no list is later than this (localaws/delays.py)
_EMPTY_SECONDS = 60.0
_STREAMS = "command"  # the folder for the command's stdin, stdout, stderr and calls


@dataclass(frozen=True)
class KillPoint:
    """A moment in a command: "before" or "after" its nth call of an operation."""

    when: str
    operation: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.when} {self.operation} {self.nth}"


class Outcome(subprocess.CompletedProcess[str]):
    """How a command ended: its exit code (negative: a signal), its output, and the names of its API calls.

    `seconds` is the time that the command would take if time passed at its own speed.
    """

    calls: list[str]
    seconds: float

    @property
    def writes(self) -> list[str]:
        """The names of the calls that write."""
        return [operation for operation in self.calls if not is_read(operation)]

    def expect(self, code: int) -> Outcome:
        """Assert the exit code."""
        if self.returncode != code:
            raise AssertionError(f"exit code {self.returncode}, not {code}:\n{self.stdout}{self.stderr}")
        return self


@dataclass(frozen=True)
class ForkedProject(Project):
    """A copy of the project, its local AWS, and the process that forks its commands.

    For the commands, time passes `speed` times as fast. With `delays`, the local AWS is as late as AWS in that time.
    """

    server: subprocess.Popen[str]
    speed: float = 1
    delays: bool = False

    def invoke(self, *words: str, stdin: str = "", **settings: str) -> Outcome:
        """Run `invoke` with these words and with `settings` in its environment.

        CLOCK_OFFSET is how many seconds its clock is ahead of AWS's.
        """
        return self._fork(words, settings, stdin)

    def snapshot(self) -> dict[str, list[Any]]:
        """Return every resource in the local AWS, once its lists show what the commands have done."""
        self.wait_until_listed()
        return super().snapshot()

    def wait_until_listed(self) -> None:
        """Wait until the local AWS shows what the commands have done."""
        if self.delays:
            time.sleep(_LISTED_SECONDS / self.speed)

    def delete_everything(self) -> None:
        """Empty the local AWS, whatever a failed test left."""
        deadline = time.monotonic() + _EMPTY_SECONDS
        while self.invoke("clean", "--delete-data", "--adopt").returncode:
            assert time.monotonic() < deadline, "cannot empty the local AWS"
            time.sleep(1)

    def kill_at(self, point: KillPoint, *words: str, by: int = signal.SIGKILL) -> Outcome:
        """Run `invoke` with these words and send it a signal at `point`."""
        return self._fork(words, kill={**asdict(point), "signal": by})

    def _fork(
        self,
        words: tuple[str, ...],
        settings: Mapping[str, str] | None = None,
        stdin: str = "",
        kill: Mapping[str, object] | None = None,
    ) -> Outcome:
        streams = self.folder / _STREAMS
        (streams / "in").write_text(stdin)
        # Every call stays on loopback, and a fork on macOS must not look up proxies.
        environment = {**bare_environment(), "no_proxy": "*", "LOCAL_PORT": "0", **(settings or {})}
        order = {"words": words, "environment": environment, "streams": str(streams), "kill": kill, "speed": self.speed}
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline())
        outcome = Outcome(words, answer["code"], (streams / "out").read_text(), (streams / "err").read_text())
        outcome.seconds = (answer["seconds"] - answer["computed"]) * self.speed + answer["computed"]
        outcome.calls = (streams / "calls").read_text().split()
        return outcome


@contextmanager
def forked_project(folder: Path, *, speed: float = 1, delays: bool = False) -> Iterator[ForkedProject]:
    """Copy the project into `folder`, start its local AWS and the fork server, and stop both afterwards.

    For the commands, time passes `speed` times as fast. With `delays`, the local AWS is as late as AWS in that time.
    """
    with fork_server(folder) as server, started(ForkedProject(folder, server, speed, delays)) as project:
        yield project


@contextmanager
def fork_server(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Copy the project into `folder` and start the process that forks its commands."""
    copy_project(folder)
    (folder / _STREAMS).mkdir()
    server = subprocess.Popen(
        [sys.executable, str(_SERVER)],
        cwd=folder,
        env=bare_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield server
    server.communicate()


@contextmanager
def started(project: ForkedProject) -> Iterator[ForkedProject]:
    """Start the project's local AWS, stop it afterwards, and undo what the commands left in the folder."""
    local = project.folder / ".local"
    control.start(local, port=0, idle_hours=8, delays=1 / project.speed if project.delays else 0)
    try:
        yield project
    finally:
        control.stop(local)
        for name in (".local", "build", "lambda_src", "policies"):
            shutil.rmtree(project.folder / name, ignore_errors=True)
        (project.folder / ".env").unlink(missing_ok=True)
        copy_project(project.folder)
