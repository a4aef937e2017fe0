"""Rendering events as lines and as one JSON document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.events import Changed, Result, Started, Waiting
from pipeline.report import Report, diff_text, line
from pipeline.resources.change import Change, Diff

if TYPE_CHECKING:
    from pipeline.events import Events

RESIZED = Change("function jobs", "updated", (Diff("MemorySize", 128, 256), Diff("Timeout", 3, 30)))
TABLE = Change(
    "table orders",
    "created",
    (Diff("TableName", None, "orders"), Diff("TableClass", None, ""), Diff("DeletionProtectionEnabled", None, False)),
    {"TableArn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders"},
)


def step() -> Events[None]:
    """Emit each kind of event."""
    yield Started("create-table")
    yield Waiting("create-table", "table orders to become ACTIVE")
    yield Changed("create-table", TABLE)
    yield Started("create-function")
    yield Changed("create-function", RESIZED)
    yield Result("2 resources\nin all", {"resources": 2})


def test_render_prints_a_line_for_each_change_and_result(capsys: pytest.CaptureFixture[str]) -> None:
    Report("deploy").render(step())
    out, err = capsys.readouterr()
    created, updated, *result = out.splitlines()
    assert created.startswith("+ create-table     table orders  0.0")
    assert updated.startswith("~ create-function  function jobs  MemorySize: 128 -> 256; Timeout: 3 -> 30  0.0")
    assert (result, err) == (["2 resources", "in all"], "")


def test_the_step_of_a_report_is_the_one_that_runs() -> None:
    def failing() -> Events[None]:
        yield Started("create-table")
        yield Waiting("map-stream", "mapping orders -> jobs to become Enabled")
        raise ValueError

    report = Report("deploy", step="deploy")
    assert report.step == "deploy"
    with pytest.raises(ValueError):  # noqa: PT011 - the one above
        report.render(failing())
    assert report.step == "map-stream"


def test_a_dry_run_lists_each_attribute_that_has_a_value_and_counts_the_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report("deploy", dry_run=True)
    report.render(step())
    report.end()
    lines = [text.partition("  0.0")[0] for text in capsys.readouterr().out.splitlines()]
    assert lines == [
        "+ create-table     table orders",
        "    TableName: orders",
        "    DeletionProtectionEnabled: false",
        "~ create-function  function jobs",
        "    MemorySize: 128 -> 256",
        "    Timeout: 3 -> 30",
        "2 resources",
        "in all",
        "plan: 1 created, 1 updated, 0 replaced, 0 deleted, 0 unchanged; nothing was written",
    ]


def test_json_prints_one_document_on_stdout_and_the_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("deploy", as_json=True, about={"pipeline": "jobs", "target": "local", "region": "us-east-1"})
    report.render(step())
    report.end()
    out, err = capsys.readouterr()
    document = json.loads(out)
    seconds = [each.pop("seconds") for each in document["steps"]]
    assert all(0 <= each < 1 for each in seconds)
    assert document == {
        "version": 2,
        "task": "deploy",
        "planned": False,
        "pipeline": "jobs",
        "target": "local",
        "region": "us-east-1",
        "steps": [
            {
                "step": "create-table",
                "resource": "table orders",
                "action": "created",
                "arn": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
                "changes": [
                    {"setting": "TableName", "old": None, "new": "orders"},
                    {"setting": "TableClass", "old": None, "new": ""},
                    {"setting": "DeletionProtectionEnabled", "old": None, "new": False},
                ],
                "note": "",
            },
            {
                "step": "create-function",
                "resource": "function jobs",
                "action": "updated",
                "arn": "",
                "changes": [
                    {"setting": "MemorySize", "old": 128, "new": 256},
                    {"setting": "Timeout", "old": 3, "new": 30},
                ],
                "note": "",
            },
        ],
        "result": {"resources": 2},
        "error": None,
    }
    assert [text[:17] for text in err.splitlines()] == ["+ create-table   ", "~ create-function"]


def test_the_document_contains_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    Report("deploy", as_json=True).end("deploy: it failed")
    assert json.loads(capsys.readouterr().out)["error"] == "deploy: it failed"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change("table orders", "unchanged"), "= clean            table orders"),
        (Change("table orders", "unchanged", note="kept"), "= clean            table orders  kept"),
        (Change("table orders", "absent"), "= clean            table orders  does not exist"),
        (Change("mapping x", "absent", note="already gone"), "= clean            mapping x  already gone"),
        (Change("mapping x", "replaced", (Diff("A", 1, 2),), note="n"), "! clean            mapping x  A: 1 -> 2; n"),
        (Change("role r", "deleted", (Diff("A", 1, None),)), "- clean            role r"),
        (Change("role r", "created", (Diff("A", None, 1),)), "+ clean            role r"),
    ],
)
def test_a_line_has_the_sign_the_step_the_resource_and_the_note(change: Change, expected: str) -> None:
    assert line("clean", change) == expected


@pytest.mark.parametrize(
    ("diff", "expected"),
    [
        (Diff("Timeout", 3, 30), "Timeout: 3 -> 30"),
        (Diff("Enabled", True, False), "Enabled: true -> false"),
        (Diff("Handler", "a.b", "c.d"), "Handler: a.b -> c.d"),
        (Diff("Tags", {"a": "b"}, {}), 'Tags: {"a": "b"} -> {}'),
        (Diff("Timeout", None, 30), "Timeout: 30"),
        (Diff("Description", "a" * 61, "b" * 60), f"Description: {'a' * 30}...{'a' * 30} -> {'b' * 60}"),
    ],
)
def test_a_difference_has_the_parameter_with_its_old_and_new_value(diff: Diff, expected: str) -> None:
    assert diff_text(diff) == expected
