"""status: what stands and what differs; and the one document that `--json` prints."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.project import Project

NAME = "standing"
RESOURCES = ["role", "policy", "log group", "function", "table", "mapping"]


@pytest.fixture(scope="module", autouse=True)
def deployed(project: Project) -> None:
    """A pipeline that has run once."""
    project.run("deploy", "smoke", PIPELINE_NAME=NAME)


def document(project: Project, *words: str, code: int = 0, **settings: str) -> dict[str, Any]:
    """What `--json` printed: one document, and nothing else on stdout."""
    finished = project.invoke(*words, "--json", **{"PIPELINE_NAME": NAME, **settings})
    assert finished.returncode == code, finished.stdout + finished.stderr
    return dict(json.loads(finished.stdout))


def test_status_shows_every_resource_with_its_state_and_arn(project: Project) -> None:
    output = project.run("status", PIPELINE_NAME=NAME)
    for kind, state in (("role", "present"), ("function", "Active"), ("table", "ACTIVE"), ("mapping", "Enabled")):
        assert re.search(rf"^= {kind} {NAME}.* {state} +arn:aws:", output, re.MULTILINE)


def test_status_tells_the_stream_the_last_result_and_the_last_run(project: Project) -> None:
    facts = document(project, "status")["result"]["facts"]
    assert facts["stream"] == "ENABLED, NEW_AND_OLD_IMAGES, shards: 1"
    assert facts["last result"] == "OK"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, request id [0-9a-f-]{36}", facts["last run"])
    assert re.fullmatch(r"\d+ ms in 15 min", facts["iterator age"])


def test_status_writes_nothing(project: Project) -> None:
    told = project.invoke("status", "--verbose", PIPELINE_NAME=NAME, BATCH_SIZE="7").stderr
    calls = re.findall(r"^    \S+ (\w+)  \d+ ms(.*)$", told, re.MULTILINE)
    assert calls
    assert all(call.startswith(("Describe", "Get", "List", "Filter")) or "planned" in how for call, how in calls)


def test_without_drift_check_exits_0(project: Project) -> None:
    assert project.invoke("status", "--check", PIPELINE_NAME=NAME).returncode == 0


def test_on_drift_check_exits_2_and_names_it(project: Project) -> None:
    finished = project.invoke("status", "--check", PIPELINE_NAME=NAME, BATCH_SIZE="7", FUNCTION_TIMEOUT="9")
    assert finished.returncode == 2
    assert "BatchSize: 100 -> 7" in finished.stdout
    assert "Timeout: 30 -> 9" in finished.stdout
    assert "2 of 6 are not as the settings say" in finished.stderr


def test_status_shows_what_there_is_also_where_it_would_be_replaced(project: Project) -> None:
    told = document(project, "status", STREAM_VIEW_TYPE="KEYS_ONLY")["result"]
    assert told["facts"]["stream"] == "ENABLED, NEW_AND_OLD_IMAGES, shards: 1"
    assert (told["facts"]["last result"], told["facts"]["other mappings"]) == ("OK", [])
    states = {each["resource"].split()[0]: (each["did"], each["state"]) for each in told["resources"]}
    assert (states["table"], states["mapping"]) == (("replaced", "ACTIVE"), ("replaced", "Enabled"))


def test_what_is_missing_is_drift(project: Project) -> None:
    finished = project.invoke("status", "--check", PIPELINE_NAME="nowhere")
    assert (finished.returncode, finished.stdout.count(" missing")) == (2, 6)


def test_an_error_of_the_function_is_told(project: Project) -> None:
    settings = {"PIPELINE_NAME": "erring", "MAXIMUM_RETRY_ATTEMPTS": "0", "FUNCTION_HANDLER": "example.handle"}
    project.run("deploy", **settings)
    project.refusal("smoke", SMOKE_TIMEOUT="3", **settings)
    output = project.run("status", **settings)
    assert re.search(r"^  last error +.*request id .*: \[ERROR\] TypeError: handle\(\) takes 1", output, re.MULTILINE)
    assert re.search(r"^  errors +[1-9]\d* in 15 min$", output, re.MULTILINE)


def test_a_mapping_on_another_table_is_told(project: Project) -> None:
    project.run("create-table", PIPELINE_NAME="elsewhere")
    arn = project.client("dynamodb").describe_table(TableName="elsewhere")["Table"]["LatestStreamArn"]
    allowed = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}]}'
    project.client("iam").put_role_policy(RoleName=f"{NAME}-role", PolicyName="more", PolicyDocument=allowed)
    made = project.client("lambda").create_event_source_mapping(
        FunctionName=NAME, EventSourceArn=arn, StartingPosition="LATEST"
    )
    assert document(project, "status")["result"]["facts"]["other mappings"][0].startswith(f"{made['UUID']} on {arn}: ")
    project.client("lambda").delete_event_source_mapping(UUID=made["UUID"])
    project.client("iam").delete_role_policy(RoleName=f"{NAME}-role", PolicyName="more")


def test_the_document_of_a_task_says_what_it_did(project: Project) -> None:
    told = document(project, "deploy", FUNCTION_MEMORY_SIZE="256")
    assert list(told) == ["version", "task", "planned", "pipeline", "target", "region", "steps", "result", "error"]
    (changed,) = [step for step in told["steps"] if step["did"] != "unchanged"]
    assert changed["changes"] == [{"setting": "MemorySize", "old": 128, "new": 256}]
    assert (changed["resource"], changed["arn"][-8:]) == (f"function {NAME}", NAME)


def test_the_document_of_a_plan_says_that_it_is_one(project: Project) -> None:
    told = document(project, "--dry", "clean")
    assert told["planned"]
    assert {step["did"] for step in told["steps"]} == {"deleted"}


def test_the_document_of_a_failure_holds_the_error(project: Project) -> None:
    told = document(project, "put-item", "--item", "{", code=1)
    assert told["error"].startswith("put-item: --item is not JSON")


def test_the_document_of_wrong_settings_holds_the_error(project: Project) -> None:
    assert "BATCH_SIZE: '0' is not allowed" in document(project, "create-table", code=1, BATCH_SIZE="0")["error"]


@pytest.mark.parametrize(
    "words",
    [("zip-code",), ("create-table",), ("create-role",), ("put-policy",), ("create-function",), ("map-stream",),
     ("put-item", "--item", '{"name": "x"}'), ("fetch-logs",), ("smoke",), ("local.start",), ("local.status",)],
    ids=lambda words: words[0],
)  # fmt: skip
def test_every_task_prints_one_document(project: Project, words: tuple[str, ...]) -> None:
    told = document(project, *words)
    assert (told["version"], told["task"], told["error"]) == (1, words[0], None)


def test_the_document_of_fetch_logs_holds_the_invocations(project: Project) -> None:
    (first, *_) = document(project, "fetch-logs")["result"]["invocations"]
    assert {"request_id", "log_stream", "started_ms", "lines", "report"} == set(first)
