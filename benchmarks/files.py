"""Rows: work on many files and items."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import nothing
from benchmarks.project import invoke, python, run
from benchmarks.row import SCRIPTS, Row, Sides, compare, seconds_of

if TYPE_CHECKING:
    from benchmarks.row import Bench

FILES, FILE_WORDS, ITEMS = 5000, 2200, 10_000


def write_sources(folder: Path, count: int) -> None:
    """Write `count` files of text that compresses as code does, 41 MB zipped if they are 5,000."""
    draw = random.Random(1)  # noqa: S311 - no secret
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz_", k=draw.randint(2, 9))) for _ in range(5000)]
    for number in range(count):
        path = folder / f"part{number // 50}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(draw.choices(words, k=draw.randint(1, 2 * FILE_WORDS))))


def zip_cold(bench: Bench) -> Sides:
    return zip_both(bench, cold=True)


def zip_unchanged(bench: Bench) -> Sides:
    sides = zip_both(bench)
    start = [seconds_of(partial(nothing, bench.empty)) for _ in range(bench.runs)]
    # The goal leaves out Invoke's own start.
    return Sides([ours - statistics.median(start) for ours in sides.ours], sides.theirs, sides.note)


def zip_both(bench: Bench, *, cold: bool = False) -> Sides:
    project = bench.folder / "zipped"
    if not project.exists():
        bench.new_project("zipped")
        write_sources(project / "lambda_src", FILES)
        invoke(project, "zip-code")
    archive, sides = bench.folder / "other.zip", Sides([], [])
    command = ["zip", "-q", "-r", str(archive), "lambda_src"]
    for _ in range(bench.runs):
        if cold:
            shutil.rmtree(project / "build")
        sides.ours.append(seconds_of(lambda: invoke(project, "zip-code")))
        archive.unlink(missing_ok=True)
        sides.theirs.append(seconds_of(lambda: subprocess.run(command, cwd=project, check=True)))
    megabytes = (project / "build" / "function.zip").stat().st_size / 2**20
    return sides._replace(note=f"{FILES:,} files, {megabytes:.0f} MB zipped")


def put_items(bench: Bench) -> Sides:
    project, path = bench.project, bench.folder / "items.jsonl"
    items = ({"name": f"item {number}", "number": number, "text": "x" * 100} for number in range(ITEMS))
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    server = subprocess.Popen([sys.executable, str(SCRIPTS / "slow_dynamodb.py")], stdout=subprocess.PIPE, text=True)
    try:
        endpoint = f"http://127.0.0.1:{server.stdout.readline().strip()}"  # type: ignore[union-attr]
        settings = {
            "TARGET": "aws", "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
        }  # fmt: skip
        sides = compare(
            bench.runs,
            lambda: run(project, "-m", "invoke", "put-item", "--file", str(path), settings=settings),
            lambda: python(project, str(SCRIPTS / "batch_writer.py"), endpoint, str(path)),
        )
    finally:
        server.kill()
        server.wait()
    return sides._replace(note=f"{ITEMS:,} items at 20 ms a call")


ROWS = (
    Row("zip-cold", "`zip-code` without an existing zip", "`zip -r`", 0.9, zip_cold, runs=5),
    Row("zip-unchanged", "`zip-code` without a change, minus Invoke's start", "`zip -r`", 0.1, zip_unchanged, runs=5),
    Row("put-item", "`put-item --file`", "boto3's `batch_writer`", 6, put_items, faster=True, runs=3),
)
