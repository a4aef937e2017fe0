"""Tasks for contributors: `invoke dev.check`, `dev.bench`, and others (CONTRIBUTING.md)."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from invoke import Collection, Context, Exit, task

ROOT = Path(__file__).resolve().parent
PROOFS = ("crash", "cycles", "external", "faults", "permissions", "records", "redrive", "runbook", "writes")


@task
def check(c: Context) -> None:
    """Run the checks of CI on the working tree."""
    _run("-m", "ruff", "format", "--check", ".")
    _run("-m", "ruff", "check", ".")
    _run("-m", "mypy")
    _run("-m", "pytest")
    _run("-m", "pytest", "-m", "proof")
    _run("docs/refresh.py", "--check")


@task
def coverage(c: Context) -> None:
    """Show which lines the tests execute."""
    _run("-m", "coverage", "erase")
    try:
        # Without workers: xdist kills a worker that takes long to end, which loses its measurements.
        _run("-m", "coverage", "run", "-m", "pytest", "-m", "proof or not proof", "-n", "0")
    finally:
        _run("-m", "coverage", "combine", "--quiet")
        _run("-m", "coverage", "report", "--skip-covered")


@task(
    help={
        "only": "Names of rows in docs/performance.md, comma-separated.",
        "runs": "Number of measurements of each command.",
        "write": "Update docs/performance.md with the figures.",
        "long": "Also measure a million items and records, which takes half an hour.",
    }
)
def bench(c: Context, only: str = "", runs: str = "7", write: bool = False, long: bool = False) -> None:
    """Measure times and API calls."""
    flags = [flag for flag, chosen in (("--write", write), ("--long", long)) if chosen]
    _run("-m", "benchmarks", *only.replace(",", " ").split(), "--runs", _whole_number("--runs", runs), *flags)
    if not only:
        for module in ("calls", "volume") if long else ("calls",):
            _run("-m", f"benchmarks.{module}")


@task(
    help={
        "only": f"One of {', '.join(PROOFS)}.",
        "count": "Number of points, cycles, seeds, records, or settings. 0: the full count of each proof.",
    }
)
def soak(c: Context, only: str = "", count: str = "0") -> None:
    """Run the proofs with full counts, in over an hour."""
    if only not in ("", *PROOFS):
        raise Exit(f"dev.soak: --only: {only!r} is not allowed; allowed: {', '.join(PROOFS)}")
    length = ["--full"] if _whole_number("--count", count) == "0" else ["--count", count]
    for proof in [only] if only else PROOFS:
        _run("-m", "pytest", f"tests/proofs/test_{proof}.py", "-m", "proof", "-n", "0", *length)


def _whole_number(flag: str, value: str) -> str:
    if not value.isdecimal():
        raise Exit(f"{flag}: {value!r} is not allowed; allowed: a whole number")
    return value


def _run(*words: str) -> None:
    """Run Python with these arguments in the project's folder. Stops at the first failure."""
    missing = [name for name in ("pytest", "ruff", "mypy", "hypothesis", "awscli") if not find_spec(name)]
    if missing:
        raise Exit(
            f"the development requirements are not installed (missing: {', '.join(missing)}); "
            "install them with: .venv/bin/pip install -r requirements-dev.txt"
        )
    if code := subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode:
        raise Exit(f"failed: python {' '.join(words)}", code=code)


namespace = Collection("dev", check, coverage, bench, soak)
