"""A role of others, checked by a caller who may not simulate its policies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from pipeline import role_check, settings
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAM = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/*"
LOG = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/orders:*"
READ = {"Effect": "Allow", "Action": ["dynamodb:GetRecords", "dynamodb:ListStreams"], "Resource": [STREAM]}
WRITE = {"Effect": "Allow", "Action": ["logs:PutLogEvents"], "Resource": [LOG]}
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
TAGGED = {"Condition": {"StringEquals": {"aws:PrincipalTag/team": "data"}}}
EXECUTION = "arn:aws:iam::aws:policy/service-role/AWSLambdaDynamoDBExecutionRole"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def refuse(**_: Any) -> tuple[AWSResponse, dict[str, Any]]:
    error = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    return AWSResponse("", 403, HTTPHeaders(), None), error


@pytest.fixture
def deny(aws: Callable[[str], Any]) -> Iterator[Callable[[str], None]]:
    """Let AWS refuse an operation of IAM, for the rest of the test."""
    events, denied = aws("iam").meta.events, []

    def register(operation: str) -> None:
        denied.append(f"before-call.iam.{operation}")
        events.register(denied[-1], refuse)

    yield register
    for event in denied:
        events.unregister(event, refuse)


@pytest.fixture
def iam(aws: Callable[[str], Any], deny: Callable[[str], None]) -> Any:
    deny("SimulatePrincipalPolicy")
    return aws("iam")


def create(iam: Any, *statements: dict[str, Any]) -> str:
    service = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName="theirs", Path="/x/", AssumeRolePolicyDocument=json.dumps(policy(service)))
    if statements:
        document = json.dumps(policy(*statements))
        iam.put_role_policy(RoleName="theirs", PolicyName="theirs", PolicyDocument=document)
    return str(role["Role"]["Arn"])


def note(iam: Any, arn: str, *needed: dict[str, Any]) -> str:
    return role_check.check(iam, arn, "eu-west-1", {"execution": policy(*(needed or (READ, WRITE)))}).note


def lacking(iam: Any, arn: str) -> list[dict[str, Any]]:
    """The statements that the error names."""
    with pytest.raises(UserError, match="lacks permissions") as raised:
        note(iam, arn)
    text = str(raised.value)
    return list(json.loads(text[text.index("{") :])["Statement"])


@pytest.mark.parametrize(
    "statements",
    [
        [READ, WRITE],
        [ALL],
        [{**READ, "Resource": STREAM.replace("eu-west-1", "*")}, WRITE],
        [{**READ, "Resource": STREAM.replace("orders", "order?")}, {**WRITE, "Action": "LOGS:*"}],
        [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}],
        [ALL, {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}],
    ],
)
def test_what_the_policies_allow_is_allowed(iam: Any, statements: list[dict[str, Any]]) -> None:
    assert note(iam, create(iam, *statements)) == "not managed here (ROLE_ARN)"


@pytest.mark.parametrize(
    ("statements", "lacks"),
    [
        ([], [READ, WRITE]),
        ([WRITE], [READ]),
        ([{**READ, "Action": "dynamodb:Get*"}, WRITE], [{**READ, "Action": ["dynamodb:ListStreams"]}]),
        ([READ, {**WRITE, "Resource": LOG.replace("orders", "ORDERS")}], [WRITE]),
        ([ALL, {"Effect": "Deny", "Action": "logs:*", "Resource": "*"}], [WRITE]),
        ([ALL, {"Effect": "Deny", "NotAction": "logs:*", "Resource": "*"}], [READ]),
    ],
)
def test_what_the_policies_do_not_allow_is_missing(
    iam: Any, statements: list[dict[str, Any]], lacks: list[dict[str, Any]]
) -> None:
    assert lacking(iam, create(iam, *statements)) == lacks


@pytest.mark.parametrize(
    "statement",
    [
        {**WRITE, **TAGGED},
        {**WRITE, "Resource": LOG.replace("orders", "${aws:PrincipalTag/team}")},
        {**ALL, "Action": "logs:*", **TAGGED},
    ],
)
def test_what_depends_on_a_condition_or_a_variable_is_unknown(iam: Any, statement: dict[str, Any]) -> None:
    assert note(iam, create(iam, READ, statement)).endswith("; could not check: logs:PutLogEvents")


def test_a_deny_with_a_condition_is_unknown(iam: Any) -> None:
    arn = create(iam, ALL, {"Effect": "Deny", "Action": "logs:*", "Resource": "*", **TAGGED})
    assert note(iam, arn).endswith("; could not check: logs:PutLogEvents")


def test_an_action_that_is_allowed_on_one_of_two_resources_is_unknown(iam: Any) -> None:
    assert note(iam, create(iam, WRITE), {**WRITE, "Resource": [LOG, STREAM]}).endswith(
        "could not check: logs:PutLogEvents"
    )


def test_a_needed_statement_with_a_condition_is_unknown(iam: Any) -> None:
    assert "could not check: {" in note(iam, create(iam, ALL), {**WRITE, **TAGGED})


def test_a_needed_deny_is_no_permission(iam: Any) -> None:
    assert note(iam, create(iam, READ), {**WRITE, "Effect": "Deny", **TAGGED}) == "not managed here (ROLE_ARN)"


def test_a_managed_policy_counts(iam: Any) -> None:
    document = json.dumps(policy(READ, WRITE))
    managed = iam.create_policy(PolicyName="managed", PolicyDocument=document)["Policy"]["Arn"]
    arn = create(iam)
    iam.attach_role_policy(RoleName="theirs", PolicyArn=managed)
    assert note(iam, arn) == "not managed here (ROLE_ARN)"


@pytest.mark.parametrize("operation", ["GetRolePolicy", "ListRolePolicies", "ListAttachedRolePolicies"])
def test_what_a_policy_that_may_not_be_read_could_allow_is_unknown(
    iam: Any, deny: Callable[[str], None], operation: str
) -> None:
    arn = create(iam, READ, WRITE)
    deny(operation)
    allowed = operation == "ListAttachedRolePolicies"
    assert ("could not check" in note(iam, arn)) is not allowed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROLE_NAME", "other"),
        ("POLICY_NAME", "other"),
        ("ROLE_PERMISSIONS_BOUNDARY", "arn:aws:iam::123456789012:policy/p"),
        ("ROLE_MANAGED_POLICY_ARNS", EXECUTION),
        ("ROLE_OPTIONS", '{"Path": "/x/"}'),
    ],
)
def test_a_setting_that_would_shape_the_role_is_refused_beside_role_arn(name: str, value: str) -> None:
    arn = "arn:aws:iam::123456789012:role/theirs"
    with pytest.raises(settings.SettingsError, match=f"{name}: '.*' is not allowed with ROLE_ARN"):
        settings.load(None, {"ROLE_ARN": arn, name: value}, {})
