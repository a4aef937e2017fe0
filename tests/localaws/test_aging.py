"""Old records, on a local AWS where they age 28,800 times as fast: a day in three seconds.

DynamoDB developer guide, "Change data capture for DynamoDB Streams": the retention time is 24 hours. Lambda developer
guide, "Retain discarded records for a DynamoDB event source in Lambda".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import clients, start
from tests.localaws.pipe import Pipe, build, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Clients of that local AWS."""
    process, url = start(tmp_path_factory.mktemp("aged"), "--aging", "28800")
    yield clients(url)
    process.terminate()
    process.wait(timeout=10)


def iterator(pipe: Pipe, kind: str, **options: str) -> str:
    streams, arn = pipe.client("dynamodbstreams"), pipe.stream_arn
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType=kind, **options)
    return str(answer["ShardIterator"])


def records(pipe: Pipe) -> list[dict[str, Any]]:
    start_of_stream = iterator(pipe, "TRIM_HORIZON")
    found: list[dict[str, Any]] = pipe.client("dynamodbstreams").get_records(ShardIterator=start_of_stream)["Records"]
    return found


def discarded(pipe: Pipe, **options: Any) -> dict[str, Any]:
    """Map a function that always fails, and return the document that its queue gets."""
    sqs = pipe.client("sqs")
    url = sqs.create_queue(QueueName=pipe.table)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pipe.put("old")
    pipe.map(DestinationConfig={"OnFailure": {"Destination": arn}}, **options)
    (message,) = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
    document: dict[str, Any] = json.loads(message["Body"])
    return document


def test_record_older_than_a_day_is_trimmed(aged: Callable[[str], Any], tmp_path: Path) -> None:
    pipe = build(aged, tmp_path)
    pipe.put("old")
    assert records(pipe)
    until(lambda: not records(pipe))


def test_iterator_at_a_trimmed_record_is_refused(aged: Callable[[str], Any], tmp_path: Path) -> None:
    pipe = build(aged, tmp_path)
    pipe.put("old")
    number = records(pipe)[0]["dynamodb"]["SequenceNumber"]
    until(lambda: not records(pipe))
    with pytest.raises(ClientError, match="TrimmedDataAccessException"):
        iterator(pipe, "AT_SEQUENCE_NUMBER", SequenceNumber=number)


def test_disabled_stream_is_deleted_after_a_day(aged: Callable[[str], Any], tmp_path: Path) -> None:
    pipe = build(aged, tmp_path)
    arn = pipe.stream_arn
    aged("dynamodb").delete_table(TableName=pipe.table)
    assert aged("dynamodbstreams").describe_stream(StreamArn=arn)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        until(lambda: not aged("dynamodbstreams").describe_stream(StreamArn=arn))


def test_record_over_its_maximum_age_is_discarded(aged: Callable[[str], Any], tmp_path: Path) -> None:
    pipe = build(aged, tmp_path, 'assert "old" not in names')
    document = discarded(pipe, MaximumRecordAgeInSeconds=14_400)
    assert document["requestContext"]["condition"] == "RecordAgeExceeded"


def test_record_without_a_maximum_age_is_discarded_when_it_expires(aged: Callable[[str], Any], tmp_path: Path) -> None:
    pipe = build(aged, tmp_path, 'assert "old" not in names')
    document = discarded(pipe)
    assert document["requestContext"]["condition"] == "RecordAgeExceeded"


def test_next_record_follows_a_discarded_one(aged: Callable[[str], Any], tmp_path: Path) -> None:
    pipe = build(aged, tmp_path, 'assert "old" not in names')
    discarded(pipe, MaximumRecordAgeInSeconds=14_400, BatchSize=1)
    pipe.put("new")
    assert pipe.wait_for("new")[-1] == ["new"]
