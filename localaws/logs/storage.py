"""Where log events lie: on disk, so that a function which prints a line a record costs no memory.

In place of moto's lists, which it sorts anew on each read: CloudWatch Logs API reference, "GetLogEvents" and
"FilterLogEvents".
"""

from __future__ import annotations

import heapq
from functools import wraps
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from moto.logs import models
from moto.logs.exceptions import InvalidParameterException
from moto.logs.utils import EventMessageFilter

from localaws import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MOST_EVENTS = 10_000
_CHUNK = 1000
_FOREVER = 2**62

database.execute(
    "CREATE TABLE event (id INTEGER PRIMARY KEY, stream INTEGER, timestamp INTEGER, ingested INTEGER, text)"
)
database.execute("CREATE INDEX in_time ON event (stream, timestamp, id)")
_numbers = count()


def install() -> None:
    """Put these streams in the place of moto's."""
    models.LogStream = Stream  # type: ignore[misc]
    models.LogGroup.filter_log_events = _filter_log_events  # type: ignore[method-assign]
    models.LogGroup.delete_log_stream = _forgetting_the_stream(models.LogGroup.delete_log_stream)  # type: ignore[method-assign]
    models.LogsBackend.delete_log_group = _forgetting_the_group(models.LogsBackend.delete_log_group)  # type: ignore[method-assign]


class Events:
    """The events of one stream, in the place of moto's list of them."""

    def __init__(self) -> None:
        self.stream = next(_numbers)

    def __iadd__(self, events: list[models.LogEvent]) -> Events:  # noqa: PYI034 - `Self` is not in Python 3.10
        fields = ((one.event_id, self.stream, one.timestamp, one.ingestion_time, one.message) for one in events)
        database.insert("event", fields)
        return self

    def __len__(self) -> int:
        return self.count(0, _FOREVER)

    def __iter__(self) -> Iterator[models.LogEvent]:
        for timestamp, event_id, ingested, text in self.after((0, -1), _FOREVER):
            event = models.LogEvent(ingested, {"timestamp": timestamp, "message": text})
            event.event_id = event_id
            yield event

    def count(self, start: int, end: int) -> int:
        """How many there are from `start` to `end`, milliseconds since 1970."""
        ((found,),) = database.execute(
            "SELECT count(*) FROM event WHERE stream = ? AND timestamp BETWEEN ? AND ?", self.stream, start, end
        )
        return int(found)

    def bounds(self) -> tuple[int | None, int | None]:
        """The time stamps of the first and of the last one."""
        ((first, last),) = database.execute(
            "SELECT min(timestamp), max(timestamp) FROM event WHERE stream = ?", self.stream
        )
        return first, last

    def slice(self, start: int, end: int, first: int, last: int) -> list[dict[str, Any]]:
        """Those from `start` to `end`, counted in the order of their time stamps, as GetLogEvents shows them."""
        found = database.execute(
            "SELECT ingested, text, timestamp FROM event WHERE stream = ? AND timestamp BETWEEN ? AND ?"
            " ORDER BY timestamp, id LIMIT ? OFFSET ?",
            *(self.stream, start, end, last - first, first),
        )
        return [dict(zip(("ingestionTime", "message", "timestamp"), row, strict=True)) for row in found]

    def after(self, place: tuple[int, int], end: int) -> Iterator[tuple[int, int, int, str]]:
        """Time stamp, id, time of ingestion and message of those behind a place, (time stamp, id), up to `end`."""
        while found := database.execute(
            "SELECT timestamp, id, ingested, text FROM event WHERE stream = ? AND (timestamp, id) > (?, ?)"
            " AND timestamp <= ? ORDER BY timestamp, id LIMIT ?",
            *(self.stream, *place, end, _CHUNK),
        ):
            yield from found
            place = found[-1][:2]

    def forget(self) -> None:
        """Let go of all of them."""
        database.execute("DELETE FROM event WHERE stream = ?", self.stream)


