"""status: every resource, its state and its differences from the settings; and the document of `--json`."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.session import is_read

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

NAME = "observed"


@pytest.fixture(scope="module", autouse=True)
def deployed(project: ForkedProject) -> None:
    """Deploy a pipeline and run its function once."""
    project.run("deploy", "smoke", PIPELINE_NAME=NAME)


def document(project: ForkedProject, *words: str, code: int = 0, **settings: str) -> dict[str, Any]:
    """Run a task with `--json` and return its document. Assert that stdout has nothing else."""
    ended = project.invoke(*words, "--json", **{"PIPELINE_NAME": NAME, **settings}).expect(code)
    return dict(json.loads(ended.stdout))


def test_status_shows_every_resource_with_its_state_and_arn(project: ForkedProject) -> None:
    output = project.run("status", PIPELINE_NAME=NAME)
    for kind, state in (("role", "present"), ("function", "Active"), ("table", "ACTIVE"), ("mapping", "Enabled")):
        assert re.search(rf"^= {kind} {NAME}.* {state} +arn:aws:", output, re.MULTILINE)


def test_status_shows_the_stream_the_last_result_and_the_last_invocation(project: ForkedProject) -> None:
    deadline = time.monotonic() + 20
    # The metrics of an invocation follow its log lines.
    while "iterator age" not in (facts := document(project, "status")["result"]["facts"]):
        assert time.monotonic() < deadline, facts
    assert facts["stream"] == "ENABLED, NEW_AND_OLD_IMAGES, shards: 1"
    assert facts["last result"] == "OK"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, request ID [0-9a-f-]{36}", facts["last invocation"])
    assert re.fullmatch(r"\d+ ms in 15 min", facts["iterator age"])


def test_status_writes_nothing(project: ForkedProject) -> None:
    ended = project.invoke("status", "--verbose", PIPELINE_NAME=NAME, BATCH_SIZE="7").expect(0)
    logged = re.findall(r"^    \S+ (\w+)  \d+ ms(.*)$", ended.stderr, re.MULTILINE)
    assert ended.calls
    assert ended.writes == []
    assert [operation for operation, _ in logged if is_read(operation)] == ended.calls
    assert {outcome for operation, outcome in logged if not is_read(operation)} == {"  dry run"}


def test_check_without_drift_exits_0(project: ForkedProject) -> None:
    project.invoke("status", "--check", PIPELINE_NAME=NAME).expect(0)


def test_check_with_drift_exits_2_and_shows_the_differences(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": NAME, "BATCH_SIZE": "7", "FUNCTION_TIMEOUT": "9"}
    ended = project.invoke("status", "--check", **settings).expect(2)
    assert "BatchSize: 100 -> 7" in ended.stdout
    assert "Timeout: 30 -> 9" in ended.stdout
    assert "2 of 6 resources differ from the settings" in ended.stderr


def test_status_shows_the_current_resource_where_a_deploy_would_replace_it(project: ForkedProject) -> None:
    result = document(project, "status", STREAM_VIEW_TYPE="KEYS_ONLY")["result"]
    assert result["facts"]["stream"] == "ENABLED, NEW_AND_OLD_IMAGES, shards: 1"
    assert (result["facts"]["last result"], result["facts"]["other mappings"]) == ("OK", [])
    states = {each["resource"].split()[0]: (each["action"], each["state"]) for each in result["resources"]}
    assert (states["table"], states["mapping"]) == (("replaced", "ACTIVE"), ("replaced", "Enabled"))


def test_missing_resources_are_drift(project: ForkedProject) -> None:
    ended = project.invoke("status", "--check", PIPELINE_NAME="nowhere").expect(2)
    assert ended.stdout.count(" missing") == 6


def test_status_shows_the_last_error_of_the_function(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "erring", "MAXIMUM_RETRY_ATTEMPTS": "0", "FUNCTION_HANDLER": "example.handle"}
    project.run("deploy", **settings)
    project.refusal("smoke", SMOKE_TIMEOUT="3", **settings)
    output = project.run("status", **settings)
    assert re.search(r"^  last error +.*request ID .*: \[ERROR\] TypeError: handle\(\) takes 1", output, re.MULTILINE)
    assert re.search(r"^  errors +[1-9]\d* in 15 min$", output, re.MULTILINE)


def test_status_shows_a_mapping_on_another_table(project: ForkedProject) -> None:
    project.run("create-table", PIPELINE_NAME="elsewhere")
    arn = project.client("dynamodb").describe_table(TableName="elsewhere")["Table"]["LatestStreamArn"]
    allow = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}]}'
    project.client("iam").put_role_policy(RoleName=f"{NAME}-role", PolicyName="more", PolicyDocument=allow)
    uuid = project.client("lambda").create_event_source_mapping(
        FunctionName=NAME, EventSourceArn=arn, StartingPosition="LATEST"
    )["UUID"]
    assert document(project, "status")["result"]["facts"]["other mappings"][0].startswith(f"{uuid} on {arn}: ")
    project.client("lambda").delete_event_source_mapping(UUID=uuid)
    project.client("iam").delete_role_policy(RoleName=f"{NAME}-role", PolicyName="more")


def test_the_document_of_a_task_lists_its_changes(project: ForkedProject) -> None:
    deploy = document(project, "deploy", FUNCTION_MEMORY_SIZE="256")
    assert list(deploy) == ["version", "task", "planned", "pipeline", "target", "region", "steps", "result", "error"]
    assert (deploy["pipeline"], deploy["target"], deploy["region"]) == (NAME, "local", "us-east-1")
    (changed,) = [step for step in deploy["steps"] if step["action"] != "unchanged"]
    assert list(changed) == ["step", "resource", "action", "arn", "changes", "note", "seconds"]
    assert changed["changes"] == [{"setting": "MemorySize", "old": 128, "new": 256}]
    assert (changed["resource"], changed["arn"][-8:]) == (f"function {NAME}", NAME)


def test_the_document_of_a_dry_run_is_marked_as_planned(project: ForkedProject) -> None:
    clean = document(project, "--dry", "clean")
    assert clean["planned"]
    assert {step["action"] for step in clean["steps"]} == {"deleted"}


def test_the_document_of_a_failed_task_contains_the_error(project: ForkedProject) -> None:
    assert document(project, "put-item", "--item", "{", code=1)["error"].startswith("put-item: --item is not JSON")


def test_the_document_of_a_task_with_invalid_settings_contains_the_error(project: ForkedProject) -> None:
    assert "BATCH_SIZE: '0' is not allowed" in document(project, "create-table", code=1, BATCH_SIZE="0")["error"]


@pytest.mark.parametrize(
    "words",
    [("zip-code",), ("create-table",), ("create-role",), ("put-policy",), ("create-function",), ("map-stream",),
     ("create-alarms",), ("put-item", "--item", '{"name": "x"}'), ("fetch-logs",), ("smoke",), ("deploy",),
     ("status",), ("records",), ("replay",), ("pause",), ("resume",), ("local.start",),
     ("local.status",)],
    ids=lambda words: words[0],
)  # fmt: skip
def test_every_task_prints_one_document(project: ForkedProject, words: tuple[str, ...]) -> None:
    printed = document(project, *words)
    assert (printed["version"], printed["task"], printed["error"]) == (2, words[0], None)


def test_the_document_of_smoke_contains_the_log_line_and_the_request_id(project: ForkedProject) -> None:
    result = document(project, "smoke")["result"]
    assert set(result) == {"line", "request_id", "seconds", "log_group"}
    assert (result["log_group"], '"eventName": "INSERT"' in result["line"]) == (f"/aws/lambda/{NAME}", True)


def test_the_document_of_fetch_logs_contains_the_invocations(project: ForkedProject) -> None:
    (first, *_) = document(project, "fetch-logs")["result"]["invocations"]
    assert {"request_id", "log_stream", "started_ms", "lines", "report"} == set(first)
