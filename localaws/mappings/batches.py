"""Reads the batches of a mapping from its stream, by its filters, sizes and windows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import filter_patterns
from localaws.dynamodb.records import in_event

if TYPE_CHECKING:
    import threading

    from localaws.dynamodb.stream import Stream, StreamRecord
    from localaws.mappings.state import EventSourceMapping

_MAX_BYTES = 6 * 1024 * 1024
# The part of an event around its records, including its tumbling window.
_ENVELOPE_BYTES = 1024
_RECORDS_PER_READ = 200
# Wait a moment for the rest of a burst, but not after a few records, which would then reach the function late for no
# reason. AWS gathers records too: it polls a shard four times a second.
_BURST_RECORDS, _BURST_SECONDS = 10, 0.03


@dataclass
class Batch:
    """The records of one event, and how often the function got them.

    `window` is the start of their tumbling window (seconds since 1970), or None. `final` says that they end it.
    `retries` counts towards MaximumRetryAttempts, and `invocations` counts all attempts.
    """

    records: list[StreamRecord]
    window: int | None = None
    final: bool = False
    retries: int = 0
    invocations: int = 0

    def split(self, index: int) -> tuple[Batch, Batch]:
        """Return the records before `index` and those from it on. Both parts keep the counts of the whole."""
        first = Batch(self.records[:index], self.window, retries=self.retries, invocations=self.invocations)
        rest = Batch(self.records[index:], self.window, self.final, self.retries, self.invocations)
        return first, rest


def event_json(batch: Batch, stream: Stream, window_seconds: int, state: dict[str, Any]) -> str:
    """The event that the function gets, composed of the JSON texts of its records."""
    records = ", ".join(in_event(record.text, stream.arn) for record in batch.records)
    if batch.window is None:
        return f'{{"Records": [{records}]}}'
    members = {
        "window": {"start": _iso(batch.window), "end": _iso(batch.window + window_seconds)},
        "state": state,
        "shardId": stream.shard_id,
        "eventSourceARN": stream.arn,
        "isFinalInvokeForWindow": batch.final,
        "isWindowTerminatedEarly": False,
    }
    return f'{{"Records": [{records}], {json.dumps(members)[1:]}'


class BatchReader:
    """Reads the batches of one worker, one after the other, from its checkpoint on.

    `offset` is how far it has read, and `window` the tumbling window that is open there.
    """

    def __init__(self, mapping: EventSourceMapping, worker: int, stop: threading.Event) -> None:
        self._stream = mapping.stream
        self._options = mapping.options
        self._worker = worker
        self._stop = stop
        criteria = mapping.options.get("FilterCriteria", {"Filters": []})
        self._has_filters = bool(criteria["Filters"])
        self._filter = filter_patterns.any_of(each["Pattern"] for each in criteria["Filters"])
        self._checkpoint = mapping.checkpoints[worker]
        self.window = self._checkpoint.window
        self.offset = self._checkpoint.offset

    def next(self) -> Batch | None:
        """Wait for the next batch. Return None if the mapping stops, or at the end of a closed shard."""
        records: list[StreamRecord] = []
        room = _MAX_BYTES - _ENVELOPE_BYTES
        deadline: float | None = None
        while not self._stop.is_set():
            for record in self._read(self._options["BatchSize"] - len(records)):
                size = len(record.text.encode()) + len(self._stream.arn) + 30
                if (records and size > room) or self._is_after_window(record):
                    self.offset = record.offset - 1
                    return self._batch(records, final=self._is_after_window(record))
                records.append(record)
                room -= size
            if len(records) == self._options["BatchSize"]:
                return self._batch(records)
            if self.offset < self._stream.last_offset:
                continue
            now = time.time()
            if records and deadline is None:
                deadline = now + self._options["MaximumBatchingWindowInSeconds"]
                if len(records) >= _BURST_RECORDS:
                    # Do not wait for the next write: waking up for each of thousands a second would slow them down.
                    self._stop.wait(_BURST_SECONDS)
                    continue
            window_end = self.window and self.window + self._options["TumblingWindowInSeconds"]
            if window_end and now >= window_end:
                return self._batch(records, final=True)
            if deadline and now >= deadline:
                return self._batch(records)
            if self._stream.closed_at:
                return self._batch(records) if records else None
            if not records:
                self._checkpoint.offset = self.offset
            self._wait(min((each for each in (deadline, window_end) if each), default=None))
        return None

    def _read(self, limit: int) -> list[StreamRecord]:
        """Read records and return those that match a filter. The offset moves past the others too."""
        workers = self._options["ParallelizationFactor"]
        records, self.offset = self._stream.read(self.offset, min(limit, _RECORDS_PER_READ), self._worker, workers)
        if not self._has_filters:
            return records
        return [record for record in records if self._filter(json.loads(in_event(record.text, self._stream.arn)))]

    def _is_after_window(self, record: StreamRecord) -> bool:
        """Whether the record comes after the open tumbling window. Opens a window if none is open."""
        seconds = self._options["TumblingWindowInSeconds"]
        if not seconds:
            return False
        if self.window is None:
            self.window = int(record.created) // seconds * seconds
        return record.created >= self.window + float(seconds)

    def _batch(self, records: list[StreamRecord], *, final: bool = False) -> Batch:
        batch = Batch(records, self.window, final)
        if final:
            self.window = None
        return batch

    def _wait(self, deadline: float | None) -> None:
        """Wait until there is more to read, the shard closes, the mapping stops, or the deadline comes."""
        with self._stream.changed:
            self._stream.changed.wait_for(
                lambda: self._stream.last_offset > self.offset or self._stream.closed_at or self._stop.is_set(),
                None if deadline is None else max(deadline - time.time(), 0),
            )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
