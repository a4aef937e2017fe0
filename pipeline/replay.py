"""`replay` and `redrive`: send records from the stream or from on-failure notes to the function again."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from . import items, notes, parameters, steps
from .deployment import Deployment
from .events import Events, Progress, Result, Started
from .records import Record, any_pattern, name_of, number_of, read, select
from .resources import mapping
from .resources.change import UserError, retry

_EVENT_BYTES = 6 * 1024 * 1024 - 1024


@dataclass
class Tally:
    """The outcome of a step so far. Later records with a key in `blocked`, of failed records, are not sent."""

    step: str
    hold: Callable[[], None] = lambda: None  # called before each invocation
    handled: int = 0
    failed: int = 0
    skipped: int = 0
    blocked: set[str] = field(default_factory=set)

    def fail(self, record: Record, reason: str) -> Result:
        """Count a record as failed, with the reason."""
        self.failed += 1
        self.blocked.add(_key(record))
        failed = {"sequence_number": number_of(record), "keys": record["dynamodb"]["Keys"], "reason": reason}
        return Result(f"failed  {name_of(record)}  {reason}", {"failed": [failed]})

    def result(self, text: str = "", **values: Any) -> Result:
        """The result of the command. It already contains the failed records."""
        text = f"{self.step}: {self}{text}"
        return Result(text, {"handled": self.handled, "failed": [], "skipped": self.skipped, **values})

    def __str__(self) -> str:
        return f"{self.handled} handled, {self.failed} failed, {self.skipped} skipped"


def replay(d: Deployment, *, to: Deployment | None = None, **selection: Any) -> Events[None]:
    """Send the selected records to the function. With `to`, deploy lambda_src/ there and send the records to it."""
    yield Started("replay")
    stream_arn, tally = steps.stream_of(d, steps.existing(d, "table")), Tally("replay")
    if to:
        role_arn = yield from steps.create_role(to)
        yield from steps.put_policy(to, role_arn)
        yield from steps.create_function(to, role_arn)
        yield Started("replay")
        target = {**mapping.DEFAULTS, **parameters.mapping(to.settings, stream_arn)}
        target["FunctionArn"] = target["FunctionName"]
    else:
        target = _mapping(d, stream_arn)
    records = _matching(select(d, stream_arn, **selection), target, tally)
    if d.dry_run:
        count = sum(1 for _ in records)
        text = f"replay would send to {target['FunctionArn']}: {count}; excluded by filters: {tally.skipped}"
        yield Result(text, {"records": count})
        return
    yield from _send(to or d, target, records, tally)
    yield tally.result()
    if tally.failed:
        raise UserError(f"failed records: {tally.failed}; correct the function, then run replay again")


def redrive(d: Deployment, *, skip_superseded: bool = False) -> Events[None]:
    """Send the records of the notes, or with `skip_superseded`, of unchanged items only. Delete the handled notes."""
    yield Started("redrive")
    place, table = place_of(d), steps.existing(d, "table")
    target = _mapping(d, str(table["LatestStreamArn"]))
    if skip_superseded and "NEW" not in table["StreamSpecification"].get("StreamViewType", ""):
        raise UserError("--skip-superseded requires new images, which STREAM_VIEW_TYPE excludes; remove the flag")
    yield Progress("redrive", f"messages in {d.settings.on_failure}: about {place.count()}")
    if d.dry_run:
        yield Result(f"redrive would send the records of the notes to {target['FunctionArn']}", {"notes": {}})
        return
    tally, count = Tally("redrive", place.hold), {"deleted": 0, "kept": 0, "lost": 0, "other": 0}
    accept = partial(_is_current, d, table["TableArn"]) if skip_superseded else lambda _: True
    try:
        for name, batch in _in_order(place, table, target, count):
            failed, records = tally.failed, _records_of(d, place, name, batch)
            yield from _send(d, target, _matching(records, target, tally, accept), tally)
            ends = [batch["startSequenceNumber"], batch["endSequenceNumber"]]
            if [number_of(each) for each in records[:1] + records[-1:]] != ends:
                count["lost"] += 1
                left = f"the stream still has {len(records)} of its {batch['batchSize']} records (kept for 24 hours)"
                loss = f"{name}: {left}; the first one arrived at {batch['approximateArrivalOfFirstRecord']}"
                yield Result(f"lost    note {loss}", {"lost": [loss]})
            elif tally.failed > failed:
                count["kept"] += 1
            else:
                place.delete(name)
                count["deleted"] += 1
    finally:
        place.release()
    yield tally.result("; notes: " + ", ".join(f"{number} {what}" for what, number in count.items()), notes=count)
    if stay := count["kept"] + count["lost"]:
        advice = "correct the function and run redrive again; delete lost notes by hand"
        raise UserError(f"notes that remain in {d.settings.on_failure}: {stay}; {advice}")


def _records_of(d: Deployment, place: notes.Queue | notes.Bucket, name: str, batch: Mapping[str, Any]) -> list[Record]:
    """The records of a note and, with PARALLELIZATION_FACTOR above 1, the records between them in the stream."""
    if isinstance(place, notes.Bucket):
        return place.records(name)
    first, last, limit = batch["startSequenceNumber"], batch["endSequenceNumber"], min(batch["batchSize"], 1000)
    return list(read(d.client("dynamodbstreams"), batch["streamArn"], batch["shardId"], first, last, limit))


def place_of(d: Deployment) -> notes.Queue | notes.Bucket:
    """The queue or bucket of ON_FAILURE."""
    arn = d.settings.on_failure
    service = arn.split(":")[2] if arn else ""
    if service == "sqs":
        # `redrive` extends this time before each invocation, which takes up to half of it.
        return notes.Queue(d.client("sqs"), arn, 2 * d.settings.function_timeout + 20)
    if service == "s3":
        return notes.Bucket(d.client("s3"), arn)
    reason = f": {arn} is an SNS topic, which does not store notes" if arn else " is empty, so there are no notes"
    raise UserError(f"ON_FAILURE{reason}; allowed: the ARN of an SQS queue or an S3 bucket")


def _mapping(d: Deployment, stream_arn: str) -> dict[str, Any]:
    """The deployed mapping. Raises UserError if it does not exist."""
    lambda_ = d.client("lambda")
    current = mapping.with_filters(lambda_, mapping.describe(lambda_, d.settings.function_name, stream_arn))
    if current is None:
        raise UserError(f"function {d.settings.function_name} has no mapping on {stream_arn}; try: invoke map-stream")
    return current


def _in_order(place: notes.Queue | notes.Bucket, table: Mapping[str, Any], target: Mapping[str, Any],
              count: dict[str, int]) -> list[tuple[str, dict[str, Any]]]:  # fmt: skip
    """The names and batches of our notes, sorted by their records, because a queue has no order."""
    ours = {}
    for name, text in place.receive():
        if batch := notes.batch_of(text, table["TableArn"], target["FunctionArn"]):
            ours[name] = batch
        else:
            count["other"] += 1
    return sorted(ours.items(), key=lambda each: (each[1]["streamArn"], int(each[1]["startSequenceNumber"])))


def _is_current(d: Deployment, table_arn: str, record: Record) -> bool:
    """Whether the item still has the new image of the record. Compares Python values, because sets have no order."""
    key, image = items.parse(json.dumps(record["dynamodb"]["Keys"])), record["dynamodb"].get("NewImage")
    item = d.client("dynamodb").get_item(TableName=table_arn, Key=key, ConsistentRead=True).get("Item")
    value = TypeDeserializer().deserialize
    return bool(value({"M": item or {}}) == value({"M": items.parse(json.dumps(image)) if image else {}}))


def _matching(records: Iterable[Record], target: Mapping[str, Any], tally: Tally,
              accept: Callable[[Record], bool] = lambda _: True) -> Iterator[Record]:  # fmt: skip
    """The records that `accept` selects and that match the mapping's filters. Counts the others as skipped."""
    filters = target["FilterCriteria"].get("Filters", ())
    matches = any_pattern("FILTER_CRITERIA", [each.get("Pattern", "") for each in filters])
    for record in records:
        tally.hold()  # `accept` takes time
        if matches(record) and accept(record):
            yield record
        else:
            tally.skipped += 1


