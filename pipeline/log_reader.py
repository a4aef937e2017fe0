"""Reading what a function logged: its events across log streams, grouped by invocation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from types_boto3_logs import CloudWatchLogsClient


def fetch(
    logs: CloudWatchLogsClient, group: str, *, since_ms: int, pattern: str = "", request_id: str = ""
) -> Iterator[dict[str, Any]]:
    """The group's events across its log streams, in order of time, as FilterLogEvents answers them.

    `since_ms` is in milliseconds since 1970, `pattern` a filter pattern of CloudWatch Logs. With `request_id`, the
    lines of that invocation: also those that a handler printed without the id, between its START and its REPORT.
    CloudWatch Logs API reference: FilterLogEvents.
    """
    # AWS orders the streams' events by time anyway; other endpoints do when told to.
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


@dataclass(frozen=True)
class Invocation:
    """What one invocation logged. `request_id` is "" for lines that stand in none: of a filtered or cut-off reading."""

    request_id: str
    log_stream: str
    started_ms: int
    lines: tuple[str, ...]
    report: str = ""


def invocations(events: Iterable[Mapping[str, Any]]) -> list[Invocation]:
    """Group events by invocation, the newest last: START to REPORT of each log stream, with what was printed between.

    What a process logs before its first START (INIT_START, prints while importing) belongs to that first invocation.
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
        mark, marked_id = _mark(event["message"])
        if mark == "start" and request_id:
            # Its REPORT is missing: not written yet, or out of what was read.
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


# What is written once for an invocation that failed: the runtime's word for an exception, Lambda's for a process that
# ended or took too long. A line that the function itself logs as an error has a tab, or "message", in that place.
FAILURE = re.compile(r'\[ERROR\] |"level": ?"ERROR", ?"errorMessage"|Error: Runtime exited |Task timed out after ')

# Lambda's own lines, as the text and as the JSON log format have them.
_TEXT_MARK = re.compile(r"(START|END|REPORT) RequestId: (\S+)")
_JSON_MARK = re.compile(r'\{"time":.*"type": ?"platform\.(start|runtimeDone|report)".*"requestId": ?"([^"]+)"')


def _mark(message: str) -> tuple[str, str]:
    """Which of Lambda's own lines this is ("start", "end", "report", or "" for none), and its request id."""
    mark = _TEXT_MARK.match(message) or _JSON_MARK.match(message)
    return (mark[1].lower(), mark[2]) if mark else ("", "")


def _events(logs: CloudWatchLogsClient, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for page in logs.get_paginator("filter_log_events").paginate(**parameters):
        for event in page["events"]:
            yield {**event}
