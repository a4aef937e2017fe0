"""`invoke permissions`: the policy of the operator. That it suffices is proved in tests/proofs/test_permissions.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.session import is_read

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # rehearses all tasks several times

ACCOUNT = "123456789012"
BUCKET = "arn:aws:s3:::failed"
SETTINGS = {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCOUNT_ID": ACCOUNT,
    "TARGET": "aws",
    "ROLE_PERMISSIONS_BOUNDARY": f"arn:aws:iam::{ACCOUNT}:policy/team/boundary",
    # Lambda refuses a network without its permissions.
    "ROLE_MANAGED_POLICY_ARNS": "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
    "FUNCTION_LAYERS": "arn:aws:lambda:eu-west-1:111111111111:layer:shared:2",
    "FUNCTION_OPTIONS": '{"VpcConfig": {"SubnetIds": ["subnet-12345678"], "SecurityGroupIds": ["sg-12345678"]}}',
    "ON_FAILURE": BUCKET,
}


@pytest.fixture(scope="module")
def deploy(project: ForkedProject) -> dict[str, Any]:
    """The policy for deploy, with many settings."""
    return dict(json.loads(project.run("permissions", "--for", "deploy", **SETTINGS)))


@pytest.fixture(scope="module")
def status(project: ForkedProject) -> dict[str, Any]:
    """The policy for status, and the JSON document around it."""
    return dict(json.loads(project.run("permissions", "--for", "status", "--json")))


def allowed(policy: dict[str, Any], action: str) -> dict[str, Any]:
    """The only statement that allows the action."""
    (statement,) = [each for each in policy["Statement"] if action in each["Action"]]
    return dict(statement)


def test_the_policy_is_short_enough_for_a_managed_policy(deploy: dict[str, Any]) -> None:
    assert len("".join(json.dumps(deploy).split())) < 6144


def test_no_action_is_a_wildcard(deploy: dict[str, Any]) -> None:
    assert "*" not in "".join(action for statement in deploy["Statement"] for action in statement["Action"])


def test_each_statement_has_a_sid_of_its_own(deploy: dict[str, Any]) -> None:
    sids = [statement["Sid"] for statement in deploy["Statement"]]
    assert len(set(sids)) == len(sids)
    assert all(sid.isalnum() for sid in sids)


def test_only_actions_without_resources_are_allowed_on_all_resources(deploy: dict[str, Any]) -> None:
    actions = {a for statement in deploy["Statement"] if statement["Resource"] == "*" for a in statement["Action"]}
    network = {"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"}
    assert actions == {"lambda:CreateEventSourceMapping", "lambda:ListEventSourceMappings", *network}


def test_resources_are_in_the_account_and_the_region_of_the_settings(deploy: dict[str, Any]) -> None:
    table = allowed(deploy, "dynamodb:CreateTable")["Resource"]
    assert table == f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/stream-demo"


def test_the_role_can_be_passed_to_lambda_only(deploy: dict[str, Any]) -> None:
    statement = allowed(deploy, "iam:PassRole")
    assert statement["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/stream-demo-role"
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com"]}}


def test_the_role_can_be_created_only_with_its_permissions_boundary(deploy: dict[str, Any]) -> None:
    boundary = {"StringEquals": {"iam:PermissionsBoundary": [SETTINGS["ROLE_PERMISSIONS_BOUNDARY"]]}}
    for action in ("CreateRole", "PutRolePermissionsBoundary"):
        assert allowed(deploy, f"iam:{action}")["Condition"] == boundary


def test_only_mappings_of_the_function_can_be_changed(deploy: dict[str, Any]) -> None:
    function = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:stream-demo"
    for action in ("CreateEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping"):
        assert allowed(deploy, f"lambda:{action}")["Condition"] == {"StringEquals": {"lambda:FunctionArn": [function]}}


def test_layers_of_other_accounts_can_be_read(deploy: dict[str, Any]) -> None:
    assert allowed(deploy, "lambda:GetLayerVersion")["Resource"] == SETTINGS["FUNCTION_LAYERS"]


def test_the_policy_for_status_only_reads(status: dict[str, Any]) -> None:
    actions = [
        action.partition(":")[2] for statement in status["result"]["Statement"] for action in statement["Action"]
    ]
    assert actions
    assert [action for action in actions if not is_read(action)] == []


def test_the_policy_is_the_result_of_the_json_document(status: dict[str, Any]) -> None:
    assert status["result"].keys() == {"Version", "Statement"}


@pytest.mark.usefixtures("status")
def test_the_local_aws_of_the_project_is_left_alone(project: ForkedProject) -> None:
    assert project.is_empty()


def test_an_unknown_group_is_named_with_the_allowed_ones(project: ForkedProject) -> None:
    message = (
        "--for: 'smoke,all' is not allowed; allowed: a comma-separated list of deploy, smoke, status, clean, operate"
    )
    assert project.refusal("permissions", "--for", "smoke", "--for", "all") == f"permissions: {message}\n"


def test_a_real_account_must_be_named(project: ForkedProject) -> None:
    message = "AWS_ACCOUNT_ID is empty; set it, because the policy names resources by account"
    assert project.refusal("permissions", TARGET="aws", AWS_REGION="us-east-1") == f"permissions: {message}\n"
