"""redrive: the records of the on-failure notes reach the function again, and only notes that are done are deleted."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.forked import KillPoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.forked import ForkedProject

# Handles a record by writing its item to a file. Fails at those that `failing` names.
HANDLER = """
import json, os
from pathlib import Path

def lambda_handler(event, context):
    failing = Path(os.environ["HANDLED"] + ".failing").read_text().split()
    with open(os.environ["HANDLED"], "a") as handled:
        for record in event["Records"]:
            image = record["dynamodb"].get("NewImage") or record["dynamodb"]["Keys"]
            if image["name"]["S"] in failing or "*" in failing:
                raise ValueError(f"cannot handle {image['name']['S']}")
            number = int(image.get("number", {"N": "0"})["N"])
            handled.write(json.dumps([image["name"]["S"], number, len(event["Records"])]) + "\\n")
"""


@dataclass
class Pipeline:
    """A deployed pipeline whose function fails where the test says, with a destination for what it fails at."""

    project: ForkedProject
    settings: dict[str, Any]
    handled_file: Path

    def fail_at(self, *names: str) -> None:
        self.handled_file.with_name(self.handled_file.name + ".failing").write_text(" ".join(names))

    def put(self, *items: tuple[str, int]) -> None:
        lines = [json.dumps({"name": name, "number": number}) for name, number in items]
        self.project.invoke("put-item", stdin="\n".join(lines), **self.settings).expect(0)

    @property
    def handled(self) -> list[tuple[str, int]]:
        return [(name, number) for name, number, _ in self.lines]

    @property
    def lines(self) -> list[list[Any]]:
        return [json.loads(line) for line in self.handled_file.read_text().splitlines()]

    def forget(self) -> None:
        self.handled_file.write_text("")

    def redrive(self, *words: str, code: int = 0) -> dict[str, Any]:
        ended = self.project.invoke("redrive", *words, "--json", **self.settings).expect(code)
        return dict(json.loads(ended.stdout))


@pytest.fixture(scope="module")
def deployed(project: ForkedProject) -> Pipeline:
    handled = project.folder.parent / "handled.jsonl"
    settings = {
        "FUNCTION_ENVIRONMENT": json.dumps({"HANDLED": str(handled)}),
        "FUNCTION_TIMEOUT": "1",
        "MAXIMUM_RETRY_ATTEMPTS": "0",
        "ON_FAILURE": "arn:aws:sqs:us-east-1:000000000000:notes",
    }
    pipeline = Pipeline(project, settings, handled)
    (project.folder / "lambda_src" / "example.py").write_text(HANDLER)
    pipeline.fail_at()
    pipeline.forget()
    project.client("sqs").create_queue(QueueName="notes")
    project.invoke("deploy", **settings).expect(0)
    return pipeline


@pytest.fixture
def pipeline(deployed: Pipeline) -> Iterator[Pipeline]:
    yield deployed
    deployed.fail_at()
    deployed.forget()
    sqs = deployed.project.client("sqs")
    sqs.delete_queue(QueueUrl=queue(deployed))
    sqs.create_queue(QueueName="notes")


def queue(pipeline: Pipeline) -> str:
    return str(pipeline.project.client("sqs").get_queue_url(QueueName="notes")["QueueUrl"])


def messages(pipeline: Pipeline) -> int:
    names = ["ApproximateNumberOfMessages"]
    sqs = pipeline.project.client("sqs")
    return int(sqs.get_queue_attributes(QueueUrl=queue(pipeline), AttributeNames=names)["Attributes"][names[0]])


def wait_for_notes(pipeline: Pipeline, count: int) -> None:
    deadline = time.monotonic() + 20
    while messages(pipeline) < count:
        assert time.monotonic() < deadline, f"{messages(pipeline)} notes, not {count}"
        time.sleep(0.05)


def test_the_records_of_a_note_are_handled_and_the_note_is_deleted(pipeline: Pipeline) -> None:
    pipeline.fail_at("bad")
    pipeline.put(("good", 1), ("bad", 2), ("good", 3))
    wait_for_notes(pipeline, 1)
    pipeline.fail_at()
    pipeline.forget()
    result = pipeline.redrive()["result"]
    assert pipeline.handled == [("bad", 2)]
    assert (result["handled"], result["notes"]) == (1, {"deleted": 1, "kept": 0, "lost": 0, "other": 0})
    assert messages(pipeline) == 0


def test_a_function_that_fails_again_leaves_the_note_and_exits_1(pipeline: Pipeline) -> None:
    pipeline.fail_at("bad")
    pipeline.put(("bad", 1))
    wait_for_notes(pipeline, 1)
    document = pipeline.redrive(code=1)
    (failed,) = document["result"]["failed"]
    assert (failed["keys"], failed["reason"]) == ({"name": {"S": "bad"}}, "ValueError: cannot handle bad")
    assert "1 notes stay" in document["error"]
    assert messages(pipeline) == 1


def test_other_messages_are_left_alone_and_counted(pipeline: Pipeline) -> None:
    sqs = pipeline.project.client("sqs")
    for body in ("hello", '{"DDBStreamBatchInfo": 1}', "[]"):
        sqs.send_message(QueueUrl=queue(pipeline), MessageBody=body)
    assert pipeline.redrive()["result"]["notes"]["other"] == 3
    assert messages(pipeline) == 3


def test_records_of_a_key_are_not_sent_while_an_earlier_one_fails(pipeline: Pipeline) -> None:
    pipeline.fail_at("*")
    for number in (1, 2):
        pipeline.put(("a", number))
        wait_for_notes(pipeline, number)
    pipeline.put(("b", 3))
    wait_for_notes(pipeline, 3)
    pipeline.fail_at("a")
    reasons = [failed["reason"] for failed in pipeline.redrive(code=1)["result"]["failed"]]
    assert reasons == ["ValueError: cannot handle a", "not sent: an earlier record of its key failed"]
    assert (pipeline.handled, messages(pipeline)) == ([("b", 3)], 2)


def test_a_second_run_goes_on_after_a_killed_one(pipeline: Pipeline) -> None:
    pipeline.fail_at("*")
    for number in (1, 2, 3):
        pipeline.put(("a", number))
        wait_for_notes(pipeline, number)
    pipeline.fail_at()
    overrides = [word for name, value in pipeline.settings.items() for word in ("--set", f"{name}={value}")]
    pipeline.project.kill_at(KillPoint("before", "DeleteMessage", 2), "redrive", *overrides).expect(-9)
    assert pipeline.handled == [("a", 1), ("a", 2)]
    pipeline.redrive()
    assert pipeline.handled == [("a", 1), ("a", 2), ("a", 2), ("a", 3)]
    assert messages(pipeline) == 0
