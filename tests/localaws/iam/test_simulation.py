"""SimulatePrincipalPolicy decides as the local AWS does when the role makes the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.deployed import allow, make_role

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = "arn:aws:dynamodb:eu-west-1:000000000000:table/"
DENY = {"Effect": "Deny", "Action": "dynamodb:PutItem", "Resource": "*"}
IN_REGION = {"Condition": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}}
REGION = [{"ContextKeyName": "aws:RequestedRegion", "ContextKeyType": "string", "ContextKeyValues": ["eu-west-1"]}]


def create(iam: Any, *statements: dict[str, Any]) -> str:
    return make_role(lambda _: iam, *statements)


def simulate(iam: Any, arn: str, **parameters: Any) -> dict[str, Any]:
    response = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["dynamodb:PutItem"], **parameters)
    (result,) = response["EvaluationResults"]
    return dict(result)


@pytest.mark.parametrize(
    ("statements", "decision"),
    [
        ([allow(["dynamodb:PutItem"])], "allowed"),
        ([allow(["dynamodb:GetItem"])], "implicitDeny"),
        ([allow(["*"]), DENY], "explicitDeny"),
    ],
)
def test_the_decision(client: Callable[[str], Any], statements: list[Any], decision: str) -> None:
    iam = client("iam")
    assert simulate(iam, create(iam, *statements))["EvalDecision"] == decision


def test_each_resource_has_its_decision(client: Callable[[str], Any]) -> None:
    iam = client("iam")
    arn = create(iam, allow(["dynamodb:PutItem"], f"{TABLE}a"))
    results = simulate(iam, arn, ResourceArns=[f"{TABLE}a", f"{TABLE}b"])["ResourceSpecificResults"]
    assert [each["EvalResourceDecision"] for each in results] == ["allowed", "implicitDeny"]


def test_a_condition_needs_its_key_in_the_request(client: Callable[[str], Any]) -> None:
    iam = client("iam")
    arn = create(iam, {**allow(["dynamodb:PutItem"]), **IN_REGION})
    without = simulate(iam, arn)
    assert (without["EvalDecision"], without["MissingContextValues"]) == ("implicitDeny", ["aws:requestedregion"])
    assert simulate(iam, arn, ContextEntries=REGION)["EvalDecision"] == "allowed"


@pytest.mark.parametrize(
    ("arn", "action", "code"),
    [
        ("arn:aws:iam::000000000000:role/none", "dynamodb:PutItem", "NoSuchEntity"),
        ("", "dynamodb:Put*", "InvalidInput"),
    ],
)
def test_a_request_that_is_refused(client: Callable[[str], Any], arn: str, action: str, code: str) -> None:
    iam = client("iam")
    arn = arn or create(iam, allow(["*"]))
    with pytest.raises(ClientError) as raised:
        iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=[action])
    assert raised.value.response["Error"]["Code"] == code
