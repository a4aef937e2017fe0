"""A histogram of latencies, as text and as an SVG file."""

import math
from collections import Counter
from collections.abc import Iterable
from html import escape

_WIDTH, _ROW, _LABEL = 640, 22, 110
_BAR_CHARACTERS = 40


def buckets(values: Iterable[float]) -> dict[str, int]:
    """Count values, in milliseconds, in buckets with the limits 1, 2, 5, 10, 20, 50 ..., by the name of each bucket."""
    counts = Counter(map(_limit, values))
    if not counts:
        return {}
    limits, limit = [], min(counts)
    while limit <= max(counts):
        limits.append(limit)
        limit = _limit(limit * 1.01)
    return {f"up to {limit:g} ms": counts[limit] for limit in limits}


def _limit(value: float) -> float:
    limit = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= limit * factor:
                return limit * factor
        limit *= 10


def text(counts: dict[str, int]) -> list[str]:
    """The histogram as lines: the bucket, a bar, the number."""
    most = max(counts.values(), default=1)
    bars = {name: "#" * math.ceil(count * _BAR_CHARACTERS / most) for name, count in counts.items()}
    return [f"  {name:>14}  {bar:<{_BAR_CHARACTERS}}  {counts[name]}" for name, bar in bars.items()]


def svg(title: str, counts: dict[str, int]) -> str:
    """The histogram as an SVG image."""
    most = max(counts.values(), default=1)
    rows = []
    for number, (name, count) in enumerate(counts.items(), 2):
        y, width = number * _ROW, (_WIDTH - 2 * _LABEL) * count / most
        rows.append(f'<text x="{_LABEL - 8}" y="{y}" text-anchor="end">{escape(name)}</text>')
        rows.append(f'<rect x="{_LABEL}" y="{y - 13}" width="{width:.1f}" height="16" fill="#4a7ebb"/>')
        rows.append(f'<text x="{_LABEL + width + 6:.1f}" y="{y}">{count}</text>')
    size = f'width="{_WIDTH}" height="{(len(counts) + 2) * _ROW}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    return "\n".join([head, f'<text x="8" y="18">{escape(title)}</text>', *rows, "</svg>\n"])
