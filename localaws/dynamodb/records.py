"""The format of a DynamoDB Streams record, in GetRecords and in Lambda events."""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, Any

from localaws.dynamodb.items import size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moto.dynamodb.models.dynamo_type import DynamoType, Item

TIME_TO_LIVE = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
# GetRecords and Lambda spell its members differently. It is the last member of a record.
_USER = f', "userIdentity": {json.dumps(TIME_TO_LIVE)}'
_USER_IN_EVENT = ', "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}'


def image(item: Item) -> dict[str, Any]:
    """The image of an item in a record: the attribute values of the API, with binary ones in base64."""
    return {name: _plain(value) for name, value in item.attrs.items()}


def record(
    *,
    region: str,
    created: float,
    keys: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    sequence_number: str,
    view_type: str,
    user_identity: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe a change of an item as a stream record.

    `old` and `new` are the images before and after, or None; `view_type` says which of them the record has. `created`
    is in seconds since 1970. DynamoDB API reference, "Record" and "StreamRecord".
    """
    images: dict[str, Mapping[str, Any]] = {}
    if new is not None and view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
        images["NewImage"] = new
    if old is not None and view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
        images["OldImage"] = old
    change: dict[str, Any] = {
        "eventID": secrets.token_hex(16),
        "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": {
            "ApproximateCreationDateTime": int(created),
            "Keys": keys,
            **images,
            "SequenceNumber": sequence_number,
            "SizeBytes": size(keys) + sum(map(size, images.values())),
            "StreamViewType": view_type,
        },
    }
    if user_identity:
        change["userIdentity"] = user_identity
    return change


def in_event(text: str, stream_arn: str) -> str:
    """Convert the JSON text of a record to that in a Lambda event, which has the ARN of its source."""
    fields = text[:-1]
    if fields.endswith(_USER):
        fields = fields.removesuffix(_USER) + _USER_IN_EVENT
    return f'{fields}, "eventSourceARN": "{stream_arn}"}}'


def _plain(value: DynamoType) -> dict[str, Any]:
    content = value.value
    if value.type == "M":
        content = {name: _plain(member) for name, member in content.items()}
    elif value.type == "L":
        content = [_plain(member) for member in content]
    elif value.type == "B":
        content = _base64(content)
    elif value.type == "BS":
        content = [_base64(member) for member in content]
    return {value.type: content}


def _base64(value: bytes | str) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
