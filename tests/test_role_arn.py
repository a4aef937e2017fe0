"""ROLE_ARN: a role that others manage is checked and used, and never changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.fault_proxy import fault_proxy
from tests.harness.project import target_aws
from tests.harness.script import Script
from tests.test_article_cli import shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.harness.forked import ForkedProject

ACCOUNT = "000000000000"
EXECUTION = "arn:aws:iam::aws:policy/service-role/AWSLambdaDynamoDBExecutionRole"
STREAM = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/stream-demo/stream/*"
LOG = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/stream-demo:*"
READ = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
WRITE = ["logs:CreateLogStream", "logs:PutLogEvents"]
READ_STREAM = {"Effect": "Allow", "Action": READ, "Resource": [STREAM]}
WRITE_LOG = {"Effect": "Allow", "Action": WRITE, "Resource": [LOG]}
DENIED = (403, "AccessDenied", "User: me is not authorized")

# As the owner of the role would create it.
CREATE = f"""
aws iam create-role --role-name theirs --path /service/ --assume-role-policy-document \
  '{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": {{"Service": "lambda.amazonaws.com"}}, "Action": "sts:AssumeRole"}}]}}'
aws iam attach-role-policy --role-name theirs --policy-arn {EXECUTION}
"""  # noqa: E501 - one argument


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def role(project: ForkedProject) -> Iterator[Callable[..., str]]:
    """Creates a role with these statements, and returns its ARN."""
    iam = project.client("iam")
    names: list[str] = []

    def create(*statements: dict[str, Any], service: str = "lambda.amazonaws.com") -> str:
        name = f"role-{len(names)}"
        created = iam.create_role(RoleName=name, Path="/service/x/", AssumeRolePolicyDocument=trust(service))
        names.append(name)
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_role_policy(RoleName=name, PolicyName="theirs", PolicyDocument=document)
        return str(created["Role"]["Arn"])

    yield create
    for name in names:
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=name, PolicyName=policy)
        iam.delete_role(RoleName=name)


def missing(stderr: str) -> list[dict[str, Any]]:
    """The statements of the policy document in an error message."""
    document: dict[str, Any] = json.loads(stderr[stderr.index("{") : stderr.rindex("}") + 1])
    return list(document["Statement"])


@pytest.mark.proof  # starts the AWS CLI
def test_a_role_made_by_the_aws_cli_serves_the_whole_life_and_stays_as_it_was(
    project: ForkedProject, tmp_path: Path
) -> None:
    assert shell(project, tmp_path, CREATE).returncode == 0
    before = project.snapshot()
    used = {"ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/service/theirs"}
    deployed = project.invoke("deploy", "smoke", **used).expect(0)
    assert "= create-role      role theirs  not managed here (ROLE_ARN)  " in deployed.stdout
    assert "= put-policy       role theirs  not managed here (ROLE_ARN)  " in deployed.stdout
    assert project.invoke("deploy", **used).expect(0).writes == []
    assert "= role theirs " in project.invoke("status", "--check", **used).expect(0).stdout
    cleaned = project.invoke("clean", "--adopt", **used).expect(0)
    assert "= clean            role theirs  not managed here (ROLE_ARN)" in cleaned.stdout
    assert "nothing remains except role theirs" in cleaned.stdout
    assert project.snapshot() == before
    project.client("iam").detach_role_policy(RoleName="theirs", PolicyArn=EXECUTION)
    project.client("iam").delete_role(RoleName="theirs")


@pytest.mark.parametrize("target", ["local", "aws"])
def test_what_the_role_lacks_is_printed_as_a_policy_before_the_first_write(
    project: ForkedProject, role: Callable[..., str], target: str
) -> None:
    arn = role({**READ_STREAM, "Action": "dynamodb:Get*"}, WRITE_LOG)
    settings = target_aws(project.endpoint) if target == "aws" else {}
    ended = project.invoke("deploy", "--yes", **settings, ROLE_ARN=arn).expect(1)
    assert f"ROLE_ARN: {arn} lacks permissions." in ended.stderr
    assert missing(ended.stderr) == [{**READ_STREAM, "Action": ["dynamodb:DescribeStream", "dynamodb:ListStreams"]}]
    assert ended.writes == []


def test_the_printed_policy_is_all_that_the_role_lacks(project: ForkedProject, role: Callable[..., str]) -> None:
    arn = role()
    statements = missing(project.invoke("create-role", ROLE_ARN=arn).expect(1).stderr)
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    project.client("iam").put_role_policy(RoleName="role-0", PolicyName="added", PolicyDocument=document)
    project.invoke("create-role", ROLE_ARN=arn).expect(0)


def test_a_role_that_lambda_may_not_assume_is_refused_with_the_trust_policy_it_needs(
    project: ForkedProject, role: Callable[..., str]
) -> None:
    arn = role(READ_STREAM, WRITE_LOG, service="ec2.amazonaws.com")
    ended = project.invoke("deploy", ROLE_ARN=arn).expect(1)
    assert "Lambda is not allowed to assume the role" in ended.stderr
    assert missing(ended.stderr)[0]["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert ended.writes == []


def test_the_permission_for_the_on_failure_destination_is_checked_too(
    project: ForkedProject, role: Callable[..., str]
) -> None:
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"
    ended = project.invoke("create-role", ROLE_ARN=role(READ_STREAM, WRITE_LOG), ON_FAILURE=queue).expect(1)
    assert missing(ended.stderr) == [{"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": [queue]}]


def test_an_explicit_deny_wins(project: ForkedProject, role: Callable[..., str]) -> None:
    arn = role({"Effect": "Allow", "Action": "*", "Resource": "*"}, {**WRITE_LOG, "Effect": "Deny"})
    assert missing(project.invoke("create-role", ROLE_ARN=arn).expect(1).stderr) == [WRITE_LOG]


def test_a_condition_on_the_region_is_judged_for_the_region_of_the_settings(
    project: ForkedProject, role: Callable[..., str]
) -> None:
    region = {"Condition": {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}}
    arn = role({**READ_STREAM, **region}, {**WRITE_LOG, **region})
    assert "cannot be checked" not in project.invoke("create-role", ROLE_ARN=arn).expect(0).stdout


def test_a_permission_that_depends_on_a_condition_is_a_note(project: ForkedProject, role: Callable[..., str]) -> None:
    tagged = {"Condition": {"StringEquals": {"aws:PrincipalTag/team": "data"}}}
    ended = project.invoke("create-role", ROLE_ARN=role(READ_STREAM, {**WRITE_LOG, **tagged})).expect(0)
    assert f"(ROLE_ARN); could not check: {', '.join(WRITE)}" in ended.stdout


def test_what_may_not_be_read_is_a_note_and_deploy_goes_on(project: ForkedProject, role: Callable[..., str]) -> None:
    arn = role(READ_STREAM, WRITE_LOG)
    with fault_proxy(project.endpoint, rate=0) as faults:
        for call in ("SimulatePrincipalPolicy", "GetRole", "ListRolePolicies", "ListAttachedRolePolicies"):
            faults.always[call] = DENIED
        ended = project.invoke("deploy", "--yes", **target_aws(faults.endpoint), ROLE_ARN=arn).expect(0)
    project.invoke("clean").expect(0)
    assert f"could not check: its trust policy, {', '.join(READ + WRITE)}" in ended.stdout


# --- Mistakes ---------------------------------------------------------------------------------------------------------


def test_the_defaults_of_the_example_file_are_allowed_beside_role_arn(
    project: ForkedProject, role: Callable[..., str]
) -> None:
    arn = role(READ_STREAM, WRITE_LOG)
    project.invoke("create-role", ROLE_ARN=arn, ROLE_NAME="", ROLE_OPTIONS="{}").expect(0)


@pytest.mark.parametrize(
    ("arn", "error"),
    [
        (f"arn:aws:iam::{ACCOUNT}:role/none", "does not exist; if the role is new"),
        ("arn:aws:iam::123456789012:role/none", f"is not in account {ACCOUNT}; choose another AWS_PROFILE"),
        ("none", "ROLE_ARN: 'none' is not allowed; allowed: the ARN of a role"),
    ],
)
def test_a_wrong_arn_is_one_error_before_the_first_write(project: ForkedProject, arn: str, error: str) -> None:
    ended = project.invoke("deploy", ROLE_ARN=arn).expect(1)
    assert error in ended.stderr
    assert ended.writes == []


# --- The runbook ------------------------------------------------------------------------------------------------------


RUNBOOKS = pytest.mark.parametrize(("form", "name", "shell"), [("sh", "book", "dash"), ("py", "tasks.py", "invoke")])


@pytest.mark.proof  # two dozen starts of the AWS CLI
@RUNBOOKS
def test_the_runbook_uses_the_role_and_leaves_it(
    project: ForkedProject, role: Callable[..., str], tmp_path: Path, form: str, name: str, shell: str
) -> None:
    arn = role(READ_STREAM, WRITE_LOG)
    before = project.snapshot()
    path = tmp_path / name
    path.write_text(project.run("runbook", "--format", form, ROLE_ARN=arn))
    script = Script(path, project.endpoint)
    for part in ("deploy", "deploy", "smoke", "clean"):
        script.run(shell, part)
    assert project.snapshot() == before


@pytest.mark.proof
@RUNBOOKS
def test_the_runbook_stops_before_the_first_write_if_the_role_lacks_a_permission(
    project: ForkedProject, role: Callable[..., str], tmp_path: Path, form: str, name: str, shell: str
) -> None:
    arn = role({**READ_STREAM, "Action": READ[1:]}, WRITE_LOG)
    path = tmp_path / name
    path.write_text(project.run("runbook", "--format", form, ROLE_ARN=arn))
    refused = Script(path, project.endpoint)(shell, "deploy")
    assert refused.returncode == 1
    assert "role role-0 does not allow: dynamodb:DescribeStream" in refused.stderr
    assert project.snapshot()["tables"] == []
