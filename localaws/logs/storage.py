"""Log events in the database, so that a function which prints a line per record takes no memory.

They replace moto's lists, which it sorts on each read. CloudWatch Logs API reference, "GetLogEvents" and
"FilterLogEvents".
"""

from __future__ import annotations

import copy
import heapq
import json
import time
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any

from moto.core.utils import unix_time_millis
from moto.logs import models
from moto.logs.exceptions import ResourceNotFoundException

from localaws import database, delays
from localaws.errors import AwsError
from localaws.logs import patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moto.logs.responses import LogsResponse

_MAX_EVENTS = 10_000
_MAX_GROUPS = 50
_NO_STREAM = "The specified log stream does not exist."
_FIRST_READS = (16, 128)
_EVENTS_PER_READ = 1000
_END_OF_TIME = 2**62
_REVERSIBLE_SINCE = 1_704_067_200_000  # 2024-01-01; FilterLogEvents with startFromHead=false needs a later startTime
_groups: delays.History[models.LogGroup] = delays.History()


class Events:
    """The events of one log stream, in place of moto's list."""

    def __init__(self, stream_name: str) -> None:
        self._id = next(database.stream_ids)
        self._stream_name = stream_name

    def __iadd__(self, events: list[models.LogEvent]) -> Events:  # noqa: PYI034 - `Self` is not in Python 3.10
        # The database numbers them: moto's own numbers repeat if two threads write at once.
        rows = ((None, self._id, each.timestamp, each.ingestion_time, each.message) for each in events)
        database.insert("event", rows)
        return self

    def __len__(self) -> int:
        return self.count(0, _END_OF_TIME)

    def __iter__(self) -> Iterator[models.LogEvent]:
        for timestamp, event_id, ingested, text, _ in self.after((0, -1), _END_OF_TIME):
            event = models.LogEvent(ingested, {"timestamp": timestamp, "message": text})
            event.event_id = event_id
            yield event

    def count(self, start: int, end: int) -> int:
        """Count the events from `start` to `end`, in milliseconds since 1970."""
        ((number,),) = database.execute(
            "SELECT count(*) FROM event WHERE stream = ? AND timestamp BETWEEN ? AND ?", self._id, start, end
        )
        return int(number)

    def bounds(self, ingested: int) -> tuple[int | None, int | None, int | None]:
        """Return the first and the last timestamp, and the last ingestion time, of the events ingested until then."""
        return database.execute(
            "SELECT min(timestamp), max(timestamp), max(ingested) FROM event WHERE stream = ? AND ingested <= ?",
            *(self._id, ingested),
        )[0]

    def slice(self, start: int, end: int, first: int, last: int) -> list[dict[str, Any]]:
        """Return the events number `first` to `last` of those from `start` to `end`, as GetLogEvents shows them."""
        rows = database.execute(
            "SELECT ingested, text, timestamp FROM event WHERE stream = ? AND timestamp BETWEEN ? AND ?"
            " ORDER BY timestamp, id LIMIT ? OFFSET ?",
            *(self._id, start, end, last - first, first),
        )
        return [dict(zip(("ingestionTime", "message", "timestamp"), row, strict=True)) for row in rows]

    def after(self, position: tuple[int, int], end: int) -> Iterator[tuple[int, int, int, str, str]]:
        """Yield timestamp, id, ingestion time, message and stream name of the events after a (timestamp, id)."""
        return self._read("(timestamp, id) > (?, ?) AND timestamp <= ? ORDER BY timestamp, id", position, end)

    def before(self, position: tuple[int, int], start: int) -> Iterator[tuple[int, int, int, str, str]]:
        """Yield the same of the events before a (timestamp, id), the newest first."""
        order = "ORDER BY timestamp DESC, id DESC"
        return self._read(f"(timestamp, id) < (?, ?) AND timestamp >= ? {order}", position, start)

    def _read(self, rest: str, position: tuple[int, int], bound: int) -> Iterator[tuple[int, int, int, str, str]]:
        query = f"SELECT timestamp, id, ingested, text FROM event WHERE stream = ? AND {rest} LIMIT ?"  # noqa: S608 - ours
        for size in chain(_FIRST_READS, repeat(_EVENTS_PER_READ)):  # a page of many streams has few events of each
            rows = database.execute(query, self._id, *position, bound, size)
            yield from ((*row, self._stream_name) for row in rows)
            if len(rows) < size:
                return
            position = rows[-1][:2]

    def searchable_until(self) -> float:
        """The latest ingestion time of events that FilterLogEvents finds now: it differs from stream to stream."""
        share = 1 - self._id % 3 / 4
        return (time.time() - delays.delay_for("logs-searchable") * share) * 1000

    def delete(self) -> None:
        """Delete all events."""
        database.execute("DELETE FROM event WHERE stream = ?", self._id)


