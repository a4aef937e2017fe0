"""Every shell command in README.md and docs/ runs. docs/refresh.py runs those whose output a page shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.project import ROOT, bare_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.project import Project

# tests/test_local_aws_alone.py runs the commands of that page, and its code.
PAGES = {ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "local-aws-alone.md"}
BLOCKS = {
    page.name: blocks
    for page in sorted(PAGES)
    if (blocks := re.findall(r"(?<!-->\n)^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
}
# A block that begins so gives the reason.
SKIPPED = "# No test runs "
# A new virtual environment: .ci/run has the commands of README.md do that.
INSTALLS = "python3 -m venv"
CLIENT = (
    "export AWS_ENDPOINT_URL=$(invoke local.start) AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x "
    "AWS_DEFAULT_REGION=us-east-1\n"
)
TRUST = '{"Version": "2012-10-17", "Statement": []}'
# What the reader of a page has before the first command.
BEFORE = {
    "function.md": "invoke deploy smoke",
    "local-aws.md": f"{CLIENT} aws iam create-user --user-name someone\n"
    f"aws iam create-role --role-name ops --assume-role-policy-document '{TRUST}'",
    "operations.md": "export FUNCTION_ALIAS=live\n"
    "for size in 128 192 256; do invoke deploy --set FUNCTION_MEMORY_SIZE=$size; done; invoke smoke",
    "safety.md": CLIENT,
}
# They say when they are ready: "Ctrl-C ends".
ENDLESS = ("invoke watch", "invoke fetch-logs --follow")


@pytest.mark.proof
@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if not blocks[0].startswith(INSTALLS)])
def test_commands_of_a_page_run_in_their_order(new_project: Callable[[], Project], page: str) -> None:
    folder = new_project().folder
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**bare_environment(), "PATH": path, "LOCAL_PORT": "0"}
    for script in scripts((BEFORE.get(page, ""), *BLOCKS[page])):
        if script.startswith(ENDLESS):
            run_until_interrupted(script, folder, environment)
        else:
            environment = run(script, folder, environment)


def scripts(blocks: tuple[str, ...]) -> list[str]:
    """The endless commands of some blocks, and what is between them, which shares its shell variables."""
    found = [""]
    for block in blocks:
        if block.startswith(SKIPPED):
            continue
        for line in block.splitlines():
            if line.startswith(ENDLESS):
                found += [line, ""]
            else:
                found[-1] += f"{line}\n"
    return [each for each in found if each.strip()]


def run(script: str, folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Run a script, and return the environment at its end."""
    command = ["bash", "-euc", f"{script}\nenv -0 > environment"]
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, script + ended.stdout + ended.stderr
    pairs = (folder / "environment").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def run_until_interrupted(line: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a command until it is ready, interrupt it as Ctrl-C does, and assert that it exits with 0."""
    process = subprocess.Popen(
        ["bash", "-euc", f"exec {line}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    printed = ""
    while "Ctrl-C ends" not in printed and (text := process.stdout.readline()):
        printed += text
    process.send_signal(signal.SIGINT)
    printed += process.communicate(timeout=60)[0]
    assert process.returncode == 0, line + printed


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks[0].startswith(INSTALLS)])
def test_commands_that_install_are_those_that_ci_runs(page: str) -> None:
    checked = re.findall(r"readme_command '(.*)'", (ROOT / ".ci" / "run").read_text())
    lines = [block.strip() for block in BLOCKS["README.md"]]
    assert all(any(fragment in line for fragment in checked) for line in lines)
    assert all(any(line.startswith(block.strip()) for line in lines) for block in BLOCKS[page])
