"""Takes the batches of a mapping to its function, as Lambda's own poller does: in order, again, or given up.

Lambda developer guide, "Process DynamoDB records with Lambda", "Configuring partial batch response with DynamoDB and
Lambda" and "Retain discarded records for a DynamoDB event source in Lambda".
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localaws.dynamodb.stream import RETENTION_SECONDS, age
from localaws.lambda_ import metrics
from localaws.lambda_.code import InvalidZipError
from localaws.lambda_.functions import FunctionNotFound, Throttled
from localaws.mappings.batches import Batch, Collector, event
from localaws.mappings.options import Progress, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws.lambda_.functions import Answer, Functions
    from localaws.mappings.options import Mapping

    Discard = Callable[[Mapping, Batch, str, "Answer | None"], None]

# Between tries of a batch: doubles from the first to the longest pause. AWS begins later and goes on longer; here a
# person waits for the rehearsal of a failure.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 10.0


class Poller:
    """The lanes of one mapping: ParallelizationFactor threads, each with the keys that fall to it.

    `discard` is told of each batch that is given up, with the condition and the function's last answer.
    """

    def __init__(self, mapping: Mapping, functions: Functions, discard: Discard, after: Poller | None) -> None:
        self._mapping = mapping
        self._after = after
        self._stop = threading.Event()
        lanes = range(mapping.options["ParallelizationFactor"])
        self._lanes = [_Lane(mapping, lane, functions, discard, self._stop) for lane in lanes]
        self._threads = [threading.Thread(target=lane.run, daemon=True) for lane in self._lanes]

    def start(self) -> None:
        """Begin at the mapping's starting position, or where the lanes before, once they have ended, got to."""
        if self._after:
            threading.Thread(target=self._begin, daemon=True).start()
        else:
            self._begin()

    def _begin(self) -> None:
        if self._after:
            self._after.join()
            self._after = None
        self._mapping.lanes = _lanes_of(self._mapping)
        if not self._stop.is_set():
            for thread in self._threads:
                thread.start()

    def join(self) -> None:
        """Wait until the lanes have ended."""
        if self._after:
            self._after.join()
        for thread in self._threads:
            if thread.ident:
                thread.join()

    def stop(self) -> None:
        """Have the lanes end soon: after the invocation that is under way, in a pause at once."""
        self._stop.set()
        with self._mapping.journal.written:
            self._mapping.journal.written.notify_all()


def _lanes_of(mapping: Mapping) -> list[Progress]:
    """Where each lane begins: where it has got to, as far as the mapping is cut into the same lanes and windows."""
    number, seconds = mapping.options["ParallelizationFactor"], mapping.options["TumblingWindowInSeconds"]
    lanes = mapping.lanes
    if not lanes:
        lanes = [Progress(mapping.journal.last if mapping.starting_position == "LATEST" else 0)]
    if len(lanes) != number:
        # Other lanes, other keys in each: from where all of them have got to.
        lanes = [Progress(min(lane.place for lane in lanes))] * number
    # Each its own; a window of another length is another window.
    return [replace(lane) if lane.window_seconds == seconds else Progress(lane.place, seconds) for lane in lanes]


