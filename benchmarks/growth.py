"""Rows and plots: how times grow with what there is."""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.files import write_sources
from benchmarks.local_aws import client_for
from benchmarks.logs import write_log
from benchmarks.project import invoke
from benchmarks.row import Row, Sides, compare, seconds_of
from benchmarks.volume import put_items

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.row import Bench

FEW, SIZES = 10, (10, 1000, 100_000)
MILLION = 1_000_000


class Growth(NamedTuple):
    """A line of a plot: the medians of the seconds by size."""

    name: str
    title: str
    unit: str
    seconds: dict[int, float]


def smoke_on_many(bench: Bench) -> Sides:
    return on_many_and_few(bench, lambda project: invoke(project, "smoke"))


def clean_of_many(bench: Bench) -> Sides:
    return on_many_and_few(bench, lambda project: invoke(project, "clean"), lambda project: invoke(project, "deploy"))


def on_many_and_few(
    bench: Bench, work: Callable[[Path], object], restore: Callable[[Path], object] = lambda _: None
) -> Sides:
    """Two local AWS, whose tables have many and few items, which `clean` keeps."""
    count = MILLION if bench.long else SIZES[-1]
    many, few = (with_items(bench, number) for number in (count, FEW))

    def after() -> None:
        restore(many)
        restore(few)

    return compare(bench.runs, lambda: work(many), lambda: work(few), after)._replace(note=f"{count:,} items")


def with_items(bench: Bench, count: int) -> Path:
    """A project whose table has so many items."""
    project = bench.folder / f"items-{count}"
    if not project.exists():
        bench.new_project(project.name)
        (project / ".env").write_text("STARTING_POSITION=LATEST\n")  # the mapping does not read these items
        invoke(project, "create-table")
        endpoint = invoke(project, "local.start").strip()
        put_items(endpoint, "stream-demo", 0, count, connections=1, keys=count)
        invoke(project, "deploy", "smoke")
    return project


def plots(bench: Bench) -> list[Growth]:
    """Measure each plot."""
    return [deploy_by_items(bench), zip_by_files(bench), logs_by_shown(bench)]


def deploy_by_items(bench: Bench) -> Growth:
    seconds = {size: median(bench, partial(invoke, with_items(bench, size), "deploy")) for size in SIZES}
    return Growth("deploy", "deploy with nothing to do, by items in the table", "items", seconds)


def zip_by_files(bench: Bench) -> Growth:
    seconds = {}
    for size in (50, 500, 5000):
        project = bench.new_project(f"files-{size}")
        write_sources(project / "lambda_src", size)
        seconds[size] = seconds_of(partial(invoke, project, "zip-code"))
    return Growth("zip-code", "zip-code without a zip, by files", "files", seconds)


def logs_by_shown(bench: Bench) -> Growth:
    write_log(client_for("logs", bench.endpoint), SIZES[-1], int(time.time() * 1000))
    last = {size: partial(invoke, bench.project, "fetch-logs", "--last", str(size)) for size in (10, 100, 1000, 10_000)}
    return Growth("fetch-logs", "fetch-logs, by invocations shown", "invocations", {
        size: median(bench, work) for size, work in last.items()
    })  # fmt: skip


def median(bench: Bench, work: Callable[[], object]) -> float:
    return statistics.median(seconds_of(work) for _ in range(bench.runs))


ROWS = (
    Row("smoke-many", "`smoke` on a table of many items", "on a table of 10 items", 1.1, smoke_on_many, runs=5),
    Row("clean-many", "`clean` that keeps a table of many items", "that keeps a table of 10 items", 1.1,
        clean_of_many, runs=5),
)  # fmt: skip
