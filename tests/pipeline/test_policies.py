"""policies/*.json: least privilege by tokens, and what IAM would refuse is told before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import policies
from pipeline.resources.change import UserError

ROOT = Path(__file__).resolve().parents[2]
TOKENS = {
    "AWS::Partition": "aws-cn",
    "AWS::Region": "cn-north-1",
    "AWS::AccountId": "123456789012",
    "TableName": "orders",
    "FunctionName": "on-order",
}


def render(tmp_path: Path, text: str, name: str = "execution-policy.json") -> dict[str, object]:
    (tmp_path / name).write_text(text)
    return policies.render(tmp_path / name, lambda: TOKENS)


def policy(resource: str = "arn:x", version: str = "2012-10-17") -> str:
    return json.dumps(
        {"Version": version, "Statement": [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": resource}]}
    )


def test_tokens_are_replaced(tmp_path: Path) -> None:
    document = render(tmp_path, policy("arn:${AWS::Partition}:x:${AWS::Region}:${AWS::AccountId}:${TableName}"))
    assert json.dumps(document).count("arn:aws-cn:x:cn-north-1:123456789012:orders") == 1


def test_iams_own_variables_pass_through(tmp_path: Path) -> None:
    assert "${aws:username}" in json.dumps(render(tmp_path, policy("arn:x/${aws:username}")))


def test_an_unknown_token_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\$\{Tabel\} is no token; allowed: \$\{AWS::Partition\}.*\$\{FunctionName\}"):
        render(tmp_path, policy("${Tabel}"))


def test_what_is_sent_is_laid_down_to_be_read(tmp_path: Path) -> None:
    document = render(tmp_path, policy("${TableName}"))
    policies.write(document, tmp_path / "build" / "execution-policy.json")
    assert json.loads((tmp_path / "build" / "execution-policy.json").read_text()) == document


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "a JSON object with a Statement"),
        ('{"Version": "2012-10-17"}', "a JSON object with a Statement"),
        (policy(version="2008-10-17"), "Version is '2008-10-17'"),
        (policy("x" * 10240), "allowed: 10240"),
    ],
)
def test_what_iam_would_refuse_is_told_before(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        render(tmp_path, text)


def test_a_trust_policy_without_lambda_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lambda\.amazonaws\.com is not allowed to assume the role"):
        render(tmp_path, policy(), "trust-policy.json")


def test_a_missing_policy_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"execution-policy\.json is missing"):
        policies.render(tmp_path / "execution-policy.json", lambda: TOKENS)


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("*.json")), ids=lambda path: path.name)
def test_no_policy_of_ours_has_a_star_for_an_action_or_a_resource(path: Path) -> None:
    for statement in json.loads(path.read_text())["Statement"]:
        for part in ("Action", "Resource"):
            values = statement.get(part, [])
            for value in [values] if isinstance(values, str) else values:
                assert value != "*"
                assert not value.endswith(":*") or part == "Resource"
