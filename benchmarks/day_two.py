"""Rows: reading a stream, and sending its records to the function again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.local_aws import client_for
from benchmarks.project import invoke, run
from benchmarks.row import Row, Sides, seconds_of
from benchmarks.volume import put_items

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.row import Bench

RECORDS, BATCH_SIZE = 10_000, 100
RECORDS_A_SECOND = 2000
FUNCTION_SECONDS = 0.1  # for each batch
QUEUE = "arn:aws:sqs:us-east-1:000000000000:notes"
SETTINGS = {
    "BATCH_SIZE": str(BATCH_SIZE),
    "BISECT_BATCH_ON_FUNCTION_ERROR": "false",
    "MAXIMUM_RETRY_ATTEMPTS": "0",
    "ON_FAILURE": QUEUE,
}
CODE = f"""
import os, time
def lambda_handler(event, context):
    if os.environ.get("FAILS"):
        raise ValueError
    time.sleep({FUNCTION_SECONDS})
"""


def read_stream(bench: Bench) -> Sides:
    project = bench.new_project("records")
    invoke(project, "create-table")
    put_items(invoke(project, "local.start").strip(), "stream-demo", 0, RECORDS, connections=1, keys=RECORDS)
    seconds = [seconds_of(lambda: invoke(project, "records")) for _ in range(bench.runs)]
    invoke(project, "local.stop")
    return Sides(seconds, [RECORDS / RECORDS_A_SECOND], f"{RECORDS / min(seconds):,.0f} records a second")


def redrive(bench: Bench) -> Sides:
    project = bench.new_project("redrive")
    (project / "lambda_src" / "example.py").write_text(CODE)
    endpoint = invoke(project, "local.start").strip()
    sqs = client_for("sqs", endpoint)
    url = sqs.create_queue(QueueName="notes")["QueueUrl"]
    deploy(project, MAPPING_ENABLED="false", FUNCTION_ENVIRONMENT='{"FAILS": "yes"}')
    put_items(endpoint, "stream-demo", 0, RECORDS, connections=1, keys=RECORDS)
    deploy(project, FUNCTION_ENVIRONMENT='{"FAILS": "yes"}')
    notes = take(sqs, url, RECORDS // BATCH_SIZE)
    deploy(project)
    seconds = []
    for _ in range(bench.runs):
        for note in notes:
            sqs.send_message(QueueUrl=url, MessageBody=note)
        seconds.append(seconds_of(lambda: run(project, "-m", "invoke", "redrive", settings=SETTINGS)))
    invoke(project, "local.stop")
    return Sides(seconds, [len(notes) * FUNCTION_SECONDS])


def deploy(project: Path, **settings: str) -> None:
    run(project, "-m", "invoke", "deploy", settings={**SETTINGS, **settings})


def take(sqs: Any, url: str, count: int) -> list[str]:
    """Wait for so many messages, and take them out of the queue."""
    bodies: list[str] = []
    while len(bodies) < count:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ()):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(message["Body"])
        time.sleep(0.01)
    return bodies


ROWS = (
    Row("read-stream", "`records` of 10,000 records", "2,000 records a second", 1, read_stream, runs=5),
    Row(
        "redrive",
        "`redrive` of 10,000 records in 100 notes",
        "the function's own 0.1 s for each note",
        2,
        redrive,
        runs=3,
    ),
)
