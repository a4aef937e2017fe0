"""From the records of a stream to the batches of a mapping: its filters, its sizes, its windows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from localaws.dynamodb.records import in_event
from localaws.mappings import filters

if TYPE_CHECKING:
    import threading

    from localaws.dynamodb.stream import Entry, Journal
    from localaws.mappings.options import Mapping

MOST_BYTES = 6 * 1024 * 1024
# What surrounds the records of an event, its tumbling window included.
_ENVELOPE_BYTES = 1024
_READ_AT_ONCE = 200
# A burst is given a moment to become a batch, a few records are not: they would reach the function later for nothing.
# AWS gathers too, for it asks a shard four times a second.
_BURST_RECORDS, _BURST_SECONDS = 10, 0.03


@dataclass
class Batch:
    """Records that are handed over in one event, and how often that was tried.

    `window` is the start of the tumbling window they fall into (seconds since 1970; None without one) and `final`
    says that it ends with them. `retries` counts towards MaximumRetryAttempts, `invocations` counts all.
    """

    entries: list[Entry]
    window: int | None = None
    final: bool = False
    retries: int = 0
    invocations: int = 0

    def split(self, index: int) -> tuple[Batch, Batch]:
        """The records before and from `index` on; both have been tried as often as the whole."""
        first = Batch(self.entries[:index], self.window, retries=self.retries, invocations=self.invocations)
        rest = Batch(self.entries[index:], self.window, self.final, self.retries, self.invocations)
        return first, rest


def event(batch: Batch, journal: Journal, window_seconds: int, state: dict[str, Any]) -> str:
    """The event that the function gets: AWS's JSON text, put together from the records' own."""
    texts = ", ".join(in_event(entry.text, journal.arn) for entry in batch.entries)
    if batch.window is None:
        return f'{{"Records": [{texts}]}}'
    rest = {
        "window": {"start": _iso(batch.window), "end": _iso(batch.window + window_seconds)},
        "state": state,
        "shardId": journal.shard_id,
        "eventSourceARN": journal.arn,
        "isFinalInvokeForWindow": batch.final,
        "isWindowTerminatedEarly": False,
    }
    return f'{{"Records": [{texts}], {json.dumps(rest)[1:]}'


class Collector:
    """Fills the batches of one lane, one after the other, from where it has got to.

    `place` is how far the journal is read, `window` the tumbling window that is open there.
    """

    def __init__(self, mapping: Mapping, lane: int, stop: threading.Event) -> None:
        self._journal = mapping.journal
        self._options = mapping.options
        self._lane = lane
        self._stop = stop
        self._patterns = [json.loads(pattern) for pattern in mapping.patterns]
        self._progress = mapping.lanes[lane]
        self.window = self._progress.window
        self.place = self._progress.place

    def next(self) -> Batch | None:
        """Wait for the next batch; None when the mapping stops or the closed shard is read to its end."""
        entries: list[Entry] = []
        room = MOST_BYTES - _ENVELOPE_BYTES
        deadline: float | None = None
        while not self._stop.is_set():
            for entry in self._read(self._options["BatchSize"] - len(entries)):
                size = len(entry.text.encode()) + len(self._journal.arn) + 30
                if (entries and size > room) or self._is_beyond_window(entry):
                    self.place = entry.place - 1
                    return self._batch(entries, final=self._is_beyond_window(entry))
                entries.append(entry)
                room -= size
            if len(entries) == self._options["BatchSize"]:
                return self._batch(entries)
            if self.place < self._journal.last:
                continue
            now = time.time()
            if entries and deadline is None:
                deadline = now + self._options["MaximumBatchingWindowInSeconds"]
                if len(entries) >= _BURST_RECORDS:
                    # Not by waiting for the next write: to wake for each of thousands a second costs them their speed.
                    self._stop.wait(_BURST_SECONDS)
                    continue
            window_end = self._window_end()
            if window_end and now >= window_end:
                return self._batch(entries, final=True)
            if deadline and now >= deadline:
                return self._batch(entries)
            if self._journal.closed_at:
                return self._batch(entries) if entries else None
            if not entries:
                self._progress.place = self.place
            self._wait(min((moment for moment in (deadline, window_end) if moment), default=None))
        return None

    def _read(self, limit: int) -> list[Entry]:
        """Matching records after the place, which moves on past them and past those that do not match."""
        lanes = self._options["ParallelizationFactor"]
        entries, self.place = self._journal.read(self.place, min(limit, _READ_AT_ONCE), self._lane, lanes)
        return [entry for entry in entries if self._is_wanted(entry)]

    def _is_wanted(self, entry: Entry) -> bool:
        if not self._patterns:
            return True
        record = json.loads(in_event(entry.text, self._journal.arn))
        return any(filters.matches(pattern, record) for pattern in self._patterns)

    def _is_beyond_window(self, entry: Entry) -> bool:
        """Whether the record falls behind the tumbling window that is open; it opens one where none is."""
        seconds = self._options["TumblingWindowInSeconds"]
        if not seconds:
            return False
        if self.window is None:
            self.window = int(entry.created) // seconds * seconds
        return entry.created >= self.window + float(seconds)

    def _window_end(self) -> float | None:
        seconds: int = self._options["TumblingWindowInSeconds"]
        return None if self.window is None else self.window + seconds

    def _batch(self, entries: list[Entry], *, final: bool = False) -> Batch:
        batch = Batch(entries, self.window, final)
        if final:
            self.window = None
        return batch

    def _wait(self, until: float | None) -> None:
        """Until there is more to read, the shard closes, the mapping stops, or the moment has come."""
        with self._journal.written:
            self._journal.written.wait_for(
                lambda: self._journal.last > self.place or self._journal.closed_at or self._stop.is_set(),
                None if until is None else max(until - time.time(), 0),
            )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
