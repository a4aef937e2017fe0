"""Reading what a function logged: events across log streams, grouped by invocation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

# Lines that Lambda or its runtime writes once for a failed invocation: an exception, a process that exited, a timeout.
# A line that the function itself logs as an error has a tab, or "message", in that place.
FAILURE = re.compile(r'\[ERROR\] |"level": ?"ERROR", ?"errorMessage"|Error: Runtime exited |Task timed out after ')

# Lambda's own lines, in the text and in the JSON log format.
_TEXT_MARK = re.compile(r"(START|END|REPORT) RequestId: (\S+)")
_JSON_MARK = re.compile(r'\{"time":.*"type": ?"platform\.(start|runtimeDone|report)".*"requestId": ?"([^"]+)"')


@dataclass(frozen=True)
class Invocation:
    """The lines of one invocation. `request_id` is "" for lines outside any: of filtered or truncated events."""

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
        """The first line that says that the invocation failed, or ""."""
        return next((line for line in self.lines if FAILURE.search(line)), "")


def fetch(
    logs: CloudWatchLogsClient, group: str, *, since_ms: int, pattern: str = "", request_id: str = ""
) -> Iterator[dict[str, Any]]:
    """The group's events across its log streams, in order of time, as FilterLogEvents returns them.

    `since_ms` is in milliseconds since 1970, `pattern` is a CloudWatch Logs filter pattern. With `request_id`, the
    events of that invocation, including those that a handler printed without the ID between START and REPORT. A group
    that does not exist (yet) has no events. CloudWatch Logs API reference: FilterLogEvents.
    """
    # AWS orders the events of several streams by time in any case; other endpoints only with `interleaved`.
    parameters: dict[str, Any] = {"logGroupName": group, "startTime": since_ms, "interleaved": True}
    if request_id:
        marks = list(_events(logs, {**parameters, "filterPattern": f'"{request_id}"'}))
        if not marks:
            return
        parameters["logStreamNames"] = sorted({mark["logStreamName"] for mark in marks})
        parameters["startTime"] = min(mark["timestamp"] for mark in marks)
        parameters["endTime"] = max(mark["timestamp"] for mark in marks) + 1
    if pattern:
        parameters["filterPattern"] = pattern
    yield from _events(logs, parameters)


def latest(logs: CloudWatchLogsClient, group: str) -> list[Invocation]:
    """The invocations at the end of the newest log stream; none if nothing was logged yet.

    A page of events may be empty although there are more before it.
    CloudWatch Logs API reference: DescribeLogStreams, GetLogEvents.
    """
    try:
        streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    except logs.exceptions.ResourceNotFoundException:
        return []
    if not streams["logStreams"]:
        return []
    stream = streams["logStreams"][0]["logStreamName"]
    request: dict[str, Any] = {"logGroupName": group, "logStreamName": stream, "limit": 1000}
    while True:
        page = logs.get_log_events(**request)
        if page["events"] or page.get("nextBackwardToken") in (None, request.get("nextToken")):
            return list(_of_stream(stream, page["events"]))
        request["nextToken"] = page["nextBackwardToken"]


def invocation_of(logs: CloudWatchLogsClient, group: str, event: Mapping[str, Any]) -> Invocation:
    """The invocation that logged `event`, with its lines from there on. It has ended once it has a `report`."""
    stream = event["logStreamName"]
    place = {"logGroupName": group, "logStreamNames": [stream], "interleaved": True}
    events = _events(logs, {**place, "startTime": event["timestamp"]})
    following = dropwhile(lambda each: each["message"] != event["message"], events)
    return next(_of_stream(stream, following), Invocation("", stream, event["timestamp"], ()))


def invocations(events: Iterable[Mapping[str, Any]]) -> list[Invocation]:
    """Group events by invocation, the newest last: START to REPORT of each log stream, with the lines between them.

    The lines that a process logs before its first START (INIT_START, prints during import) belong to that invocation.
    Lambda developer guide: "Using CloudWatch logs with Lambda".
    """
    streams: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        streams.setdefault(event["logStreamName"], []).append(event)
    found = [invocation for name, lines in streams.items() for invocation in _of_stream(name, lines)]
    return sorted(found, key=lambda invocation: invocation.started_ms)


def _of_stream(name: str, events: Iterable[Mapping[str, Any]]) -> Iterator[Invocation]:
    """A log stream is one process, which handles one invocation after the other."""
    lines: list[str] = []
    request_id, started = "", 0
    for event in events:
        found = _TEXT_MARK.match(event["message"]) or _JSON_MARK.match(event["message"])
        mark, marked_id = (found[1].lower(), found[2]) if found else ("", "")
        if mark == "start" and request_id:
            # Its REPORT is missing: not written yet, or not among these events.
            yield Invocation(request_id, name, started, tuple(lines))
            lines, request_id = [], ""
        if mark == "start" or not lines:
            started = event["timestamp"]
        if mark:
            request_id = marked_id
        lines.append(event["message"].rstrip("\n"))
        if mark == "report":
            yield Invocation(request_id, name, started, tuple(lines), report=lines[-1])
            lines, request_id = [], ""
    if lines:
        yield Invocation(request_id, name, started, tuple(lines))


def _events(logs: Any, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    try:
        for page in logs.get_paginator("filter_log_events").paginate(**parameters):
            yield from page["events"]
    except logs.exceptions.ResourceNotFoundException:
        return
