"""The proof: an item that nobody else can have written, seen in the function's log."""

from __future__ import annotations

import base64
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from . import items
from .resources.change import UserError
from .logs import FAILURE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MARKER = "smoke"
_MARKER_VALUE = re.compile(r"smoke[0-9a-f]{32}")
_ATTEMPT = "smoke_attempt"
_ITEMS_LOOKED_AT = 100
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.004, 1.0
# With LATEST, what is written before the mapping really polls is lost: it is written again, ever less often.
_FIRST_REWRITE_SECONDS, _LONGEST_REWRITE_SECONDS = 2.0, 15.0
# One failed invocation may be a passing fault that a retry heals; two are a broken function.
_FAILED_INVOCATIONS = 2
_REQUEST_ID = re.compile(r'(?:START RequestId: |"requestId": ?")([0-9a-f-]{36})')


@dataclass(frozen=True)
class Proof:
    """The log line that shows the item, the invocation it belongs to, and the seconds from the put to that line."""

    line: str
    request_id: str
    seconds: float
    log_group: str

    @property
    def text(self) -> str:
        """The proof in words."""
        return f"its log {self.log_group} shows the item {self.seconds * 1000:.0f} ms after the put"


@dataclass(frozen=True)
class Deployed:
    """What the proof goes through, as the nouns describe it; `mapping` and `role` as AWS has them, or None."""

    table: Mapping[str, Any]
    mapping: Mapping[str, Any]
    log_group: str
    role: Mapping[str, Any] | None


def prove(aws: Callable[[str], Any], deployed: Deployed, extra: Mapping[str, Any], timeout: float) -> Proof:
    """Put one item of our own, wait until the function's log shows it, and remove it, whatever happened.

    `extra` are more attributes for it, as PutItem takes them; `timeout` is in seconds. Raises UserError, with the likely
    cause, when the log does not show the item in time.
    """
    item, term = new_item(deployed.table, extra)
    dynamodb, name = aws("dynamodb"), deployed.table["TableName"]
    hash_key = items.key_names(deployed.table)[0]
    began = time.time()
    # The key is random, and it must be new: nobody else's item is ever overwritten or removed. Our own is, when the
    # answer was lost and boto3 makes the call again.
    unwritten = {
        "ConditionExpression": "attribute_not_exists(#key) OR #marker = :marker",
        "ExpressionAttributeNames": {"#key": hash_key, "#marker": _MARKER},
        "ExpressionAttributeValues": {":marker": item[_MARKER]},
    }
    dynamodb.put_item(TableName=name, Item=item, **unwritten)
    try:
        event = _wait_for(aws, deployed, (item, term), int(began * 1000), timeout)
    finally:
        key = {each: item[each] for each in items.key_names(deployed.table)}
        dynamodb.delete_item(TableName=name, Key=key)
    return Proof(
        line=event["message"].rstrip("\n"),
        request_id=_request_id(aws("logs"), deployed.log_group, event),
        seconds=max(event["timestamp"] / 1000 - began, 0),
        log_group=deployed.log_group,
    )


def others(dynamodb: Any, table_name: str) -> bool:
    """Whether the table holds items that are not left over from a smoke that was killed; looks until it finds one.

    DynamoDB API reference: Scan.
    """
    names = {"#marker": _MARKER, "#attempt": _ATTEMPT}
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table_name,
        ConsistentRead=True,
        ProjectionExpression="#marker, #attempt",
        ExpressionAttributeNames=names,
        PaginationConfig={"PageSize": _ITEMS_LOOKED_AT},
    )
    return any(not _is_ours(item) for page in pages for item in page["Items"])


def _is_ours(item: Mapping[str, Any]) -> bool:
    return _ATTEMPT in item and bool(_MARKER_VALUE.fullmatch(item.get(_MARKER, {}).get("S", "")))


