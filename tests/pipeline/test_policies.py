"""policies/*.json: least privilege by tokens, and what IAM refuses is refused before the first write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline import policies
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


def policy(resource: str = "arn:x", version: str = "2012-10-17", **more: str) -> str:
    statement = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": resource, **more}
    return json.dumps({"Version": version, "Statement": [statement]})


def test_tokens_are_replaced(tmp_path: Path) -> None:
    document = render(tmp_path, policy("arn:${AWS::Partition}:x:${AWS::Region}:${AWS::AccountId}:${TableName}"))
    assert json.dumps(document).count("arn:aws-cn:x:cn-north-1:123456789012:orders") == 1


@pytest.mark.parametrize(
    "variable", ["${aws:username}", "${s3:prefix}", "${aws:username, 'none'}", "${*}", "${?}", "${$}"]
)
def test_iams_own_variables_pass_through(tmp_path: Path, variable: str) -> None:
    assert variable in json.dumps(render(tmp_path, policy(f"arn:x/{variable}")))


@pytest.mark.parametrize("name", ["Tabel", "AWS::Acount", ""])
def test_an_unknown_token_is_refused_with_those_that_exist(tmp_path: Path, name: str) -> None:
    message = r"\$\{NAME\} is not a token; allowed: \$\{AWS::Partition\}.*\$\{FunctionName\}".replace("NAME", name)
    with pytest.raises(UserError, match=message):
        render(tmp_path, policy(f"${{{name}}}"))


def project(tmp_path: Path, **documents: str) -> Path:
    """A project's folder with our policies, and these: EXECUTION={"Version": ...}."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    for name, text in documents.items():
        (tmp_path / "policies" / f"{name}.json").write_text(text)
    return tmp_path


def inline_policies(root: Path, **settings: str) -> dict[str, dict[str, Any]]:
    return policies.inline_policies(load(None, {}, settings), root, lambda: TOKENS)


def test_the_documents_that_are_sent_are_in_the_build_folder(tmp_path: Path) -> None:
    root = project(tmp_path, more=policy("${TableName}"))
    sent = inline_policies(root, ON_FAILURE="arn:aws:sqs:us-east-1:123456789012:failed")
    written = {path.name: json.loads(path.read_text()) for path in (root / "build" / "policies").iterdir()}
    assert written == {
        "execution-policy.json": sent["stream-demo-policy"],
        "more.json": sent["stream-demo-more"],
        "on-failure.json": sent["stream-demo-on-failure"],
    }


@pytest.mark.parametrize("version", ['"Version": "2008-10-17", ', '"Version": "2012-10-17", ', ""])
def test_both_versions_and_none_are_allowed(tmp_path: Path, version: str) -> None:
    text = "{" + version + '"Statement": {"Effect": "Allow", "Action": "logs:Get*", "NotResource": ["arn:x"]}}'
    assert render(tmp_path, text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "a JSON object with a Statement"),
        ('{"Version": "2012-10-17"}', "a JSON object with a Statement"),
        (policy(version="2012-10-18"), "Version '2012-10-18' is not allowed; allowed: \"2012-10-17\""),
        (policy(Sid="Read the stream"), "Sid 'Read the stream' is not allowed; allowed: letters and digits"),
        (policy(Sid="read-stream"), "Sid 'read-stream' is not allowed"),
        (policy(Effect="Permit"), 'an Effect, "Allow" or "Deny"'),
        (policy(NotAction="x:y"), "needs Action or NotAction"),
        (policy(Principal="*"), "no statement may have a Principal"),
        ('{"Statement": ["Allow"]}', 'an Effect, "Allow" or "Deny"'),
        ('{"Statement": [{"Effect": "Allow", "Action": "x:y"}]}', "needs Resource or NotResource"),
        (policy().replace("[{", '[{"Sid": "A", "Effect": "Deny", "Action": "x:y", "Resource": "*"}, {"Sid": "A", '),
         "each Sid must be unique"),
    ],
)  # fmt: skip
def test_what_iam_refuses_is_refused_before(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        render(tmp_path, text)


def test_the_inline_policies_of_a_role_are_within_10240_characters_together(tmp_path: Path) -> None:
    root = project(tmp_path, more=policy("x" * 5000), other=policy("x" * 5000))
    with pytest.raises(UserError, match=r"1\d{4} characters in all .*stream-demo-more 5\d{3}.*of a role: 10240"):
        inline_policies(root)
    assert not (root / "build").exists()


def test_white_space_in_a_policy_does_not_count(tmp_path: Path) -> None:
    root = project(tmp_path, more=policy("x" * 5000) + " " * 10_000, other=json.dumps(json.loads(policy()), indent=400))
    assert len(inline_policies(root)) == 3


def trust(**statement: Any) -> dict[str, Any]:
    principal = {"Service": "lambda.amazonaws.com"}
    return {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **statement}


EC2 = {"Service": "ec2.amazonaws.com"}


@pytest.mark.parametrize(
    "statements",
    [
        [trust()],
        [trust(Principal={"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}, Action=["sts:assumerole"])],
        [trust(Action="sts:*")],
        [trust(Principal="*")],
        [trust(Principal=EC2), trust()],
        [trust(), trust(Effect="Deny", Principal=EC2)],
        [trust(), trust(Effect="Deny", Action="sts:TagSession")],
        [trust(), trust(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})],
        [trust(), {"Effect": "Deny", "NotPrincipal": trust()["Principal"], "Action": "sts:AssumeRole"}],
        [trust(Sid="", Condition={"StringEquals": {"aws:SourceAccount": "123456789012"}})],
        [trust(Sid="x" * 4000)],
    ],
)
def test_a_trust_policy_that_lets_lambda_assume_the_role_is_accepted(tmp_path: Path, statements: list[Any]) -> None:
    assert render(tmp_path, json.dumps({"Statement": statements}), "trust-policy.json") == {"Statement": statements}


@pytest.mark.parametrize(
    "statements",
    [
        [trust(Principal=EC2)],
        [trust(Principal=EC2, Condition={"StringEquals": {"aws:CalledVia": "lambda.amazonaws.com"}})],
        [trust(Action="sts:TagSession")],
        [trust(Effect="Deny")],
        [trust(), trust(Effect="Deny", Action="sts:*")],
        [trust(), {"Effect": "Deny", "NotPrincipal": EC2, "Action": "sts:AssumeRole"}],
        [{"Effect": "Allow", "Principal": {"AWS": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
        [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}],
    ],
)
def test_a_trust_policy_that_does_not_let_lambda_assume_the_role_is_refused(
    tmp_path: Path, statements: list[Any]
) -> None:
    with pytest.raises(UserError, match=r"lambda\.amazonaws\.com is not allowed to assume the role"):
        render(tmp_path, json.dumps({"Statement": statements}), "trust-policy.json")


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
