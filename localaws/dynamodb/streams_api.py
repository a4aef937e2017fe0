"""The DynamoDB Streams API: ListStreams, DescribeStream, GetShardIterator and GetRecords."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

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
_ITERATOR_TYPES = ("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")


def handle(request: Request) -> Response | None:
    """Handle the four calls of the Amazon DynamoDB Streams API reference."""
    target = request.headers.get("X-Amz-Target", "")
    if not target.startswith(_TARGET):
        return None
    call = _CALLS.get(target.removeprefix(_TARGET))
    if not call:
        raise AwsError("UnknownOperationException", f"Amazon DynamoDB Streams has: {', '.join(_CALLS)}")
    scope = signature(request)
    body = json.loads(request.get_data() or b"{}")
    result = call(body | {"region": scope.region, "account": scope.account})
    text = result if isinstance(result, str) else json.dumps(result)
    request_id = secrets.token_hex(26).upper()
    return Response(text, headers={"x-amzn-RequestId": request_id}, mimetype="application/x-amz-json-1.0")


def _list_streams(body: Mapping[str, Any]) -> dict[str, Any]:
    streams = [
        {"StreamArn": stream.arn, "TableName": stream.table_name, "StreamLabel": stream.label}
        for stream in list_streams(body["region"], body["account"])
        if body.get("TableName") in (None, stream.table_name) and stream.arn > body.get("ExclusiveStartStreamArn", "")
    ]
    limit = body.get("Limit", 100)
    page = {"Streams": streams[:limit]}
    return page | ({"LastEvaluatedStreamArn": streams[limit - 1]["StreamArn"]} if streams[limit:] else {})


def _describe_stream(body: Mapping[str, Any]) -> dict[str, Any]:
    stream = _stream(body)
    numbers = {"StartingSequenceNumber": stream.sequence_number(1)}
    if stream.closed_at:
        numbers["EndingSequenceNumber"] = stream.sequence_number(max(stream.last_offset, 1))
    shard = {"ShardId": stream.shard_id, "SequenceNumberRange": numbers}
    return {
        "StreamDescription": {
            "StreamArn": stream.arn,
            "StreamLabel": stream.label,
            "StreamStatus": "DISABLED" if stream.closed_at else "ENABLED",
            "StreamViewType": stream.view_type,
            "CreationRequestDateTime": stream.created,
            "TableName": stream.table_name,
            "KeySchema": stream.key_schema,
            "Shards": [] if body.get("ExclusiveStartShardId") == stream.shard_id else [shard],
        }
    }


def _get_shard_iterator(body: Mapping[str, Any]) -> dict[str, Any]:
    stream = _stream(body)
    kind = body.get("ShardIteratorType")
    if kind not in _ITERATOR_TYPES:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{kind}' at 'shardIteratorType' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(_ITERATOR_TYPES)}]",
        )
    if body.get("ShardId") != stream.shard_id:
        raise AwsError("ResourceNotFoundException", "Requested resource not found: Shard does not exist")
    if kind == "TRIM_HORIZON":
        return {"ShardIterator": _iterator(stream, stream.trimmed_offset)}
    if kind == "LATEST":
        return {"ShardIterator": _iterator(stream, stream.last_offset)}
    try:
        offset = stream.offset(body["SequenceNumber"])
    except (KeyError, ValueError):
        raise AwsError("ValidationException", f"{kind} needs a SequenceNumber of this shard") from None
    after = offset - 1 if kind == "AT_SEQUENCE_NUMBER" else offset
    _refuse_trimmed(stream, after)
    return {"ShardIterator": _iterator(stream, after)}


def _get_records(body: Mapping[str, Any]) -> str:
    """GetRecords: up to Limit (1,000) records and 1 MB; no NextShardIterator at the end of a closed shard."""
    stream, after = _parse_iterator(str(body.get("ShardIterator")))
    _refuse_trimmed(stream, after)
    closed = bool(stream.closed_at)
    records, offset = stream.read(after, min(body.get("Limit", 1000), 1000))
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
    arn = str(body.get("StreamArn"))
    if not arn.startswith("arn:") or "/stream/" not in arn:
        raise AwsError("ValidationException", f"Invalid StreamArn: {arn} is not the ARN of a DynamoDB stream")
    stream = find_stream(arn)
    if not stream:
        raise AwsError("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")
    return stream


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
        raise AwsError("ValidationException", "Invalid ShardIterator: use one that GetShardIterator returned") from None
    if time.time() - issued > _ITERATOR_SECONDS:
        raise AwsError("ExpiredIteratorException", "Iterator expired: it is valid for 15 minutes")
    return _stream({"StreamArn": arn}), after