def _send(d: Deployment, target: Mapping[str, Any], records: Iterable[Record], tally: Tally) -> Events[None]:
    """Send the records in the mapping's batches, which it bisects after a failure. Emits the failed records."""
    for batch in items.batches(records, target["BatchSize"], _EVENT_BYTES):
        parts = [batch]
        while parts:
            part = []
            for record in parts.pop():
                if _key(record) in tally.blocked:
                    yield tally.fail(record, "not sent: an earlier record with the same key failed")
                else:
                    part.append(record)
            if not part:
                continue
            count, reason = retry(partial(_invoke, d.client("lambda"), target, part, tally.hold))
            tally.handled += count
            rest = part[count:]
            if target["BisectBatchOnFunctionError"] and len(part) > 1:
                # After a partial failure, the rest begins with the record that failed.
                middle = 0 if count else len(rest) // 2
                parts += [rest[middle:], rest[:middle]]
            else:
                yield from [tally.fail(record, reason) for record in rest]
        yield Progress(tally.step, str(tally), tally.handled + tally.failed)


def _key(record: Record) -> str:
    return json.dumps(record["dynamodb"]["Keys"], sort_keys=True)


def _invoke(lambda_: Any, target: Mapping[str, Any], batch: list[Record], hold: Callable[[], None]) -> tuple[int, str]:
    """Invoke the function. Returns the number of handled records, and why the next record failed.

    Lambda developer guide: "Configuring partial batch response with DynamoDB and Lambda".
    """
    hold()
    response = lambda_.invoke(FunctionName=target["FunctionArn"], Payload=json.dumps({"Records": batch}).encode())
    text = response["Payload"].read()
    try:
        answer = json.loads(text or b"null")
    except ValueError:  # a custom runtime may return any text
        answer = text.decode(errors="replace")
    if response.get("FunctionError"):
        error = answer if isinstance(answer, dict) else {}
        return 0, f"{error.get('errorType', response['FunctionError'])}: {error.get('errorMessage', '')}"
    if "ReportBatchItemFailures" not in target["FunctionResponseTypes"]:
        return len(batch), ""
    indices = {number_of(record): index for index, record in enumerate(batch)}
    try:
        failures = (answer or {}).get("batchItemFailures") or []
        first = min((indices[each["itemIdentifier"]] for each in failures), default=len(batch))
    except (AttributeError, LookupError, TypeError):
        return 0, f"batchItemFailures names no record of the batch: {text.decode(errors='replace')[:200]}"
    return first, "reported in batchItemFailures"
