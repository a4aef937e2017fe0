"""The Python interpreters of this machine: in the PATH, and where those who install them put them."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = "import sys; print('python%d.%d' % sys.version_info[:2], sys.executable)"
# A missing interpreter may be installed while the server runs.
_SEARCH_AGAIN_SECONDS = 5
_known: dict[str, tuple[str, float]] = {}  # by runtime: the interpreter or "", and the time of the search


def find(runtime: str) -> str:
    """Find the Python of a runtime ("python3.12"); "" if the machine lacks it."""
    if runtime == f"python{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    python, searched = _known.get(runtime, ("", -math.inf))
    if not python and time.monotonic() > searched + _SEARCH_AGAIN_SECONDS:
        python = next((python for each in _candidates(runtime) if (python := _answer(runtime, each))), "")
        _known[runtime] = python, time.monotonic()
    return python


def _candidates(runtime: str) -> Iterator[str]:
    """The files that may be the interpreter. Of several patch versions, the newest one comes first."""
    if found := shutil.which(runtime):
        yield found
    version, home = runtime.removeprefix("python"), Path.home()
    # pyenv: "Understanding Python versions". uv: "Storage", Python versions.
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    installed = [*pyenv.glob(f"{version}.*"), *uv.glob(f"cpython-{version}.*")]
    for folder in sorted(installed, key=lambda each: _numbers(each.name), reverse=True):
        yield str(folder / "bin" / runtime)
    # Homebrew on Apple silicon, on Intel and on Linux; then Debian, and python.org's installer for macOS.
    for prefix in ("/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"):
        yield f"{prefix}/opt/python@{version}/bin/{runtime}"
        yield f"{prefix}/bin/{runtime}"
    yield f"/usr/bin/{runtime}"
    yield f"/Library/Frameworks/Python.framework/Versions/{version}/bin/{runtime}"


def _answer(runtime: str, candidate: str) -> str:
    """The interpreter behind a candidate: it may be a launcher, and may launch nothing or another version."""
    if not os.access(candidate, os.X_OK):
        return ""
    result = subprocess.run([candidate, "-c", _VERSION], capture_output=True, text=True, check=False)
    version, _, python = result.stdout.strip().partition(" ")
    return python if result.returncode == 0 and version == runtime else ""


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)[:3]]
