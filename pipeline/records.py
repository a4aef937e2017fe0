"""`records`: read the records of all shards of a stream, in the form in which Lambda passes them to a function."""

import base64
import heapq
import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from graphlib import TopologicalSorter
from itertools import takewhile
from typing import Any

import filter_patterns

from . import items
from .deployment import Deployment
from .events import Events, Progress, Result, Started
from .resources.change import UserError
from .steps import existing, stream_of

Record = dict[str, Any]

RETENTION = timedelta(hours=24)
# AWS may return empty pages before the next record, and does not report the current end of an open shard. Stop after:
_EMPTY_PAGES = 25
_LIST_SHARDS_SECONDS = 5.0


def records(d: Deployment, **selection: Any) -> Events[None]:
    """Show the records of the table's stream that `select` selects. Makes reading calls only."""
    yield Started("records")
    stream_arn, count = stream_of(d, existing(d, "table")), 0
    for record in select(d, stream_arn, **selection):
        text = f"{_created(record):%Y-%m-%dT%H:%M:%SZ}  {record['eventName']:<6}  {name_of(record)}"
        yield Result(text, {"records": [{name: record[name] for name in record if name != "eventSourceARN"}]})
        count += 1
    began = datetime.fromisoformat(stream_arn.rpartition("/")[2]).replace(tzinfo=timezone.utc)
    horizon = max(began, datetime.now(timezone.utc) - RETENTION)
    why = "when it was created" if horizon == began else "because AWS trims older ones"
    yield Result("", {"records": []})
    yield Progress("records", f"{count} selected; the stream has records since {horizon:%Y-%m-%dT%H:%M:%SZ}, {why}")


