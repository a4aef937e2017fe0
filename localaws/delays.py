"""How late AWS is, for users who want to rehearse with it: how long it works on a change, and hides it from readers.

AWS promises no figures. The seconds are estimates. Each delay names the page that documents it.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Value = TypeVar("Value")


class Delay(NamedTuple):
    """The seconds at a factor of 1, and the page that describes the delay."""

    seconds: float
    source: str


_UNDOCUMENTED = "not documented"
_IAM = 'IAM user guide, "Changes that I make are not always immediately visible"'
_POLLING = 'Lambda developer guide, "Polling and stream starting positions": "several minutes"'
_STATE = "Lambda API reference, GetEventSourceMapping: State"
_BACKUPS = "DynamoDB API reference, UpdateContinuousBackups: ContinuousBackupsUnavailableException"

DELAYS = {
    "table-creating": Delay(6, "DynamoDB API reference, CreateTable"),
    "table-described": Delay(1, 'DynamoDB API reference, DescribeTable: "a few seconds"'),
    "table-updating": Delay(5, "DynamoDB API reference, UpdateTable"),
    "table-encrypting": Delay(20, "not documented; recorded: ack-api-quirks, DDB-TABLE-140"),
    "table-deleting": Delay(5, "DynamoDB API reference, DeleteTable"),
    "table-listed": Delay(2, _UNDOCUMENTED),
    "table-tags-listed": Delay(3, 'DynamoDB API reference, TagResource: "a few seconds"'),
    "table-tags-updating": Delay(3, "not documented; recorded: ack-api-quirks, DDB-TABLE-103"),
    "backups-available": Delay(8, _BACKUPS),
    "backups-described": Delay(2, _UNDOCUMENTED),
    "role-visible": Delay(2, _IAM),
    "role-assumable": Delay(8, _IAM),
    "policy-effective": Delay(5, _IAM),
    "function-pending": Delay(2, 'Lambda developer guide, "Lambda function states"'),
    "mapping-creating": Delay(10, _STATE),
    "mapping-updating": Delay(5, _STATE),
    "mapping-deleting": Delay(5, _STATE),
    "mapping-listed": Delay(2, _UNDOCUMENTED),
    "mapping-latest-effective": Delay(5, _POLLING),
    "logs-visible": Delay(1, _UNDOCUMENTED),
    "logs-searchable": Delay(2, _UNDOCUMENTED),
    "log-group-listed": Delay(2, _UNDOCUMENTED),
    "log-stream-listed": Delay(2, _UNDOCUMENTED),
    "log-stream-times": Delay(20, 'CloudWatch Logs API reference, LogStream: "typically less than an hour"'),
}

_factor = 0.0


def set_factor(factor: float) -> None:
    """Multiply all delays by `factor`. It is 0 at first, which turns the delays off."""
    global _factor  # noqa: PLW0603 - set once, when the server starts
    _factor = factor


def are_on() -> bool:
    """Whether anything is delayed."""
    return _factor > 0


def delay_for(event: str) -> float:
    """How long `event` takes, in seconds."""
    return DELAYS[event].seconds * _factor


def schedule(event: str, action: Callable[[], object]) -> None:
    """Run `action` after the delay of `event`, or at once if delays are off."""
    if seconds := delay_for(event):
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        timer.start()
    else:
        action()


class History(Generic[Value]):
    """Collections as readers see them: each change after a delay. It records nothing if delays are off.

    A scope is one collection, such as the tables of a region. It begins empty.
    """

    def __init__(self) -> None:
        self._versions: dict[str, list[tuple[float, Mapping[str, Value]]]] = {}
        self._lock = threading.Lock()

    def record(self, scope: str, current: Callable[[], Mapping[str, Value]]) -> None:
        """Record the values that a collection has now, by name."""
        if not are_on():
            return
        with self._lock:
            now = time.monotonic()
            oldest = now - max(delay.seconds for delay in DELAYS.values()) * _factor
            versions = self._versions.get(scope, [(-math.inf, {})])
            first = max(index for index, (since, _) in enumerate(versions) if since < oldest)
            self._versions[scope] = [*versions[first:], (now, current())]

    def seen(self, scope: str, event: str, current: Callable[[], Mapping[str, Value]]) -> Mapping[str, Value]:
        """The values before the delay of `event`; those that the collection has now if delays are off."""
        if not are_on():
            return current()
        horizon = time.monotonic() - delay_for(event)
        versions = self._versions.get(scope, [(-math.inf, {})])
        return next(values for since, values in reversed(versions) if since <= horizon)
