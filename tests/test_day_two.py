"""Day two: pause, resume, records, replay and redrive, on a pipeline whose function fails where a test says.

A module for all of them, as they share the pipeline.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import signal
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import session
from pipeline.deployment import Deployment
from pipeline.records import records
from pipeline.replay import redrive, replay
from pipeline.report import Report
from pipeline.resources.change import UserError
from pipeline.settings import load
from tests.harness.forked import KillPoint
from tests.harness.project import target_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pipeline.events import Events
    from tests.harness.forked import ForkedProject
    from tests.harness.project import Project

# Handles a record by writing its item to a file. Fails at those that `failing` names; with "report" by its response.
HANDLER = """
import json, os
from pathlib import Path

def lambda_handler(event, context):
    failing = Path(os.environ["HANDLED"] + ".failing").read_text().split()
    with open(os.environ["HANDLED"], "a") as handled:
        for record in event["Records"]:
            image = record["dynamodb"].get("NewImage") or record["dynamodb"]["Keys"]
            if image["name"]["S"] in failing and "report" in failing:
                return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
            if image["name"]["S"] in failing or "*" in failing:
                raise ValueError(f"cannot handle {image['name']['S']}")
            number = int(image.get("number", {"N": "0"})["N"])
            handled.write(json.dumps([image["name"]["S"], number, len(event["Records"])]) + "\\n")
"""


NOT_TWO = json.dumps(
    {"Filters": [{"Pattern": json.dumps({"dynamodb": {"Keys": {"name": {"S": [{"anything-but": "two"}]}}}})}]}
)


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

    def invoke(self, *words: str, code: int = 0, **settings: str) -> dict[str, Any]:
        """Run a task, and return its document."""
        ended = self.project.invoke(*words, "--json", **{**self.settings, **settings}).expect(code)
        return dict(json.loads(ended.stdout))

    def run(
        self,
        step: Callable[..., Events[None]],
        *,
        settings: Mapping[str, str] | None = None,
        hooks: Mapping[str, Callable[..., None]] | None = None,
        **options: Any,
    ) -> Outcome:
        """Run a step in this process, which is faster. `hooks` are those of boto3's clients, by event."""
        loaded = load(None, {}, {**self.settings, **(settings or {})})
        deployment = Deployment(loaded, session.connect(loaded, self.project.endpoint), self.project.folder)
        for event, hook in (hooks or {}).items():
            deployment.client(event.split(".")[1]).meta.events.register(event, hook)
        report, error = Report("day-two", as_json=True), ""
        try:
            report.render(step(deployment, **options))
        except UserError as raised:
            error = str(raised)
        return Outcome(report._results, error)


@dataclass
class Outcome:
    """The result of a step, and its error."""

    result: dict[str, Any]
    error: str


