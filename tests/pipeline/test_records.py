"""Reading a stream of many shards, as DynamoDB documents it: the local AWS has one shard for each stream."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from pipeline import records

if TYPE_CHECKING:
    from collections.abc import Iterator

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/jobs/stream/2026-01-31T08:00:00.000"


@pytest.fixture
def streams() -> Any:
    return boto3.client("dynamodbstreams", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def aws(streams: Any) -> Iterator[Stubber]:
    """The responses of AWS, in order."""
    with Stubber(streams) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def record(number: int, **fields: Any) -> dict[str, Any]:
    created = datetime(2026, 1, 31, 8, 0, tzinfo=timezone.utc)
    change = {"SequenceNumber": f"{number:021}", "ApproximateCreationDateTime": created, "Keys": {"id": {"B": b"\xff"}}}
    return {"eventID": str(number), "eventName": "INSERT", "dynamodb": change, **fields}


def add_page(aws: Stubber, iterator: str, next_iterator: str, *numbers: int) -> None:
    page: dict[str, Any] = {"Records": [record(number) for number in numbers]}
    if next_iterator:
        page["NextShardIterator"] = next_iterator
    aws.add_response("get_records", page, {"ShardIterator": iterator, "Limit": 1000})


def add_iterator(aws: Stubber, iterator: str, kind: str, number: int = 0) -> None:
    at = {"SequenceNumber": f"{number:021}"} if number else {}
    expected = {"StreamArn": ARN, "ShardId": "shardId-a0000000000000000000", "ShardIteratorType": kind, **at}
    aws.add_response("get_shard_iterator", {"ShardIterator": iterator}, expected)


def read(streams: Any, start: int = 0, *, closed: bool = False) -> list[int]:
    found = records.read(streams, ARN, "shardId-a0000000000000000000", f"{start:021}" if start else "", closed=closed)
    return [int(each["dynamodb"]["SequenceNumber"]) for each in found]


def test_a_closed_shard_is_read_to_its_end_however_many_pages_are_empty(streams: Any, aws: Stubber) -> None:
    add_iterator(aws, "1", "TRIM_HORIZON")
    add_page(aws, "1", "2", 1, 2)
    for _ in range(100):
        add_page(aws, "2", "2")
    add_page(aws, "2", "", 3)
    assert read(streams, closed=True) == [1, 2, 3]


def test_reading_goes_on_after_the_last_record_when_the_iterator_has_expired(streams: Any, aws: Stubber) -> None:
    add_iterator(aws, "1", "TRIM_HORIZON")
    add_page(aws, "1", "2", 1, 2)
    aws.add_client_error("get_records", "ExpiredIteratorException")
    add_iterator(aws, "3", "AFTER_SEQUENCE_NUMBER", 2)
    add_page(aws, "3", "", 3)
    assert read(streams) == [1, 2, 3]


def test_reading_from_a_trimmed_record_begins_with_the_oldest_one(streams: Any, aws: Stubber) -> None:
    aws.add_client_error("get_shard_iterator", "TrimmedDataAccessException")
    add_iterator(aws, "1", "TRIM_HORIZON")
    add_page(aws, "1", "", 7)
    assert read(streams, start=5) == [7]


def test_a_shard_that_is_gone_has_no_records(streams: Any, aws: Stubber) -> None:
    aws.add_client_error("get_shard_iterator", "ResourceNotFoundException")
    assert read(streams) == []


def test_reading_an_open_shard_ends_after_many_empty_pages(streams: Any, aws: Stubber) -> None:
    add_iterator(aws, "1", "TRIM_HORIZON")
    for _ in range(25):
        add_page(aws, "1", "1")
    assert read(streams) == []


def test_shards_of_all_pages_are_read_parents_before_their_children(streams: Any, aws: Stubber) -> None:
    child, parent = "shardId-b0000000000000000000", "shardId-c0000000000000000000"
    trimmed = "shardId-d0000000000000000000"
    begin = {"StartingSequenceNumber": f"{1:021}"}
    shard = {"ShardId": child, "ParentShardId": parent, "SequenceNumberRange": begin}
    page = {"Shards": [shard], "LastEvaluatedShardId": child}
    aws.add_response("describe_stream", {"StreamDescription": page}, {"StreamArn": ARN})
    expected = {"StreamArn": ARN, "ExclusiveStartShardId": child}
    ended = {**begin, "EndingSequenceNumber": f"{9:021}"}
    last = {"Shards": [{"ShardId": parent, "ParentShardId": trimmed, "SequenceNumberRange": ended}]}
    aws.add_response("describe_stream", {"StreamDescription": last}, expected)
    assert list(records._shards(streams, ARN).items()) == [(parent, True), (child, False)]


def test_a_record_has_the_form_in_which_a_function_gets_it(streams: Any, aws: Stubber) -> None:
    add_iterator(aws, "1", "TRIM_HORIZON")
    deleted = record(1, userIdentity={"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"})
    aws.add_response("get_records", {"Records": [deleted]})
    (event,) = records.read(streams, ARN, "shardId-a0000000000000000000")
    assert event["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert (event["eventSourceARN"], event["dynamodb"]["Keys"]) == (ARN, {"id": {"B": "/w=="}})
    assert event["dynamodb"]["ApproximateCreationDateTime"] == 1769846400
