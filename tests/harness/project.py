"""A copy of the project in a folder of its own, where tests run `invoke` as a command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from tests.harness import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FILES = ("tasks.py", "dev.py", "filter_patterns.py", ".env.example", "requirements.txt")
PARTS = (*FILES, "pipeline", "localaws", "lambda_src", "policies")
# The last one is set by coverage, so that it measures the commands too (dev.coverage).
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_CONFIG")


@dataclass(frozen=True)
class Project:
    """A copy of the project whose local AWS uses a free port."""

    folder: Path

    def invoke(self, *words: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `invoke` with these words and with `settings` in its environment."""
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
        """Run `invoke`, assert that it succeeds, and return its stdout."""
        finished = self.invoke(*words, **settings)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def refusal(self, *words: str, **settings: str) -> str:
        """Run `invoke`, assert that it exits 1 without a traceback, and return its stderr."""
        finished = self.invoke(*words, **settings)
        assert finished.returncode == 1, finished.stdout + finished.stderr
        assert 'Traceback (most recent call last):\n  File "/' not in finished.stderr
        return finished.stderr

    @property
    def endpoint(self) -> str:
        return str(json.loads((self.folder / ".local" / "server.json").read_text())["endpoint"])

    def client(self, service: str, region: str = "us-east-1") -> Any:
        """Return a boto3 client of the project's local AWS."""
        return _client(self.endpoint, service, region)

    def snapshot(self) -> dict[str, list[Any]]:
        """Return every resource in the local AWS."""
        return snapshot.take(self.client)

    def is_empty(self) -> bool:
        """Return whether the local AWS holds no resource."""
        return not any(self.snapshot().values())


@cache
def _client(endpoint: str, service: str, region: str) -> Any:
    """Create each client once: creating one takes longer than a call."""
    session: Any = boto3.Session("local", "local", region_name=region)
    return session.client(service, endpoint_url=endpoint)


def bare_environment() -> dict[str, str]:
    """Return the environment of the tests without variables that settings would read."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


@contextmanager
def own_files(project: Project) -> Iterator[None]:
    """Delete `.env` and restore policies/ afterwards."""
    policies = {path: path.read_text() for path in (project.folder / "policies").iterdir()}
    try:
        yield
    finally:
        (project.folder / ".env").unlink(missing_ok=True)
        for path, text in policies.items():
            path.write_text(text)


@contextmanager
def function_code(project: Project, text: str) -> Iterator[None]:
    """Replace the code of the function within the block."""
    source = project.folder / "lambda_src" / "example.py"
    before = source.read_text()
    source.write_text(text)
    try:
        yield
    finally:
        source.write_text(before)


def target_aws(endpoint: str, **settings: str) -> dict[str, Any]:
    """Return settings with which the tasks take the local AWS at `endpoint` for a real account."""
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}
    return {"TARGET": "aws", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint, **keys, **settings}


def copy_project(folder: Path) -> Project:
    """Copy the project into `folder`."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / part)
    return Project(folder)