@pytest.fixture(scope="module")
def deployed(project: ForkedProject, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    handled = tmp_path_factory.mktemp("handled") / "handled.jsonl"
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
    wait_until(lambda: messages(pipeline) == count)


def test_the_records_of_a_note_are_handled_and_the_note_is_deleted(pipeline: Pipeline) -> None:
    pipeline.fail_at("a1")
    pipeline.put(("a0", 1), ("a1", 2), ("a2", 3))
    wait_until(lambda: ("a2", 3) in pipeline.handled)
    pipeline.fail_at()
    pipeline.forget()
    result = pipeline.invoke("redrive")["result"]
    assert pipeline.handled == [("a1", 2)]
    assert (result["handled"], result["notes"]) == (1, {"deleted": 1, "kept": 0, "lost": 0, "other": 0})
    assert messages(pipeline) == 0


def test_a_function_that_fails_again_leaves_the_note_and_exits_1(pipeline: Pipeline) -> None:
    pipeline.fail_at("b")
    pipeline.put(("b", 1))
    wait_for_notes(pipeline, 1)
    document = pipeline.invoke("redrive", code=1)
    (failed,) = document["result"]["failed"]
    assert (failed["keys"], failed["reason"]) == ({"name": {"S": "b"}}, "ValueError: cannot handle b")
    assert ":notes: 1; correct" in document["error"]
    assert messages(pipeline) == 1


def test_a_dry_redrive_receives_no_message(pipeline: Pipeline) -> None:
    pipeline.project.client("sqs").send_message(QueueUrl=queue(pipeline), MessageBody="hello")
    ended = pipeline.project.invoke("--dry", "redrive", **pipeline.settings).expect(0)
    assert (ended.writes, messages(pipeline)) == ([], 1)


def test_other_messages_are_left_alone_and_counted(pipeline: Pipeline) -> None:
    sqs = pipeline.project.client("sqs")
    for body in ("hello", '{"DDBStreamBatchInfo": 1}', "[]"):
        sqs.send_message(QueueUrl=queue(pipeline), MessageBody=body)
    assert pipeline.run(redrive).result["notes"]["other"] == 3
    assert messages(pipeline) == 3


def test_records_of_a_key_are_not_sent_while_an_earlier_one_fails(pipeline: Pipeline) -> None:
    pipeline.fail_at("*")
    for count, item in enumerate((("c", 1), ("c", 2), ("d", 3)), 1):
        pipeline.put(item)
        wait_for_notes(pipeline, count)
    pipeline.fail_at("c")
    failed = pipeline.run(redrive).result["failed"]
    assert [each["reason"] for each in failed] == [
        "ValueError: cannot handle c",
        "not sent: an earlier record with the same key failed",
    ]
    assert (pipeline.handled, messages(pipeline)) == ([("d", 3)], 2)


def test_ctrl_c_shows_the_notes_again_and_the_next_redrive_goes_on(pipeline: Pipeline) -> None:
    pipeline.fail_at("*")
    for number in (1, 2, 3):
        pipeline.put(("h", number))
        wait_for_notes(pipeline, number)
    pipeline.fail_at()
    overrides = [word for name, value in pipeline.settings.items() for word in ("--set", f"{name}={value}")]
    point = KillPoint("before", "DeleteMessage", 2)
    pipeline.project.kill_at(point, "redrive", *overrides, by=signal.SIGINT).expect(130)
    assert (pipeline.handled, messages(pipeline)) == ([("h", 1), ("h", 2)], 2)
    assert pipeline.run(redrive).result["notes"]["deleted"] == 2
    assert pipeline.handled == [("h", 1), ("h", 2), ("h", 2), ("h", 3)]


def test_a_note_whose_records_are_trimmed_is_named_with_the_time_and_stays(pipeline: Pipeline) -> None:
    stream_arn = pipeline.project.client("dynamodb").describe_table(TableName="stream-demo")["Table"]["LatestStreamArn"]
    stream = pipeline.project.client("dynamodbstreams").describe_stream(StreamArn=stream_arn)["StreamDescription"]
    number = str(int(stream["Shards"][0]["SequenceNumberRange"]["StartingSequenceNumber"]) - 10)
    batch = {
        "shardId": stream["Shards"][0]["ShardId"],
        "startSequenceNumber": number,
        "endSequenceNumber": number,
        "approximateArrivalOfFirstRecord": "2026-01-30T12:00:00Z",
        "batchSize": 1,
        "streamArn": stream_arn,
    }
    function_arn = "arn:aws:lambda:us-east-1:000000000000:function:stream-demo"
    body = json.dumps({"requestContext": {"functionArn": function_arn}, "DDBStreamBatchInfo": batch})
    sent = pipeline.project.client("sqs").send_message(QueueUrl=queue(pipeline), MessageBody=body)["MessageId"]
    outcome = pipeline.run(redrive)
    (lost,) = outcome.result["lost"]
    assert lost.startswith(f"{sent}: the stream still has 0 of its 1 records (kept for 24 hours); ")
    assert lost.endswith("the first one arrived at 2026-01-30T12:00:00Z")
    assert (messages(pipeline), ":notes: 1; correct" in outcome.error) == (1, True)


def test_skip_superseded_leaves_out_records_whose_item_has_changed_since(pipeline: Pipeline) -> None:
    pipeline.fail_at("*")
    for count, item in enumerate((("e", 1), ("e", 2), ("f", 3)), 1):
        pipeline.put(item)
        wait_for_notes(pipeline, count)
    pipeline.fail_at()
    result = pipeline.run(redrive, skip_superseded=True).result
    assert pipeline.handled == [("e", 2), ("f", 3)]
    assert (result["skipped"], result["notes"]["deleted"]) == (1, 3)


@pytest.mark.proof  # half of the time for which a message is hidden
def test_redrive_hides_its_messages_while_it_reads_the_items(pipeline: Pipeline) -> None:
    pipeline.invoke("map-stream", BISECT_BATCH_ON_FUNCTION_ERROR="false", MAXIMUM_BATCHING_WINDOW_IN_SECONDS="2")
    pipeline.fail_at("*")
    pipeline.put(("i", 1), ("j", 2))
    wait_for_notes(pipeline, 1)
    pipeline.invoke("map-stream")
    pipeline.fail_at()
    calls: list[str] = []

    def slow_at_first(**_: Any) -> None:
        if not calls:
            time.sleep(12)
        calls.append("GetItem")

    hooks = {
        "before-call.dynamodb.GetItem": slow_at_first,
        "before-call.sqs.ChangeMessageVisibilityBatch": lambda **_: calls.append("hide"),
    }
    pipeline.run(redrive, skip_superseded=True, hooks=hooks)
    assert calls[:3] == ["GetItem", "hide", "GetItem"]


def test_notes_in_a_bucket_are_redriven_with_the_records_that_they_hold(pipeline: Pipeline) -> None:
    s3, destination = pipeline.project.client("s3"), "arn:aws:s3:::kept-notes"
    s3.create_bucket(Bucket="kept-notes")
    s3.put_object(Bucket="kept-notes", Key="aws/lambda/other", Body=b"{}")
    pipeline.invoke("put-policy", ON_FAILURE=destination)
    pipeline.invoke("map-stream", ON_FAILURE=destination)
    pipeline.fail_at("g")
    pipeline.put(("g", 1))
    wait_until(lambda: len(s3.list_objects_v2(Bucket="kept-notes")["Contents"]) == 2)
    pipeline.fail_at()
    result = pipeline.run(redrive, settings={"ON_FAILURE": destination}).result
    pipeline.invoke("put-policy")
    pipeline.invoke("map-stream")
    assert (pipeline.handled, result["notes"]["deleted"], result["notes"]["other"]) == ([("g", 1)], 1, 1)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="kept-notes")["Contents"]] == ["aws/lambda/other"]


