"""How a mapping invokes its function. AWS Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB"."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.localaws.conftest import REGION
from tests.localaws.pipe import ACTIONS, TRUST, Pipe, build, name_of, policy, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXPIRED_BY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
EXPIRED = {"userIdentity": {name: [value] for name, value in EXPIRED_BY.items()}}
FAIL_ONCE = """
marker = os.environ["OUTPUT"] + ".failed"
if not os.path.exists(marker):
    open(marker, "w").close()
    raise ValueError("once")
"""


@pytest.fixture
def pipe(client: Callable[[str], Any], tmp_path: Path) -> Callable[..., Pipe]:
    return lambda behavior="return None", **options: build(client, tmp_path, behavior, **options)


def result(pipe: Pipe, mapping: dict[str, Any]) -> str:
    text: str = pipe.mapping(mapping["UUID"])["LastProcessingResult"]
    return text


def test_record_reaches_the_function_in_the_format_of_aws(pipe: Callable[..., Pipe]) -> None:
    """Recorded on AWS: the keys of a record and their order."""
    one = pipe()
    one.map()
    one.put("test3")
    one.wait_for("test3")
    (record,) = one.events()[0]["Records"]
    assert list(record) == [
        "eventID",
        "eventName",
        "eventVersion",
        "eventSource",
        "awsRegion",
        "dynamodb",
        "eventSourceARN",
    ]


def test_record_names_its_stream(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.map()
    one.put("a")
    one.wait_for("a")
    assert one.events()[0]["Records"][0]["eventSourceARN"] == one.stream_arn


def test_creation_time_is_in_whole_seconds_in_the_event(pipe: Callable[..., Pipe]) -> None:
    """Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB", the example event."""
    one = pipe()
    one.map()
    one.put("a")
    one.wait_for("a")
    created = one.events()[0]["Records"][0]["dynamodb"]["ApproximateCreationDateTime"]
    assert (type(created), created <= time.time()) == (int, True)