def select(
    d: Deployment, stream_arn: str, *, since: int = 0, until: int = 0, key: str = "", pattern: str = "", last: int = 0
) -> Iterator[Record]:
    """Select records of the table's stream. 0 and "" select all. Raises UserError for a wrong key or pattern.

    Excludes records that are written from now on. Otherwise, a function that writes its own table could keep it
    running. `since` and `until` are in milliseconds since 1970. `key` is the value of the partition key, or the key
    attributes as JSON. `pattern` is a filter pattern. `last` is how many of the newest records.
    """
    streams = d.client("dynamodbstreams")
    keys = _parse_key(key, existing(d, "table")) if key else {}
    matches = any_pattern("--filter", [pattern] if pattern else [])
    now = aws_time_ms(streams.describe_stream(StreamArn=stream_arn, Limit=1))
    earliest, latest, end = (datetime.fromtimestamp(ms // 1000, timezone.utc) for ms in (since, until or now, now))
    selected = (
        record
        for shard, closed in _shards(streams, stream_arn).items()
        for record in takewhile(lambda each: _created(each) <= end, read(streams, stream_arn, shard, closed=closed))
        if earliest <= _created(record) <= latest
        if keys.items() <= record["dynamodb"]["Keys"].items() and matches(record)
    )
    if not last:
        return selected
    # Several shards can be open at a time, so the newest records are not always the last ones.
    newest = heapq.nlargest(last, enumerate(selected), key=lambda each: (_created(each[1]), each[0]))
    return (record for _, record in sorted(newest, key=lambda each: each[0]))


def _created(record: Record) -> datetime:
    return datetime.fromtimestamp(record["dynamodb"]["ApproximateCreationDateTime"], timezone.utc)


def aws_time_ms(response: Mapping[str, Any]) -> int:
    """The time of AWS's response, in whole seconds. The local clock may be off by minutes."""
    return int(parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp() * 1000)


def time_text(seconds: float) -> str:
    """A time in seconds since 1970, for a person."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def number_of(record: Record) -> str:
    """The sequence number of a record."""
    return str(record["dynamodb"]["SequenceNumber"])


def name_of(record: Record) -> str:
    """The sequence number and the key of a record."""
    return f"{number_of(record)}  {json.dumps(record['dynamodb']['Keys'], ensure_ascii=False)}"


def any_pattern(where: str, patterns: list[str]) -> filter_patterns.Predicate:
    """A predicate: whether one of the filter patterns matches a record, or there are none. Raises UserError."""
    try:
        return filter_patterns.any_of(patterns)
    except ValueError:
        allowed = 'filter patterns as in FILTER_CRITERIA, such as {"eventName": ["INSERT"]}'
        raise UserError(f"{where}: {', '.join(patterns)!r} is not allowed; allowed: {allowed}") from None


def _parse_key(text: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The key attributes in a text, as a record has them."""
    types = items.key_types(table)
    name, kind = next(iter(types.items()))
    key = dict(to_json(items.parse(text if text.startswith("{") else json.dumps({name: {kind: text}}), "--key")))
    if any(list(value) != [types.get(name)] for name, value in key.items()):
        allowed = ", ".join(f"{name} of type {kind}" for name, kind in types.items())
        raise UserError(f"--key: {text!r} is not a key of table {table['TableName']}; allowed: {allowed}")
    return key


def _shards(streams: Any, stream_arn: str) -> dict[str, bool]:
    """The IDs of all shards, parents before their children, and whether each is closed.

    DynamoDB API reference: DescribeStream.
    """
    parents: dict[str, list[str]] = {}
    closed: dict[str, bool] = {}
    request = {"StreamArn": stream_arn}
    while True:
        page = streams.describe_stream(**request)["StreamDescription"]
        parents |= {shard["ShardId"]: [shard.get("ParentShardId", "")] for shard in page["Shards"]}
        closed |= {shard["ShardId"]: "EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in page["Shards"]}
        if not page.get("LastEvaluatedShardId"):
            return {shard: closed[shard] for shard in TopologicalSorter(parents).static_order() if shard in closed}
        request["ExclusiveStartShardId"] = page["LastEvaluatedShardId"]


def read(streams: Any, stream_arn: str, shard: str, start: str = "", end: str = "", limit: int = 1000,
         *, closed: bool = False) -> Iterator[Record]:  # fmt: skip
    """Yield the records of a shard from one sequence number to another, in pages of up to `limit` records.

    If `start` is trimmed, or "", begins with the oldest record. Reads a `closed` shard to its end, and others until
    pages are empty. DynamoDB API reference: GetShardIterator, GetRecords.
    """
    position = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": start}
    oldest = {"ShardIteratorType": "TRIM_HORIZON"}
    place = {"StreamArn": stream_arn, "ShardId": shard, **(position if start else oldest)}
    iterator, empty_pages = "", 0
    while closed or empty_pages < _EMPTY_PAGES:
        try:
            iterator = iterator or streams.get_shard_iterator(**place)["ShardIterator"]
            page = streams.get_records(ShardIterator=iterator, Limit=limit)
        except streams.exceptions.ExpiredIteratorException:  # after 15 minutes
            iterator = ""
            continue
        except streams.exceptions.TrimmedDataAccessException:
            iterator, place = "", {"StreamArn": stream_arn, "ShardId": shard, **oldest}
            continue
        except streams.exceptions.ResourceNotFoundException:  # the whole shard is trimmed
            return
        for record in page["Records"]:
            number = record["dynamodb"]["SequenceNumber"]
            if end and int(number) > int(end):
                return
            place |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number}
            yield _as_event(record, stream_arn)
            if number == end:
                return
        iterator = page.get("NextShardIterator")
        if not iterator:  # the shard is closed
            return
        empty_pages = 0 if page["Records"] else empty_pages + 1


def follow(streams: Any, stream_arn: str) -> Iterator[list[Record]]:
    """Yield the new records since the previous call, as GetRecords returns them; [] if there are none.

    Starts with the open shards at the first call of `next`, and continues with the shards that follow them.
    """
    iterators: dict[str, str] = {}  # by shard; "" at the end of a closed one
    listed = 0.0
    while True:
        if time.monotonic() - listed > _LIST_SHARDS_SECONDS:
            kind = "TRIM_HORIZON" if listed else "LATEST"  # the records of a later shard are all new
            for shard in [each for each in _shards(streams, stream_arn) if each not in iterators]:
                iterator = streams.get_shard_iterator(StreamArn=stream_arn, ShardId=shard, ShardIteratorType=kind)
                iterators[shard] = iterator["ShardIterator"]
            listed = time.monotonic()
        new: list[Record] = []
        for shard, iterator in iterators.items():
            if iterator:
                page = streams.get_records(ShardIterator=iterator)
                new += page["Records"]
                iterators[shard] = page.get("NextShardIterator", "")
        yield new


def _as_event(record: Record, stream_arn: str) -> Record:
    """Convert a record of GetRecords to Lambda's form, which adds the source and renames the user's fields."""
    event: Record = to_json(record)
    if user := event.get("userIdentity"):
        event["userIdentity"] = {"type": user["Type"], "principalId": user["PrincipalId"]}
    return {**event, "eventSourceARN": stream_arn}


def to_json(value: Any) -> Any:
    """A value of boto3 as JSON has it: bytes in base64, times in seconds since 1970."""

    def plain(each: Any) -> str | int:
        return base64.b64encode(each).decode() if isinstance(each, bytes) else int(each.timestamp())

    return json.loads(json.dumps(value, default=plain))