@pytest.mark.parametrize(
    ("destination", "error"),
    [
        ("", "ON_FAILURE is empty, so there are no notes"),
        ("arn:aws:sns:us-east-1:000000000000:topic", "is an SNS topic, which does not store notes"),
        (
            "arn:aws:sqs:us-east-1:000000000000:gone",
            "ON_FAILURE: queue arn:aws:sqs:us-east-1:000000000000:gone does not",
        ),
        ("arn:aws:s3:::gone-bucket", "ON_FAILURE: bucket arn:aws:s3:::gone-bucket does not exist"),
    ],
)
def test_redrive_needs_a_queue_or_a_bucket_that_exists(deployed: Pipeline, destination: str, error: str) -> None:
    assert error in deployed.run(redrive, settings={"ON_FAILURE": destination}).error


# --- records ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(deployed: Pipeline) -> Pipeline:
    """The pipeline after three records."""
    deployed.put(("one", 1), ("two", 2), ("three", 3))
    wait_until(lambda: ("three", 3) in deployed.handled)
    return deployed


@pytest.mark.parametrize(
    ("selection", "keys"),
    [
        ({"last": 3}, ["one", "two", "three"]),
        ({"last": 1}, ["three"]),
        ({"key": "two"}, ["two"]),
        ({"key": '{"name": "two"}', "since": 1000}, ["two"]),
        (
            {"pattern": '{"dynamodb": {"NewImage": {"number": {"N": ["3"]}, "name": {"S": [{"prefix": "th"}]}}}}'},
            ["three"],
        ),
        ({"until": 1000}, []),
    ],
)
def test_records_shows_the_selected_records(three: Pipeline, selection: dict[str, Any], keys: list[str]) -> None:
    shown = three.run(records, **selection).result["records"]
    assert [record["dynamodb"]["Keys"]["name"]["S"] for record in shown] == keys


def test_records_writes_nothing_and_says_what_is_trimmed(three: Pipeline) -> None:
    ended = three.project.invoke("records", "--last", "1", "--since", "1h", **three.settings).expect(0)
    assert ended.writes == []
    assert ended.stdout.endswith('{"name": {"S": "three"}}\n')
    assert "records: 1 selected; the stream has records since 20" in ended.stderr
    assert ended.stderr.rstrip().endswith(", when it was created")


# --- replay -----------------------------------------------------------------------------------------------------------


def test_replay_sends_the_selected_records_as_the_mapping_does(three: Pipeline) -> None:
    three.invoke("map-stream", BATCH_SIZE="2", FILTER_CRITERIA=NOT_TWO)
    three.forget()
    result = three.invoke("replay", "--last", "3")["result"]
    three.invoke("map-stream")
    assert three.lines == [["one", 1, 2], ["three", 3, 2]]
    assert (result["handled"], result["failed"], result["skipped"]) == (2, [], 1)


def test_replay_bisects_a_batch_that_fails_if_the_mapping_does(three: Pipeline) -> None:
    three.fail_at("two")
    three.forget()
    outcome = three.run(replay, last=3)
    three.fail_at()
    assert three.handled[-2:] == [("one", 1), ("three", 3)]
    assert (outcome.result["handled"], [each["reason"] for each in outcome.result["failed"]]) == (
        2,
        ["ValueError: cannot handle two"],
    )
    assert outcome.error.startswith("failed records: 1;")


