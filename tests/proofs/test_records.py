"""Records through a function that raises, exits, hangs and reports partial failures at random.

Every record is handled at least once, or delivered to the on-failure destination; records of one key in order.
`invoke dev.soak --only records` sends 10,000 records.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.records import Record, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof

KEYS = 40
STALLED_SECONDS = 60
KILL_SECONDS = 3.0
# Handles a record by writing it to a file. Before that it may fail, drawn from the seed and the number of processes
# that have started so far.
HANDLER = """
import json, os, random, time

with open(os.environ["HANDLED"] + ".starts", "a") as starts:
    starts.write("x")
    starts.flush()
    chance = random.Random(f"{os.environ['SEED']} {starts.tell()}")

def lambda_handler(event, context):
    records = event["Records"]
    fate = chance.random()
    stop = chance.randrange(len(records) + 1)
    poison = [index for index, record in enumerate(records) if "poison" in record["dynamodb"]["NewImage"]]
    with open(os.environ["HANDLED"], "a") as handled:
        for index, record in enumerate(records):
            if poison and index == poison[0]:
                raise ValueError("poison")
            if index == stop and fate < 0.05:
                raise RuntimeError("at random")
            if index == stop and fate < 0.08:
                os._exit(3)
            if index == stop and fate < 0.085:
                time.sleep(60)
            if index == stop and fate < 0.15:
                return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
            image = record["dynamodb"]["NewImage"]
            handled.write(json.dumps([image["name"]["S"], int(image["number"]["N"])]) + "\\n")
            handled.flush()
    return {"batchItemFailures": []}
"""


@dataclass
class Progress:
    """The records so far: handled, by key in the order of the first handling; given up, to the destination."""

    handled: dict[str, list[int]] = field(default_factory=dict)
    handlings: int = 0
    given_up: set[Record] = field(default_factory=set)

    @property
    def records(self) -> set[Record]:
        return {(key, number) for key, numbers in self.handled.items() for number in numbers} | self.given_up


def test_no_record_is_lost_or_invented_or_out_of_order(
    project: ForkedProject, tmp_path: Path, count: Callable[[int, int], int], record_figures: Callable[[str], None]
) -> None:
    handled_file = tmp_path / "handled.jsonl"
    settings: dict[str, Any] = {
        "FUNCTION_ENVIRONMENT": json.dumps({"HANDLED": str(handled_file), "SEED": "1"}),
        "FUNCTION_RESPONSE_TYPES": "ReportBatchItemFailures",
        "FUNCTION_TIMEOUT": "2",
        "MAXIMUM_RETRY_ATTEMPTS": "8",
        "PARALLELIZATION_FACTOR": "4",
        "ON_FAILURE": "arn:aws:sqs:us-east-1:000000000000:given-up",
    }
    (project.folder / "lambda_src" / "example.py").write_text(HANDLER)
    queue = project.client("sqs").create_queue(QueueName="given-up")["QueueUrl"]
    project.invoke("deploy", **settings).expect(0)

    written = {(f"key {number % KEYS}", number): number % 200 == 199 for number in range(count(300, 10_000))}
    put(project, written)
    progress, kills = follow(project, handled_file, queue, len(written))
    check(progress, written)

    project.invoke("clean", "--delete-data", **settings).expect(0)
    handled = sum(map(len, progress.handled.values()))
    record_figures(
        f"{len(written)} records, {handled} handled, {len(progress.given_up)} delivered to the on-failure destination, "
        f"none lost, none invented, in order per key;\n{progress.handlings} handlings, function killed {kills} times"
    )


def follow(project: ForkedProject, handled_file: Path, queue: str, count: int) -> tuple[Progress, int]:
    """Follow the records to their end, or until nothing happens, and kill the function at times; return the kills."""
    progress, kills, chance = Progress(), 0, random.Random(1)  # noqa: S311 - no secret
    last_progress, next_kill = time.monotonic(), time.monotonic() + KILL_SECONDS
    while len(progress.records) < count and time.monotonic() < last_progress + STALLED_SECONDS:
        before = len(progress.records)
        progress = read(handled_file, progress.given_up | set(receive(project, queue)))
        if len(progress.records) > before:
            last_progress = time.monotonic()
        if time.monotonic() > next_kill:
            kills += kill_function(project, chance)
            next_kill = time.monotonic() + KILL_SECONDS
        time.sleep(0.2)
    return progress, kills


def read(path: Path, given_up: set[Record]) -> Progress:
    """Read the file that the function writes, up to its last complete line."""
    progress = Progress(given_up=given_up)
    seen: set[Record] = set()
    for line in path.read_text().splitlines(keepends=True) if path.exists() else []:
        if not line.endswith("\n"):
            break
        key, number = json.loads(line)
        progress.handlings += 1
        if (key, number) not in seen:
            seen.add((key, number))
            progress.handled.setdefault(key, []).append(number)
    return progress


def receive(project: ForkedProject, queue: str) -> Iterator[Record]:
    """Receive the batches that were sent to the on-failure destination, and read their records from the stream."""
    sqs, streams = project.client("sqs"), project.client("dynamodbstreams")
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            yield from records_of(streams, json.loads(message["Body"])["DDBStreamBatchInfo"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def records_of(streams: Any, batch: dict[str, Any]) -> Iterator[Record]:
    iterator = streams.get_shard_iterator(
        StreamArn=batch["streamArn"],
        ShardId=batch["shardId"],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=batch["startSequenceNumber"],
    )["ShardIterator"]
    for record in streams.get_records(ShardIterator=iterator, Limit=batch["batchSize"] * 100)["Records"]:
        image = record["dynamodb"]["NewImage"]
        yield image["name"]["S"], int(image["number"]["N"])
        if record["dynamodb"]["SequenceNumber"] == batch["endSequenceNumber"]:
            return


def kill_function(project: ForkedProject, chance: random.Random) -> int:
    """Kill one of the function's processes; return how many were killed."""
    server = json.loads((project.folder / ".local" / "server.json").read_text())["pid"]
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    processes = [int(pid) for pid, parent in (line.split() for line in listed.splitlines()) if int(parent) == server]
    if not processes:
        return 0
    try:
        os.kill(chance.choice(processes), signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def check(progress: Progress, written: dict[Record, bool]) -> None:
    """Assert that no record was lost, invented or handled out of order, and that all poison was given up."""
    lost, invented = written.keys() - progress.records, progress.records - written.keys()
    assert not lost, f"lost: {sorted(lost)[:10]}"
    assert not invented, f"invented: {sorted(invented)[:10]}"
    assert progress.given_up
    assert progress.given_up >= {record for record, poison in written.items() if poison}, "poison was not given up"
    assert progress.handlings >= len(written) - len(progress.given_up)
    for key, numbers in progress.handled.items():
        assert numbers == sorted(numbers), f"out of order: {key}: {numbers}"
