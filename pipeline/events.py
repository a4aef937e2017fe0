"""The events that steps emit while they run. `report.py` renders them."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

from .resources.change import Change

Returned = TypeVar("Returned")


class Started(NamedTuple):
    """A step begins."""

    step: str


class Waiting(NamedTuple):
    """A step waits for AWS. `text` names the goal: "table stream-demo to become ACTIVE"."""

    step: str
    text: str


class Changed(NamedTuple):
    """A step is done with one resource."""

    step: str
    change: Change


class Progress(NamedTuple):
    """The progress of a long step: `done` of `total` items, or 0 if unknown. Printed on stderr."""

    step: str
    text: str
    done: int = 0
    total: int = 0


class Result(NamedTuple):
    """The result of a command: `text` for people, `values` for programs."""

    text: str
    values: Mapping[str, Any] = {}


Event = Started | Waiting | Changed | Progress | Result
# A step: it yields events and returns what the next step needs.
Events: TypeAlias = Generator[Event, None, Returned]


def changes(events: Iterable[Event]) -> list[Change]:
    """Run a step, and return the changes among its events."""
    return [event.change for event in events if isinstance(event, Changed)]


def finish(step: str, change: Change, goal: str, wait: Callable[[], Any]) -> Events[None]:
    """Wait until AWS is done with a change, and emit it. `goal` is a text such as "to become ACTIVE"."""
    if change.pending:
        yield Waiting(step, f"{change.resource} {goal}")
        wait()
    yield Changed(step, change)
