"""`smoke`: an end-to-end test. Write a unique item, find it in the function's log, delete it."""

from __future__ import annotations

import base64
import re
import secrets
import time
from dataclasses import asdict, dataclass
from json import dumps
from typing import TYPE_CHECKING, Any

from . import items, log_reader, parameters, steps
from .events import Result, Started, Waiting
from .resources import role
from .resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .deployment import Deployment
    from .events import Events

_MARKER = "smoke"
_MARKER_VALUE = re.compile(r"smoke[0-9a-f]{32}")
_ATTEMPT = "smoke_attempt"
_SCAN_PAGE_SIZE = 100
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.004, 1.0
# With LATEST, what is written before AWS starts to read is lost. The item is written again, at growing intervals.
_FIRST_REWRITE_SECONDS, _LONGEST_REWRITE_SECONDS = 2.0, 15.0
# One failed invocation may be a transient fault that a retry heals; two are a broken function.
_FAILED_INVOCATIONS = 2


@dataclass(frozen=True)
class SmokeResult:
    """The log line that shows the item, its invocation, and the seconds from the put to that line."""

    line: str
    request_id: str
    seconds: float
    log_group: str


@dataclass(frozen=True)
class _Pipeline:
    """What an item passes on its way to the log, as the resource modules describe it. `role` is None if it is gone."""

    table: Mapping[str, Any]
    mapping: Mapping[str, Any]
    log_group: str
    role: Mapping[str, Any] | None


def run(d: Deployment) -> Events[SmokeResult]:
    """Put one item of our own, wait until the function's log shows it, and delete it, whatever happens.

    Raises UserError, with the likely cause, if the log does not show the item within SMOKE_TIMEOUT.
    """
    yield Started("smoke")
    if d.dry_run:
        raise UserError("smoke does not support --dry")
    extra = items.parse(dumps(d.settings.smoke_item), "SMOKE_ITEM") if d.settings.smoke_item else {}
    pipeline = _existing(d)
    item, term = new_item(pipeline.table, extra)
    dynamodb, name = d.client("dynamodb"), d.settings.table_name
    began = time.time()
    dynamodb.put_item(TableName=name, Item=item, **_if_new(pipeline.table, item))
    try:
        yield Waiting("smoke", f"log group {pipeline.log_group} to show the item")
        event = _wait_for_event(d, pipeline, item, term, int(began * 1000))
    finally:
        dynamodb.delete_item(TableName=name, Key={key: item[key] for key in items.key_names(pipeline.table)})
    result = SmokeResult(
        line=event["message"].rstrip("\n"),
        request_id=log_reader.request_id_of(d.client("logs"), pipeline.log_group, event),
        seconds=max(event["timestamp"] / 1000 - began, 0),
        log_group=pipeline.log_group,
    )
    reached = f"smoke: item reached {result.log_group} {result.seconds * 1000:.0f} ms after the put"
    yield Result(f"{reached}\n  record      {result.line}\n  request ID  {result.request_id}", asdict(result))
    return result


def _existing(d: Deployment) -> _Pipeline:
    """The deployed pipeline. Raises UserError, with the task that creates it, for a part that is missing."""
    steps.existing_function(d)
    table = steps.existing_table(d)
    return _Pipeline(
        table=table,
        mapping=steps.existing_mapping(d, steps.stream_of(table)),
        log_group=parameters.log_group_name(d.settings),
        role=role.describe(d.client("iam"), d.settings.role_name),
    )


def _if_new(table: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """The condition of the put. It never overwrites an item of somebody else.

    It does overwrite our own: boto3 puts the item again if the answer to the first put was lost.
    """
    return {
        "ConditionExpression": "attribute_not_exists(#key) OR #marker = :marker",
        "ExpressionAttributeNames": {"#key": items.key_names(table)[0], "#marker": _MARKER},
        "ExpressionAttributeValues": {":marker": item[_MARKER]},
    }


def has_user_items(dynamodb: Any, table_name: str) -> bool:
    """Whether the table holds items other than those of an interrupted smoke. Stops at the first one.

    DynamoDB API reference: Scan.
    """
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table_name,
        ConsistentRead=True,
        ProjectionExpression="#marker, #attempt",
        ExpressionAttributeNames={"#marker": _MARKER, "#attempt": _ATTEMPT},
        PaginationConfig={"PageSize": _SCAN_PAGE_SIZE},
    )
    return any(not _is_from_smoke(item) for page in pages for item in page["Items"])