def new_item(table: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """An item with a unique key of the table's types, and the text of its partition key in a stream record."""
    marker = f"smoke{secrets.token_hex(16)}"
    number = f"{secrets.randbelow(10**28) + 10**28}7"
    unique = {"S": marker, "N": number, "B": marker.encode()}
    shown = {"S": marker, "N": number, "B": base64.b64encode(marker.encode()).decode()}
    kinds = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    hash_key, *_ = keys = items.key_names(table)
    if hash_key in extra:
        raise UserError(f"SMOKE_ITEM: {hash_key!r} is the partition key, which smoke makes up itself; leave it out")
    if taken := {_MARKER, _ATTEMPT} & extra.keys():
        raise UserError(f"SMOKE_ITEM: {taken.pop()!r} marks smoke's own items; choose another attribute")
    key = {name: {kinds[name]: unique[kinds[name]]} for name in keys}
    item = {_MARKER: {"S": marker}, _ATTEMPT: {"N": "1"}, **key, **extra}
    items.check(item, table, "SMOKE_ITEM")
    return item, shown[kinds[hash_key]]


def _wait_for(
    aws: Callable[[str], Any], deployed: Deployed, written: tuple[dict[str, Any], str], since: int, timeout: float
) -> dict[str, Any]:
    """The log event that shows the item's term; writes the item again meanwhile where the first may have been lost."""
    logs, (item, term) = aws("logs"), written
    pause, rewrite = _FIRST_PAUSE_SECONDS, _FIRST_REWRITE_SECONDS
    deadline, next_write = time.monotonic() + timeout, time.monotonic() + rewrite
    while not (found := _events(logs, deployed.log_group, since, f'"{term}"')):
        now = time.monotonic()
        if now > deadline or len(_failures(logs, deployed.log_group, since, pause)) >= _FAILED_INVOCATIONS:
            waited = timeout - (deadline - now)
            raise UserError(f"the log did not show the item in {waited:.0f} s. {likely_cause(aws, deployed, since)}")
        if deployed.mapping.get("StartingPosition", "LATEST") == "LATEST" and now > next_write:
            item[_ATTEMPT] = {"N": str(int(item[_ATTEMPT]["N"]) + 1)}  # an identical put makes no record
            aws("dynamodb").put_item(TableName=deployed.table["TableName"], Item=item)
            rewrite = min(rewrite * 2, _LONGEST_REWRITE_SECONDS)
            next_write = now + rewrite
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
    return found[0]


def likely_cause(aws: Callable[[str], Any], deployed: Deployed, since: int) -> str:
    """Why the item did not show: the first of what usually is the matter. `since` is in milliseconds."""
    current = aws("lambda").get_event_source_mapping(UUID=deployed.mapping["UUID"])
    state = f"mapping {current['UUID']} is {current['State']}, last result: {current.get('LastProcessingResult')}"
    failures = _failures(aws("logs"), deployed.log_group, since, _LONGEST_PAUSE_SECONDS)
    if failures:
        return f"The function failed ({state}):\n{failures[0]}"
    if deployed.role is None:
        return f"The function's role is gone ({state}); try: invoke create-role put-policy"
    if current["State"] != "Enabled" or str(current.get("LastProcessingResult", "")).startswith("PROBLEM"):
        return f"The {state}; try: invoke map-stream"
    if current.get("FilterCriteria", {}).get("Filters"):
        return f"FILTER_CRITERIA may not match smoke's item ({state}); give it what the filter wants with SMOKE_ITEM"
    if _events(aws("logs"), deployed.log_group, since, ""):
        return f"The function ran, but it does not log what it was given ({state}); smoke looks for the item's key"
    lacking = "the role may lack logs:CreateLogStream and logs:PutLogEvents"
    return f"Nothing was logged ({state}); {lacking}, try: invoke put-policy"


def _events(logs: Any, group: str, since: int, pattern: str) -> list[dict[str, Any]]:
    """Log events since `since` (milliseconds) that match; none while the group is not there yet."""
    wanted = {"filterPattern": pattern} if pattern else {}
    try:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since, **wanted)
        return [event for page in pages for event in page["events"]]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return []
        raise


def _failures(logs: Any, group: str, since: int, pause: float) -> list[str]:
    """What failing invocations logged; looked at only once the waiting has become long."""
    if pause < _LONGEST_PAUSE_SECONDS / 4:
        return []
    return [event["message"] for event in _events(logs, group, since, "") if FAILURE.search(event["message"])]


def _request_id(logs: Any, group: str, event: Mapping[str, Any]) -> str:
    """The request id of the invocation that wrote `event`: of the last START before it in its log stream."""
    before = logs.get_log_events(
        logGroupName=group, logStreamName=event["logStreamName"], endTime=event["timestamp"] + 1, startFromHead=False
    )["events"]
    messages = [each["message"] for each in before]
    position = messages.index(event["message"]) if event["message"] in messages else len(messages)
    found = [match[1] for message in messages[: position + 1] if (match := _REQUEST_ID.search(message))]
    return found[-1] if found else "unknown"
