"""Rows: records on their way through the local AWS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.local_aws import client_for, create_table, free_port, local_aws
from benchmarks.project import invoke, python
from benchmarks.row import SCRIPTS, Row, Sides
from benchmarks.volume import COUNTS, ITEMS_PER_REQUEST, put_items, put_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.row import Bench

PUTS, RECORDS, CALLS = 30, 20_000, 1000
BUSY_PROCESSES = 4


def put_to_log(bench: Bench) -> Sides:
    project, endpoint = bench.project, bench.endpoint
    python(project, str(SCRIPTS / "bare.py"), endpoint)
    ours: list[float] = []
    theirs: list[float] = []
    with ministack(bench.folder) as other:
        python(project, str(SCRIPTS / "bare.py"), other)
        for _ in range(bench.runs):
            for seconds, url in ((ours, endpoint), (theirs, other)):
                printed = python(project, str(SCRIPTS / "puts.py"), url, str(PUTS))
                seconds += [float(each) / 1000 for each in printed.split()]
    invoke(project, "clean", "--delete-data")
    return Sides(ours, theirs)


def put_to_log_when_busy(bench: Bench) -> Sides:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY_PROCESSES)]
    try:
        return put_to_log(bench)
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """Run ministack, which MINISTACK or the PATH names; its endpoint URL."""
    program = os.environ.get("MINISTACK") or shutil.which("ministack")
    if not program:
        raise LookupError("ministack is not installed: install ministack==1.5.33 elsewhere, and set MINISTACK to it")
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with (folder / "ministack.log").open("w") as log:
        process = subprocess.Popen([program], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_for(endpoint: str) -> None:
    for _ in range(100):
        try:
            client_for("dynamodb", endpoint).list_tables()
        except Exception:  # noqa: BLE001 - not listening yet
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{endpoint} does not answer")


def records_a_second(bench: Bench, batch_size: int = 100) -> Sides:
    seconds: dict[str, list[float]] = {"": [], COUNTS: []}
    folder = bench.folder / f"records-{batch_size}"
    folder.mkdir()
    with local_aws(folder) as aws:
        role_arn = aws.create_role("role")
        for number in range(bench.runs):
            # The side that goes first goes last in the next round.
            for code in ("", COUNTS) if number % 2 else (COUNTS, ""):
                name = f"round-{number}-{'mapped' if code else 'alone'}"
                seconds[code].append(put_records(aws, role_arn, name, RECORDS, code, batch_size))
    return Sides(seconds[COUNTS], seconds[""], f"{RECORDS / min(seconds[COUNTS]):,.0f} records a second")


def batch_writes(bench: Bench) -> Sides:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    moto = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (bench.folder / "writes").mkdir()
    try:
        wait_for(f"http://127.0.0.1:{port}")
        with local_aws(bench.folder / "writes") as aws:
            sides: list[list[float]] = [[], []]
            for _ in range(bench.runs):
                for seconds, endpoint in zip(sides, (aws.endpoint, f"http://127.0.0.1:{port}"), strict=True):
                    dynamodb = client_for("dynamodb", endpoint)
                    create_table(dynamodb, "calls")
                    began = time.perf_counter()
                    put_items(endpoint, "calls", 0, CALLS * ITEMS_PER_REQUEST, connections=1)
                    seconds.append(time.perf_counter() - began)
                    dynamodb.delete_table(TableName="calls")
    finally:
        moto.kill()
        moto.wait()
    return Sides(sides[0], sides[1], f"{CALLS / min(sides[0]):.0f} calls a second")


ROWS = (
    Row("put-to-log", "latency from put to log line, warm", "ministack 1.5.33", 0.5, put_to_log, runs=5),
    Row("put-to-log-busy", f"the same latency with {BUSY_PROCESSES} busy processes", "ministack 1.5.33", 0.5,
        put_to_log_when_busy, runs=3),
    Row("records", "20,000 records through the stream to the handler", "writing them without a mapping", 1 / 0.97,
        records_a_second, runs=5),
    Row("batch-write", "1,000 BatchWriteItem calls on a table with a stream", "moto's own server", 2, batch_writes,
        faster=True, runs=3),
)  # fmt: skip
# Without a goal: what is left if there are few invocations.
FLOORS = (
    Row("records-floor", "20,000 records in 20 invocations of 1,000 records", "writing them without a mapping", 0,
        partial(records_a_second, batch_size=1000), runs=5),
)  # fmt: skip
