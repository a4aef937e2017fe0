"""The project as a person has it: a folder of its own, where `invoke` is run as a command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("tasks.py", "pipeline", "localaws", "lambda_src", "policies", ".env.example")


@dataclass(frozen=True)
class Project:
    """A copy of the project, with its embedded AWS on a free port."""

    folder: Path

    def invoke(self, *words: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `invoke` with these words; `settings` are put into its shell."""
        return subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.folder,
            env={**bare_environment(), "LOCAL_PORT": "0", **settings},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def run(self, *words: str, **settings: str) -> str:
        """What `invoke` printed on stdout; the test fails when it does not succeed."""
        finished = self.invoke(*words, **settings)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def refusal(self, *words: str, **settings: str) -> str:
        """What `invoke` said on stderr when it refused: exit code 1, no traceback."""
        finished = self.invoke(*words, **settings)
        assert finished.returncode == 1, finished.stdout + finished.stderr
        assert 'Traceback (most recent call last):\n  File "/' not in finished.stderr
        return finished.stderr

    @property
    def endpoint(self) -> str:
        return str(json.loads((self.folder / ".local" / "server.json").read_text())["endpoint"])

    def client(self, service: str, region: str = "us-east-1") -> Any:
        """A boto3 client of the project's embedded AWS."""
        return _client(self.endpoint, service, region)


@cache
def _client(endpoint: str, service: str, region: str) -> Any:
    """Each client once: to make one takes longer than to ask it something."""
    session: Any = boto3.Session("local", "local", region_name=region)
    return session.client(service, endpoint_url=endpoint)


def bare_environment() -> dict[str, str]:
    """The environment of the tests without what the settings would take from it."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}


def copy_project(folder: Path) -> Project:
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return Project(folder)
