"""Log events in the database, so that a function which prints a line per record takes no memory.

They replace moto's lists, which it sorts on each read. CloudWatch Logs API reference, "GetLogEvents" and
"FilterLogEvents".
"""

from __future__ import annotations

import copy
import heapq
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from moto.core.utils import unix_time_millis
from moto.logs import models
from moto.logs.exceptions import ResourceNotFoundException
from moto.logs.utils import EventMessageFilter

from localaws import database, delays
from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_EVENTS = 10_000
_EVENTS_PER_READ = 1000
_END_OF_TIME = 2**62
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
        while rows := database.execute(
            "SELECT timestamp, id, ingested, text FROM event WHERE stream = ? AND (timestamp, id) > (?, ?)"
            " AND timestamp <= ? ORDER BY timestamp, id LIMIT ?",
            *(self._id, *position, end, _EVENTS_PER_READ),
        ):
            yield from ((*row, self._stream_name) for row in rows)
            position = rows[-1][:2]

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

    def get_log_events(
        self, start_time: Any, end_time: Any, limit: int | None, next_token: str | None, start_from_head: Any
    ) -> tuple[list[dict[str, Any]], str, str]:
        """GetLogEvents: a page, and the tokens of the pages before and after. At an end, the token stays the same."""
        start, end, limit = start_time or 0, end_time or _END_OF_TIME, limit or _MAX_EVENTS
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


def filter_log_events(
    self: models.LogGroup,
    log_group_name: str,  # noqa: ARG001 - moto's parameters
    log_stream_names: list[str],
    start_time: int | None,
    end_time: int | None,
    limit: int | None,
    next_token: str | None,
    filter_pattern: str,
    interleaved: bool,  # noqa: ARG001 - AWS ignores it too: events are always sorted by time
) -> tuple[list[dict[str, Any]], str | None, list[dict[str, Any]]]:
    """FilterLogEvents: a page of the events of all streams, by time."""
    position = ((start_time or 0), -1)
    if next_token:
        timestamp, event_id = _parse_token(next_token, "-")
        position = (int(timestamp), event_id)
    pattern, searchable = EventMessageFilter(filter_pattern), _horizon("logs-searchable")
    streams = [stream for name, stream in self.streams.items() if name in (log_stream_names or self.streams)]
    rows = heapq.merge(*(stream.events.after(position, end_time or _END_OF_TIME) for stream in streams))  # type: ignore[attr-defined] # a LogStream's
    events: Iterator[dict[str, Any]] = (
        {
            "logStreamName": name,
            "timestamp": timestamp,
            "message": text,
            "ingestionTime": ingested,
            "eventId": f"{event_id:056d}",
        }
        for timestamp, event_id, ingested, text, name in rows
        if ingested <= searchable and pattern.matches(text)
    )
    page = list(islice(events, limit or _MAX_EVENTS))
    more = f"{page[-1]['timestamp']}-{page[-1]['eventId']}" if next(events, None) else None
    searched = [{"logStreamName": stream.log_stream_name, "searchedCompletely": not more} for stream in streams]
    return page, more, searched


def _horizon(event: str) -> int:
    """The time, in milliseconds since 1970, before the delay of `event`."""
    return int((time.time() - delays.delay_for(event)) * 1000)


def _parse_token(token: str, separator: str) -> tuple[str, int]:
    """Return the two parts of a token. Raises AwsError if no page had this token."""
    first, _, second = token.partition(separator)
    if not second.isdigit() or not (first in ("f", "b") or first.isdigit()):
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    return first, int(second)


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


def describe_log_groups(describe: Callable[..., Any], self: models.LogsBackend, **options: Any) -> Any:
    """Wrap DescribeLogGroups."""
    replica = copy.copy(self)
    replica.groups = dict(
        _groups.seen(f"{self.account_id} {self.region_name}", "log-group-listed", lambda: self.groups)
    )
    return describe(replica, **options)


def list_tags(call: Callable[..., dict[str, str]], self: models.LogsBackend, arn: str) -> dict[str, str]:
    """Wrap ListTagsForResource: a log group that does not exist is an error, also while lists still show it."""
    _, _, name = arn.partition(":log-group:")
    if name and name.removesuffix(":*") not in self.groups:
        raise ResourceNotFoundException
    return call(self, arn)


def describe_log_streams(describe: Callable[..., Any], self: models.LogGroup, **options: Any) -> Any:
    """Wrap DescribeLogStreams: a new stream appears later."""
    replica, horizon = copy.copy(self), _horizon("log-stream-listed")
    streams = list(self.streams.items())
    replica.streams = {name: each for name, each in streams if unix_time_millis(each.creation_time) <= horizon}
    return describe(replica, **options)