class _Lane:
    def __init__(
        self, mapping: Mapping, lane: int, functions: Functions, discard: Discard, stop: threading.Event
    ) -> None:
        self._mapping = mapping
        self._options = mapping.options
        self._lane = lane
        self._functions = functions
        self._discard = discard
        self._stop = stop
        self._answer: Answer | None = None

    def run(self) -> None:
        self._progress = self._mapping.lanes[self._lane]
        collector = Collector(self._mapping, self._lane, self._stop)
        while batch := collector.next():
            if self._deliver(batch):
                self._progress.place, self._progress.window = collector.place, collector.window

    def _deliver(self, batch: Batch) -> bool:
        """Hand a batch over until all of it is done or given up (True), or the mapping stops (False)."""
        pieces = deque([batch])
        pause = _FIRST_PAUSE_SECONDS
        while pieces and not self._stop.is_set():
            left = self._attempt(self._without_expired(pieces.popleft()))
            pieces.extendleft(reversed(left))
            if pieces and pieces[0].entries:
                # What is done is not done again when the mapping stops here and goes on later.
                self._progress.place, self._progress.window = pieces[0].entries[0].place - 1, pieces[0].window
            if len(left) == 1:
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                pause = _FIRST_PAUSE_SECONDS
        return not pieces

    def _attempt(self, batch: Batch) -> list[Batch]:
        """Invoke the function once; return what is left of the batch: nothing, the same again, or its halves."""
        if not batch.entries and not batch.final:
            return []
        journal = self._mapping.journal
        function = self._functions.find(self._mapping.function_arn, journal.region)
        problem = unreadable(journal.arn, function.role) if function else "Function not found"
        if problem:
            self._mapping.result = f"PROBLEM: {problem}"
            return [batch]
        payload = event(batch, journal, self._options["TumblingWindowInSeconds"], self._progress.state).encode()
        try:
            self._answer = self._functions.invoke(self._mapping.function_arn, payload)
        except (Throttled, FunctionNotFound):
            return [batch]  # uses up no retry
        except InvalidZipError as error:  # a layer's, which is looked at only now
            self._mapping.result = f"PROBLEM: {error}"
            return [batch]
        batch.invocations += 1
        if function and batch.entries:
            metrics.count(function, "IteratorAge", age(batch.entries[-1].created) * 1000, "Milliseconds")
        failed = self._first_failed(batch)
        if failed is not None:
            self._mapping.result = "PROBLEM: Function call failed"
            return self._left_after_failure(batch, failed)
        self._mapping.result = "OK"
        self._progress.state = {} if batch.final else _returned(self._answer).get("state") or {}
        return []

    def _left_after_failure(self, batch: Batch, failed: int) -> list[Batch]:
        """From the first failed record on the batch is tried again; with bisect it is split instead, at no cost."""
        if self._options["BisectBatchOnFunctionError"] and len(batch.entries) > 1:
            done, rest = batch.split(failed or len(batch.entries) // 2)
            return [rest] if failed else [done, rest]
        _, rest = batch.split(failed)
        rest.retries += 1
        if -1 < self._options["MaximumRetryAttempts"] < rest.retries:
            self._discard(self._mapping, rest, "RetryAttemptsExhausted", self._answer)
            self._progress.state = {} if rest.final else self._progress.state
            return []
        return [rest]

    def _without_expired(self, batch: Batch) -> Batch:
        """The batch without the records that are too old to be tried (again); those are given up."""
        oldest = self._options["MaximumRecordAgeInSeconds"]
        oldest = oldest if oldest > 0 else RETENTION_SECONDS
        expired = sum(age(entry.created) > oldest for entry in batch.entries)
        if not expired:
            return batch
        old, rest = batch.split(expired)
        self._discard(self._mapping, old, "RecordAgeExceeded", self._answer)
        return rest

    def _first_failed(self, batch: Batch) -> int | None:
        """The index of the first record that failed, None when all went well.

        An answer that does not name records of this batch fails the whole of it.
        """
        answer = self._answer
        if not answer or answer.error:
            return 0
        if "ReportBatchItemFailures" not in self._options["FunctionResponseTypes"]:
            return None
        number = self._mapping.journal.sequence_number
        indices = {number(entry.place): index for index, entry in enumerate(batch.entries)}
        try:
            response = json.loads(answer.payload or b"null") or {}
            failures = response.get("batchItemFailures") or []
            return min((indices[failure["itemIdentifier"]] for failure in failures), default=None)
        except (ValueError, AttributeError, KeyError, TypeError):
            return 0


def _returned(answer: Answer) -> dict[str, Any]:
    """What the handler returned, when that is an object."""
    try:
        document = json.loads(answer.payload)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