def _is_from_smoke(item: Mapping[str, Any]) -> bool:
    return _ATTEMPT in item and bool(_MARKER_VALUE.fullmatch(item.get(_MARKER, {}).get("S", "")))


def new_item(table: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """An item with a unique key of the table's types, and the text of its partition key in a stream record.

    `extra` are additional attributes, as PutItem takes them.
    """
    marker = f"smoke{secrets.token_hex(16)}"
    number = f"{secrets.randbelow(10**28) + 10**28}7"
    unique = {"S": marker, "N": number, "B": marker.encode()}
    in_record = {"S": marker, "N": number, "B": base64.b64encode(marker.encode()).decode()}
    kinds = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    hash_key, *_ = keys = items.key_names(table)
    if hash_key in extra:
        raise UserError(f"SMOKE_ITEM: {hash_key!r} is the partition key, which smoke generates; leave it out")
    if reserved := {_MARKER, _ATTEMPT} & extra.keys():
        raise UserError(f"SMOKE_ITEM: {reserved.pop()!r} marks the items of smoke; choose another attribute")
    key = {name: {kinds[name]: unique[kinds[name]]} for name in keys}
    item = {_MARKER: {"S": marker}, _ATTEMPT: {"N": "1"}, **key, **extra}
    items.check(item, table, "SMOKE_ITEM")
    return item, in_record[kinds[hash_key]]


def _wait_for_event(
    d: Deployment, pipeline: _Pipeline, item: dict[str, Any], term: str, since_ms: int
) -> dict[str, Any]:
    """The log event that contains `term`. Writes the item again meanwhile if the mapping may have missed it."""
    logs, timeout = d.client("logs"), d.settings.smoke_timeout
    pause, rewrite = _FIRST_PAUSE_SECONDS, _FIRST_REWRITE_SECONDS
    deadline, next_write = time.monotonic() + timeout, time.monotonic() + rewrite
    while True:
        event = next(log_reader.fetch(logs, pipeline.log_group, since_ms=since_ms, pattern=f'"{term}"'), None)
        if event:
            return event
        now = time.monotonic()
        if now > deadline or len(_failures(logs, pipeline.log_group, since_ms, pause)) >= _FAILED_INVOCATIONS:
            waited = timeout - (deadline - now)
            raise UserError(f"the log did not show the item in {waited:.0f} s. {likely_cause(d, pipeline, since_ms)}")
        if pipeline.mapping.get("StartingPosition", "LATEST") == "LATEST" and now > next_write:
            item[_ATTEMPT] = {"N": str(int(item[_ATTEMPT]["N"]) + 1)}  # an identical put creates no record
            d.client("dynamodb").put_item(TableName=pipeline.table["TableName"], Item=item)
            rewrite = min(rewrite * 2, _LONGEST_REWRITE_SECONDS)
            next_write = now + rewrite
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def likely_cause(d: Deployment, pipeline: _Pipeline, since_ms: int) -> str:
    """Why the log does not show the item: the first of the usual causes that applies."""
    logs = d.client("logs")
    current = d.client("lambda").get_event_source_mapping(UUID=pipeline.mapping["UUID"])
    state = f"mapping {current['UUID']} is {current['State']}, last result: {current.get('LastProcessingResult')}"
    failures = _failures(logs, pipeline.log_group, since_ms, _LONGEST_PAUSE_SECONDS)
    if failures:
        return f"The function failed ({state}):\n{failures[0]}"
    if pipeline.role is None:
        return f"The function's role does not exist ({state}); try: invoke create-role put-policy"
    if current["State"] != "Enabled" or str(current.get("LastProcessingResult", "")).startswith("PROBLEM"):
        return f"The {state}; try: invoke map-stream"
    if current.get("FilterCriteria", {}).get("Filters"):
        return f"FILTER_CRITERIA may not match smoke's item ({state}); add the attributes it needs with SMOKE_ITEM"
    if next(log_reader.fetch(logs, pipeline.log_group, since_ms=since_ms), None):
        return f"The function ran, but it does not log its event ({state}); smoke searches the log for the item's key"
    missing = "the role may lack logs:CreateLogStream and logs:PutLogEvents"
    return f"Nothing was logged ({state}); {missing}, try: invoke put-policy"


def _failures(logs: Any, group: str, since_ms: int, pause: float) -> list[str]:
    """The failures in the log, read only once the wait has become long."""
    if pause < _LONGEST_PAUSE_SECONDS / 4:
        return []
    events = log_reader.fetch(logs, group, since_ms=since_ms)
    return [event["message"] for event in events if log_reader.FAILURE.search(event["message"])]
