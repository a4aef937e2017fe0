"""Update the command outputs in README.md, docs/ and the runbook's answers.md, or check that they are up to date.

    python docs/refresh.py            writes the pages
    python docs/refresh.py --check    exits 1 and names the pages that are out of date

An output follows a line `<!-- output of: COMMAND -->`: a fenced block has the output as it is, other outputs are
Markdown and end at `<!-- end -->`. A fenced block can begin with lines `$ COMMAND`, which show readers what to type.
The commands of a page run in order in a fresh copy of the project. The check ignores what differs between runs:
numbers, identifiers, and the spaces that align them.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = ROOT / "pipeline" / "runbook" / "answers.md"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ANSWERS)
RECORDING, RECORDED = ROOT / "docs" / "demo.svg", "invoke deploy smoke"
COLORS = {"+": "green", "~": "yellow", "-": "red", "=": "dim"}
BLOCK = re.compile(
    r"(<!-- output of: (.+?) -->\n)(?:(```text\n(?:\$ [^\n]*\n)*)(.*?)(```\n)|(.*?)(<!-- end -->\n))", re.DOTALL
)
# What a machine says that lacks the function's runtime, or runs functions without namespaces.
NOTES = (
    r"(?m)^(?:note  |smoke: The function runs on ).*\n|(?<=\"note\": \")The function runs on [^\"]*|"
    r"(?:\tError:|;|  ) ?The function runs on .*?(?=  \d+\.\d\d s$|$)"
)
VARYING = (
    (NOTES, ""),
    (r"(?m)  \d+\.\d\d s$", ""),  # cut off, if a note comes before it
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}", "ID"),
    (r"\d+", "0"),
    (r"[ \t]+", " "),
)
# The environment without the settings of the person who runs this, and with the commands of this Python.
ENVIRONMENT = {
    **{name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "LOCAL_PORT": "0",
    "COLUMNS": "100",
}


def main() -> int:
    """Update or check every page; return the exit code."""
    check = "--check" in sys.argv
    outdated = []
    for page in (*PAGES, RECORDING):
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        refreshed = in_copy(recording if page == RECORDING else partial(refresh, text))
        if mask(refreshed) != mask(text):
            outdated.append(str(page.relative_to(ROOT)))
        if not check:
            page.write_text(refreshed, encoding="utf-8")
    if check and outdated:
        sys.stderr.write(f"out of date: {', '.join(outdated)}; update with: python docs/refresh.py\n")
    return int(check and bool(outdated))


def refresh(text: str, project: Path) -> str:
    """Return the text of a page with the output of each command."""
    return BLOCK.sub(lambda match: with_output(match, project), text)


def recording(project: Path) -> str:
    """Return what a terminal shows of a command, as SVG, without fonts from elsewhere. A long line is cut."""
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {RECORDED}", "bold"))
    for line in re.sub(NOTES, "", run(RECORDED, project)).splitlines():
        console.print(Text(line, COLORS.get(line[:1], "")), no_wrap=True, overflow="ellipsis")
    svg = console.export_svg(title="a terminal", unique_id="demo")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def in_copy(produce: Callable[[Path], str]) -> str:
    """Produce a text in a fresh copy of the project."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "build", "__pycache__"))
        shutil.copy(ROOT / ".env.example", project)
        try:
            return produce(project)
        finally:
            subprocess.run(["invoke", "local.stop"], cwd=project, env=ENVIRONMENT, capture_output=True, check=True)


def with_output(match: re.Match[str], project: Path) -> str:
    """Return a block with the output of its command."""
    head, command, fence, _, fence_end, _, end = match.groups()
    return f"{head}{fence or ''}{run(command, project)}{fence_end or end}"


def run(command: str, project: Path) -> str:
    """Return what a shell command prints in the project's folder."""
    return subprocess.run(
        ["/bin/sh", "-euc", command],
        cwd=project,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout


def mask(text: str) -> str:
    """Return the text without what differs between runs."""
    for pattern, replacement in VARYING:
        text = re.sub(pattern, replacement, text)
    return text


if __name__ == "__main__":
    sys.exit(main())
