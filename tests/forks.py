"""A copy of the project whose commands are forked from a warm process: a few times quicker, and killed where wanted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.project import Project, bare_environment, copy_project
from tests.snapshot import everything

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SERVER = Path(__file__).with_name("fork_server.py")


class Ended(subprocess.CompletedProcess[str]):
    """How a command ended: exit code (negative: the signal that killed it), what it printed, which calls it made."""

    calls: list[str]

    def expect(self, code: int) -> Ended:
        """Itself, if that was the exit code."""
        if self.returncode != code:
            raise AssertionError(f"exit code {self.returncode}, not {code}:\n{self.stdout}{self.stderr}")
        return self


@contextmanager
def forking(folder: Path, **settings: str) -> Iterator[Forks]:
    """A project in `folder`, with its embedded AWS and the process that forks; both are ended afterwards."""
    folder.mkdir()
    project = copy_project(folder)
    (folder / "said").mkdir()
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
        yield Forks(folder, server, settings)
    finally:
        server.communicate()
        project.run("local.stop")


@dataclass(frozen=True)
class Forks(Project):
    """`forks.stop(("before", 1, "CreateRole"), "deploy")`: `invoke deploy`, killed there."""

    server: subprocess.Popen[str]
    settings: Mapping[str, str] = field(default_factory=dict)

    def invoke(self, *words: str, stdin: str = "", **settings: str) -> Ended:
        """Run `invoke` with these words; `settings` are put into its shell."""
        return self._run(words, settings, stdin)

    def stop(self, at: tuple[str, int, str], *words: str, by: int = signal.SIGKILL) -> Ended:
        """Run `invoke` with these words, and send it a signal "before" or "after" the how manieth call of a kind."""
        return self._run(words, {}, "", at, by)

    def _run(
        self,
        words: tuple[str, ...],
        settings: Mapping[str, str],
        stdin: str,
        at: tuple[str, int, str] | None = None,
        by: int = 0,
    ) -> Ended:
        said = self.folder / "said"
        # All is on loopback; and to look for proxies is what a fork on macOS must not do.
        chosen = {**bare_environment(), "no_proxy": "*", "LOCAL_PORT": "0", **self.settings, **settings}
        order = {"words": words, "settings": chosen, "folder": str(said), "signal": by, "at": at}
        (said / "in").write_text(stdin)
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        code = int(self.server.stdout.readline())
        ended = Ended(words, code, (said / "out").read_text(), (said / "err").read_text())
        ended.calls = (said / "calls").read_text().split()
        return ended

    def state(self) -> dict[str, list[Any]]:
        """All that the embedded AWS holds."""
        return everything(self.client)

    def holds_nothing(self) -> bool:
        """Whether the embedded AWS is empty."""
        return not any(self.state().values())


def count_argument(default: int) -> int:
    """What the script's argument says, as a whole number."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else default