class LogStream(models.LogStream):
    """moto's log stream, with its events in the database."""

    def __init__(self, log_group: models.LogGroup, name: str) -> None:
        super().__init__(log_group, name)
        self.events: Events = Events(name)  # type: ignore[assignment]

    def to_describe_dict(self) -> dict[str, Any]:
        """The stream as DescribeLogStreams shows it. The times of its events are late."""
        stream = {
            "arn": self.arn,
            "creationTime": int(unix_time_millis(self.creation_time)),
            "logStreamName": self.log_stream_name,
            "storedBytes": self.stored_bytes,
        }
        first, last, ingested = self.events.bounds(_horizon("log-stream-times"))
        if first is None:
            return stream
        times = {"firstEventTimestamp": first, "lastEventTimestamp": last, "lastIngestionTime": ingested}
        return {**stream, **times, "uploadSequenceToken": str(self.upload_sequence_token)}

    def _send_log_events(self, service: str, destination_arn: str, filter_name: str, log_events: list[Any]) -> None:
        """Send the events that match the subscription filter. moto sends all."""
        matches = _matcher(self.log_group.subscription_filters[filter_name].filter_pattern)
        if chosen := [event for event in log_events if matches(event["message"])]:
            super()._send_log_events(service, destination_arn, filter_name, chosen)

    def get_log_events(
        self, start_time: Any, end_time: Any, limit: int | None, next_token: str | None, start_from_head: Any
    ) -> tuple[list[dict[str, Any]], str, str]:
        """GetLogEvents: a page, and the tokens of the pages before and after. At an end, the token stays the same."""
        # An event at endTime is not returned.
        start, end, limit = start_time or 0, (end_time or _END_OF_TIME) - 1, limit or _MAX_EVENTS
        number = self.events.count(start, end)
        if next_token:
            direction, index = _parse_token(next_token, "/")
            first = index if direction == "f" else max(index - limit, 0)
            last = index if direction == "b" else min(index + limit, number)
        elif start_from_head:
            first, last = 0, min(limit, number)
        else:
            first, last = max(number - limit, 0), number
        return self.events.slice(start, end, first, last), f"b/{first:056d}", f"f/{last:056d}"


class MessageFilter:
    """The filter pattern of StartLiveTail. moto's knows terms and phrases only."""

    def __init__(self, pattern: str) -> None:
        self.matches = _matcher(pattern)


def put_subscription_filter(
    call: Callable[..., None], self: models.LogsBackend, group: str, name: str, pattern: str, *rest: str
) -> None:
    """Wrap PutSubscriptionFilter: it refuses an invalid pattern, which would fail with each event."""
    _matcher(pattern)
    call(self, group, name, pattern, *rest)


def filter_log_events(self: LogsResponse) -> tuple[bytes, dict[str, str]]:
    """FilterLogEvents: a page of the events of all streams, by time. moto does not have `startFromHead`."""
    read = self._get_param
    limit, start, end = read("limit") or _MAX_EVENTS, read("startTime") or 0, read("endTime") or _END_OF_TIME
    group = self.logs_backend.groups.get(read("logGroupName") or _name_in(read("logGroupIdentifier") or ""))
    if group is None:
        raise ResourceNotFoundException
    names, prefix = read("logStreamNames"), read("logStreamNamePrefix") or ""
    if set(names or ()) - set(group.streams):
        raise ResourceNotFoundException(_NO_STREAM)
    forward = read("startFromHead") is not False
    position = (start, -1) if forward else (end, _END_OF_TIME)
    if token := read("nextToken"):
        direction, _, place = token.partition("/")
        timestamp, event_id = _parse_token(place, "-")
        forward, position = direction == "f", (int(timestamp), event_id)
    elif not forward and start < _REVERSIBLE_SINCE:
        raise AwsError("InvalidParameterException", "startTime must be on or after Jan 1, 2024 00:00:00 UTC.")
    pattern = read("filterPattern") or ""
    matches = _matcher(pattern)
    streams: list[Any] = [group.streams[name] for name in names or list(group.streams) if name.startswith(prefix)]
    until = {stream.log_stream_name: stream.events.searchable_until() for stream in streams}
    sources = (
        stream.events.after(position, end) if forward else stream.events.before(position, start) for stream in streams
    )
    events: Iterator[dict[str, Any]] = (
        {"logStreamName": name, "timestamp": timestamp, "message": text, "ingestionTime": ingested,
         "eventId": f"{event_id:056d}"}
        for timestamp, event_id, ingested, text, name in heapq.merge(*sources, reverse=not forward)
        if ingested <= until[name] and (not pattern or matches(text))
    )  # fmt: skip
    page = list(islice(events, limit))
    answer: dict[str, object] = {"events": page, "searchedLogStreams": []}
    if next(events, None):
        answer["nextToken"] = f"{'f' if forward else 'b'}/{page[-1]['timestamp']}-{page[-1]['eventId']}"
    return json.dumps(answer).encode(), {}  # moto searches a text for a request ID, which takes longer than all else


