"""A copy of the project to measure in, and commands in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("tasks.py", "dev.py", "filter_patterns.py", "pipeline", "localaws", "lambda_src", "policies")


def copy_project(folder: Path) -> None:
    """Copy the project, so that measuring leaves the user's own build and local AWS alone."""
    folder.mkdir()
    for part in PARTS:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, folder / part)


def invoke(folder: Path, *words: str, fails: bool = False) -> str:
    """Run `invoke` in a folder and return its stdout. With an empty `tasks.py`, Invoke exits 1."""
    return python(folder, "-m", "invoke", *words, fails=fails)


def python(folder: Path, *words: str, fails: bool = False) -> str:
    """Run this Python in a folder and return its stdout."""
    return run(folder, *words, fails=fails).stdout


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: these settings only, and a free port for the local AWS."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**inherited, "LOCAL_PORT": "0", **settings}


def run(
    folder: Path, *words: str, fails: bool = False, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this Python in a folder, with these settings only and a free port; exit when it does not end as expected."""
    finished = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment(settings or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if bool(finished.returncode) != fails:
        raise SystemExit(f"{' '.join(words)} exited {finished.returncode}:\n{finished.stdout}{finished.stderr}")
    return finished
