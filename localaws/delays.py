"""How long AWS takes for what the local AWS could do at once, for users who want to rehearse with it.

The figures model what is commonly observed. AWS does not promise them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds per event, at a factor of 1.
DELAYS = {
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


def set_factor(factor: float) -> None:
    """Multiply all delays by `factor`. It is 0 at first, which turns the delays off."""
    global _factor  # noqa: PLW0603 - set once, when the server starts
    _factor = factor


def delay_for(event: str) -> float:
    """How long `event` takes, in seconds."""
    return DELAYS[event] * _factor


def schedule(event: str, action: Callable[[], object]) -> None:
    """Run `action` after the delay of `event`, or at once if delays are off."""
    if seconds := delay_for(event):
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        timer.start()
    else:
        action()
