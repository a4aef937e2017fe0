"""The policy that an access log generates."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localaws.iam import access_log
from localaws.iam.generated_policy import generate

if TYPE_CHECKING:
    from pathlib import Path

ME, ANOTHER = "arn:aws:iam::000000000000:user/me", "arn:aws:iam::000000000000:user/another"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/t"
LAMBDA = "arn:aws:lambda:us-east-1:000000000000"
GROUPS = "arn:aws:logs:us-east-1:000000000000:log-group:"


def statements(folder: Path, *entries: tuple[str, str, dict[str, str]], caller: str = ME) -> list[dict[str, Any]]:
    """Generate a policy from actions, resources and contexts."""
    lines = [{"caller": caller, "action": action, "resource": arn, "context": keys} for action, arn, keys in entries]
    (folder / access_log.NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return list(generate(folder, ME)["Statement"])


def test_the_actions_on_a_resource_are_one_statement(tmp_path: Path) -> None:
    calls: list[Any] = [(f"dynamodb:{name}", TABLE, {}) for name in ("PutItem", "GetItem", "PutItem")]
    expected = {"Action": ["dynamodb:GetItem", "dynamodb:PutItem"], "Resource": TABLE}
    assert statements(tmp_path, *calls) == [{"Sid": "DynamodbTable", "Effect": "Allow", **expected}]


def test_resources_with_the_same_actions_are_one_statement(tmp_path: Path) -> None:
    alarms = [f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}" for name in ("a", "b")]
    calls: list[Any] = [
        (f"cloudwatch:{name}", alarm, {}) for name in ("PutMetricAlarm", "DeleteAlarms") for alarm in alarms
    ]
    assert [each["Resource"] for each in statements(tmp_path, *calls)] == [alarms]


def test_the_calls_of_others_do_not_count(tmp_path: Path) -> None:
    assert statements(tmp_path, ("dynamodb:PutItem", TABLE, {}), caller=ANOTHER) == []


@pytest.mark.parametrize(
    ("arn", "resource"),
    [
        (f"{TABLE}/stream/2026-01-01T00:00:00.000", f"{TABLE}/stream/*"),
        (f"{TABLE}/backup/01234-ab", f"{TABLE}/backup/*"),
        (f"{LAMBDA}:event-source-mapping:1234", f"{LAMBDA}:event-source-mapping:*"),
        (f"{LAMBDA}:function:f:3", f"{LAMBDA}:function:f:*"),
        (f"{LAMBDA}:function:f:live", f"{LAMBDA}:function:f:live"),
        (f"{LAMBDA}:layer:l:3", f"{LAMBDA}:layer:l:3"),
        ("arn:aws:s3:::b/folder/key", "arn:aws:s3:::b/folder/*"),
        (f"{GROUPS}:log-stream:", f"{GROUPS}*"),
        (f"{GROUPS}/g:log-stream:s", [f"{GROUPS}/g", f"{GROUPS}/g:*"]),
        (f"{GROUPS}/g", [f"{GROUPS}/g", f"{GROUPS}/g:*"]),
    ],
)
def test_what_aws_generates_in_an_arn_is_a_wildcard(tmp_path: Path, arn: str, resource: object) -> None:
    assert statements(tmp_path, ("x:Y", arn, {}))[0]["Resource"] == resource


def test_a_condition_has_the_values_of_all_calls(tmp_path: Path) -> None:
    calls = [("iam:AttachRolePolicy", "arn:aws:iam::1:role/r", {"iam:PolicyARN": name}) for name in ("a", "b")]
    assert statements(tmp_path, *calls)[0]["Condition"] == {"StringEquals": {"iam:PolicyARN": ["a", "b"]}}


def test_a_call_without_a_condition_key_removes_the_condition(tmp_path: Path) -> None:
    mapping = f"{LAMBDA}:event-source-mapping:1"
    calls = [("lambda:ListTags", mapping, {"lambda:FunctionArn": "f"}), ("lambda:ListTags", mapping, {})]
    assert "Condition" not in statements(tmp_path, *calls)[0]
