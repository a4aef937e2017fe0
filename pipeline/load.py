"""`load`: write many items at a rate, follow each through stream, function and log, and delete them."""

from __future__ import annotations

import base64
import re
import secrets
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import length_hint
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from . import causes, histogram, items, log_reader, metrics, parameters, records, smoke
from .deployment import Deployment
from .events import Events, Progress, Result, Started
from .resources.change import UserError

# The connections that a client keeps open (session.py).
MAX_CONNECTIONS = 50


@dataclass
class _Load:
    """The items by number: when each was sent (seconds since 1970), and a digest of the invocation that logged it.

    An item takes 24 bytes, which saves memory. `aws_ms` is AWS's time at the start. `rejected` has AWS's messages.
    """

    d: Deployment
    table: Mapping[str, Any]
    total: int
    rate: float
    aws_ms: int
    token: int = field(default_factory=lambda: secrets.randbits(64) << 64)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    rejected: dict[int, str] = field(default_factory=dict)
    duplicated: int = 0

    def __post_init__(self) -> None:
        self.began, self.heard = time.time(), time.monotonic()
        self.numbers, self.writers = iter(range(self.total)), list[Future[None]]()
        self.sent, self.invocations = array("d", bytes(8 * self.total)), array("q", bytes(8 * self.total))
        # AWS returns its time in whole seconds, so a smaller difference does not count.
        ahead = self.began - self.aws_ms / 1000
        self.ahead = ahead if not -1 <= ahead <= 2 else 0.0  # noqa: PLR2004
        self.extra = smoke.extra_attributes(self.d.settings)

    @property
    def written(self) -> int:
        """The number of items that the threads have taken. They share the numbers."""
        return self.total - length_hint(self.numbers)

    def item(self, number: int) -> dict[str, Any]:
        """The item of this number."""
        return smoke.new_item(self.table, self.extra, self.token + number)[0]

    def deliver(self, number: int, request_id: str, seconds: float) -> None:
        """Record that an invocation logged an item at this time."""
        invocation = hash(request_id) | 1
        if not self.invocations[number]:
            self.rejected.pop(number, None)  # AWS accepted the item, but its responses were lost
            self.latencies.append(max(0.0, seconds + self.ahead - self.sent[number]) * 1000)
        elif self.invocations[number] != invocation:
            self.duplicated += 1
        self.invocations[number], self.heard = invocation, time.monotonic()

    def is_over(self) -> bool:
        """Whether all items were found, or no item was found for SMOKE_TIMEOUT."""
        if not all(writer.done() for writer in self.writers):
            self.heard = time.monotonic()
            return False
        late = time.monotonic() > self.heard + self.d.settings.smoke_timeout
        return late or len(self.latencies) >= self.total - len(self.rejected)


def cost(total: int) -> str:
    """What a load of `total` items uses on AWS, for the confirmation."""
    return (
        f"load writes {total} items of less than 1 KB and deletes them: {2 * total} write request units, just as many "
        "stream records, the invocations, log data, and a few calls of FilterLogEvents a second while it "
        "runs. A new on-demand table accepts 4,000 writes a second. See https://aws.amazon.com/dynamodb/pricing"
    )


def run(d: Deployment, *, total: int, rate: float, connections: int) -> Events[None]:
    """Write `total` items at `rate` items a second (0: as fast as possible), follow them into the log, and delete them.

    Ends when all items were found in the log, or SMOKE_TIMEOUT after the last one was found. Raises UserError if a
    resource is missing, and after the result if an item was rejected or lost. The function must log the item's key.
    """
    yield Started("load")
    parts = causes.look(d)
    if cause := next(causes.of_parts(d, parts), None):
        raise UserError(str(cause))
    mapping = parts.mapping or {}
    load = _Load(d, parts.table or {}, total, rate, records.aws_time_ms(mapping))
    smoke.check_filters(load.table, mapping, load.item(0))
    if d.dry_run:
        yield Result(f"load would write {total} items to table {d.settings.table_name}, and delete them")
        return
    stop = threading.Event()
    with ThreadPoolExecutor(connections) as pool:
        starts = iter(range(0, total, items.BATCH_ITEMS))
        try:
            load.writers += [pool.submit(_write, load, stop) for _ in range(connections)]
            yield from _follow(load)
        finally:
            stop.set()
            deletions = [pool.submit(_delete, load, starts) for _ in range(connections)]
    yield _result(load)
    for each in (*load.writers, *deletions):
        each.result()  # raises the error that prevented writes or deletions
    accepted = total - len(load.rejected)
    if lost := accepted - len(load.latencies):
        raise UserError(f"{lost} of {accepted} items did not appear in the log; find the cause with: invoke doctor")
    if load.rejected:
        raise UserError(f"AWS rejected {len(load.rejected)} of {total} items: {next(iter(load.rejected.values()))}")


