"""Rows: reading a log group."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.local_aws import client_for
from benchmarks.project import environment, invoke, python
from benchmarks.row import SCRIPTS, Row, Sides, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.row import Bench

GROUP = "/aws/lambda/stream-demo"
EVENTS = 100_000
LINES = 4  # of an invocation
STREAM_EVENTS = 10_000


def write_log(logs: Any, events: int, ended_ms: int) -> None:
    """Replace the log group with one of so many events, of invocations of which the last one ended at that time."""
    with suppress(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_group(logGroupName=GROUP)
    logs.create_log_group(logGroupName=GROUP)
    for first in range(0, events, STREAM_EVENTS):
        stream = f"2026/01/01/[$LATEST]{first:032x}"
        logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        count = min(STREAM_EVENTS, events - first) // LINES
        batch = [
            event for number in range(count) for event in invocation(ended_ms - (events - first) // LINES + number)
        ]
        logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=batch)


def invocation(time_ms: int) -> list[dict[str, Any]]:
    """The events of an invocation, as Lambda logs them."""
    request_id = uuid.uuid4()
    report = "Duration: 1.20 ms	Billed Duration: 2 ms	Memory Size: 128 MB	Max Memory Used: 38 MB"
    messages = (
        f"START RequestId: {request_id} Version: $LATEST",
        "{'eventID': '0123456789abcdef', 'eventName': 'INSERT', 'dynamodb': {'Keys': {'name': {'S': 'test3'}}}}",
        f"END RequestId: {request_id}",
        f"REPORT RequestId: {request_id}	{report}",
    )
    return [{"timestamp": time_ms, "message": message} for message in messages]


def newest(bench: Bench) -> Sides:
    """Two local AWS, with many and with few events in the last hour."""
    projects = []
    for name, count in (("many-events", EVENTS), ("few-events", EVENTS // 100)):
        project = bench.new_project(name)
        logs = client_for("logs", invoke(project, "local.start").strip())
        write_log(logs, count, int(time.time() * 1000))
        projects.append(project)
    many, few = projects
    sides = compare(bench.runs, lambda: invoke(many, "fetch-logs"), lambda: invoke(few, "fetch-logs"))
    for project in projects:
        invoke(project, "local.stop")
    return sides


def everything(bench: Bench) -> Sides:
    project, peaks = bench.project, []

    def ours() -> None:
        peaks.append(peak_of([sys.executable, "-m", "invoke", "fetch-logs", "--last", "0"], project, {}))

    sides = against_cli(bench, ours)
    return sides._replace(note=f"at most {max(peaks):.0f} MB")


def pages_alone(bench: Bench) -> Sides:
    return against_cli(bench, partial(python, bench.project, str(SCRIPTS / "pages.py"), bench.endpoint, GROUP))


def against_cli(bench: Bench, ours: Callable[[], object]) -> Sides:
    """Compare with the AWS CLI, which prints JSON."""
    project, endpoint = bench.project, bench.endpoint
    write_log(client_for("logs", endpoint), EVENTS, int(time.time() * 1000))
    command = [sys.executable, "-m", "awscli", "logs", "filter-log-events", "--log-group-name", GROUP]
    settings = {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "",
    }  # fmt: skip
    sides = compare(bench.runs, ours, lambda: peak_of(command, project, settings))
    client_for("logs", endpoint).delete_log_group(logGroupName=GROUP)
    return sides


def peak_of(command: list[str], folder: Path, settings: dict[str, str]) -> float:
    """Run a command whose output goes to a file, and return the most memory that it held, in MB."""
    output = folder / "output.txt"
    with output.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment(settings), stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} exited {process.returncode}")
    if not re.search(r"REPORT RequestId", output.read_text()):
        raise SystemExit(f"{' '.join(command)} printed no invocation")
    return usage.ru_maxrss / (2**10 if sys.platform == "linux" else 2**20)


ROWS = (
    Row("logs-newest", "`fetch-logs`, the ten newest of 100,000 events", "the ten newest of 1,000 events", 1.3, newest),
    Row("logs-all", "`fetch-logs --last 0`, 100,000 events", "`aws logs filter-log-events`", 1.5, everything,
        faster=True, runs=3),
)  # fmt: skip
# Without a goal: what is left if nothing is grouped or printed.
FLOORS = (
    Row("logs-all-floor", "reading the same pages with boto3 without printing", "`aws logs filter-log-events`", 0,
        pages_alone, faster=True, runs=3),
)  # fmt: skip
