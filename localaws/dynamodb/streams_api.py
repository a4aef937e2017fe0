"""The DynamoDB Streams API: ListStreams, DescribeStream, GetShardIterator and GetRecords."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from localaws import service_model
from localaws.dynamodb.items import invalid
from localaws.dynamodb.stream import find_stream, list_streams
from localaws.errors import AwsError
from localaws.signature import signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from werkzeug.wrappers import Request

    from localaws.dynamodb.stream import Stream

_TARGET = "DynamoDBStreams_20120810."
_ITERATOR_SECONDS = 15 * 60
_MAX_BYTES = 1024 * 1024
_MAX_LIMITS = {"ListStreams": 100, "DescribeStream": 100, "GetRecords": 1000}
_MIN_ARN_COLONS = 5
# The parameter that each type of an iterator needs, and the other types do not have.
_POSITIONS = {
    "AT_SEQUENCE_NUMBER": "SequenceNumber", "AFTER_SEQUENCE_NUMBER": "SequenceNumber", "AT_TIMESTAMP": "Timestamp"
}  # fmt: skip


def handle(request: Request) -> Response | None:
    """Handle the four calls of the Amazon DynamoDB Streams API reference."""
    target = request.headers.get("X-Amz-Target", "")
    if not target.startswith(_TARGET):
        return None
    operation = target.removeprefix(_TARGET)
    call = _CALLS.get(operation)
    if not call:
        raise AwsError("UnknownOperationException", f"Amazon DynamoDB Streams has: {', '.join(_CALLS)}")
    scope = signature(request)
    body = json.loads(request.get_data() or b"{}")
    service_model.check_types("dynamodbstreams", operation, body)
    service_model.validate("dynamodbstreams", operation, body)
    _check_limit(body, _MAX_LIMITS.get(operation, 0))
    result = call(body | {"region": scope.region, "account": scope.account})
    text = result if isinstance(result, str) else json.dumps(result)
    request_id = secrets.token_hex(26).upper()
    return Response(text, headers={"x-amzn-RequestId": request_id}, mimetype="application/x-amz-json-1.0")


def _check_limit(body: Mapping[str, Any], maximum: int) -> None:
    """Refuse a Limit over the maximum, which the service model does not have."""
    if body.get("Limit", 0) > maximum:
        message = f"Value '{body['Limit']}' at 'limit' failed to satisfy constraint: Member must have value"
        raise invalid(f"1 validation error detected: {message} less than or equal to {maximum}")


def _list_streams(body: Mapping[str, Any]) -> dict[str, Any]:
    start = body.get("ExclusiveStartStreamArn", "")
    if start:
        _check_arn(start)
    streams = [
        {"StreamArn": stream.arn, "TableName": stream.table_name, "StreamLabel": stream.label}
        for stream in list_streams(body["region"], body["account"])
        if body.get("TableName") in (None, stream.table_name) and stream.arn > start
    ]
    limit = body.get("Limit", 100)
    page = {"Streams": streams[:limit]}
    return page | ({"LastEvaluatedStreamArn": streams[limit - 1]["StreamArn"]} if streams[limit:] else {})


def _describe_stream(body: Mapping[str, Any]) -> dict[str, Any]:
    stream = _stream(body)
    numbers = {"StartingSequenceNumber": stream.sequence_number(1)}
    if stream.closed_at:
        numbers["EndingSequenceNumber"] = stream.sequence_number(max(stream.last_offset, 1))
    # Its one shard has no parent and no children. A start need not be the ID of a shard: those after it follow.
    follows = "ShardFilter" not in body and stream.shard_id > body.get("ExclusiveStartShardId", "")
    return {
        "StreamDescription": {
            "StreamArn": stream.arn,
            "StreamLabel": stream.label,
            "StreamStatus": "DISABLED" if stream.closed_at else "ENABLED",
            "StreamViewType": stream.view_type,
            "CreationRequestDateTime": stream.created,
            "TableName": stream.table_name,
            "KeySchema": stream.key_schema,
            "Shards": [{"ShardId": stream.shard_id, "SequenceNumberRange": numbers}] if follows else [],
        }
    }


def _get_shard_iterator(body: Mapping[str, Any]) -> dict[str, Any]:
    stream = _stream(body)
    kind = body["ShardIteratorType"]
    needed = _POSITIONS.get(kind)
    for position in ("SequenceNumber", "Timestamp"):
        if (position in body) != (position == needed):
            problem = "must be specified" if position == needed else "must not be specified"
            raise invalid(f"{position} {problem} when ShardIteratorType is {kind}")
    if body["ShardId"] != stream.shard_id:
        raise AwsError("ResourceNotFoundException", "Requested resource not found: Shard does not exist")
    after = _start(stream, kind, body)
    _refuse_trimmed(stream, after)
    return {"ShardIterator": _iterator(stream, after)}


def _start(stream: Stream, kind: str, body: Mapping[str, Any]) -> int:
    """The offset after which an iterator starts."""
    if kind == "TRIM_HORIZON":
        return stream.trimmed_offset
    if kind == "LATEST":
        return stream.last_offset
    if kind == "AT_TIMESTAMP":
        if body["Timestamp"] > time.time():
            raise invalid("The Timestamp is in the future")
        return stream.offset_before(body["Timestamp"])
    if not body["SequenceNumber"].isdecimal():
        raise invalid(f"Invalid SequenceNumber: {body['SequenceNumber']}")
    offset = stream.offset(body["SequenceNumber"])
    return offset - 1 if kind == "AT_SEQUENCE_NUMBER" else offset


def _get_records(body: Mapping[str, Any]) -> str:
    """GetRecords: up to Limit (1,000) records and 1 MB; no NextShardIterator at the end of a closed shard."""
    stream, after = _parse_iterator(body["ShardIterator"])
    _refuse_trimmed(stream, after)
    closed = bool(stream.closed_at)
    records, offset = stream.read(after, body.get("Limit", 1000))
    texts: list[str] = []
    size = 0
    for record in records:
        size += len(record.text)
        if texts and size > _MAX_BYTES:
            offset = record.offset - 1
            break
        texts.append(record.text)
    next_iterator = "" if closed and offset >= stream.last_offset else _iterator(stream, offset)
    # The records are JSON texts. Parsing them would take most of the time of a reader of a million records.
    members = f'"Records": [{", ".join(texts)}]'
    return f'{{{members}, "NextShardIterator": "{next_iterator}"}}' if next_iterator else f"{{{members}}}"


_CALLS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any] | str]] = {
    "ListStreams": _list_streams,
    "DescribeStream": _describe_stream,
    "GetShardIterator": _get_shard_iterator,
    "GetRecords": _get_records,
}


def _stream(body: Mapping[str, Any]) -> Stream:
    arn: str = body["StreamArn"]
    _check_arn(arn)
    stream = find_stream(arn)
    if not stream:
        raise AwsError("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")
    return stream


def _check_arn(arn: str) -> None:
    if not arn.startswith("arn:") or "/stream/" not in arn or arn.count(":") < _MIN_ARN_COLONS:
        raise invalid(f"Invalid StreamArn: {arn} is not the ARN of a DynamoDB stream")


def _refuse_trimmed(stream: Stream, after: int) -> None:
    if after < stream.trimmed_offset:
        message = "The requested sequence number is older than the oldest record of the shard (24 hours are kept)"
        raise AwsError("TrimmedDataAccessException", message)


def _iterator(stream: Stream, after: int) -> str:
    position = base64.b64encode(f"{after} {int(time.time())}".encode()).decode()
    return f"{stream.arn}|1|{position}"


def _parse_iterator(iterator: str) -> tuple[Stream, int]:
    try:
        arn, _, position = iterator.split("|")
        after, issued = map(int, base64.b64decode(position, validate=True).split())
    except (ValueError, binascii.Error):
        raise invalid("Invalid ShardIterator: use one that GetShardIterator returned") from None
    if time.time() - issued > _ITERATOR_SECONDS:
        raise AwsError("ExpiredIteratorException", "Iterator expired: it is valid for 15 minutes")
    return _stream({"StreamArn": arn}), after