def test_replay_goes_on_at_the_record_that_a_partial_batch_response_names(three: Pipeline) -> None:
    three.invoke("map-stream", FUNCTION_RESPONSE_TYPES="ReportBatchItemFailures")
    three.fail_at("report", "two")
    three.forget()
    outcome = three.run(replay, last=3)
    three.fail_at()
    three.invoke("map-stream")
    assert three.handled == [("one", 1), ("three", 3)]
    assert [each["reason"] for each in outcome.result["failed"]] == ["reported in batchItemFailures"]


def test_a_response_that_is_not_json_counts_as_handled(three: Pipeline) -> None:
    def answer_in_words(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Payload"] = io.BytesIO(b"OK")  # as a custom runtime may

    hooks = {"after-call.lambda.Invoke": answer_in_words}
    assert three.run(replay, last=1, hooks=hooks).result["handled"] == 1


def test_on_aws_replay_shows_the_number_of_records_and_asks(three: Pipeline) -> None:
    three.forget()
    ended = three.project.invoke("replay", "--last", "2", **three.settings, **target_aws(three.project.endpoint))
    ended.expect(1)
    assert ended.stdout.startswith("replay would send to arn:aws:lambda:")
    assert ended.stdout.endswith(": 2; excluded by filters: 0\n")
    assert "pass --yes" in ended.stderr
    assert (ended.writes, three.handled) == ([], [])


@pytest.mark.proof  # starts a local AWS of its own
def test_replay_to_local_runs_the_code_in_lambda_src_and_writes_nothing_on_aws(
    three: Pipeline, new_project: Callable[[], Project]
) -> None:
    three.forget()
    before, other = three.project.snapshot(), new_project()
    source = (
        (three.project.folder / "lambda_src" / "example.py")
        .read_text()
        .replace('[image["name"]["S"], number', '["local", 0')
    )
    (other.folder / "lambda_src" / "example.py").write_text(source)
    other.run("replay", "--last", "2", "--to", "local", **three.settings, **target_aws(three.project.endpoint))
    assert three.handled == [("local", 0), ("local", 0)]
    assert three.project.snapshot() == before


# --- pause and resume -------------------------------------------------------------------------------------------------


def test_a_paused_mapping_keeps_its_place_and_says_until_when_it_must_be_resumed(deployed: Pipeline) -> None:
    result = deployed.invoke("pause")["result"]
    deployed.put(("paused", 1))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result["resume_before"])
    assert ("paused", 1) not in deployed.handled
    deployed.invoke("resume")
    wait_until(lambda: ("paused", 1) in deployed.handled)


@pytest.mark.proof  # a deploy
def test_pause_counts_from_the_last_record_that_a_blocked_function_got_hours_ago(deployed: Pipeline) -> None:
    settings = {**deployed.settings, "PIPELINE_NAME": "blocked"}
    deployed.project.invoke("deploy", **settings).expect(0)
    got = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    point: dict[str, Any] = {"MetricName": "IteratorAge", "Timestamp": got, "Value": 60_000, "Unit": "Milliseconds"}
    point["Dimensions"] = [{"Name": "FunctionName", "Value": "blocked"}]
    deployed.project.client("cloudwatch").put_metric_data(Namespace="AWS/Lambda", MetricData=[point])
    paused = deployed.project.invoke("pause", "--json", **settings).expect(0)
    deadline = got + timedelta(hours=24, seconds=-60)
    assert json.loads(paused.stdout)["result"] == {"resume_before": f"{deadline:%Y-%m-%dT%H:%M:%SZ}"}
    deployed.project.invoke("clean", "--delete-data", **settings).expect(0)


def test_pause_again_changes_nothing_and_names_no_time(deployed: Pipeline) -> None:
    deployed.invoke("pause")
    again = deployed.invoke("pause")
    deployed.invoke("resume")
    assert ([step["action"] for step in again["steps"]], again["result"]) == (["unchanged"], {"resume_before": None})


# --- a busy stream ---------------------------------------------------------------------------------------------------


@pytest.mark.proof  # seconds of writing
def test_records_ends_although_others_go_on_writing(three: Pipeline) -> None:
    dynamodb, ended, numbers = three.project.client("dynamodb"), threading.Event(), itertools.count()

    def write() -> None:
        while not ended.is_set() and (number := next(numbers)) < 5000:
            dynamodb.put_item(TableName="stream-demo", Item={"name": {"S": "busy"}, "number": {"N": str(number)}})

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: three.run(records, key="busy", last=1).result["records"] != [])
    three.run(records)
    still_writing = writer.is_alive()
    ended.set()
    writer.join()
    assert still_writing


def test_records_finds_the_longest_key(three: Pipeline) -> None:
    longest = 1024 * "é"
    three.put((longest, 1))
    (record,) = three.run(records, key=longest).result["records"]
    assert record["dynamodb"]["Keys"] == {"name": {"S": longest}}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "not within 20 s"
        time.sleep(0.05)
