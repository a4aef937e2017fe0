"""Read a function's log: events from all log streams, grouped by invocation."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, cycle, dropwhile, islice
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

LogEvent: TypeAlias = dict[str, Any]  # as FilterLogEvents returns it

# Lambda or its runtime writes one such line for a failed invocation: an exception, a process that exited, or a timeout.
# # A line that the function logs as an error has a tab or "message" in that place instead.
FAILURE = re.compile(r'\[ERROR\] |"level": ?"ERROR", ?"errorMessage"|Error: Runtime exited |Task timed out after ')

# Lambda's own lines, in the text and in the JSON log format.
_TEXT_MARK = re.compile(r"(START|END|REPORT) RequestId: (\S+)")
_JSON_MARK = re.compile(r'\{"time":.*"type": ?"platform\.(start|runtimeDone|report)".*"requestId": ?"([^"]+)"')
# A filter pattern: the lines with one of these terms.
_STARTS = '?"START RequestId" ?"platform.start"'

# FilterLogEvents reads backwards only from 2024 on.
_REVERSIBLE_SINCE_MS = 1_704_067_200_000
# CloudWatch Logs allows only a few calls of FilterLogEvents per second and account.
_CALL_SECONDS, _POLL_SECONDS = 0.25, 1.0
# FilterLogEvents returns events seconds late, some streams later than others. Every tenth poll looks further back.
_OVERLAPS_MS = (120_000, *[10_000] * 9)


@dataclass(frozen=True)
class Invocation:
    """The lines of one invocation. `request_id` is "" for lines outside an invocation, if events are filtered."""

    request_id: str
    log_stream: str
    started_ms: int
    lines: tuple[str, ...]
    report: str = ""

    @property
    def ended(self) -> bool:
        """Whether the log shows its end."""
        return bool(self.report or self.failure)

    @property
    def failure(self) -> str:
        """The first line that reports a failure of the invocation, or ""."""
        return next((line for line in self.lines if FAILURE.search(line)), "")


def fetch(logs: Any, group: str, *, since_ms: int, pattern: str = "", request_id: str = "") -> Iterator[LogEvent]:
    """The group's events across its log streams, in order of time, as FilterLogEvents returns them.

    `since_ms` is in milliseconds since 1970, `pattern` is a CloudWatch Logs filter pattern. With `request_id`, the
    events of that invocation, including those that a handler printed without the ID between START and REPORT. A group
    that does not exist (yet) has no events. CloudWatch Logs API reference: FilterLogEvents.
    """
    return chain.from_iterable(_fetched(logs, group, since_ms, pattern, request_id))


def _fetched(logs: Any, group: str, since_ms: int, pattern: str, request_id: str) -> Iterator[list[LogEvent]]:
    """The pages of the events that `fetch` returns."""
    # AWS always sorts the events of several streams by time; other endpoints do so only with `interleaved`.
    parameters: dict[str, Any] = {"logGroupName": group, "startTime": since_ms, "interleaved": True}
    if request_id:
        marks = list(_events(logs, {**parameters, "filterPattern": f'"{request_id}"'}))
        if not marks:
            return
        parameters["logStreamNames"] = sorted({mark["logStreamName"] for mark in marks})
        parameters["startTime"] = min(mark["timestamp"] for mark in marks)
        parameters["endTime"] = max(mark["timestamp"] for mark in marks) + 1
    parameters |= {"filterPattern": pattern} if pattern else {}
    yield from _pages(logs, parameters)


def select(
    logs: CloudWatchLogsClient, group: str, *, since_ms: int, last: int, pattern: str = "", request_id: str = ""
) -> Iterable[Invocation]:
    """The newest `last` invocations, newest last. With 0, all invocations in the order of their ends. See `fetch`."""
    if last and not pattern and not request_id:
        found = invocations(newest(logs, group, since_ms=since_ms, last=last)[0])
        # Lines outside an invocation do not count, unless there are no other lines.
        counted = [each for each in found if each.request_id][-last:] or found[-last:]
        return [each for each in found if each.started_ms >= counted[0].started_ms]
    events = chain.from_iterable(_ahead(_fetched(logs, group, since_ms, pattern, request_id)))
    return invocations(events)[-last:] if last else grouped([events])


def newest(logs: Any, group: str, *, since_ms: int, last: int) -> tuple[list[LogEvent], int, list[LogEvent]]:
    """The events of the newest `last` invocations and of all that began after them.

    Also returns when the oldest of them began (or since_ms, if there are fewer) and all events since then.
    Reads backward to the start of the oldest of them, so the time does not depend on the size of the log group.
    CloudWatch Logs API reference: FilterLogEvents with startFromHead, GetLogEvents.
    """
    backwards: Any = {"startTime": max(since_ms, _REVERSIBLE_SINCE_MS), "startFromHead": False}
    marks = _events(logs, {"logGroupName": group, "filterPattern": _STARTS, "limit": min(last, 10_000), **backwards})
    starts = (event["timestamp"] for event in marks if mark_of(event)[0] == "start")
    start_ms = next(islice(starts, last - 1, None), since_ms)
    streams: dict[str, list[LogEvent]] = {}
    for event in fetch(logs, group, since_ms=start_ms):
        streams.setdefault(event["logStreamName"], []).append(event)
    read = list(chain.from_iterable(streams.values()))
    if start_ms == since_ms:
        return read, start_ms, read
    whole = (_whole(logs, group, events, since_ms, start_ms) for events in streams.values())
    return list(chain.from_iterable(whole)), start_ms, read


def _whole(logs: Any, group: str, events: list[LogEvent], since_ms: int, start_ms: int) -> list[LogEvent]:
    """A log stream since `start_ms`, without the rest of an earlier invocation, but with the lines before a START."""
    marks = [mark_of(event)[0] for event in events]
    first = next(filter(None, marks), "")
    if first in ("", "start"):
        before, mark = [], ""
        span = {"startTime": since_ms, "endTime": start_ms, "limit": 100}
        for event in chain.from_iterable(map(reversed, _backwards(logs, group, events[0]["logStreamName"], span))):
            mark = mark_of(event)[0]
            if mark:
                break
            before.append(event)
        if mark in ("", "report"):
            return [*reversed(before), *events]
    # The START of a later invocation, or what follows the earlier one's REPORT.
    if first == "start":
        return events[marks.index("start") :]
    return events[marks.index("report") + 1 :] if "report" in marks else []


def _backwards(logs: Any, group: str, stream: str, span: Mapping[str, Any]) -> Iterator[list[LogEvent]]:
    """Pages of a log stream, the newest first. A page may be empty although there are more before it."""
    request = {"logGroupName": group, "logStreamName": stream, **span}
    while True:
        page = logs.get_log_events(**request)
        yield [{**event, "logStreamName": stream} for event in page["events"]]
        if page.get("nextBackwardToken") in (None, request.get("nextToken")):
            return
        request["nextToken"] = page["nextBackwardToken"]


def latest(logs: CloudWatchLogsClient, group: str) -> list[Invocation]:
    """The invocations at the end of the newest log stream; none if the log is empty.

    CloudWatch Logs API reference: DescribeLogStreams, GetLogEvents.
    """
    try:
        streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    except logs.exceptions.ResourceNotFoundException:
        return []
    if not streams["logStreams"]:
        return []
    pages = _backwards(logs, group, streams["logStreams"][0]["logStreamName"], {"limit": 1000})
    return invocations(next(filter(None, pages), []))


def follow(
    logs: Any, group: str, *, since_ms: int, last: int, pattern: str, until: Callable[[], bool], pause: Any = time.sleep
) -> Iterator[list[LogEvent]]:
    """Yield the events of the newest `last` invocations, then the new ones of all log streams, until `until()`.

    Yields each event once, one poll after it is found, and sorts the events of a poll by time. Misses events that
    FilterLogEvents returns more than two minutes late. With `last` 0 or a filter pattern, begins with all events since
    `since_ms`. The log group does not have to exist yet. Makes up to four calls a second, with `pause(seconds)` after
    each. CloudWatch Logs API reference: FilterLogEvents.
    """
    seen: dict[str, int] = {}
    if last and not pattern:
        events, since_ms, read = newest(logs, group, since_ms=since_ms, last=last)
        yield sorted(events, key=lambda event: event["timestamp"])
        seen = {event["eventId"]: event["timestamp"] for event in read}
    newest_ms = since_ms
    held: list[LogEvent] = []
    parameters = {"logGroupName": group, "interleaved": True, **({"filterPattern": pattern} if pattern else {})}
    for overlap_ms in cycle(_OVERLAPS_MS):
        for page in _pages(logs, {**parameters, "startTime": max(since_ms, newest_ms - overlap_ms)}):
            new = [event for event in page if event["eventId"] not in seen]
            known_ms = max((event["timestamp"] for event in held), default=0)
            held = sorted([*held, *new], key=lambda event: event["timestamp"])
            yield [event for event in held if event["timestamp"] <= known_ms]
            held = [event for event in held if event["timestamp"] > known_ms]
            # An event's timestamp can be in the future.
            newest_ms = max([newest_ms, *(min(event["timestamp"], event["ingestionTime"]) for event in page)])
            seen |= {event["eventId"]: event["timestamp"] for event in new}
            seen = {event: time_ms for event, time_ms in seen.items() if time_ms >= newest_ms - max(_OVERLAPS_MS)}
            pause(_CALL_SECONDS)
            if until():
                yield held
                return
        pause(_POLL_SECONDS)


def invocation_of(logs: CloudWatchLogsClient, group: str, event: Mapping[str, Any]) -> Invocation:
    """The invocation that logged `event`, with its lines from there on. It has ended once it has a `report`."""
    stream = event["logStreamName"]
    place = {"logGroupName": group, "logStreamNames": [stream], "interleaved": True}
    events = _events(logs, {**place, "startTime": event["timestamp"]})
    following = dropwhile(lambda each: each["message"] != event["message"], events)
    return next(grouped([following]), Invocation("", stream, event["timestamp"], ()))


def invocations(events: Iterable[Mapping[str, Any]]) -> list[Invocation]:
    """Group events by invocation, the newest last."""
    return sorted(grouped([events]), key=lambda invocation: (invocation.started_ms, invocation.log_stream))


def grouped(polls: Iterable[Iterable[Mapping[str, Any]]], patience: float = math.inf) -> Iterator[Invocation]:
    """Group events by invocation, in the order in which they end: START to REPORT of each log stream.

    The lines that a process logs before its first START (INIT_START, prints during import) belong to that invocation.
    An invocation that runs longer than `patience` seconds is split into parts, one after each poll. A line after the
    REPORT is a separate part. Lambda developer guide: "Using CloudWatch logs with Lambda".
    """
    processes: dict[str, _Process] = {}
    for events in polls:
        for event in events:
            name = event["logStreamName"]
            process = processes.get(name) or processes.setdefault(name, _Process(name))
            if invocation := process.add(event):
                yield invocation
        began = time.monotonic() - patience
        yield from (process.take() for process in processes.values() if process.lines and process.since <= began)
    yield from (process.take() for process in processes.values() if process.lines)


@dataclass
class _Process:
    """A log stream belongs to one process, which handles one invocation at a time. `since`: when `lines` began here."""

    name: str
    request_id: str = ""
    started_ms: int = 0
    lines: list[str] = field(default_factory=list)
    since: float = 0.0
    ended_ms: int = 0
    ended_id: str = ""

    def add(self, event: Mapping[str, Any]) -> Invocation | None:
        """Add an event. Returns the invocation that it ends."""
        mark, request_id = mark_of(event)
        line, time_ms, ended = event["message"].rstrip("\n"), event["timestamp"], None
        if time_ms < self.ended_ms:
            return Invocation(self.ended_id, self.name, time_ms, (line,))
        if mark == "start" and self.request_id and self.lines:
            ended = self.take()  # its REPORT is not written yet, or not among these events
        if not self.lines:
            self.since = time.monotonic()
        if mark == "start" or not (self.lines or self.request_id):
            self.started_ms = time_ms
        self.request_id = request_id or self.request_id
        self.lines.append(line)
        if mark == "report":
            ended = self.take(report=line)
            self.ended_ms, self.ended_id, self.request_id = time_ms, request_id, ""
        return ended

    def take(self, report: str = "") -> Invocation:
        """Return the invocation with the lines so far. Later lines become another part."""
        lines, self.lines = tuple(self.lines), []
        return Invocation(self.request_id, self.name, self.started_ms, lines, report)


def mark_of(event: Mapping[str, Any]) -> tuple[str, str]:
    """The kind (start, end, report) and the request ID of a line of Lambda's own; "" and "" for another line."""
    found = _TEXT_MARK.match(event["message"]) or _JSON_MARK.match(event["message"])
    return (found[1].lower(), found[2]) if found else ("", "")


def _ahead(pages: Iterator[list[LogEvent]]) -> Iterator[list[LogEvent]]:
    """Read the next page while the caller works on this one."""
    with ThreadPoolExecutor(1) as reader:
        page = reader.submit(next, pages, None)
        while (events := page.result()) is not None:
            page = reader.submit(next, pages, None)
            yield events


def _events(logs: Any, parameters: Mapping[str, Any]) -> Iterator[LogEvent]:
    return chain.from_iterable(_pages(logs, parameters))


def _pages(logs: Any, parameters: Mapping[str, Any]) -> Iterator[list[LogEvent]]:
    """The pages of FilterLogEvents. A log group that does not exist (yet) has an empty one."""
    try:
        for page in logs.get_paginator("filter_log_events").paginate(**parameters):
            yield page["events"]
    except logs.exceptions.ResourceNotFoundException:
        yield []
