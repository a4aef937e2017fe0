"""Invokes the function of a mapping with its batches, as Lambda's poller does: in order, with retries, or discarded.

Lambda developer guide, "Process DynamoDB records with Lambda", "Configuring partial batch response with DynamoDB and
Lambda" and "Retain discarded records for a DynamoDB event source in Lambda".
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localaws.dynamodb.stream import RETENTION_SECONDS, age
from localaws.iam import policies
from localaws.lambda_.code import InvalidZipError
from localaws.lambda_.functions import FunctionNotFound, Throttled, UnsupportedRuntime
from localaws.mappings.batches import Batch, BatchReader, event_json
from localaws.mappings.encryption import filter_criteria_error
from localaws.mappings.options import stream_access_problem
from localaws.mappings.state import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws.lambda_.environment import InvocationResult
    from localaws.lambda_.functions import Functions
    from localaws.lambda_.settings import Function
    from localaws.mappings.state import EventSourceMapping

    # Gets a discarded batch, with AWS's condition and the function's last result.
    Discard = Callable[[EventSourceMapping, Batch, str, "InvocationResult | None"], None]

_log = logging.getLogger(__name__)
# The pause between attempts doubles from the first to the longest. AWS starts later and goes further. Here, a person
# waits for a failure that they rehearse.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 10.0
# How often a pause looks for new code or configuration, which end it.
_LOOK_SECONDS = 0.05
_NOT_ASSUMABLE = (
    "Lambda failed to assume your function execution role. Please check if the role trust Lambda service principal, "
    "and make sure it does not require setting source identity to be assumed."
)


class Poller:
    """The workers of one mapping: ParallelizationFactor threads. Each gets the items whose keys hash to its number.

    `predecessor` is the mapping's poller before an update. It ends before this one begins.
    """

    def __init__(
        self, mapping: EventSourceMapping, functions: Functions, discard: Discard, predecessor: Poller | None
    ) -> None:
        self._mapping = mapping
        self._predecessor = predecessor
        self._stop = threading.Event()
        numbers = range(mapping.options["ParallelizationFactor"])
        workers = [_Worker(mapping, number, functions, discard, self._stop) for number in numbers]
        self._threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers]

    def start(self) -> None:
        """Begin at the mapping's starting position, or at the predecessor's checkpoints once it has ended."""
        if self._predecessor:
            threading.Thread(target=self._begin, daemon=True).start()
        else:
            self._begin()

    def _begin(self) -> None:
        if self._predecessor:
            self._predecessor.join()
            self._predecessor = None
        self._mapping.checkpoints = _initial_checkpoints(self._mapping)
        if not self._stop.is_set():
            for thread in self._threads:
                thread.start()

    def join(self) -> None:
        """Wait until the workers have ended."""
        if self._predecessor:
            self._predecessor.join()
        for thread in self._threads:
            if thread.ident:
                thread.join()

    def stop(self) -> None:
        """End the workers soon: after the current invocation, or at once during a pause."""
        self._stop.set()
        with self._mapping.stream.changed:
            self._mapping.stream.changed.notify_all()


def _initial_checkpoints(mapping: EventSourceMapping) -> list[Checkpoint]:
    """Where each worker begins: at its checkpoint, unless the number of workers or the window has changed."""
    workers, seconds = mapping.options["ParallelizationFactor"], mapping.options["TumblingWindowInSeconds"]
    checkpoints = mapping.checkpoints
    if not checkpoints:
        checkpoints = [Checkpoint(mapping.stream.last_offset if mapping.starting_position == "LATEST" else 0)]
    if len(checkpoints) != workers:
        # Each worker gets other keys now, so begin where all of them have been.
        checkpoints = [Checkpoint(min(each.offset for each in checkpoints))] * workers
    # A copy for each worker. A window of another length is another window.
    return [
        replace(each) if each.window_seconds == seconds else Checkpoint(each.offset, seconds) for each in checkpoints
    ]


class _Worker:
    def __init__(
        self, mapping: EventSourceMapping, number: int, functions: Functions, discard: Discard, stop: threading.Event
    ) -> None:
        self._mapping = mapping
        self._options = mapping.options
        self._number = number
        self._functions = functions
        self._discard = discard
        self._stop = stop
        self._result: InvocationResult | None = None

    def run(self) -> None:
        """Poll until the mapping stops or the shard ends. After a failure of the server itself, log it and go on."""
        self._checkpoint = self._mapping.checkpoints[self._number]
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                self._poll()
            except Exception:  # noqa: BLE001 - a mapping goes on, as on AWS
                _log.exception("mapping %s", self._mapping.uuid)
                self._mapping.result = "PROBLEM: internal error, see the server's log"
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                return

    def _poll(self) -> None:
        reader = BatchReader(self._mapping, self._number, self._stop)
        while batch := reader.next():
            if self._process(batch):
                self._checkpoint.offset, self._checkpoint.window = reader.offset, reader.window

    def _process(self, batch: Batch) -> bool:
        """Process a batch until all its records are done or discarded (True), or the mapping stops (False)."""
        parts = deque([batch])
        pause = _FIRST_PAUSE_SECONDS
        while parts and not self._stop.is_set():
            revision = self._revision()
            remaining = self._attempt(self._without_expired(parts.popleft()))
            parts.extendleft(reversed(remaining))
            if parts and parts[0].records:
                # If the mapping stops here, it resumes after the records that are done.
                self._checkpoint.offset, self._checkpoint.window = parts[0].records[0].offset - 1, parts[0].window
            if len(remaining) == 1:
                changed = self._pause(pause, revision)
                pause = _FIRST_PAUSE_SECONDS if changed else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                pause = _FIRST_PAUSE_SECONDS
        return not parts

    def _revision(self) -> str:
        """What identifies the code and the configuration of the function; "" if it does not exist."""
        function = self._functions.find(self._mapping.function_arn)
        return function.revision_id if function else ""

    def _pause(self, seconds: float, revision: str) -> bool:
        """Wait, and return early if the mapping stops or the function has another revision: return whether it has."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._stop.wait(min(left, _LOOK_SECONDS)):
            if self._revision() != revision:
                return True
        return False

    def _attempt(self, batch: Batch) -> list[Batch]:
        """Invoke the function once. Return what remains of the batch: nothing, the same batch, or its halves."""
        if not batch.records and not batch.final:
            return []
        stream = self._mapping.stream
        function = self._functions.find(self._mapping.function_arn)
        if problem := self._problem(function):
            self._mapping.result = f"PROBLEM: {problem}"
            return [batch]
        event = event_json(batch, stream, self._options["TumblingWindowInSeconds"], self._checkpoint.state).encode()
        try:
            self._result = self._functions.invoke(self._mapping.function_arn, event)
        except (Throttled, FunctionNotFound):
            return [batch]  # uses up no retry
        except (UnsupportedRuntime, InvalidZipError) as error:  # the latter of a layer, which is unpacked only now
            self._mapping.result = f"PROBLEM: {error}"
            return [batch]
        batch.invocations += 1
        if function and batch.records:
            iterator_age = age(batch.records[-1].created) * 1000
            self._functions.metrics.count(function, "IteratorAge", iterator_age, "Milliseconds")
        failed = self._first_failed(batch)
        if failed is not None:
            self._mapping.result = "PROBLEM: Function call failed"
            return self._remaining_after_failure(batch, failed)
        self._mapping.result = "OK"
        self._checkpoint.state = {} if batch.final else _returned_object(self._result).get("state") or {}
        return []

    def _problem(self, function: Function | None) -> str:
        """Say why Lambda cannot deliver a batch, in AWS's words; "" if it can."""
        if error := filter_criteria_error(self._options):
            return str(error["Message"])
        if not function:
            return "Function not found"
        if not policies.is_assumable(function.role, "lambda.amazonaws.com"):
            return _NOT_ASSUMABLE
        return stream_access_problem(self._mapping.stream.arn, function.role)

    def _remaining_after_failure(self, batch: Batch, failed: int) -> list[Batch]:
        """Retry the batch from the first failed record on. Bisecting splits it instead, which uses up no retry."""
        if self._options["BisectBatchOnFunctionError"] and len(batch.records) > 1:
            done, rest = batch.split(failed or len(batch.records) // 2)
            return [rest] if failed else [done, rest]
        _, rest = batch.split(failed)
        rest.retries += 1
        if -1 < self._options["MaximumRetryAttempts"] < rest.retries:
            self._discard(self._mapping, rest, "RetryAttemptsExhausted", self._result)
            self._checkpoint.state = {} if rest.final else self._checkpoint.state
            return []
        return [rest]

    def _without_expired(self, batch: Batch) -> Batch:
        """Discard the records that are too old, and return the others."""
        maximum = self._options["MaximumRecordAgeInSeconds"]
        maximum = maximum if maximum > 0 else RETENTION_SECONDS
        ages = (age(record.created) for record in batch.records)
        expired = next((number for number, each in enumerate(ages) if each <= maximum), len(batch.records))
        if not expired:
            return batch
        old, rest = batch.split(expired)
        self._discard(self._mapping, old, "RecordAgeExceeded", self._result)
        return rest

    def _first_failed(self, batch: Batch) -> int | None:
        """The index of the first failed record, or None. A response that names no record of the batch fails it all."""
        result = self._result
        if not result or result.error:
            return 0
        if "ReportBatchItemFailures" not in self._options["FunctionResponseTypes"]:
            return None
        sequence_number = self._mapping.stream.sequence_number
        indices = {sequence_number(record.offset): index for index, record in enumerate(batch.records)}
        try:
            response = json.loads(result.payload or b"null")
            failures = [] if response in (None, "", {}, []) else response.get("batchItemFailures") or []
            return min((indices[failure["itemIdentifier"]] for failure in failures), default=None)
        except (ValueError, AttributeError, KeyError, TypeError):
            return 0


def _returned_object(result: InvocationResult) -> dict[str, Any]:
    """What the handler returned, if it is an object."""
    try:
        document = json.loads(result.payload)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
