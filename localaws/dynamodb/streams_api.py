"""The DynamoDB Streams API: ListStreams, DescribeStream, GetShardIterator and GetRecords over the journals."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from localaws.dynamodb.stream import all_of, find
from localaws.iam import authorization

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from werkzeug.wrappers import Request

    from localaws.dynamodb.stream import Journal

_TARGET = "DynamoDBStreams_20120810."
_ITERATOR_SECONDS = 15 * 60
_MOST_BYTES = 1024 * 1024
_ITERATOR_TYPES = ("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")


class _Refused(Exception):  # noqa: N818 - AWS names its errors
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer(request: Request) -> Response | None:
    """Answer the four calls of Amazon DynamoDB Streams (API reference, same names), None for any other."""
    target = request.headers.get("X-Amz-Target", "")
    if not target.startswith(_TARGET):
        return None
    body = json.loads(request.get_data() or b"{}")
    try:
        call = _CALLS.get(target.removeprefix(_TARGET), _unknown_call)
        document, status = call(body | {"region": authorization.region(request)}), 200
    except _Refused as refusal:
        document = {"__type": f"com.amazonaws.dynamodb.v20120810#{refusal.code}", "message": str(refusal)}
        status = 400
    text = document if isinstance(document, str) else json.dumps(document)
    request_id = secrets.token_hex(26).upper()
    return Response(text, status, {"x-amzn-RequestId": request_id}, mimetype="application/x-amz-json-1.0")


def _list_streams(body: Mapping[str, Any]) -> dict[str, Any]:
    streams = [
        {"StreamArn": stream.arn, "TableName": stream.table_name, "StreamLabel": stream.label}
        for stream in all_of(body["region"])
        if body.get("TableName") in (None, stream.table_name) and stream.arn > body.get("ExclusiveStartStreamArn", "")
    ]
    limit = body.get("Limit", 100)
    page = {"Streams": streams[:limit]}
    return page | ({"LastEvaluatedStreamArn": streams[limit - 1]["StreamArn"]} if streams[limit:] else {})


def _describe_stream(body: Mapping[str, Any]) -> dict[str, Any]:
    stream = _stream(body)
    numbers = {"StartingSequenceNumber": stream.sequence_number(1)}
    if stream.closed_at:
        numbers["EndingSequenceNumber"] = stream.sequence_number(max(stream.last, 1))
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
        raise _Refused(
            "ValidationException",
            f"1 validation error detected: Value '{kind}' at 'shardIteratorType' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(_ITERATOR_TYPES)}]",
        )
    if body.get("ShardId") != stream.shard_id:
        raise _Refused("ResourceNotFoundException", "Requested resource not found: Shard does not exist")
    if kind == "TRIM_HORIZON":
        return {"ShardIterator": _iterator(stream, stream.trimmed)}
    if kind == "LATEST":
        return {"ShardIterator": _iterator(stream, stream.last)}
    try:
        place = stream.place(body["SequenceNumber"])
    except (KeyError, ValueError):
        raise _Refused("ValidationException", f"{kind} needs a SequenceNumber of this shard") from None
    after = place - 1 if kind == "AT_SEQUENCE_NUMBER" else place
    if after < stream.trimmed:
        raise _Refused("TrimmedDataAccessException", _TRIMMED)
    return {"ShardIterator": _iterator(stream, after)}


def _get_records(body: Mapping[str, Any]) -> str:
    """GetRecords: up to Limit (1,000) records and 1 MB; no NextShardIterator at the end of a closed shard."""
    stream, after = _read_iterator(str(body.get("ShardIterator")))
    if after < stream.trimmed:
        raise _Refused("TrimmedDataAccessException", _TRIMMED)
    closed = bool(stream.closed_at)
    entries, position = stream.read(after, min(body.get("Limit", 1000), 1000))
    texts: list[str] = []
    size = 0
    for entry in entries:
        size += len(entry.text)
        if texts and size > _MOST_BYTES:
            position = entry.place - 1
            break
        texts.append(entry.text)
    following = "" if closed and position >= stream.last else _iterator(stream, position)
    # The records are JSON already: read back a million of them, and the time would go into taking them apart.
    records = f'"Records": [{", ".join(texts)}]'
    return f'{{{records}, "NextShardIterator": "{following}"}}' if following else f"{{{records}}}"


def _unknown_call(_: Mapping[str, Any]) -> dict[str, Any]:
    raise _Refused("UnknownOperationException", f"Amazon DynamoDB Streams has: {', '.join(_CALLS)}")


_TRIMMED = "The requested sequence number is older than the oldest record of the shard (24 hours are kept)"
_CALLS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any] | str]] = {
    "ListStreams": _list_streams,
    "DescribeStream": _describe_stream,
    "GetShardIterator": _get_shard_iterator,
    "GetRecords": _get_records,
}


def _stream(body: Mapping[str, Any]) -> Journal:
    arn = str(body.get("StreamArn"))
    if not arn.startswith("arn:") or "/stream/" not in arn:
        raise _Refused("ValidationException", f"Invalid StreamArn: {arn} is not the ARN of a DynamoDB stream")
    stream = find(arn)
    if not stream:
        raise _Refused("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")
    return stream


def _iterator(stream: Journal, after: int) -> str:
    place = base64.b64encode(f"{after} {int(time.time())}".encode()).decode()
    return f"{stream.arn}|1|{place}"


def _read_iterator(iterator: str) -> tuple[Journal, int]:
    try:
        arn, _, place = iterator.split("|")
        after, made = map(int, base64.b64decode(place, validate=True).split())
    except (ValueError, binascii.Error):
        raise _Refused("ValidationException", "Invalid ShardIterator: GetShardIterator gives valid ones") from None
    if time.time() - made > _ITERATOR_SECONDS:
        raise _Refused("ExpiredIteratorException", "Iterator expired: it is valid for 15 minutes")
    return _stream({"StreamArn": arn}), after
