"""How long tasks take, compared with the least code that does the same: `python -m benchmarks.speed [RUNS]`.

Each ratio divides the medians of two sides that take turns in one run, so that other load on the machine affects both.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.project import copy_project, invoke, python

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent


def main() -> None:
    """Print each figure and its limit."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as folder:
        project, empty = Path(folder) / "project", Path(folder) / "empty"
        copy_project(project)
        empty.mkdir()
        (empty / "tasks.py").write_text("")
        try:
            measure(project, empty, runs)
        finally:
            invoke(project, "local.stop")


def measure(project: Path, empty: Path, runs: int) -> None:
    """Measure everything `runs` times."""
    start = medians(runs, lambda: invoke(project, "local.start"), after=lambda: invoke(project, "local.stop"))
    print_figure("local AWS ready, from the command line", f"{start[0]:.2f} s", "1.5 s")
    ours, bare = medians(runs, lambda: invoke(project, "--list"), lambda: invoke(empty, "--list", fails=True))
    print_figure("invoke --list : Invoke on an empty tasks.py", f"{ours / bare:.2f}", "1.5")
    endpoint = invoke(project, "local.start").strip()
    invoke(project, "deploy", "smoke", "clean")  # warms up each service for both sides
    ours, bare = medians(
        runs,
        lambda: invoke(project, "deploy", "smoke"),
        lambda: python(project, str(FOLDER / "bare.py"), endpoint),
        after=lambda: invoke(project, "clean"),
    )
    print_figure("invoke deploy smoke : the same calls in a bare boto3 script", f"{ours / bare:.2f}", "2")
    invoke(project, "deploy")
    ours, bare = medians(
        runs, lambda: invoke(project, "deploy"), lambda: python(project, str(FOLDER / "reads.py"), endpoint)
    )
    print_figure("invoke deploy, no change : the same reads in a bare script", f"{ours / bare:.2f}", "1.3")
    print_figure("put to log line, warm", f"{median_of('puts.py', project, endpoint, runs * 10):.1f} ms", "10 ms")
    print_figure("first invocation, cold", f"{median_of('cold.py', project, endpoint, runs):.0f} ms", "150 ms")


def median_of(script: str, project: Path, endpoint: str, runs: int) -> float:
    """Return the median of the milliseconds that a script in this folder prints."""
    printed = python(project, str(FOLDER / script), endpoint, str(runs))
    return statistics.median(map(float, printed.split()))


def medians(runs: int, *sides: Callable[[], object], after: Callable[[], object] = lambda: None) -> list[float]:
    """Return the median seconds of each side. The sides take turns; `after` restores the state and is not timed."""
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(runs):
        for side, times in zip(sides, seconds, strict=True):
            began = time.perf_counter()
            side()
            times.append(time.perf_counter() - began)
            after()
    return [statistics.median(times) for times in seconds]


def print_figure(what: str, figure: str, limit: str) -> None:
    """Print one figure and its limit."""
    print(f"{what:<62} {figure:>10}   (at most {limit})", flush=True)


if __name__ == "__main__":
    main()
