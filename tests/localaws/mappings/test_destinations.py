"""The destinations of discarded batches.

Lambda developer guide, "Retain discarded records for a DynamoDB event source in Lambda".
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.pipe import ACTIONS, Pipe, build, policy, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAILS_ON_POISON = 'assert "poison" not in names'


@pytest.fixture
def queue(client: Callable[[str], Any]) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
    """The ARN of a new queue, and a function that receives its new messages."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    arn: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def received() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]

    return arn, received


def discard(pipe: Pipe, destination: str, **options: Any) -> dict[str, Any]:
    """Map with a destination, write a record that fails and one that succeeds, and wait for the second one."""
    pipe.put("poison")
    mapping = pipe.map(
        **{
            "BatchSize": 1,
            "MaximumRetryAttempts": 0,
            "DestinationConfig": {"OnFailure": {"Destination": destination}},
        }
        | options
    )
    pipe.put("good")
    pipe.wait_for("good")
    return mapping


def test_queue_gets_a_document_in_the_format_of_aws(client: Callable[[str], Any], tmp_path: Path, queue: Any) -> None:
    """Recorded on AWS: the members and their order."""
    arn, received = queue
    discard(build(client, tmp_path, FAILS_ON_POISON), arn)
    (document,) = until(received)
    assert {name: list(part) if isinstance(part, dict) else "" for name, part in document.items()} == {
        "requestContext": ["requestId", "functionArn", "condition", "approximateInvokeCount"],
        "responseContext": ["statusCode", "executedVersion", "functionError"],
        "version": "",
        "timestamp": "",
        "DDBStreamBatchInfo": [
            "shardId",
            "startSequenceNumber",
            "endSequenceNumber",
            "approximateArrivalOfFirstRecord",
            "approximateArrivalOfLastRecord",
            "batchSize",
            "streamArn",
        ],
    }


def test_one_retry_is_two_invocations(client: Callable[[str], Any], tmp_path: Path, queue: Any) -> None:
    """Recorded on AWS: with MaximumRetryAttempts 1, approximateInvokeCount is 2."""
    arn, received = queue
    discard(build(client, tmp_path, FAILS_ON_POISON), arn, MaximumRetryAttempts=1)
    (document,) = until(received)
    context = document["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("RetryAttemptsExhausted", 2)


def test_exception_is_an_unhandled_function_error(client: Callable[[str], Any], tmp_path: Path, queue: Any) -> None:
    arn, received = queue
    discard(build(client, tmp_path, FAILS_ON_POISON), arn)
    (document,) = until(received)
    expected = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert document["responseContext"] == expected


def test_partial_failure_is_not_a_function_error(client: Callable[[str], Any], tmp_path: Path, queue: Any) -> None:
    arn, received = queue
    behavior = """
        failed = [record for record, name in zip(records, names) if name == "poison"]
        return {"batchItemFailures": [{"itemIdentifier": each["dynamodb"]["SequenceNumber"]} for each in failed]}
        """
    discard(build(client, tmp_path, behavior), arn, FunctionResponseTypes=["ReportBatchItemFailures"])
    (document,) = until(received)
    assert document["responseContext"]["functionError"] is None


def test_document_names_the_discarded_records(client: Callable[[str], Any], tmp_path: Path, queue: Any) -> None:
    arn, received = queue
    one = build(client, tmp_path, FAILS_ON_POISON)
    discard(one, arn)
    (document,) = until(received)
    number = one.events()[0]["Records"][0]["dynamodb"]["SequenceNumber"]
    info = document["DDBStreamBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"], info["batchSize"]) == (number, number, 1)


def test_topic_gets_the_same_document(client: Callable[[str], Any], tmp_path: Path, queue: Any) -> None:
    arn, received = queue
    topic = client("sns").create_topic(Name=f"topic-{uuid.uuid4().hex[:12]}")["TopicArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    discard(build(client, tmp_path, FAILS_ON_POISON), topic)
    (document,) = until(received)
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"


def stored(client: Callable[[str], Any], tmp_path: Path) -> tuple[Pipe, dict[str, Any], str, dict[str, Any]]:
    """Discard a batch to a bucket. Return the pipe, the mapping, the object's key and its document."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    s3 = client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    one = build(client, tmp_path, FAILS_ON_POISON)
    mapping = discard(one, f"arn:aws:s3:::{bucket}")
    (entry,) = until(lambda: s3.list_objects_v2(Bucket=bucket).get("Contents"))
    document = json.loads(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
    return one, mapping, entry["Key"], document


def test_bucket_gets_the_records_too(client: Callable[[str], Any], tmp_path: Path) -> None:
    one, _, _, document = stored(client, tmp_path)
    assert json.loads(document["payload"]) == one.events()[0]


def test_object_key_names_mapping_and_shard(client: Callable[[str], Any], tmp_path: Path) -> None:
    _, mapping, key, document = stored(client, tmp_path)
    shard = document["DDBStreamBatchInfo"]["shardId"]
    assert key.startswith(f"aws/lambda/{mapping['UUID']}/{shard}/")


def test_role_without_send_message_sends_nothing(client: Callable[[str], Any], tmp_path: Path, queue: Any) -> None:
    arn, received = queue
    one = build(client, tmp_path, FAILS_ON_POISON)
    one.map(BatchSize=1, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": arn}})
    others = {"Effect": "Allow", "Action": [action for action in ACTIONS if action != "sqs:*"], "Resource": "*"}
    client("iam").put_role_policy(RoleName=one.role, PolicyName="allowed", PolicyDocument=policy(others))
    one.put("poison", "good")
    one.wait_for("good")
    assert received() == []


@pytest.mark.parametrize(
    ("arn", "call"), [("sqs:us-east-1", "SendMessage on SQS"), ("sns:us-east-1", "Publish on SNS")]
)
def test_role_that_may_not_use_the_destination_is_refused(
    client: Callable[[str], Any], tmp_path: Path, arn: str, call: str
) -> None:
    one = build(client, tmp_path, FAILS_ON_POISON, actions=["dynamodb:*", "logs:*"])
    destination = {"OnFailure": {"Destination": f"arn:aws:{arn}:000000000000:notes"}}
    refused = f"The provided execution role does not have permissions to call {call}"
    with pytest.raises(ClientError, match=refused):
        one.map(DestinationConfig=destination)
    mapping = one.map()
    with pytest.raises(ClientError, match=refused):
        client("lambda").update_event_source_mapping(UUID=mapping["UUID"], DestinationConfig=destination)
