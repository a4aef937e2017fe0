"""TABLE_ARN of another account: the commands for its owner, and the pipeline once the owner has run them."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.harness.project import function_code, target_aws
from tests.localaws.pipe import until

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

OWNER = "111111111111"
READER = "000000000000"


def owner(project: ForkedProject, service: str) -> Any:
    """A client of the account that owns the table."""
    return _client(project.endpoint, service)


@cache
def _client(endpoint: str, service: str) -> Any:
    session: Any = boto3.Session(OWNER, "x", region_name="us-east-1")
    return session.client(service, endpoint_url=endpoint)


def create_table(project: ForkedProject, name: str) -> str:
    table = owner(project, "dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    return str(table["TableDescription"]["TableArn"])


def run_command(project: ForkedProject, message: str) -> None:
    """Do as the owner what the command in an error message does."""
    (line,) = re.findall(r"^  (aws dynamodb put-resource-policy .*)$", message, re.MULTILINE)
    words = shlex.split(line)
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options["--region"] == "us-east-1"
    put = owner(project, "dynamodb").put_resource_policy
    put(ResourceArn=options["--resource-arn"], Policy=options["--policy"])


@pytest.fixture(scope="module")
def settings(project: ForkedProject) -> dict[str, str]:
    """The settings of a pipeline whose table the owner lets the account read."""
    settings = {"PIPELINE_NAME": "across", "TABLE_ARN": create_table(project, "orders")}
    run_command(project, project.refusal("deploy", **settings))
    return settings


def test_deploy_names_the_policy_that_lets_it_read_the_table(project: ForkedProject) -> None:
    arn = create_table(project, "closed")
    ended = project.invoke("deploy", TABLE_ARN=arn).expect(1)
    assert ended.writes == []
    assert f"belongs to account {OWNER}. Your credentials for account {READER}" in ended.stderr
    assert "because no resource-based policy allows the dynamodb:DescribeTable action" in ended.stderr
    assert f'"AWS": "arn:aws:iam::{READER}:root"' in ended.stderr


def test_deploy_names_the_policy_that_the_stream_needs_and_does_not_wait_for_it(
    project: ForkedProject, settings: dict[str, str]
) -> None:
    ended = project.invoke("deploy", **settings).expect(1)
    stream = owner(project, "dynamodb").describe_table(TableName="orders")["Table"]["LatestStreamArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{READER}:role/across-role"},
        "Action": ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
        "Resource": stream,
    }
    assert json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2) in ended.stderr
    assert f"AWS said: Cannot access stream {stream}" in ended.stderr
    assert ended.writes.count("CreateEventSourceMapping") == 1


def test_the_pipeline_runs_once_the_owner_has_put_the_policies(
    project: ForkedProject, settings: dict[str, str]
) -> None:
    code = 'def lambda_handler(event, context):\n    for r in event["Records"]: print("order", r["dynamodb"]["Keys"])\n'
    with function_code(project, code):
        run_command(project, project.refusal("deploy", **settings))
        project.run("deploy", **settings)
        assert "stream          access denied" in project.run("status", "--check", **settings)
    owner(project, "dynamodb").put_item(TableName="orders", Item={"name": {"S": "first"}})
    until(lambda: "order {'name': {'S': 'first'}}" in project.run("fetch-logs", "--timeout", "10", **settings))
    output = project.run("clean", **settings)
    assert "nothing remains except table orders" in output
    assert owner(project, "dynamodb").scan(TableName="orders")["Count"] == 1


def test_put_item_and_smoke_write_into_the_table_of_the_other_account(project: ForkedProject) -> None:
    arn = create_table(project, "shared")
    for resource in (arn, owner(project, "dynamodb").describe_table(TableName="shared")["Table"]["LatestStreamArn"]):
        statement = {"Effect": "Allow", "Principal": {"AWS": READER}, "Action": "dynamodb:*", "Resource": resource}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        owner(project, "dynamodb").put_resource_policy(ResourceArn=resource, Policy=document)
    settings = {"PIPELINE_NAME": "writer", "TABLE_ARN": arn}
    project.run("deploy", **settings)
    project.run("put-item", "--item", '{"name": "second"}', "--yes", **settings)
    project.run("smoke", "--write", "--yes", **settings)
    items = owner(project, "dynamodb").scan(TableName="shared")["Items"]
    assert items == [{"name": {"S": "second"}}]
    project.run("clean", **settings)


def test_deploy_in_a_second_account_leaves_the_first_alone(project: ForkedProject) -> None:
    account = target_aws(project.endpoint, AWS_ACCESS_KEY_ID="222222222222", PIPELINE_NAME="second")
    before = project.snapshot()
    project.run("deploy", "--yes", "smoke", **account)
    assert project.snapshot() == before
    assert "arn:aws:lambda:us-east-1:222222222222:function:second" in project.run("status", **account)
    project.run("clean", "--yes", **account)