def _matcher(pattern: str) -> patterns.Predicate:
    """Whether a message matches a filter pattern. Raises AwsError for an invalid one."""
    try:
        return patterns.compile_pattern(pattern)
    except ValueError as error:
        raise AwsError("InvalidParameterException", str(error)) from None


def _horizon(event: str) -> int:
    """The time, in milliseconds since 1970, before the delay of `event`."""
    return int((time.time() - delays.delay_for(event)) * 1000)


def _parse_token(token: str, separator: str) -> tuple[str, int]:
    """Return the two parts of a token. Raises AwsError if no page had this token."""
    first, _, second = token.partition(separator)
    if not second.isdigit() or not (first in ("f", "b") or first.isdigit()):
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    return first, int(second)


def find_log_stream(call: Callable[..., Any], self: models.LogGroup, log_stream_name: str, *rest: Any) -> Any:
    """Wrap a call that reads or deletes a log stream: moto's error says that the log group does not exist."""
    if log_stream_name not in self.streams:
        raise ResourceNotFoundException(_NO_STREAM)
    return call(self, log_stream_name, *rest)


def _name_in(identifier: str) -> str:
    """The name of a log group, from its name or its ARN."""
    return identifier.rpartition(":log-group:")[2].removesuffix(":*")


def delete_log_stream(delete: Callable[..., None], self: models.LogGroup, name: str) -> None:
    """Wrap the deletion of a log stream: it deletes the events."""
    stream = self.streams.get(name)
    delete(self, name)
    if stream:
        stream.events.delete()  # type: ignore[attr-defined] # a LogStream's


def delete_log_group(delete: Callable[..., None], self: models.LogsBackend, name: str) -> None:
    """Wrap the deletion of a log group: it deletes the events, and the tags, which a new group of that name had."""
    group = self.groups.get(name)
    delete(self, name)
    if not group:
        return
    self.tagger.delete_all_tags_for_resource(group.arn)
    for stream in group.streams.values():
        stream.events.delete()  # type: ignore[attr-defined] # a LogStream's


def record_log_groups(write: Callable[..., Any], self: models.LogsBackend, *arguments: Any, **options: Any) -> Any:
    """Wrap the creation or deletion of a log group: DescribeLogGroups shows it later."""
    result = write(self, *arguments, **options)
    _groups.record(f"{self.account_id} {self.region_name}", lambda: dict(self.groups))
    return result


def describe_log_groups(self: LogsResponse) -> str:
    """DescribeLogGroups, which shows a new group later. moto ignores the pattern."""
    read, backend = self._get_param, self.logs_backend
    seen = _groups.seen(f"{backend.account_id} {backend.region_name}", "log-group-listed", lambda: backend.groups)
    replica = copy.copy(backend)
    replica.groups = {name: group for name, group in seen.items() if (read("logGroupNamePattern") or "") in name}
    groups, token = replica.describe_log_groups(
        limit=read("limit") or _MAX_GROUPS,
        log_group_name_prefix=read("logGroupNamePrefix"),
        next_token=read("nextToken"),
    )
    return json.dumps({"logGroups": [group.to_describe_dict() for group in groups], "nextToken": token})


def list_tags(call: Callable[..., dict[str, str]], self: models.LogsBackend, arn: str) -> dict[str, str]:
    """Wrap ListTagsForResource: a log group that does not exist is an error, also while lists still show it."""
    _, _, name = arn.partition(":log-group:")
    if name and _name_in(arn) not in self.groups:
        raise ResourceNotFoundException
    return call(self, arn)


def describe_log_streams(describe: Callable[..., Any], self: models.LogGroup, **options: Any) -> Any:
    """Wrap DescribeLogStreams: a new stream appears later."""
    replica, horizon = copy.copy(self), _horizon("log-stream-listed")
    streams = list(self.streams.items())
    replica.streams = {name: each for name, each in streams if unix_time_millis(each.creation_time) <= horizon}
    return describe(replica, **options)
