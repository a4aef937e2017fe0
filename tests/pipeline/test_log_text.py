"""Invocations as text: errors in red, JSON indented, a summary of the reports."""

from __future__ import annotations

import pytest

from pipeline.log_reader import Invocation
from pipeline.log_text import Summary, text


def invocation(*lines: str, report: str = "") -> Invocation:
    return Invocation("id", "stream", 0, ("START RequestId: id", *lines, *([report] if report else [])), report)


@pytest.mark.parametrize(
    "line",
    [
        "[ERROR] ValueError: no\rTraceback",
        "[ERROR]\t2025-01-01T00:00:00Z\tid\tretrying",
        '{"timestamp": "2025-01-01T00:00:00Z", "level": "ERROR", "message": "no"}',
        "2025-01-01T00:00:00.000Z id Task timed out after 1.00 seconds",
        "RequestId: id Error: Runtime exited with error: exit status 1",
    ],
)
def test_an_error_is_red(line: str) -> None:
    assert text(invocation("before", line), color=True) == f"START RequestId: id\nbefore\n\x1b[31m{line}\x1b[0m"


def test_the_report_of_a_failure_is_red() -> None:
    report = "REPORT RequestId: id\tDuration: 1000.00 ms\tStatus: timeout"
    assert text(invocation(report=report), color=True).endswith(f"\x1b[31m{report}\x1b[0m")


def test_no_line_is_red_without_colors() -> None:
    assert "\x1b" not in text(invocation("[ERROR] no"))


@pytest.mark.parametrize(("line", "shown"), [('{"a": [1]}', '{\n  "a": [\n    1\n  ]\n}'), ("7", "7"), ("{a", "{a")])
def test_pretty_indents_json_objects_and_lists(line: str, shown: str) -> None:
    assert text(invocation(line), pretty=True) == f"START RequestId: id\n{shown}"


def test_a_part_names_its_invocation() -> None:
    assert text(Invocation("id", "stream", 0, ("later",))) == "RequestId: id continues\nlater"


def test_the_summary_counts_invocations_in_both_formats() -> None:
    summary = Summary()
    cold = "Duration: 20.00 ms\tBilled Duration: 120 ms\tMax Memory Used: 40 MB\tInit Duration: 99.00 ms"
    failed = "Duration: 1000.00 ms\tBilled Duration: 1000 ms\tMax Memory Used: 39 MB\tStatus: timeout"
    metrics = '{"durationMs":3.5,"billedDurationMs":4,"maxMemoryUsedMB":41}'
    summary.add(invocation(report=f"REPORT RequestId: id\t{cold}"))
    summary.add(invocation(report=f"REPORT RequestId: id\t{failed}"))
    summary.add(invocation(report=f'{{"type":"platform.report","record":{{"metrics":{metrics},"status":"success"}}}}'))

    assert str(summary) == (
        "invocations: 3, failed: 1, cold starts: 1; duration: p50 20 ms, max 1000 ms; memory used: at most 41 MB"
    )


def test_the_summary_of_nothing_has_no_durations() -> None:
    assert str(Summary()) == "invocations: 0, failed: 0, cold starts: 0"
