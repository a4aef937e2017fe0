"""The events that steps emit while they run. `report.py` renders them."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

from .resources.change import Change

Returned = TypeVar("Returned")


class Started(NamedTuple):
    """A step begins."""

    step: str


class Waiting(NamedTuple):
    """A step waits for AWS; `text` says for what: "table stream-demo to become ACTIVE"."""

    step: str
    text: str


class Changed(NamedTuple):
    """A step is done with one resource."""

    step: str
    change: Change


class Progress(NamedTuple):
    """How far a long step is: `done` of `total` items, 0 if that is unknown. For a person, on stderr."""

    step: str
    text: str
    done: int = 0
    total: int = 0


class Result(NamedTuple):
    """What a command answers: `text` for a person, `values` for a program."""

    text: str
    values: Mapping[str, Any] = {}


Event = Started | Waiting | Changed | Progress | Result
# A step: it yields events and returns what the next step needs.
Events: TypeAlias = Generator[Event, None, Returned]


def changes(events: Iterable[Event]) -> list[Change]:
    """Run a step, and return the changes among its events."""
    return [event.change for event in events if isinstance(event, Changed)]


def finish(step: str, change: Change, goal: str, wait: Callable[[], Any]) -> Events[None]:
    """Wait until AWS is done with a change, and emit it. `goal` is such as "to become ACTIVE"."""
    if change.pending:
        yield Waiting(step, f"{change.resource} {goal}")
        wait()
    yield Changed(step, change)
