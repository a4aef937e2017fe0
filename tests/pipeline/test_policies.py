"""policies/*.json: tokens for least privilege, and errors for documents that IAM would refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import parameters, policies
from pipeline.resources.change import UserError
from pipeline.settings import load

ROOT = Path(__file__).resolve().parents[2]
TOKENS = {
    "AWS::Partition": "aws-cn",
    "AWS::Region": "cn-north-1",
    "AWS::AccountId": "123456789012",
    "TableName": "orders",
    "FunctionName": "on-order",
    "LogGroupName": "/aws/lambda/on-order",
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


def test_policy_variables_of_iam_pass_through(tmp_path: Path) -> None:
    assert "${aws:username}" in json.dumps(render(tmp_path, policy("arn:x/${aws:username}")))


def test_an_unknown_token_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"\$\{Tabel\} is not a token; allowed: \$\{AWS::Partition\}.*\$\{LogGroupName\}"
    ):
        render(tmp_path, policy("${Tabel}"))


def test_the_value_of_a_token_is_escaped_for_json(tmp_path: Path) -> None:
    (tmp_path / "execution-policy.json").write_text(policy("${TableName}"))
    document = policies.render(tmp_path / "execution-policy.json", lambda: {"TableName": 'a"b\\c'})
    assert document["Statement"][0]["Resource"] == 'a"b\\c'


def test_tokens_are_looked_up_only_for_documents_that_have_one(tmp_path: Path) -> None:
    (tmp_path / "execution-policy.json").write_text(policy("arn:x"))
    assert policies.render(tmp_path / "execution-policy.json", lambda: pytest.fail("looked up"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a trust policy, an execution policy and one more policy."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "trust-policy.json").write_text(policy("lambda.amazonaws.com"))
    (folder / "execution-policy.json").write_text(policy("${TableName}"))
    (folder / "read-bucket.json").write_text(policy("arn:aws:s3:::bucket"))
    return tmp_path


def documents(root: Path, *, write: bool = True, **overrides: str) -> dict[str, dict[str, Any]]:
    settings = load(None, {}, {"PIPELINE_NAME": "nightly", **overrides})
    return policies.inline_policies(settings, root, lambda: TOKENS, write=write)


def test_each_document_is_an_inline_policy_but_the_trust_policy(root: Path) -> None:
    assert list(documents(root)) == ["nightly-policy", "nightly-read-bucket"]
    assert documents(root)["nightly-policy"]["Statement"][0]["Resource"] == "orders"
    assert policies.trust_policy(root, lambda: TOKENS)["Statement"][0]["Resource"] == "lambda.amazonaws.com"


def test_a_destination_adds_the_policy_that_allows_it(root: Path) -> None:
    queue = "arn:aws:sqs:us-east-1:123456789012:discarded"
    assert documents(root, ON_FAILURE=queue)["nightly-on-failure"] == parameters.on_failure_policy(queue)


def test_build_policies_contains_each_document_as_iam_receives_it(root: Path) -> None:
    inline = documents(root, ON_FAILURE="arn:aws:sqs:us-east-1:123456789012:discarded")
    trust = policies.trust_policy(root, lambda: TOKENS)
    written = {path.stem: json.loads(path.read_text()) for path in (root / "build" / "policies").iterdir()}
    assert written == {
        "trust-policy": trust,
        "execution-policy": inline["nightly-policy"],
        "on-failure": inline["nightly-on-failure"],
        "read-bucket": inline["nightly-read-bucket"],
    }


def test_without_write_no_file_is_written(root: Path) -> None:
    documents(root, write=False)
    policies.trust_policy(root, lambda: TOKENS, write=False)
    assert not (root / "build").exists()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "is not JSON"),
        ("[]", "a JSON object with a Statement"),
        ('{"Version": "2012-10-17"}', "a JSON object with a Statement"),
        (policy(version="2008-10-17"), "Version '2008-10-17' is not allowed"),
        (policy("x" * 10240), "allowed: 10240"),
    ],
)
def test_a_document_that_iam_would_refuse_is_an_error(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        render(tmp_path, text)


def test_a_trust_policy_without_lambda_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lambda\.amazonaws\.com is not allowed to assume the role"):
        render(tmp_path, policy(), "trust-policy.json")


def test_a_missing_policy_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"execution-policy\.json is missing"):
        policies.render(tmp_path / "execution-policy.json", lambda: TOKENS)


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("*.json")), ids=lambda path: path.name)
def test_the_policies_of_the_project_have_no_wildcard_for_all_actions_or_resources(path: Path) -> None:
    for statement in json.loads(path.read_text())["Statement"]:
        for part in ("Action", "Resource"):
            values = statement.get(part, [])
            for value in [values] if isinstance(values, str) else values:
                assert value != "*"
                assert not value.endswith(":*") or part == "Resource"
