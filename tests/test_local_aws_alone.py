"""The commands and the code of docs/local-aws-alone.md work as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.project import ROOT, bare_environment, copy_project

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.proof  # each command starts the AWS CLI

PAGE = (ROOT / "docs" / "local-aws-alone.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Run a command in a copy of the project, with the commands of this Python, and return what it prints."""
    project = copy_project(tmp_path / "project")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run_in_copy(*command: str) -> str:
        environment = {**bare_environment(), "PATH": path, "AWS_PAGER": ""}
        ended = subprocess.run(
            command, cwd=project.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run_in_copy


def test_shell_commands_lead_to_the_line_in_the_log(run: Callable[..., str]) -> None:
    text = "trap 'kill $server' EXIT\n" + "".join(blocks("sh")).replace("kill $server", "exit 0")
    assert "INSERT {'name': {'S': 'order-7'}}" in run("/bin/sh", "-euc", text)


def test_fixture_serves_tests_of_another_project(run: Callable[..., str], tmp_path: Path) -> None:
    (code,) = blocks("python")
    file = tmp_path / "elsewhere" / "test_mine.py"
    file.parent.mkdir()
    file.write_text(code.replace("/path/to/this/project", str(ROOT)), encoding="utf-8")
    assert "2 passed" in run(sys.executable, "-m", "pytest", "--rootdir", str(file.parent), "-c", os.devnull, str(file))
