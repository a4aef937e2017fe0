"""Measure rows of docs/performance.md: `python -m benchmarks [NAME ...] [--runs N] [--write] [--long]`.

`growth` is a name too. With `--write`, updates docs/performance.json, its page and the plots.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import commands, day_two, files, growth, logs, records, report
from benchmarks.row import Bench

ROWS = {row.name: row for module in (commands, files, logs, records, day_two, growth) for row in module.ROWS}
OTHERS = {row.name: row for row in (*commands.STARTS, *logs.FLOORS, *records.FLOORS)}


def main() -> None:
    """Measure, print each row when it is done, and write."""
    known = {**ROWS, **OTHERS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"{', '.join(known)} or growth; default: all")
    parser.add_argument("--runs", type=int, default=7, help="measurements of each side")
    parser.add_argument("--write", action="store_true", help="update docs/performance.md")
    parser.add_argument("--long", action="store_true", help="tables of a million items")
    options = parser.parse_args()
    names = options.names or [*known, "growth"]
    if unknown := [name for name in names if name not in (*known, "growth")]:
        parser.error(f"{unknown[0]} is not a row; the rows: {', '.join(known)}, growth")
    results, growths = {}, []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        bench = Bench(Path(folder), options.runs, long=options.long)
        try:
            for name in names:
                if name == "growth":
                    growths = growth.plots(bench)
                    print("\n".join(f"{each.title}: {each.seconds}" for each in growths), flush=True)
                    continue
                bench.runs = min(options.runs, known[name].runs)
                try:
                    results[name] = report.figures(known[name], known[name].measure(bench))
                except LookupError as problem:
                    print(f"{name:<18} not measured: {problem}", flush=True)
                else:
                    print(report.line(name, results[name]), flush=True)
        finally:
            bench.close()
    if options.write:
        report.write(results, growths)


if __name__ == "__main__":
    main()