def test_binary_is_base64_in_the_event(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.map()
    one.put("a", data={"B": b"foobar"})
    one.wait_for("a")
    assert one.events()[0]["Records"][0]["dynamodb"]["NewImage"]["data"] == {"B": "Zm9vYmFy"}


def test_expired_item_names_the_service_in_the_event(pipe: Callable[..., Pipe]) -> None:
    """DynamoDB developer guide, "DynamoDB Streams and Time to Live"."""
    one = pipe()
    one.client("dynamodb").update_time_to_live(
        TableName=one.table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
    )
    one.put("a", until={"N": str(int(time.time()) - 60)})
    one.map(FilterCriteria={"Filters": [{"Pattern": json.dumps(EXPIRED)}]})
    one.wait_for("a")
    assert one.events()[0]["Records"][0]["userIdentity"] == EXPIRED_BY


def test_trim_horizon_starts_with_the_oldest_record(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.put("before")
    one.map(StartingPosition="TRIM_HORIZON")
    assert one.wait_for("before") == [["before"]]


def test_latest_skips_existing_records(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.put("before")
    one.map(StartingPosition="LATEST")
    one.put("after")
    assert one.wait_for("after") == [["after"]]


def test_batch_size_limits_a_batch(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.put(*"abcde")
    one.map(BatchSize=2)
    assert one.wait_for(*"abcde") == [["a", "b"], ["c", "d"], ["e"]]


def test_batching_window_gathers_records(pipe: Callable[..., Pipe]) -> None:
    """Records that arrive one by one within the window form one batch."""
    one = pipe()
    one.map(MaximumBatchingWindowInSeconds=1)
    one.put("a")
    one.put("b")
    assert one.wait_for("a", "b") == [["a", "b"]]


def test_full_batch_does_not_wait_for_its_window(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.map(MaximumBatchingWindowInSeconds=300, BatchSize=2)
    one.put("a", "b")
    assert one.wait_for("a", "b") == [["a", "b"]]


def test_batch_ends_at_six_megabytes(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    names = [str(number) for number in range(20)]
    one.put(*names, data={"S": "x" * 390_000})
    one.map()
    assert [len(batch) for batch in one.wait_for(*names)] == [16, 4]


def test_next_batch_follows_after_success(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.map()
    one.put("a")
    one.wait_for("a")
    one.put("b")
    assert one.wait_for("b") == [["a"], ["b"]]


def test_disabled_mapping_keeps_its_checkpoint(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    mapping = one.map()
    one.put("before")
    one.wait_for("before")
    until(lambda: result(one, mapping) == "OK")
    one.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    one.put("meanwhile")
    one.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    assert one.wait_for("meanwhile") == [["before"], ["meanwhile"]]


def test_deleted_mapping_no_longer_invokes_the_function(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    mapping = one.map()
    one.client("lambda").delete_event_source_mapping(UUID=mapping["UUID"])
    one.put("a")
    other = one.map()
    assert (one.wait_for("a"), other["UUID"] != mapping["UUID"]) == ([["a"]], True)


def test_two_mappings_of_one_stream_both_get_each_record(pipe: Callable[..., Pipe]) -> None:
    one, other = pipe(), pipe()
    one.map()
    one.map(FunctionName=other.function)
    one.put("a")
    assert (one.wait_for("a"), other.wait_for("a")) == ([["a"]], [["a"]])


def test_result_of_a_success_is_ok(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    mapping = one.map()
    one.put("a")
    assert until(lambda: result(one, mapping) == "OK")


def test_failed_batch_is_retried(pipe: Callable[..., Pipe]) -> None:
    one = pipe(FAIL_ONCE)
    mapping = one.map()
    one.put("a")
    until(lambda: result(one, mapping) == "OK")
    assert one.batches() == [["a"], ["a"]]


def test_result_of_a_failure_is_a_problem(pipe: Callable[..., Pipe]) -> None:
    one = pipe("raise ValueError")
    mapping = one.map()
    one.put("a")
    assert until(lambda: result(one, mapping) == "PROBLEM: Function call failed")


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_batch_is_discarded_after_its_retries(pipe: Callable[..., Pipe], retries: int) -> None:
    one = pipe('assert names != ["poison"]')
    one.put("poison", "good")
    one.map(BatchSize=1, MaximumRetryAttempts=retries)
    assert one.wait_for("good") == [["poison"]] * (1 + retries) + [["good"]]


def test_throttles_use_up_no_retries(pipe: Callable[..., Pipe]) -> None:
    """Developer guide: throttled batches are retried until the records expire."""
    one = pipe()
    one.client("lambda").put_function_concurrency(FunctionName=one.function, ReservedConcurrentExecutions=0)
    other = pipe()
    one.put("a")
    one.map(MaximumRetryAttempts=0)
    one.map(FunctionName=other.function)
    other.wait_for("a")
    one.client("lambda").delete_function_concurrency(FunctionName=one.function)
    assert one.wait_for("a") == [["a"]]


def test_reserved_concurrency_of_one_runs_the_workers_in_turn(pipe: Callable[..., Pipe]) -> None:
    one = pipe("time.sleep(0.01)")
    one.client("lambda").put_function_concurrency(FunctionName=one.function, ReservedConcurrentExecutions=1)
    one.map(ParallelizationFactor=4, BatchSize=1)
    one.put(*"abcdefgh")
    assert sorted(name for batch in one.wait_for(*"abcdefgh") for name in batch) == list("abcdefgh")


def test_removed_permission_is_a_problem(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    mapping = one.map()
    allow(one, "dynamodb:DescribeStream")
    one.put("a")
    assert until(lambda: result(one, mapping).startswith("PROBLEM: Cannot access stream"))


def test_role_that_lambda_may_no_longer_assume_is_a_problem(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    mapping = one.map()
    trust = policy({**TRUST, "Principal": {"Service": "ec2.amazonaws.com"}})
    one.client("iam").update_assume_role_policy(RoleName=one.role, PolicyDocument=trust)
    one.put("a")
    assert until(lambda: result(one, mapping).startswith("PROBLEM: Lambda failed to assume your function execution"))


def test_restored_permission_lets_records_through(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    mapping = one.map()
    allow(one, "dynamodb:DescribeStream")
    one.put("a")
    until(lambda: result(one, mapping).startswith("PROBLEM"))
    allow(one, *ACTIONS)
    assert one.wait_for("a") == [["a"]]


def allow(pipe: Pipe, *actions: str) -> None:
    """Allow the function's role these actions, and no others."""
    document = policy({"Effect": "Allow", "Action": actions, "Resource": "*"})
    pipe.client("iam").put_role_policy(RoleName=pipe.role, PolicyName="allowed", PolicyDocument=document)


def test_failing_record_blocks_later_records(pipe: Callable[..., Pipe]) -> None:
    """MaximumRetryAttempts -1: until the record expires."""
    one = pipe('assert names != ["poison"]')
    one.put("poison", "good")
    one.map(BatchSize=1)
    until(lambda: len(one.batches()) > 3)
    assert all(batch == ["poison"] for batch in one.batches())


def test_changed_function_is_retried_at_once(pipe: Callable[..., Pipe]) -> None:
    """Six more attempts, each after twice as long as the one before, would take longer than the test waits."""
    one = pipe("raise ValueError")
    one.put("a")
    one.map()
    until(lambda: len(one.batches()) > 4)
    one.client("lambda").update_function_configuration(FunctionName=one.function, Description="changed")
    until(lambda: len(one.batches()) > 10)


def test_disabling_ends_the_retries(pipe: Callable[..., Pipe]) -> None:
    one = pipe("raise ValueError")
    mapping = one.map()
    one.put("a")
    until(lambda: len(one.batches()) > 5)
    one.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    other = pipe()
    one.map(FunctionName=other.function)
    tries = len(one.batches())
    other.wait_for("a")
    assert len(one.batches()) <= tries + 1


def test_bisect_isolates_the_failing_record(pipe: Callable[..., Pipe]) -> None:
    """A split does not use up retries."""
    one = pipe('assert "poison" not in names')
    one.put("a", "b", "poison", "c")
    one.map(BisectBatchOnFunctionError=True, MaximumRetryAttempts=0)
    until(lambda: one.batches()[-1:] == [["c"]])
    assert one.batches() == [["a", "b", "poison", "c"], ["a", "b"], ["poison", "c"], ["poison"], ["c"]]


def test_reported_item_and_all_later_ones_are_retried(pipe: Callable[..., Pipe]) -> None:
    one = pipe(
        """
        if len(records) == 4:
            return {"batchItemFailures": [{"itemIdentifier": records[2]["dynamodb"]["SequenceNumber"]}]}
        """
    )
    one.put(*"abcd")
    mapping = one.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    until(lambda: result(one, mapping) == "OK")
    assert one.batches() == [["a", "b", "c", "d"], ["c", "d"]]


def test_lowest_reported_item_is_the_checkpoint(pipe: Callable[..., Pipe]) -> None:
    one = pipe(
        """
        if len(records) == 4:
            failed = [records[index]["dynamodb"]["SequenceNumber"] for index in (3, 1)]
            return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
        """
    )
    one.put(*"abcd")
    mapping = one.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    until(lambda: result(one, mapping) == "OK")
    assert one.batches() == [["a", "b", "c", "d"], ["b", "c", "d"]]


def test_bisect_splits_at_the_reported_item(pipe: Callable[..., Pipe]) -> None:
    """With both on, "the batch is bisected at the returned sequence number": it uses up no retry."""
    one = pipe(
        """
        if len(records) == 4:
            return {"batchItemFailures": [{"itemIdentifier": records[3]["dynamodb"]["SequenceNumber"]}]}
        """
    )
    one.put(*"abcd")
    mapping = one.map(
        FunctionResponseTypes=["ReportBatchItemFailures"], BisectBatchOnFunctionError=True, MaximumRetryAttempts=0
    )
    until(lambda: result(one, mapping) == "OK")
    assert one.batches() == [["a", "b", "c", "d"], ["d"]]


SUCCESSES = ["None", "{}", '""', '{"batchItemFailures": []}', '{"batchItemFailures": None}']


@pytest.mark.parametrize("answer", SUCCESSES)
def test_response_means_success(pipe: Callable[..., Pipe], answer: str) -> None:
    """Developer guide, "Success and failure conditions"."""
    one = pipe(f"return {answer}")
    one.put(*"ab")
    mapping = one.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    until(lambda: result(one, mapping) != "No records processed")
    assert (result(one, mapping), one.batches()) == ("OK", [["a", "b"]])


FAILURES = [
    '{"batchItemFailures": [{"itemIdentifier": ""}]}',
    '{"batchItemFailures": [{"itemIdentifier": None}]}',
    '{"batchItemFailures": [{"wrong": "1"}]}',
    '{"batchItemFailures": [{"itemIdentifier": "123"}]}',
    '{"batchItemFailures": [1]}',
    '{"batchItemFailures": "none"}',
    '"Successfully processed 2 records."',
    '["a"]',
    "0",
]


@pytest.mark.parametrize("answer", FAILURES)
def test_response_fails_the_whole_batch(pipe: Callable[..., Pipe], answer: str) -> None:
    """Developer guide, "Success and failure conditions"."""
    one = pipe(f"return {answer}")
    one.put(*"ab")
    mapping = one.map(FunctionResponseTypes=["ReportBatchItemFailures"], MaximumRetryAttempts=1)
    until(lambda: len(one.batches()) == 2)
    until(lambda: result(one, mapping) == "PROBLEM: Function call failed")
    assert one.batches() == [["a", "b"], ["a", "b"]]


def test_response_of_another_form_is_no_error_of_the_function(
    client: Callable[[str], Any], pipe: Callable[..., Pipe]
) -> None:
    """The invocation succeeds; only the mapping takes the response for a failure of the batch."""
    one = pipe('return "Successfully processed."')
    one.put("a")
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=one.table)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    mapping = one.map(
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )
    (message,) = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
    document = json.loads(message["Body"])
    assert document["responseContext"]["functionError"] is None
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert result(one, mapping) == "PROBLEM: Function call failed"
    log = client("logs").filter_log_events(logGroupName=f"/aws/lambda/{one.function}", filterPattern="REPORT")
    assert "Status: " not in log["events"][0]["message"]


def test_response_of_another_form_is_a_success_unless_reporting_is_configured(pipe: Callable[..., Pipe]) -> None:
    one = pipe('return "Successfully processed."')
    one.put("a")
    mapping = one.map()
    until(lambda: result(one, mapping) == "OK")
    assert one.batches() == [["a"]]


def test_reported_items_are_ignored_unless_configured(pipe: Callable[..., Pipe]) -> None:
    one = pipe('return {"batchItemFailures": [{"itemIdentifier": ""}]}')
    one.put("a")
    mapping = one.map()
    until(lambda: result(one, mapping) != "No records processed")
    assert result(one, mapping) == "OK"


def test_order_per_key_with_parallelization(pipe: Callable[..., Pipe]) -> None:
    one = pipe("time.sleep(0.002)")
    one.map(ParallelizationFactor=4, BatchSize=3)
    for number in range(5):
        one.put(*"abcdefgh", number={"N": str(number)})
    one.put("last")
    until(lambda: sum(map(len, one.batches())) == 41)
    seen: dict[str, list[str]] = {}
    for event in one.events():
        for record in event["Records"]:
            if name_of(record) != "last":
                seen.setdefault(name_of(record), []).append(record["dynamodb"]["NewImage"]["number"]["N"])
    assert seen == {name: ["0", "1", "2", "3", "4"] for name in "abcdefgh"}


def test_change_of_parallelization_loses_no_record(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    mapping = one.map()
    one.put(*"abc")
    one.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], ParallelizationFactor=3)
    one.put(*"def")
    assert one.wait_for(*"abcdef")


def test_handler_is_invoked_for_its_own_writes(pipe: Callable[..., Pipe]) -> None:
    one = pipe(
        """
        import boto3
        if names == ["a"]:
            boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"], Item={"name": {"S": "from a"}})
        """
    )
    one.client("lambda").update_function_configuration(
        FunctionName=one.function, Environment={"Variables": {"OUTPUT": str(one.output), "TABLE": one.table}}
    )
    one.map()
    one.put("a")
    assert one.wait_for("from a") == [["a"], ["from a"]]


def test_stream_of_a_deleted_table_is_read_to_its_end(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    arn = one.stream_arn
    one.put("a")
    one.client("dynamodb").delete_table(TableName=one.table)
    one.map(EventSourceArn=arn)
    assert one.wait_for("a") == [["a"]]


def test_deleted_function_is_a_problem(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    mapping = one.map()
    one.client("lambda").delete_function(FunctionName=one.function)
    one.put("a")
    assert until(lambda: result(one, mapping).startswith("PROBLEM: Function not found"))


def test_unexpected_error_is_a_problem_and_is_retried(
    pipe: Callable[..., Pipe], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A folder in place of the file that names the content of the code: the process cannot start."""
    one = pipe()
    endpoint = one.client("lambda").meta.endpoint_url
    records = tmp_path_factory.getbasetemp().glob("*/server.json")
    (server,) = {path.resolve().parent for path in records if json.loads(path.read_text())["endpoint"] == endpoint}
    (folder,) = server.glob("functions-*")
    broken = folder / "code" / "000000000000" / REGION / one.function / "LATEST" / "code.sha256"
    broken.mkdir(parents=True)
    mapping = one.map()
    one.put("a")
    until(lambda: result(one, mapping) == "PROBLEM: internal error, see the server's log")
    assert one.mapping(mapping["UUID"])["State"] == "Enabled"
    broken.rmdir()
    assert one.wait_for("a") == [["a"]]
    until(lambda: result(one, mapping) == "OK")


def test_broken_layer_is_a_problem(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    client = one.client("lambda")
    layer = client.publish_layer_version(LayerName=one.function, Content={"ZipFile": b"no zip"})["LayerVersionArn"]
    client.update_function_configuration(FunctionName=one.function, Layers=[layer])
    mapping = one.map()
    one.put("a")
    assert until(lambda: result(one, mapping).startswith("PROBLEM: Could not unzip uploaded file."))


def test_function_of_another_language_is_a_problem(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.client("lambda").update_function_configuration(FunctionName=one.function, Runtime="nodejs22.x")
    mapping = one.map()
    one.put("a")
    assert until(lambda: result(one, mapping).startswith("PROBLEM: Runtime nodejs22.x is not supported here"))


def test_tumbling_window_carries_state(pipe: Callable[..., Pipe]) -> None:
    """Developer guide, "Using DynamoDB Streams windows": the state lasts until the final invocation of a window."""
    one = pipe('return {"state": {"seen": event["state"].get("seen", 0) + len(records)}}')
    one.put(*"abc")
    one.map(TumblingWindowInSeconds=1, BatchSize=1)
    until(lambda: any(event["isFinalInvokeForWindow"] for event in one.events()))
    final = next(event for event in one.events() if event["isFinalInvokeForWindow"])
    before = one.events()[: one.events().index(final)]
    assert final["state"] == {"seen": sum(len(event["Records"]) for event in before)}


def test_new_tumbling_window_starts_without_state(pipe: Callable[..., Pipe]) -> None:
    one = pipe('return {"state": {"seen": len(records)}}')
    one.map(TumblingWindowInSeconds=1)
    one.put("a")
    until(lambda: any(event["isFinalInvokeForWindow"] for event in one.events()))
    one.put("b")
    one.wait_for("b")
    event = next(event for event in one.events() if event["Records"] and name_of(event["Records"][0]) == "b")
    assert event["state"] == {}


def test_tumbling_window_continues_without_a_returned_state(pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.put("a", "b")
    one.map(TumblingWindowInSeconds=900, BatchSize=1)
    one.wait_for("b")
    assert [event["state"] for event in one.events()] == [{}, {}]


def test_tumbling_window_keeps_its_state_when_the_mapping_is_updated(pipe: Callable[..., Pipe]) -> None:
    one = pipe('return {"state": {"last": names[-1]}}')
    mapping = one.map(TumblingWindowInSeconds=900)
    one.put("a")
    until(lambda: result(one, mapping) == "OK")
    one.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], BatchSize=1)
    one.put("b")
    one.wait_for("b")
    assert one.events()[-1]["state"] == {"last": "a"}


def test_tumbling_window_of_another_length_is_a_new_window(pipe: Callable[..., Pipe]) -> None:
    one = pipe('return {"state": {"last": names[-1]}}')
    mapping = one.map(TumblingWindowInSeconds=900)
    one.put("a")
    until(lambda: result(one, mapping) == "OK")
    one.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], TumblingWindowInSeconds=800)
    one.put("b")
    one.wait_for("b")
    assert one.events()[-1]["state"] == {}


def test_tumbling_window_event_describes_the_window(pipe: Callable[..., Pipe]) -> None:
    one = pipe('return {"state": {}}')
    one.map(TumblingWindowInSeconds=900)
    one.put("a")
    one.wait_for("a")
    assert list(one.events()[0]) == [
        "Records",
        "window",
        "state",
        "shardId",
        "eventSourceARN",
        "isFinalInvokeForWindow",
        "isWindowTerminatedEarly",
    ]


def test_discarded_batch_does_not_end_its_tumbling_window(pipe: Callable[..., Pipe]) -> None:
    one = pipe('assert names != ["poison"]\nreturn {"state": {"last": names}}')
    one.put("poison", "good")
    one.map(TumblingWindowInSeconds=900, BatchSize=1, MaximumRetryAttempts=0)
    one.wait_for("good")
    assert one.events()[-1]["isFinalInvokeForWindow"] is False
