"""Completion in a shell: `source <(invoke --print-completion-script bash)`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject


def test_tasks_are_completed(project: ForkedProject) -> None:
    names = project.run("--complete", "--", "invoke", "dep").split()
    assert {"deploy", "create-table", "local.start"} <= {*names}


def test_the_flags_of_a_task_are_completed(project: ForkedProject) -> None:
    assert "--delete-data" in project.run("--complete", "--", "invoke", "clean", "--").split()


def test_bash_completes_a_task(project: ForkedProject) -> None:
    script = """
        source <(invoke --print-completion-script bash)
        COMP_WORDS=(invoke dep) COMP_CWORD=1
        _complete_invoke invoke dep invoke
        echo "${COMPREPLY[@]}"
    """
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    ended = subprocess.run(
        ["bash", "-c", script], cwd=project.folder, env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "deploy"