def _write(load: _Load, stop: threading.Event) -> None:
    """Put items until none is left. Several threads share the numbers."""
    dynamodb, name = load.d.client("dynamodb"), load.table["TableName"]
    for number in load.numbers:
        if stop.wait(max(0.0, load.began + number / load.rate - time.time()) if load.rate else 0):
            return
        load.sent[number] = time.time()
        try:
            dynamodb.put_item(TableName=name, Item=load.item(number))
        except (ClientError, BotoCoreError) as error:
            if not load.invocations[number]:
                load.rejected[number] = str(error)


def _delete(load: _Load, starts: Iterator[int]) -> None:
    """Delete the items that were sent. Several threads share the numbers at which batches start."""
    names = items.key_types(load.table)
    for start in starts:
        sent = [number for number in range(start, min(start + items.BATCH_ITEMS, load.total)) if load.sent[number]]
        keys = ({name: item[name] for name in names} for item in map(load.item, sent))
        if requests := [{"DeleteRequest": {"Key": key}} for key in keys]:
            items.write(load.d.client("dynamodb"), load.table["TableName"], requests)


def _follow(load: _Load) -> Events[None]:
    """Find the items in the log."""
    numbers_in = _finder(load)
    group = parameters.log_group_name(load.d.settings)
    request: dict[str, Any] = {"since_ms": load.aws_ms, "last": 0, "pattern": "", "until": load.is_over}
    request_ids: dict[str, str] = {}  # by log stream, whose process handles one invocation at a time
    for events in log_reader.follow(load.d.client("logs"), group, **request):
        for event in events:
            stream = event["logStreamName"]
            request_ids[stream] = log_reader.mark_of(event)[1] or request_ids.get(stream, "")
            for number in numbers_in(event["message"]):
                load.deliver(number, request_ids[stream], event["timestamp"] / 1000)
        found = len(load.latencies)
        yield Progress("load", f"{load.written} of {load.total} items written, {found} found", found, load.total)


def _finder(load: _Load) -> Callable[[str], Iterator[int]]:
    """A function that finds the numbers of the items whose keys are in a text."""
    prefix = f"smoke{load.token >> 64:016x}"
    in_base64 = re.escape(base64.b64encode(prefix.encode()).decode())
    forms: dict[str, tuple[str, Callable[[str], int]]] = {
        "S": (prefix + "([0-9a-f]{16})", lambda each: int(each, 16)),
        "N": (r"(?<!\d)([12]\d{28})7(?!\d)", lambda each: (int(each) - load.token) % 10**28),
        "B": (in_base64 + r"([\w+/]{22}==)", lambda each: int(base64.b64decode(each), 16)),
    }
    pattern, number = forms[next(iter(items.key_types(load.table).values()))]
    find = re.compile(pattern).findall
    return lambda text: (each for each in set(map(number, find(text))) if each < load.total)


def _result(load: _Load) -> Result:
    values = sorted(load.latencies)
    accepted = load.total - len(load.rejected)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0} if values else {}
    latency = {name: round(values[min(int(len(values) * share), len(values) - 1)], 1) for name, share in shares.items()}
    ages = [point["Maximum"] for point in metrics.datapoints(load.d, "IteratorAge", "Maximum")]
    counts = histogram.buckets(values)
    path = load.d.root / "build" / "load.svg"
    path.parent.mkdir(exist_ok=True)
    path.write_text(histogram.svg(f"{len(values)} items, from the put to the log", counts), encoding="utf-8")
    result = {
        "accepted": accepted,
        "delivered": len(values),
        "duplicated": load.duplicated,
        "lost": accepted - len(values),
        "latency_ms": latency,
        "iterator_age_ms": max(ages, default=None),
        "histogram": counts,
        "svg": str(path.relative_to(load.d.root)),
    }
    shown = [f"  {name:<14}  {result[name]}" for name in ("accepted", "delivered", "duplicated", "lost")]
    shown.append(f"  {'latency':<14}  " + ", ".join(f"{name} {value:g} ms" for name, value in latency.items()))
    shown.append(f"  {'iterator age':<14}  {max(ages, default=0):.0f} ms maximum in {metrics.MINUTES} min")
    seconds = max(load.sent, default=0) - load.began
    text = f"load: {load.written} items written in {seconds:.1f} s, {load.written / max(seconds, 0.001):.0f} a second"
    return Result("\n".join([text, *shown, *histogram.text(counts), f"  {result['svg']}"]), result)