class Stream(models.LogStream):
    """moto's stream with its events elsewhere."""

    def __init__(self, log_group: models.LogGroup, name: str) -> None:
        super().__init__(log_group, name)
        self.events: Events = Events()  # type: ignore[assignment]

    def _update(self) -> None:
        self.first_event_timestamp, self.last_event_timestamp = self.events.bounds()  # type: ignore[assignment]

    def get_log_events(
        self, start_time: Any, end_time: Any, limit: int | None, next_token: str | None, start_from_head: Any
    ) -> tuple[list[dict[str, Any]], str, str]:
        """GetLogEvents: a page with the tokens of the ones before and behind it; at an end the same token again."""
        start, end, limit = start_time or 0, end_time or _FOREVER, limit or _MOST_EVENTS
        number = self.events.count(start, end)
        if next_token:
            direction, place = _token(next_token, "/")
            first = place if direction == "f" else max(place - limit, 0)
            last = place if direction == "b" else min(place + limit, number)
        elif start_from_head:
            first, last = 0, min(limit, number)
        else:
            first, last = max(number - limit, 0), number
        return self.events.slice(start, end, first, last), f"b/{first:056d}", f"f/{last:056d}"


def _filter_log_events(
    self: models.LogGroup,
    log_group_name: str,  # noqa: ARG001 - moto's parameters
    log_stream_names: list[str],
    start_time: int | None,
    end_time: int | None,
    limit: int | None,
    next_token: str | None,
    filter_pattern: str,
    interleaved: bool,  # noqa: ARG001 - AWS ignores it too: events are always in the order of their time
) -> tuple[list[dict[str, Any]], str | None, list[dict[str, Any]]]:
    """FilterLogEvents: a page of the events of all streams, by time."""
    place = ((start_time or 0), -1)
    if next_token:
        timestamp, event_id = _token(next_token, "-")
        place = (int(timestamp), event_id)
    wanted = EventMessageFilter(filter_pattern)
    streams = [stream for name, stream in self.streams.items() if name in (log_stream_names or self.streams)]
    found: Iterator[dict[str, Any]] = (
        {
            "logStreamName": name,
            "timestamp": timestamp,
            "message": text,
            "ingestionTime": ingested,
            "eventId": f"{event_id:056d}",
        }
        for timestamp, event_id, ingested, text, name in heapq.merge(*(_named(one, place, end_time) for one in streams))
        if wanted.matches(text)
    )
    page = list(islice(found, limit or _MOST_EVENTS))
    more = f"{page[-1]['timestamp']}-{page[-1]['eventId']}" if next(found, None) else None
    searched = [{"logStreamName": stream.log_stream_name, "searchedCompletely": not more} for stream in streams]
    return page, more, searched


def _named(
    stream: models.LogStream, place: tuple[int, int], end: int | None
) -> Iterator[tuple[int, int, int, str, str]]:
    events: Events = stream.events  # type: ignore[assignment] # a Stream
    return ((*row, stream.log_stream_name) for row in events.after(place, end or _FOREVER))


def _token(token: str, separator: str) -> tuple[str, int]:
    """The two parts of a token that we gave; InvalidParameterException for one that we did not."""
    first, _, second = token.partition(separator)
    if not second.isdigit() or not (first in ("f", "b") or first.isdigit()):
        raise InvalidParameterException("The specified nextToken is invalid.")
    return first, int(second)


def _forgetting_the_stream(delete: Callable[..., None]) -> Callable[..., None]:
    @wraps(delete)
    def delete_log_stream(self: models.LogGroup, name: str) -> None:
        stream = self.streams.get(name)
        delete(self, name)
        _forget([stream] if stream else [])

    return delete_log_stream


def _forgetting_the_group(delete: Callable[..., None]) -> Callable[..., None]:
    @wraps(delete)
    def delete_log_group(self: models.LogsBackend, name: str) -> None:
        group = self.groups.get(name)
        delete(self, name)
        _forget(group.streams.values() if group else [])

    return delete_log_group


def _forget(streams: Iterable[models.LogStream]) -> None:
    for stream in streams:
        stream.events.forget()  # type: ignore[attr-defined] # a Stream's
