"""What the benchmarks print and write: a table, JSON, and plots as SVG."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.growth import Growth
    from benchmarks.row import Row, Sides

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIGURES, PAGE = DOCS / "performance.json", DOCS / "performance.md"
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
WIDTH, HEIGHT, MARGIN = 480, 260, 56


def figures(row: Row, sides: Sides) -> dict[str, object]:
    """One row's result as JSON has it."""
    return {
        "work": row.work,
        "against": row.against,
        "seconds": round(statistics.median(sides.ours), 4),
        "seconds_against": round(statistics.median(sides.theirs), 4),
        "ratio": round(row.ratio(sides), 2),
        "goal": round(row.goal, 2),
        "faster": row.faster,
        "met": row.is_met(sides) if row.goal else None,
        "note": sides.note,
    }


def line(name: str, result: Mapping[str, object]) -> str:
    """One result as a line for a terminal."""
    sign = ">=" if result["faster"] else "<="
    goal = f"{sign} {result['goal']}  {'met' if result['met'] else 'MISSED'}" if result["goal"] else ""
    return f"{name:<18} {result['ratio']:>7}  {goal:<16}  {result['seconds']} s : {result['seconds_against']} s"


def machine() -> str:
    """The machine, for the page."""
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {python}"


def write(results: Mapping[str, Mapping[str, object]], growths: list[Growth]) -> None:
    """Merge the results into docs/performance.json, write the plots, and refresh the tables of docs/performance.md."""
    document = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {"rows": {}, "growth": {}}
    document["machine"] = machine()
    document["rows"] |= results
    for each in growths:
        document["growth"][each.name] = {str(size): round(seconds, 3) for size, seconds in each.seconds.items()}
        (DOCS / f"performance-{each.name}.svg").write_text(plot(each), encoding="utf-8")
    FIGURES.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda match: match[1] + table(match[2], document) + match[3], text), encoding="utf-8")


def table(name: str, document: Mapping[str, dict[str, dict[str, object]]]) -> str:
    """A table of the page: `goals`, `floors` or `machine`."""
    rows = {key: row for key, row in document["rows"].items() if bool(row["goal"]) == (name == "goals")}
    if name == "machine":
        return f"{document['machine']}.\n"
    head = "| name | work | compared with | ratio | goal | seconds |\n| --- | --- | --- | --- | --- | --- |\n"
    return head + "".join(_row(key, row) for key, row in rows.items())


def _row(name: str, row: Mapping[str, object]) -> str:
    seconds, against = row["seconds"], row["seconds_against"]
    words = "times faster" if row["faster"] else ""
    limit = f"{'at least' if row['faster'] else 'at most'} {row['goal']}" if row["goal"] else ""
    goal = limit if row["met"] or not row["goal"] else f"{limit}: missed"
    work = f"{row['work']} ({row['note']})" if row["note"] else row["work"]
    return f"| {name} | {work} | {row['against']} | {row['ratio']} {words} | {goal} | {seconds} : {against} |\n"


def plot(growth: Growth) -> str:
    """Seconds by size, both on logarithmic scales, so that a straight line of slope 1 is linear growth."""
    sizes, seconds = [*growth.seconds], [*growth.seconds.values()]
    low, high = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)) + 0.01)

    def x(size: float) -> float:
        share = math.log10(size / sizes[0]) / math.log10(sizes[-1] / sizes[0])
        return MARGIN + share * (WIDTH - 2 * MARGIN)

    def y(second: float) -> float:
        return HEIGHT - MARGIN - (math.log10(second) - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    points = [(x(size), y(second)) for size, second in growth.seconds.items()]
    shapes = [f'<polyline fill="none" stroke="#4a7ebb" stroke-width="2" points="{" ".join(map(_pair, points))}"/>']
    for (left, top), size, second in zip(points, sizes, seconds, strict=True):
        shapes.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="4" fill="#4a7ebb"/>')
        shapes.append(f'<text x="{left:.1f}" y="{top - 9:.1f}" text-anchor="middle">{second:.2f} s</text>')
        shapes.append(f'<text x="{left:.1f}" y="{HEIGHT - MARGIN + 20}" text-anchor="middle">{size:,}</text>')
    for power in range(low, high + 1):
        top = y(10**power)
        shapes.append(f'<path d="M{MARGIN} {top:.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        shapes.append(f'<text x="{MARGIN - 8}" y="{top + 4:.1f}" text-anchor="end">{10**power:g} s</text>')
    area = f'width="{WIDTH}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {area} font-family="sans-serif" font-size="12">'
    unit = f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">{growth.unit}</text>'
    back = f'<rect {area} fill="white"/><text x="8" y="18">{growth.title}</text>'
    return "\n".join([head, back, *shapes, unit, "</svg>\n"])


def _pair(point: tuple[float, float]) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"
