"""How many API calls each chain makes: `python -m benchmarks.calls`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from benchmarks.project import copy_project, invoke, run
from pipeline.session import is_read


def main() -> None:
    """Print the reads and writes of each chain."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project)
        try:
            count(project, "first deploy", "deploy")
            count(project, "deploy, no change", "deploy", limit="(at most 10 reads, 0 writes)")
            source = project / "lambda_src" / "example.py"
            source.write_text(source.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
            count(project, "deploy, code changed", "deploy")
            count(project, "deploy, one option changed", "deploy", BATCH_SIZE="50")
            count(project, "clean", "clean")
        finally:
            invoke(project, "local.stop")


def count(project: Path, what: str, *words: str, limit: str = "", **settings: str) -> None:
    """Run one chain with `--verbose` and print how many calls it logs."""
    log = run(project, "-m", "invoke", *words, "--verbose", settings=settings).stderr
    calls = re.findall(r"^    \S+ (\w+)  \d+ ms", log, re.MULTILINE)
    reads = sum(map(is_read, calls))
    figure = f"{reads} reads, {len(calls) - reads} writes"
    print(f"API calls, {what:<40} {figure:>21}   {limit}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
