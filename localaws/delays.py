"""How late AWS does what this server could do at once, for those who want to rehearse with it.

The figures are a model of what is commonly seen, not a promise of AWS's.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds by event, at a factor of 1.
TABLE = {
    "table-creating": 6.0,
    "table-deleting": 5.0,
    "role-assumable": 8.0,
    "function-pending": 2.0,
    "mapping-creating": 10.0,
    "mapping-latest-effective": 5.0,
    "mapping-deleting": 5.0,
    "logs-visible": 1.0,
}

_factor = 0.0


def scale(factor: float) -> None:
    """Multiply all figures by `factor`; 0, as it is at the start, turns the delays off."""
    global _factor  # noqa: PLW0603 - set once, when the server starts
    _factor = factor


def seconds(event: str) -> float:
    """How long `event` takes, in seconds."""
    return TABLE[event] * _factor


def after(event: str, action: Callable[[], object]) -> None:
    """Do it when AWS would have got to it: now, unless delays are asked for."""
    if late := seconds(event):
        timer = threading.Timer(late, action)
        timer.daemon = True
        timer.start()
    else:
        action()
