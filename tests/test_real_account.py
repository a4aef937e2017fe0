"""TARGET=aws, played by the local AWS: what is asked, read, waited for and reported there."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.session import is_read
from tests.harness.fault_proxy import fault_proxy
from tests.harness.project import target_aws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.fault_proxy import Faults
    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

NO_TERMINAL = "stdin is not a terminal; pass --yes to continue without confirmation. Nothing was changed."


@pytest.fixture
def account(project: ForkedProject) -> Iterator[dict[str, Any]]:
    """The settings of a real account, which is empty before and after the test."""
    yield target_aws(project.endpoint)
    project.invoke("create-table").expect(0)  # not protected
    project.invoke("clean", "--delete-data", "--adopt").expect(0)
    assert project.is_empty()


# --- Questions and reads ----------------------------------------------------------------------------------------------


def test_a_step_that_only_creates_does_not_ask(project: ForkedProject, account: dict[str, Any]) -> None:
    for step in ("create-table", "create-role", "put-policy", "create-function", "map-stream"):
        project.invoke(step, **account).expect(0)


@pytest.mark.parametrize(
    ("step", "settings", "shown"),
    [
        pytest.param(
            *("create-table", {"STREAM_VIEW_TYPE": "KEYS_ONLY"}, "! create-table     table stream-demo"),
            marks=pytest.mark.proof,
        ),
        ("map-stream", {"STARTING_POSITION": "LATEST"}, "! map-stream       mapping stream-demo -> stream-demo"),
        ("create-role", {"ROLE_OPTIONS": '{"Description": "new"}'}, "~ create-role      role stream-demo-role"),
        pytest.param(
            *(
                "create-function",
                {"FUNCTION_TIMEOUT": "9"},
                "~ create-function  function stream-demo  Timeout: 30 -> 9",
            ),
            marks=pytest.mark.proof,
        ),
    ],
)
def test_a_step_that_replaces_or_changes_something_asks(
    project: ForkedProject, account: dict[str, Any], step: str, settings: dict[str, str], shown: str
) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    refused = project.invoke(step, **account, **settings).expect(1)
    assert shown in refused.stderr
    assert f"{step}: {NO_TERMINAL}" in refused.stderr
    assert refused.writes == []
    assert project.invoke(step, "--yes", **account, **settings).expect(0).writes


def test_every_task_shows_the_account_and_the_region(project: ForkedProject, account: dict[str, Any]) -> None:
    where = f"account 000000000000, region sa-east-1 at {project.endpoint}, as arn:aws:iam::000000000000:root"
    chosen = {**account, "AWS_REGION": "", "AWS_DEFAULT_REGION": "sa-east-1"}
    assert project.invoke("status", **chosen).expect(0).stderr.startswith(where)
    ended = project.invoke("create-table", "--json", **chosen).expect(0)
    assert ended.stderr.startswith(where)
    assert json.loads(ended.stdout)["region"] == "sa-east-1"
    assert project.client("dynamodb", "sa-east-1").list_tables()["TableNames"] == ["stream-demo"]
    project.invoke("clean", "--yes", **chosen).expect(0)


def test_a_deploy_with_nothing_to_do_reads_once(project: ForkedProject, account: dict[str, Any]) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    ended = project.invoke("deploy", **account).expect(0)
    reads = [call for call in ended.calls if call != "GetCallerIdentity"]
    assert all(is_read(call) for call in ended.calls)
    assert len(reads) == len(set(reads)) == 10
    assert {line[0] for line in ended.stdout.splitlines()} == {"="}


def test_a_confirmed_plan_is_not_read_again_before_its_first_write(
    project: ForkedProject, account: dict[str, Any]
) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    ended = project.invoke("create-table", "--yes", **account, TAGS='{"stage": "test"}').expect(0)
    before = ended.calls[: ended.calls.index("TagResource")]
    assert before.count("ListTagsOfResource") == 1


def test_status_says_how_old_the_number_of_items_is(project: ForkedProject, account: dict[str, Any]) -> None:
    project.invoke("create-table", **account).expect(0)
    assert re.search(r"^  items as of +up to six hours ago$", project.run("status", **account), re.MULTILINE)
    assert "as of" not in project.run("status")


def test_status_says_how_old_the_choice_of_the_log_stream_is(project: ForkedProject, account: dict[str, Any]) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    project.invoke("smoke", **account).expect(0)
    assert re.search(r"^  logs as of +up to an hour ago", project.run("status", **account), re.MULTILINE)


# --- What AWS refuses for a while -------------------------------------------------------------------------------------

IN_PROGRESS = "The operation cannot be performed at this time. An update is in progress for resource: it"
FOR_SECONDS = {
    "PUT /functions/stream-demo/configuration": (409, "ResourceConflictException", IN_PROGRESS),
    "PutRolePolicy": (404, "NoSuchEntityException", "The role with name stream-demo-role cannot be found."),
    "UpdateTable": (400, "ResourceInUseException", "Attempt to change a resource which is still in use"),
    "PUT /event-source-mappings": (400, "ResourceInUseException", "Cannot update the event source mapping: in use."),
}
CHANGED = {
    "FUNCTION_TIMEOUT": "9",
    "TABLE_DELETION_PROTECTION_ENABLED": "true",
    "BATCH_SIZE": "7",
    "ON_FAILURE": "arn:aws:sqs:us-east-1:000000000000:dead",
}


def clear_after(faults: Faults, operation: str, calls: int) -> None:
    """End the refusals after so many calls, which growing pauses separate."""
    while faults.calls[operation] < calls:
        time.sleep(0.01)
    faults.always.clear()


@pytest.mark.proof  # growing pauses of some ten seconds each
@pytest.mark.parametrize("operation", FOR_SECONDS)
def test_a_refusal_that_lasts_does_not_stop_deploy(
    project: ForkedProject, account: dict[str, Any], operation: str
) -> None:
    project.client("sqs").create_queue(QueueName="dead")
    project.invoke("deploy", "--yes", **account).expect(0)
    with fault_proxy(project.endpoint, rate=0) as faults:
        faults.always[operation] = FOR_SECONDS[operation]
        threading.Thread(target=clear_after, args=(faults, operation, 6), daemon=True).start()
        settings = {**account, "AWS_ENDPOINT_URL": faults.endpoint, **CHANGED}
        project.invoke("deploy", "--yes", **settings).expect(0)
        assert faults.calls[operation] > 6
    assert project.invoke("deploy", **account, **CHANGED).expect(0).writes == []
    project.invoke("deploy", "--yes", **account).expect(0)
    project.client("sqs").delete_queue(QueueUrl=f"{project.endpoint}/000000000000/dead")


def test_a_policy_that_does_not_exist_is_reported_at_the_first_answer_with_what_exists(
    project: ForkedProject, account: dict[str, Any]
) -> None:
    missing = "arn:aws:iam::000000000000:policy/missing"
    ended = project.invoke("deploy", "--yes", **account, ROLE_MANAGED_POLICY_ARNS=missing).expect(1)
    assert ended.calls.count("AttachRolePolicy") == 1
    assert "create-role: AttachRolePolicy failed\n  AWS said: NoSuchEntity: " in ended.stderr
    assert "try: correct what AWS names" in ended.stderr
    assert "Existing resources: role stream-demo-role, table stream-demo. Continue with invoke deploy" in ended.stderr


def test_a_refusal_at_a_late_step_says_what_was_created_before(project: ForkedProject, account: dict[str, Any]) -> None:
    with fault_proxy(project.endpoint, rate=0) as faults:
        denied = "User: me is not authorized to perform: lambda:CreateEventSourceMapping"
        faults.always["POST /event-source-mappings"] = (403, "AccessDeniedException", denied)
        ended = project.invoke("deploy", "--yes", **{**account, "AWS_ENDPOINT_URL": faults.endpoint}).expect(1)
        assert faults.calls["POST /event-source-mappings"] == 1
    assert f"map-stream: CreateEventSourceMapping failed\n  AWS said: AccessDeniedException: {denied}" in ended.stderr
    assert "wait a minute" not in ended.stderr
    names = "function stream-demo, log group /aws/lambda/stream-demo, role stream-demo-role, table stream-demo"
    assert (
        f"\n  Existing resources: {names}. Continue with invoke deploy, or delete them with invoke clean\n"
        in ended.stderr
    )


def test_tags_that_may_not_be_read_are_an_error_that_names_the_permission(
    project: ForkedProject, account: dict[str, Any]
) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    with fault_proxy(project.endpoint, rate=0) as faults:
        denied = "User: me is not authorized to perform: dynamodb:ListTagsOfResource"
        faults.always["ListTagsOfResource"] = (400, "AccessDeniedException", denied)
        ended = project.invoke("deploy", "--yes", **{**account, "AWS_ENDPOINT_URL": faults.endpoint}).expect(1)
    assert denied in ended.stderr
    assert "grant the caller the permission that AWS names" in ended.stderr
    assert "--adopt" not in ended.stderr
    assert ended.writes == []


# --- Mistakes, before the first write ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["aws", pytest.param("local", marks=pytest.mark.proof)])
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("MAPPING_OPTIONS", '{"Topics": ["x"]}', "MAPPING_OPTIONS: Topics not supported"),
        ("FUNCTION_OPTIONS", '{"Publish": true}', "FUNCTION_OPTIONS: Publish not supported"),
        (
            "FUNCTION_OPTIONS",
            '{"Code": {"S3Bucket": "bucket", "S3Key": "key"}}',
            "FUNCTION_OPTIONS: Code has a dedicated setting",
        ),
        ("TAGS", '{"a": "line\\nbreak"}', "TAGS: "),
        ("TAGS", '{"pipeline:added": "x"}', "TAGS: "),
        ("TAGS", json.dumps({f"t{number}": "" for number in range(48)}), "allowed: up to 47 tags"),
    ],
)
def test_a_mistake_is_reported_before_the_first_write_into_an_empty_account(
    project: ForkedProject, account: dict[str, Any], target: str, name: str, value: str, error: str
) -> None:
    settings = account if target == "aws" else {}
    ended = project.invoke("deploy", "--yes", **settings, **{name: value}).expect(1)
    assert error in ended.stderr
    assert ended.writes == []


# --- clean ------------------------------------------------------------------------------------------------------------


def test_clean_detaches_a_function_from_its_vpc_before_it_deletes_the_role(
    project: ForkedProject, account: dict[str, Any]
) -> None:
    network = '{"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}'
    allowed = "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"
    project.invoke("deploy", "--yes", **account, FUNCTION_OPTIONS=network, ROLE_MANAGED_POLICY_ARNS=allowed).expect(0)
    ended = project.invoke("clean", "--yes", **account).expect(0)
    order = ["UpdateFunctionConfiguration", "DeleteFunction", "DeleteRole"]
    assert [call for call in ended.writes if call in order] == order
    assert re.search(r"^- clean +function stream-demo  detached from its VPC first", ended.stdout, re.MULTILINE)


def test_clean_counts_items_again_seconds_after_its_plan(project: ForkedProject, account: dict[str, Any]) -> None:
    project.invoke("create-table", **account).expect(0)
    ended = project.invoke("clean", "--yes", **account).expect(0)
    assert ended.calls.count("Scan") == 2
    assert ended.writes == ["DeleteTable"]
