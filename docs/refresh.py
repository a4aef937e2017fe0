"""Make the outputs in README.md and docs/*.md anew from the real program, or check that they are as they would be.

    python docs/refresh.py            writes
    python docs/refresh.py --check    exits 1 and names what is out of date

A block follows a line `<!-- output of: COMMAND -->`: a fenced one as the command printed it, otherwise Markdown up to
`<!-- end -->`. The commands of one file are run in their order, in a fresh copy of the project. The check leaves out of
account what differs from run to run: numbers, identifiers, and what follows from their lengths.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(<!-- output of: (.+?) -->\n)(?:(```text\n)(.*?)(```\n)|(.*?)(<!-- end -->\n))", re.DOTALL)
VARYING = ((r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}", "ID"), (r"\d+", "0"), (r"[ \t]+", " "))


def refreshed(page: Path, folder: Path) -> str:
    """The page's text with each block's output as the command prints it in `folder` now."""

    def run(match: re.Match[str]) -> str:
        head, command, fence, _, fence_end, _, end = match.groups()
        shown = subprocess.run(
            ["/bin/sh", "-euc", command],
            cwd=folder,
            env={**_environment(), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout
        return f"{head}{fence or ''}{shown}{fence_end or end}"

    return BLOCK.sub(run, page.read_text(encoding="utf-8"))


def stable(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, stands_for in VARYING:
        text = re.sub(pattern, stands_for, text)
    return text


def main() -> int:
    """Refresh or check every page; the exit code."""
    check = "--check" in sys.argv
    outdated = []
    for page in PAGES:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder) / "project"
            shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "build", "__pycache__"))
            shutil.copy(ROOT / ".env.example", project)
            text = refreshed(page, project)
            subprocess.run(
                [sys.executable, "-m", "invoke", "local.stop"],
                cwd=project,
                env=_environment(),
                capture_output=True,
                check=True,
            )
        if stable(text) != stable(page.read_text(encoding="utf-8")):
            outdated.append(page.relative_to(ROOT))
        if not check:
            page.write_text(text, encoding="utf-8")
    if check and outdated:
        sys.stderr.write(f"out of date: {', '.join(map(str, outdated))}; make anew with: python docs/refresh.py\n")
    return int(check and bool(outdated))


def _environment() -> dict[str, str]:
    """The environment without settings of the person who runs this."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "LOCAL_PORT": "0", "COLUMNS": "100"}


if __name__ == "__main__":
    sys.exit(main())
