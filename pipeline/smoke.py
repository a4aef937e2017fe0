"""`smoke`: an end-to-end test with a test item, or with the next record that someone else causes (--observe)."""

import base64
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from json import dumps
from typing import Any

from . import causes, items, log_reader, parameters
from .deployment import Deployment
from .events import Events, Progress, Result, Started, Waiting
from .records import aws_time_ms, follow, to_json
from .resources import function
from .resources.change import UserError
from .settings import Settings

_MARKER = "smoke"
_MARKER_VALUE = re.compile(r"smoke[0-9a-f]{32}")
_ATTEMPT = "smoke_attempt"
_SCAN_PAGE_SIZE = 100
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.004, 1.0
# With LATEST, records from before AWS starts to read are lost. So smoke writes the item again, at growing intervals.
_FIRST_REWRITE_SECONDS, _LONGEST_REWRITE_SECONDS = 2.0, 15.0
_CLOCK_SKEW_MS = 10 * 60 * 1000
_REDELIVERY_SECONDS = 5.0
# In JSON, or as Python prints it.
_EVENT_ID = re.compile(r"""["']eventID["']: ?["']([0-9a-f]+)""")
_PLATFORM_LINE = re.compile(r'(INIT_START|START|END|REPORT|XRAY) |\{"time":.*"type": ?"platform\.')
_CREATED = re.compile(r"""["']ApproximateCreationDateTime["']: ?(\d+)""")
# When smoke looks for a cause. It trusts a cause only if it sees it twice, because AWS's responses may be stale.
_FIRST_LOOK_SECONDS, _LOOK_AGAIN_SECONDS = 3.0, 4.0
# What AWS adds to the record of an item.
_UNKNOWN_BEFORE = ("eventID", "dynamodb.ApproximateCreationDateTime", "dynamodb.SequenceNumber", "dynamodb.SizeBytes")


@dataclass(frozen=True)
class _Trial:
    """The test of an item or a record, and the resources that it passes on its way to the log.

    `events` reads the log events that show the item or the observed record, `put_ms` is AWS's time of the put in whole
    seconds, `began` the local time. `earlier` are invocations before it.
    """

    d: Deployment
    parts: causes.Parts
    table: Mapping[str, Any]
    mapping: Mapping[str, Any]
    log_group: str
    events: Callable[[], Iterator[dict[str, Any]]] = lambda: iter(())
    put_ms: int = 0
    began: float = 0.0
    earlier: frozenset[str] = frozenset()

    @property
    def deadline(self) -> float:
        """The local time at which SMOKE_TIMEOUT ends."""
        return self.began + self.d.settings.smoke_timeout

    def invocations(self) -> list[log_reader.Invocation]:
        """The invocations since the put, for any records."""
        events = log_reader.fetch(self.d.client("logs"), self.log_group, since_ms=self.put_ms)
        return [each for each in log_reader.invocations(events) if self.is_new(each)]

    def is_new(self, invocation: log_reader.Invocation) -> bool:
        """Whether the invocation began after the put."""
        return invocation.started_ms >= self.put_ms and invocation.request_id not in self.earlier

    def cause(self) -> causes.Cause | None:
        """The first cause that applies now, preferably a certain one."""
        found = causes.find(self.d, causes.look(self.d), self.is_new)
        return min(found, key=lambda cause: not cause.certain, default=None)

    def current_mapping(self) -> Mapping[str, Any]:
        """The mapping as it is now."""
        get = self.d.client("lambda").get_event_source_mapping
        return {"LastProcessingResult": "", **get(UUID=self.mapping["UUID"])}


