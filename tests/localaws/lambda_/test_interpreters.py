"""The interpreter of a runtime is found where those who install Python put it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from localaws.lambda_ import interpreters

if TYPE_CHECKING:
    from pathlib import Path

# No such Python exists, so the machine that runs the tests has none.
RUNTIME = "python3.77"


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed in the home directory or in the PATH, and nothing is remembered."""
    for name in ("PYENV_ROOT", "XDG_DATA_HOME", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(interpreters, "_known", {})


def install(file: Path, *, runtime: str = RUNTIME, status: int = 0) -> str:
    """Make an interpreter that says that it is the one of `runtime`."""
    file.parent.mkdir(parents=True)
    file.write_text(f"#!/bin/sh\necho {runtime} {file}\nexit {status}\n")
    file.chmod(0o700)
    return str(file)


def test_a_missing_interpreter_is_not_found() -> None:
    assert interpreters.find(RUNTIME) == ""


def test_the_servers_own_python_needs_no_search() -> None:
    assert interpreters.find(f"python3.{sys.version_info.minor}") == sys.executable


@pytest.mark.parametrize(
    "folder",
    ["bin", ".pyenv/versions/3.77.1/bin", ".local/share/uv/python/cpython-3.77.2-linux-x86_64-gnu/bin"],
    ids=["path", "pyenv", "uv"],
)
def test_an_interpreter_is_found(tmp_path: Path, folder: str) -> None:
    python = install(tmp_path / folder / RUNTIME)
    assert interpreters.find(RUNTIME) == python


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("PYENV_ROOT", "versions/3.77.1"),
        ("XDG_DATA_HOME", "uv/python/cpython-3.77.1"),
        ("UV_PYTHON_INSTALL_DIR", "cpython-3.77.1"),
    ],
)
def test_an_interpreter_is_found_in_the_folder_that_a_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, folder: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    python = install(tmp_path / "elsewhere" / folder / "bin" / RUNTIME)
    assert interpreters.find(RUNTIME) == python


def test_the_newest_patch_version_is_chosen(tmp_path: Path) -> None:
    install(tmp_path / ".pyenv/versions/3.77.9/bin" / RUNTIME)
    newest = install(tmp_path / ".pyenv/versions/3.77.10/bin" / RUNTIME)
    assert interpreters.find(RUNTIME) == newest


@pytest.mark.parametrize(("runtime", "status"), [(RUNTIME, 127), ("python3.76", 0)], ids=["fails", "is another"])
def test_a_launcher_that_does_not_work_is_passed_over(tmp_path: Path, runtime: str, status: int) -> None:
    """The launchers of pyenv are in the PATH, and only those of the active versions work."""
    install(tmp_path / "bin" / RUNTIME, runtime=runtime, status=status)
    python = install(tmp_path / ".pyenv/versions/3.77.1/bin" / RUNTIME)
    assert interpreters.find(RUNTIME) == python
