"""How many API calls each chain makes: what `invoke bench` prints beside the times."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from benchmarks.project import copy_project, invoke, run

READING = ("Describe", "Get", "List", "Filter")


def main() -> None:
    """Print one line a chain: reading and writing calls."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project)
        try:
            counted(project, "first deploy", "deploy")
            counted(project, "deploy, no change", "deploy", promise="(at most 10 reading, 0 writing)")
            source = project / "lambda_src" / "example.py"
            source.write_text(source.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
            counted(project, "deploy, code changed", "deploy")
            counted(project, "deploy, one option changed", "deploy", BATCH_SIZE="50")
            counted(project, "clean", "clean")
        finally:
            invoke(project, "local.stop")


def counted(project: Path, what: str, *words: str, promise: str = "", **settings: str) -> None:
    """Run one chain and print how many calls it told of."""
    told = run(project, "-m", "invoke", *words, "--verbose", settings=settings).stderr
    calls = re.findall(r"^    \S+ (\w+)  \d+ ms", told, re.MULTILINE)
    reading = sum(call.startswith(READING) for call in calls)
    figure = f"{reading} reading, {len(calls) - reading} writing"
    print(f"API calls, {what:<40} {figure:>21}   {promise}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