def run(d: Deployment, *, observe: bool = False) -> Events[None]:
    """Put a test item, wait until the function has processed it, and delete it in any case.

    The function has processed the item when its log shows the item, that invocation succeeded, and the records are not
    delivered again. Raises UserError, with the likely cause, if this does not happen within SMOKE_TIMEOUT. With
    `observe`, writes nothing and waits for the next record of others, for another SMOKE_TIMEOUT at most.
    """
    yield Started("smoke")
    if d.dry_run:
        raise UserError("smoke does not support --dry; remove the flag (smoke deletes its item)")
    extra = extra_attributes(d.settings)
    trial = _existing(d)
    trial = replace(trial, put_ms=aws_time_ms(trial.mapping))
    trial = replace(trial, earlier=frozenset(each.request_id for each in trial.invocations()))
    dynamodb, name = d.client("dynamodb"), trial.table["TableName"]
    item: dict[str, Any] = {}
    if observe:
        yield Waiting("smoke", f"the next record of table {name}")
        trial = _with_next_record(trial)
    else:
        item, term = new_item(trial.table, extra)
        check_filters(trial.table, trial.mapping, item)
        began = time.monotonic()
        # The key is random, so the put does not overwrite another item.
        put_ms = aws_time_ms(dynamodb.put_item(TableName=name, Item=item))
        # The term is unique, so an early start time finds nothing else.
        since_ms, pattern = put_ms - _CLOCK_SKEW_MS, f'"{term}"'
        events = partial(log_reader.fetch, d.client("logs"), trial.log_group, since_ms=since_ms, pattern=pattern)
        trial = replace(trial, events=events, put_ms=put_ms, began=began)
    try:
        if error := function.runtime_error(trial.parts.function or {}):
            yield Progress("smoke", error)
        yield Waiting("smoke", f"the record to appear in log group {trial.log_group}")
        event = yield from _wait_for_event(trial, item)
        elapsed = time.monotonic() - trial.began if item else (event["timestamp"] - trial.put_ms) / 1000
        yield Waiting("smoke", "the invocation to end")
        invocation = _wait_for_end(trial, event)
    finally:
        if item:
            dynamodb.delete_item(TableName=name, Key={key: item[key] for key in items.key_types(trial.table)})
    if item or trial.mapping["FunctionResponseTypes"]:  # otherwise a batch is done when its invocation succeeds
        _check_not_repeated(trial, event, invocation)
    line, request_id = event["message"].rstrip("\n"), invocation.request_id
    seconds = min(elapsed, _seconds_in_aws(line, event["timestamp"]))
    after = f"{seconds * 1000:.0f} ms after the put" if item else f"within {seconds * 1000:.0f} ms of the write"
    reached = f"smoke: {'item' if item else 'record'} reached {trial.log_group} {after}"
    yield Result(
        f"{reached}\n  record      {line}\n  request ID  {request_id}",
        {"line": line, "request_id": request_id, "seconds": seconds, "log_group": trial.log_group},
    )


def _with_next_record(trial: _Trial) -> _Trial:
    """Wait for the next record and return its trial. Raises UserError if there is no record within SMOKE_TIMEOUT."""
    stream = follow(trial.d.client("dynamodbstreams"), trial.table["LatestStreamArn"])
    timeout = trial.d.settings.smoke_timeout
    for _ in _tries(time.monotonic() + timeout):
        if records := next(stream):
            put_ms = int(records[0]["dynamodb"]["ApproximateCreationDateTime"].timestamp() * 1000)
            trial = replace(trial, put_ms=put_ms, began=time.monotonic())
            return replace(trial, events=partial(_observed, trial, records, stream))
    raise UserError(
        f"no one wrote to table {trial.d.settings.table_name} within {timeout} s. Try again when the table is in "
        "use, raise SMOKE_TIMEOUT, or put a test item: invoke smoke --write"
    )


def _observed(trial: _Trial, records: list[Any], stream: Iterator[list[Any]]) -> Iterator[dict[str, Any]]:
    """The log events that show the first record; with filters, which may discard it, any record from it on."""
    if trial.mapping["FilterCriteria"]:
        records += next(stream)
    else:
        del records[1:]
    for event in log_reader.fetch(trial.d.client("logs"), trial.log_group, since_ms=trial.put_ms):
        if any(_shows(event["message"], record) for record in records):
            yield event


def _shows(line: str, record: Mapping[str, Any]) -> bool:
    """Whether a log line shows the record: by its eventID or, in a line of the function without one, by its key."""
    if _EVENT_ID.search(line) or _PLATFORM_LINE.match(line):
        return record["eventID"] in line
    values = [next(iter(each.values())) for each in record["dynamodb"]["Keys"].values()]
    texts = [each if isinstance(each, str) else base64.b64encode(each).decode() for each in values]
    forms = ["|".join(map(re.escape, (each, dumps(each)[1:-1]))) for each in texts]
    return all(re.search(rf"(?<![\w.-])({form})(?![\w-]|\.\d)", line) for form in forms)


