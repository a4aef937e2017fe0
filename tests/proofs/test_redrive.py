"""Records of which half fail until the function is healed, and a redrive that is killed at random.

Afterwards, each record was handled at least once, none was invented, those of one key came in order, and no note is
left. `invoke dev.soak --only redrive` sends 10,000 records.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.project import bare_environment
from tests.harness.records import Record, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof

KEYS = 40
STALLED_SECONDS = 60
# Writes each record that it handles to a file. Fails at poison until a file says that it is healed.
HANDLER = """
import json, os

def lambda_handler(event, context):
    healed = os.path.exists(os.environ["HANDLED"] + ".healed")
    with open(os.environ["HANDLED"], "a") as handled:
        for record in event["Records"]:
            image = record["dynamodb"]["NewImage"]
            if "poison" in image and not healed:
                raise ValueError("poison")
            handled.write(json.dumps([image["name"]["S"], int(image["number"]["N"])]) + "\\n")
            handled.flush()
"""


def test_a_redrive_that_is_killed_at_random_loses_and_invents_no_record(
    project: ForkedProject, tmp_path: Path, count: Callable[[int, int], int], record_figures: Callable[[str], None]
) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    handled_file = tmp_path / "handled.jsonl"
    settings: dict[str, Any] = {
        "FUNCTION_ENVIRONMENT": json.dumps({"HANDLED": str(handled_file)}),
        "FUNCTION_TIMEOUT": "1",
        "MAXIMUM_RETRY_ATTEMPTS": "0",
        "ON_FAILURE": "arn:aws:sqs:us-east-1:000000000000:given-up",
    }
    (project.folder / "lambda_src" / "example.py").write_text(HANDLER)
    queue = project.client("sqs").create_queue(QueueName="given-up")["QueueUrl"]
    project.invoke("deploy", **settings).expect(0)

    written = {(f"key {number % KEYS}", number): chance.random() < 0.5 for number in range(count(200, 10_000))}
    poison = {record for record, is_poison in written.items() if is_poison}
    put(project, written)
    last = ("last", len(written))
    put(project, {last: False})  # a stream has an order: with this record, all others are done
    follow(handled_file, last)
    notes = messages(project, queue)
    assert set(read(handled_file)) == written.keys() - poison | {last}

    handled_file.unlink()
    handled_file.with_name(handled_file.name + ".healed").touch()
    kills = kill_redrives(
        project, settings, handled_file, chance, count=max(1, len(written) // 2000), most=len(poison) // 5
    )
    began = time.monotonic()
    project.invoke("redrive", **settings).expect(0)
    seconds = time.monotonic() - began
    handlings = read(handled_file)
    check(handlings, poison)
    assert messages(project, queue) == 0

    project.invoke("clean", "--delete-data", **settings).expect(0)
    record_figures(
        f"{len(written)} records, half of them poison, in {notes} notes; redrive killed {kills} times, "
        f"the last one took {seconds:.0f} s;\n{len(handlings)} handlings: "
        "each record handled, none invented, in order per key, no note left"
    )


def read(path: Path) -> list[Record]:
    """The records that the function handled, in order, up to its last complete line."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [(key, number) for key, number in (json.loads(line) for line in lines if line.endswith("\n"))]


def follow(path: Path, last: Record) -> None:
    """Wait until the function has handled a record, as long as it handles others."""
    size, deadline = 0, time.monotonic() + STALLED_SECONDS
    while last not in (handled := read(path)):
        if len(handled) > size:
            size, deadline = len(handled), time.monotonic() + STALLED_SECONDS
        assert time.monotonic() < deadline, f"{size} records handled, then none for {STALLED_SECONDS} s"
        time.sleep(0.5)


def messages(project: ForkedProject, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = project.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def kill_redrives(
    project: ForkedProject,
    settings: dict[str, Any],
    handled_file: Path,
    chance: random.Random,
    *,
    count: int,
    most: int,
) -> int:
    """Run redrive so many times, and kill it after a random number of records. Return how often it was killed."""
    killed = 0
    for _ in range(count):
        stop_at = len(read(handled_file)) + chance.randrange(1, most)
        command = subprocess.Popen(
            [sys.executable, "-m", "invoke", "redrive"],
            cwd=project.folder,
            env={**bare_environment(), "LOCAL_PORT": "0", **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while command.poll() is None and len(read(handled_file)) <= stop_at:
            time.sleep(0.01)
        time.sleep(chance.random() / 100)
        command.kill()
        killed += command.wait() == -signal.SIGKILL
    return killed


def check(handlings: list[Record], poison: set[Record]) -> None:
    """Assert that no record was lost, invented or handled out of order."""
    lost, invented = poison - set(handlings), set(handlings) - poison
    assert not lost, f"lost: {sorted(lost)[:10]}"
    assert not invented, f"invented, or not in a note: {sorted(invented)[:10]}"
    for key in {key for key, _ in handlings}:
        numbers = list(dict.fromkeys(number for each, number in handlings if each == key))
        assert numbers == sorted(numbers), f"out of order: {key}: {numbers}"
