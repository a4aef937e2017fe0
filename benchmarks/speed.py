"""What `invoke bench` prints: how long things take, side by side with the least that could do the same.

Each ratio is of two medians taken in turns in one run, so that what else the machine does falls on both.
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

BARE = Path(__file__).with_name("bare.py")


def main() -> None:
    """Print one line a figure: what, how much, and the promise it is held against."""
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
    """All figures, `runs` times each."""
    ready = medians(runs, lambda: invoke(project, "local.start"), after=lambda: invoke(project, "local.stop"))
    told("embedded AWS ready, from the command line", f"{ready[0]:.2f} s", "1.5 s")
    ours, bare = medians(runs, lambda: invoke(project, "--list"), lambda: invoke(empty, "--list", fails=True))
    told("invoke --list : Invoke on an empty tasks.py", f"{ours / bare:.2f}", "1.5")
    endpoint = invoke(project, "local.start").strip()
    invoke(project, "deploy", "smoke", "clean")  # both sides meet a server that has answered each service before
    ours, bare = medians(
        runs,
        lambda: invoke(project, "deploy", "smoke"),
        lambda: python(project, str(BARE), endpoint),
        after=lambda: invoke(project, "clean"),
    )
    told("invoke deploy smoke : the same calls in a bare boto3 script", f"{ours / bare:.2f}", "2")
    invoke(project, "deploy")
    ours, bare = medians(
        runs, lambda: invoke(project, "deploy"), lambda: python(project, str(BARE.with_name("reads.py")), endpoint)
    )
    told("invoke deploy, no change : the same reads in a bare script", f"{ours / bare:.2f}", "1.3")
    told("put to log line, warm", f"{median_of('puts.py', project, endpoint, runs * 10):.1f} ms", "10 ms")
    told("first invocation, cold", f"{median_of('cold.py', project, endpoint, runs):.0f} ms", "150 ms")


def median_of(script: str, project: Path, endpoint: str, runs: int) -> float:
    """The median of the milliseconds that one of the scripts beside this one prints."""
    printed = python(project, str(BARE.with_name(script)), endpoint, str(runs))
    return statistics.median(map(float, printed.split()))


def medians(runs: int, *sides: Callable[[], object], after: Callable[[], object] = lambda: None) -> list[float]:
    """The median seconds of each side; they take turns, and `after` puts things back, untimed."""
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(runs):
        for side, times in zip(sides, taken, strict=True):
            began = time.perf_counter()
            side()
            times.append(time.perf_counter() - began)
            after()
    return [statistics.median(times) for times in taken]


def told(what: str, figure: str, promise: str) -> None:
    """Print one figure and what it is to be at most."""
    print(f"{what:<62} {figure:>10}   (at most {promise})", flush=True)


if __name__ == "__main__":
    main()