def _seconds_in_aws(line: str, timestamp_ms: int) -> float:
    """The time from the record's creation, which AWS rounds down to a second, to the log event: at most this long."""
    created = _CREATED.search(line)
    return max(timestamp_ms / 1000 - int(created[1]), 0) if created else float("inf")


def _existing(d: Deployment) -> _Trial:
    """The deployed pipeline. Raises UserError with the cause if a resource is missing or disabled."""
    parts = causes.look(d)
    if cause := next(causes.of_parts(d, parts), None):
        raise UserError(str(cause))
    return _Trial(d, parts, parts.table or {}, parts.mapping or {}, parameters.log_group_name(d.settings))


def check_filters(table: Mapping[str, Any], mapping: Mapping[str, Any], item: Mapping[str, Any]) -> None:
    """Raise UserError if FILTER_CRITERIA excludes the record of the item. What AWS sets in a record may match."""
    view, keys = table["StreamSpecification"]["StreamViewType"], items.key_types(table)
    images = {"NewImage": item} if view.startswith("NEW") else {}
    change = {"Keys": {name: item[name] for name in keys}, **images, "StreamViewType": view}
    arn = table["LatestStreamArn"]
    source = {"eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": arn.split(":")[3]}
    record = {"eventName": "INSERT", **source, "dynamodb": to_json(change), "eventSourceARN": arn}
    patterns = [each["Pattern"] for each in mapping["FilterCriteria"].get("Filters", ())]
    if (paths := causes.unmatched(patterns, record)) and not {*paths} & {*_UNKNOWN_BEFORE}:
        raise UserError(
            f"filter excludes the item: FILTER_CRITERIA does not match {', '.join(paths)} of the item. Nothing was "
            "written\n  try: add what the filter needs to SMOKE_ITEM, or find the next record: invoke smoke --observe"
        )


def has_user_items(dynamodb: Any, table_name: str) -> bool:
    """Whether the table holds items other than those that an interrupted smoke left. DynamoDB API reference: Scan."""
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table_name,
        ConsistentRead=True,
        ProjectionExpression="#marker, #attempt",
        ExpressionAttributeNames={"#marker": _MARKER, "#attempt": _ATTEMPT},
        PaginationConfig={"PageSize": _SCAN_PAGE_SIZE},
    )
    found = (item for page in pages for item in page["Items"])
    return not all(_ATTEMPT in item and _MARKER_VALUE.fullmatch(item.get(_MARKER, {}).get("S", "")) for item in found)


def extra_attributes(settings: Settings) -> dict[str, Any]:
    """The attributes of SMOKE_ITEM, as PutItem takes them."""
    return items.parse(dumps(settings.smoke_item), "SMOKE_ITEM") if settings.smoke_item else {}


def new_item(table: Mapping[str, Any], extra: Mapping[str, Any], token: int = 0) -> tuple[dict[str, Any], str]:
    """An item with a unique key of the table's types, and the text of its partition key in a stream record.

    `extra` are additional attributes, as PutItem takes them. The key is made from `token`, by default a random one.
    """
    token = token or secrets.randbits(128)
    marker = f"smoke{token:032x}"
    number = f"{10**28 + token % 10**28}7"
    unique = {"S": marker, "N": number, "B": marker.encode()}
    in_record = {"S": marker, "N": number, "B": base64.b64encode(marker.encode()).decode()}
    hash_key, *_ = kinds = items.key_types(table)
    if hash_key in extra:
        raise UserError(f"SMOKE_ITEM: {hash_key!r} is the partition key, which smoke generates; remove it")
    if reserved := {_MARKER, _ATTEMPT} & extra.keys():
        raise UserError(f"SMOKE_ITEM: {reserved.pop()!r} is reserved for smoke; choose another attribute")
    key = {name: {kind: unique[kind]} for name, kind in kinds.items()}
    item = {_MARKER: {"S": marker}, _ATTEMPT: {"N": "1"}, **key, **extra}
    items.check(item, table, "SMOKE_ITEM")
    return item, in_record[kinds[hash_key]]


def _tries(deadline: float) -> Iterator[float]:
    """Yield the time of each try, at growing intervals. The last try is after the deadline."""
    pause = _FIRST_PAUSE_SECONDS
    while (now := time.monotonic()) < deadline:
        yield now
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
    yield now


