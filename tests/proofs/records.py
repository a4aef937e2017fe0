"""Records through a handler that raises, exits, hangs and answers partial failures at random: none lost, none invented.

`python -m soak.records [COUNT]`: so many records, 10,000 by default. The function's process is killed now and then.
Each record is handled at least once, or delivered to the on-failure destination; in order per key.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.forks import Forks, count_argument, forking

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 40
STALLED_SECONDS = 60
KILL_SECONDS = 3.0
# Handles a record by writing it down; before that it may do what functions do at worst, drawn from the seed and how
# manieth start of a process this is.
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
class Told:
    """What became of the records: the numbers by key in the order of their first handling, and those given up."""

    handled: dict[str, list[int]] = field(default_factory=dict)
    times: int = 0
    given_up: set[tuple[str, int]] = field(default_factory=set)

    @property
    def count(self) -> int:
        """How many different records became anything."""
        return len({(key, each) for key, numbers in self.handled.items() for each in numbers} | self.given_up)


def main() -> None:
    """Run the records, and print what became of them."""
    count = count_argument(10_000)
    with tempfile.TemporaryDirectory() as folder, project_of(Path(folder)) as project:
        told, kills = prove(project, count)
    handled = sum(map(len, told.handled.values()))
    print(
        f"{count} records, {handled} handled, {len(told.given_up)} delivered to the on-failure destination, none lost, "
        f"none invented, in order per key; {told.times} handlings, function killed {kills} times"
    )


def project_of(folder: Path, seed: int = 0) -> Any:
    """A project whose function is the handler above."""
    settings = {
        "FUNCTION_ENVIRONMENT": json.dumps({"HANDLED": str(folder / "handled.jsonl"), "SEED": str(seed)}),
        "FUNCTION_TIMEOUT": "2",
        "MAXIMUM_RETRY_ATTEMPTS": "8",
        "PARALLELIZATION_FACTOR": "4",
        "ON_FAILURE": "arn:aws:sqs:us-east-1:000000000000:given-up",
    }
    return forking(folder / "project", **settings)


def prove(project: Forks, count: int) -> tuple[Told, int]:
    """Put `count` records, one in two hundred of them poison, wait until each became something, and check it."""
    folder = project.folder
    handled = folder.parent / "handled.jsonl"
    (folder / "lambda_src" / "example.py").write_text(HANDLER)
    queue = project.client("sqs").create_queue(QueueName="given-up")["QueueUrl"]
    project.invoke("deploy").expect(0)
    written = {(f"key {number % KEYS}", number): number % 200 == 199 for number in range(count)}
    _put(project, written)
    told, kills = _wait(project, handled, queue, len(written))
    _check(told, written)
    project.invoke("clean", "--delete-data").expect(0)
    return told, kills


def _put(project: Forks, written: dict[tuple[str, int], bool]) -> None:
    dynamodb = project.client("dynamodb")
    waiting = [
        {"name": {"S": key}, "number": {"N": str(number)}, **({"poison": {"BOOL": True}} if poison else {})}
        for (key, number), poison in written.items()
    ]
    while waiting:
        batch, waiting = waiting[:25], waiting[25:]
        dynamodb.batch_write_item(RequestItems={"stream-demo": [{"PutRequest": {"Item": item}} for item in batch]})


def _wait(project: Forks, handled: Path, queue: str, count: int) -> tuple[Told, int]:
    """Until as many records became something, or nothing happens any more; kills the function now and then."""
    told, kills, chance = Told(), 0, random.Random(1)  # noqa: S311 - no secret
    last, next_kill = time.monotonic(), time.monotonic() + KILL_SECONDS
    while told.count < count and time.monotonic() < last + STALLED_SECONDS:
        before = told.count
        told = _read(handled, told.given_up | set(_given_up(project, queue)))
        if told.count > before:
            last = time.monotonic()
        if time.monotonic() > next_kill:
            kills += _kill_one(project, chance)
            next_kill = time.monotonic() + KILL_SECONDS
        time.sleep(0.2)
    return told, kills


def _read(path: Path, given_up: set[tuple[str, int]]) -> Told:
    told = Told(given_up=given_up)
    seen: set[tuple[str, int]] = set()
    for line in path.read_text().splitlines(keepends=True) if path.exists() else []:
        if not line.endswith("\n"):
            break
        key, number = json.loads(line)
        told.times += 1
        if (key, number) not in seen:
            seen.add((key, number))
            told.handled.setdefault(key, []).append(number)
    return told


def _given_up(project: Forks, queue: str) -> Iterator[tuple[str, int]]:
    """The records of the batches that the destination was told of, looked up in the stream by their place."""
    sqs, streams = project.client("sqs"), project.client("dynamodbstreams")
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            where = json.loads(message["Body"])["DDBStreamBatchInfo"]
            yield from _records(streams, where)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def _records(streams: Any, where: dict[str, Any]) -> Iterator[tuple[str, int]]:
    iterator = streams.get_shard_iterator(
        StreamArn=where["streamArn"],
        ShardId=where["shardId"],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=where["startSequenceNumber"],
    )["ShardIterator"]
    for record in streams.get_records(ShardIterator=iterator, Limit=where["batchSize"] * 100)["Records"]:
        image = record["dynamodb"]["NewImage"]
        yield image["name"]["S"], int(image["number"]["N"])
        if record["dynamodb"]["SequenceNumber"] == where["endSequenceNumber"]:
            return


def _kill_one(project: Forks, chance: random.Random) -> int:
    """Kill one of the function's processes, if there is one; 1 when there was."""
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


def _check(told: Told, written: dict[tuple[str, int], bool]) -> None:
    became = {(key, number) for key, numbers in told.handled.items() for number in numbers} | told.given_up
    assert not written.keys() - became, f"lost: {sorted(written.keys() - became)[:10]}"
    assert not became - written.keys(), f"invented: {sorted(became - written.keys())[:10]}"
    assert told.given_up >= {each for each, poison in written.items() if poison}, "poison was not given up"
    for key, numbers in told.handled.items():
        assert numbers == sorted(numbers), f"out of order: {key}: {numbers}"


if __name__ == "__main__":
    main()
