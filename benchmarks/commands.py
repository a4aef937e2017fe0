"""Rows: how long commands take, compared with the least code that does the same."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.project import invoke, python, run
from benchmarks.row import SCRIPTS, Row, Sides, compare, seconds_of
from localaws.delays import DELAYS

if TYPE_CHECKING:
    from benchmarks.row import Bench

# What waits for one another until the mapping is enabled.
CHAIN = ("role-assumable", "function-pending", "mapping-creating")


def listing(bench: Bench) -> Sides:
    return compare(bench.runs, partial(invoke, bench.project, "--list"), partial(nothing, bench.empty))


def help_text(bench: Bench) -> Sides:
    return compare(bench.runs, partial(invoke, bench.project, "--help", "deploy"), partial(nothing, bench.empty))


def nothing(empty: Path) -> None:
    invoke(empty, "--list", fails=True)  # as it finds no task


def deploy_and_smoke(bench: Bench) -> Sides:
    project, endpoint = bench.project, bench.endpoint

    def bare() -> None:
        python(project, str(SCRIPTS / "bare.py"), endpoint)

    return compare(
        bench.runs, partial(invoke, project, "deploy", "smoke"), bare, after=lambda: invoke(project, "clean")
    )


def deploy_and_smoke_by_cli(bench: Bench) -> Sides:
    project, endpoint = bench.project, bench.endpoint
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def article() -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = ["sh", str(SCRIPTS / "article.sh"), endpoint]
            subprocess.run(
                command, cwd=folder, env={"PATH": path, "HOME": folder}, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, check=True,
            )  # fmt: skip

    # The article puts an item, and Lambda creates its log group.
    clean = partial(invoke, project, "clean", "--adopt", "--delete-data")
    return compare(bench.runs, partial(invoke, project, "deploy", "smoke"), article, after=clean)


def deploy_unchanged(bench: Bench) -> Sides:
    project, endpoint = bench.project, bench.endpoint
    invoke(project, "deploy")
    reads = str(SCRIPTS / "reads.py")
    sides = compare(bench.runs, lambda: invoke(project, "deploy"), lambda: python(project, reads, endpoint))
    invoke(project, "clean")
    return sides


def deploy_with_delays(bench: Bench) -> Sides:
    project = bench.new_project("late")
    late = {"LOCAL_AWS_DELAYS": "on"}
    run(project, "-m", "invoke", "local.start", settings=late)

    ours = []
    for _ in range(bench.runs):
        ours.append(seconds_of(lambda: run(project, "-m", "invoke", "deploy", settings=late)))
        run(project, "-m", "invoke", "clean", settings=late)
    return Sides(ours, [sum(DELAYS[event].seconds for event in CHAIN)], f"{', '.join(CHAIN)} of docs/local-aws.md")


def ready(bench: Bench) -> Sides:
    project = bench.new_project("start")
    return compare(
        bench.runs,
        lambda: invoke(project, "local.start"),
        lambda: python(project, "-c", "import moto.server"),
        after=lambda: invoke(project, "local.stop"),
    )


def cold_start(bench: Bench) -> Sides:
    """First invocations of new processes, and the bare start of Python with the runtime client."""
    project, endpoint = bench.project, bench.endpoint
    invoke(project, "deploy")
    printed = python(project, str(SCRIPTS / "cold.py"), endpoint, str(bench.runs))
    bare = [seconds_of(lambda: python(project, "-c", "import awslambdaric.bootstrap")) for _ in range(bench.runs)]
    invoke(project, "clean")
    seconds = [float(each) / 1000 for each in printed.split()]
    return Sides(seconds, bare, f"{statistics.median(seconds) * 1000:.0f} ms")


ROWS = (
    Row("list", "`invoke --list`", "Invoke on an empty `tasks.py`", 1.1, listing),
    Row("help", "`invoke --help deploy`", "Invoke on an empty `tasks.py`", 1.1, help_text),
    Row("deploy-smoke", "`deploy smoke` on a running local AWS", "the same calls in a plain boto3 script", 1.25,
        deploy_and_smoke),
    Row("deploy-smoke-cli", "`deploy smoke` on a running local AWS", "the same steps as AWS CLI commands", 8,
        deploy_and_smoke_by_cli, faster=True, runs=3),
    Row("deploy-unchanged", "`deploy` with nothing to do", "the same reads in a plain boto3 script", 1.15,
        deploy_unchanged),
    Row("deploy-delays", "`deploy` with AWS's delays", "the longest chain of those delays", 1.05,
        deploy_with_delays, runs=2),
)  # fmt: skip
# Without a goal: what the local AWS needs to begin.
STARTS = (
    Row("ready", "`local.start` until the local AWS answers", "`import moto.server`", 0, ready),
    Row("cold", "first invocation in a new process", "`import awslambdaric.bootstrap`", 0, cold_start),
)