def _wait_for_event(trial: _Trial, item: dict[str, Any]) -> Events[dict[str, Any]]:
    """Wait for the log event that shows the item or record. Puts an item again if the mapping may have missed it.

    Reports possible causes of the delay. Raises UserError as soon as a cause is certain.
    """
    rewrite = _FIRST_REWRITE_SECONDS
    next_write, next_look = trial.began + rewrite, trial.began + _FIRST_LOOK_SECONDS
    # Other records may fail while the item waits for its batch.
    batched = trial.began + _LONGEST_PAUSE_SECONDS + trial.mapping["MaximumBatchingWindowInSeconds"]
    cause = None
    for now in _tries(trial.deadline):
        if event := next(trial.events(), None):
            return event
        if now > batched and causes.is_broken(trial.invocations()):
            break
        if now > next_look:
            before, cause = cause, trial.cause()
            repeated = bool(before and cause and before.name == cause.name)
            if cause and cause.certain and repeated:
                break
            if cause and not cause.certain and not repeated:
                yield Progress("smoke", f"not in the log yet; possible cause: {cause}")
            next_look = now + _LOOK_AGAIN_SECONDS
        if item and trial.mapping["StartingPosition"] == "LATEST" and now > next_write:
            item[_ATTEMPT] = {"N": str(int(item[_ATTEMPT]["N"]) + 1)}  # an identical put creates no record
            trial.d.client("dynamodb").put_item(TableName=trial.table["TableName"], Item=item)
            rewrite = min(rewrite * 2, _LONGEST_REWRITE_SECONDS)
            next_write = now + rewrite
    what, waited = "item" if item else "record", f"{now - trial.began:.0f} s"
    cause = trial.cause() or _unknown_cause(trial)
    raise UserError(f"the {what} did not appear in the log within {waited}\n{cause}")


def _unknown_cause(trial: _Trial) -> causes.Cause:
    current = trial.current_mapping()
    state = f"mapping {current['UUID']} is {current['State']}, last result: {current['LastProcessingResult']}"
    if trial.invocations():
        evidence = f"the function ran, but did not log the record ({state})"
        return causes.Cause("record not logged", evidence, "log the event in the handler: print(event)")
    evidence = f"the function logged nothing ({state})"
    return causes.Cause("not delivered yet", evidence, "raise SMOKE_TIMEOUT, because AWS may take minutes to start")


def _wait_for_end(trial: _Trial, event: dict[str, Any]) -> log_reader.Invocation:
    """The invocation that logged the event, once it ended. Raises UserError if it failed."""
    settings = trial.d.settings
    for _ in _tries(trial.deadline):
        invocation = log_reader.invocation_of(trial.d.client("logs"), trial.log_group, event)
        if invocation.failure:
            cause = causes.of_failure(trial.d, trial.parts, invocation)
            raise UserError(f"the function logged the item but then failed:\n{cause}")
        if invocation.report:
            return invocation
    raise UserError(
        f"the function logged the item, but its invocation {invocation.request_id} did not end within "
        f"{settings.smoke_timeout} s; raise SMOKE_TIMEOUT above FUNCTION_TIMEOUT ({settings.function_timeout})"
    )


def _check_not_repeated(trial: _Trial, event: dict[str, Any], invocation: log_reader.Invocation) -> None:
    """Raise UserError if Lambda delivers the item's records again because the function reported them as failed.

    The deletion of the item creates a later record in the same shard. When the log shows this record, AWS is done with
    the records before it. A filter may exclude it, so the wait is short.
    """
    for _ in _tries(time.monotonic() + (0 if trial.mapping["FilterCriteria"] else _REDELIVERY_SECONDS)):
        messages = [each["message"].rstrip("\n") for each in trial.events()]
        later = [each for each in messages if messages.count(each) > invocation.lines.count(each)]
        if later:
            break
    records = set(_EVENT_ID.findall(event["message"]))
    repeated = any(records.intersection(_EVENT_ID.findall(each)) for each in later)
    outcome = trial.current_mapping()["LastProcessingResult"]
    if repeated or (not later and outcome.startswith("PROBLEM")):
        advice = "The invocation failed; see: invoke fetch-logs"
        if trial.d.settings.function_response_types != "none":
            advice = (
                "With FUNCTION_RESPONSE_TYPES=ReportBatchItemFailures, the function must return "
                '{"batchItemFailures": []} or nothing when it succeeds; any other response fails the whole batch.'
            )
        raise UserError(
            f"the function logged the item, but Lambda delivers the record again (last result: {outcome}). {advice}"
        )
