"""A whole life of a pipeline on a local AWS that is as late as AWS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from localaws.delays import DELAYS
from tests.harness.script import Script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.project import Project

pytestmark = pytest.mark.proof

# What waits for one another from the role to the log line, and from the mapping to the table.
CHAIN = (
    "role-assumable", "function-pending", "mapping-creating", "logs-visible", "logs-searchable",
    "mapping-deleting", "role-visible", "table-deleting",
)  # fmt: skip

# Settings that change a table, one after the other, each also what the one before did not say.
TABLES: list[dict[str, str]] = [
    {"TABLE_OPTIONS": '{"SSESpecification": {"Enabled": true}}', "TABLE_BILLING_MODE": "PROVISIONED"},
    {"TABLE_OPTIONS": '{"TableClass": "STANDARD_INFREQUENT_ACCESS"}', "TAGS": '{"one": "1"}'},
    {"TABLE_OPTIONS": '{"OnDemandThroughput": {"MaxReadRequestUnits": 5}}', "TAGS": '{"two": "2"}'},
    {"TABLE_BILLING_MODE": "PROVISIONED", "TABLE_DELETION_PROTECTION_ENABLED": "true"},
    {"STREAM_VIEW_TYPE": "KEYS_ONLY", "TABLE_OPTIONS": '{"SSESpecification": {"Enabled": true}}'},
]


def test_commands_end_well_at_once(new_project: Callable[[], Project], record_figures: Callable[[str], None]) -> None:
    project, settings = new_project(), {"LOCAL_AWS_DELAYS": "on"}
    project.run("local.start", **settings)
    began = time.monotonic()
    output = project.run("deploy", "smoke", "status", "clean", **settings)
    took, needed = time.monotonic() - began, sum(DELAYS[event].seconds for event in CHAIN)
    record_figures(f"deploy, smoke, status, clean with delays: {took:.1f} s; the delays alone: {needed:.1f} s")
    assert "smoke: item reached" in output
    assert "nothing remains" in output
    assert took < 2 * needed


def test_second_deploy_changes_and_a_third_right_after_clean_creates(new_project: Callable[[], Project]) -> None:
    project, settings = new_project(), {"LOCAL_AWS_DELAYS": "0.3"}
    protected = {"TABLE_POINT_IN_TIME_RECOVERY_ENABLED": "true", "STARTING_POSITION": "LATEST"}
    project.run("deploy", "smoke", **protected, **settings)
    changes = {"FUNCTION_TIMEOUT": "7", "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "2", "BATCH_SIZE": "9"}
    changed = project.run("deploy", TAGS='{"team": "data"}', **changes, **protected, **settings)
    assert "Timeout: 30 -> 7" in changed
    project.run("clean", **protected, **settings)
    assert project.run("deploy", "clean", **settings).count("\n+ ") >= 5
    assert project.is_empty()


def test_a_table_changes_in_every_way_and_then_no_more(new_project: Callable[[], Project]) -> None:
    project = new_project()
    project.run("create-table", LOCAL_AWS_DELAYS="0.1")
    for settings in [*TABLES, {}]:
        assert project.run("create-table", **settings)[0] in "~!"
        time.sleep(DELAYS["table-tags-listed"].seconds / 10)  # until then, AWS shows the old tags
        assert project.run("create-table", **settings)[0] == "="


def test_a_deploy_goes_on_where_an_interrupted_one_was(new_project: Callable[[], Project]) -> None:
    project = new_project()
    project.run("create-table", LOCAL_AWS_DELAYS="0.2")
    update, units = project.client("dynamodb").update_table, {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    update(TableName="stream-demo", BillingMode="PROVISIONED", ProvisionedThroughput=units)
    assert project.run("create-table", TABLE_BILLING_MODE="PROVISIONED")[0] == "="
    update(TableName="stream-demo", SSESpecification={"Enabled": True})
    assert project.run("create-table", TABLE_BILLING_MODE="PROVISIONED")[0] == "~"


def test_the_script_goes_on_where_an_interrupted_one_was(new_project: Callable[[], Project], tmp_path: Path) -> None:
    project = new_project()
    project.run("local.start", LOCAL_AWS_DELAYS="1")
    script = Script(tmp_path / "runbook.sh", project.endpoint)
    script.path.write_text(project.run("runbook"))
    dynamodb = project.client("dynamodb")
    dynamodb.create_table(
        TableName="stream-demo",
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        Tags=[{"Key": "pipeline", "Value": "stream-demo"}],
    )
    time.sleep(DELAYS["table-described"].seconds)
    assert "create-table: done" in script.run("sh", "--step", "create-table")


def test_the_tasks_to_paste_end_well_at_once(new_project: Callable[[], Project], tmp_path: Path) -> None:
    project = new_project()
    project.run("local.start", LOCAL_AWS_DELAYS="0.5")
    tasks = Script(tmp_path / "tasks.py", project.endpoint)
    tasks.path.write_text(project.run("runbook", "--format", "py", TABLE_POINT_IN_TIME_RECOVERY_ENABLED="true"))
    assert tasks.run("invoke", "deploy", "smoke", "clean").endswith("clean: done\n")
    assert project.is_empty()


def test_an_alias_is_introduced_rolled_back_and_given_up(new_project: Callable[[], Project]) -> None:
    project, settings = new_project(), {"LOCAL_AWS_DELAYS": "0.3"}
    project.run("deploy", **settings)
    settings["FUNCTION_ALIAS"] = "live"
    project.run("deploy", **settings)
    settings["FUNCTION_TIMEOUT"] = "7"
    assert "FunctionVersion: 1 -> 2" in project.run("deploy", "smoke", **settings)
    project.run("rollback", "smoke", **settings)
    settings["FUNCTION_ALIAS"] = ""
    assert "alias stream-demo:live" in project.run("deploy", "smoke", **settings)
    project.run("clean", **settings)
    assert project.is_empty()
