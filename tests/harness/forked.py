"""A project whose commands are forked from a process that has imported everything, and can be killed at any API call.

Forking makes a command several times faster than starting Python for it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.session import is_read
from tests.harness.project import Project, bare_environment, copy_project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SERVER = Path(__file__).with_name("fork_server.py")
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
    """How a command ended: its exit code (negative: a signal), its output, and the names of its API calls."""

    calls: list[str]

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
    """A copy of the project, its local AWS, and the process that forks its commands."""

    server: subprocess.Popen[str]

    def invoke(self, *words: str, stdin: str = "", **settings: str) -> Outcome:
        """Run `invoke` with these words and with `settings` in its environment."""
        return self._fork(words, settings, stdin)

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
        order = {"words": words, "environment": environment, "streams": str(streams), "kill": kill}
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        code = int(self.server.stdout.readline())
        outcome = Outcome(words, code, (streams / "out").read_text(), (streams / "err").read_text())
        outcome.calls = (streams / "calls").read_text().split()
        return outcome


@contextmanager
def forked_project(folder: Path) -> Iterator[ForkedProject]:
    """Copy the project into `folder`, start its local AWS and the fork server, and stop both afterwards."""
    project = copy_project(folder)
    (folder / _STREAMS).mkdir()
    project.run("local.start")
    server = subprocess.Popen(
        [sys.executable, str(_SERVER)],
        cwd=folder,
        env=bare_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield ForkedProject(folder, server)
    finally:
        server.communicate()
        project.run("local.stop")
