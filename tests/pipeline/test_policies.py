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


def policy(resource: str = "arn:x", version: str = "2012-10-17", **more: str) -> str:
    statement = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": resource, **more}
    return json.dumps({"Version": version, "Statement": [statement]})


def test_tokens_are_replaced(tmp_path: Path) -> None:
    document = render(tmp_path, policy("arn:${AWS::Partition}:x:${AWS::Region}:${AWS::AccountId}:${TableName}"))
    assert json.dumps(document).count("arn:aws-cn:x:cn-north-1:123456789012:orders") == 1


@pytest.mark.parametrize(
    "variable", ["${aws:username}", "${s3:prefix}", "${aws:username, 'none'}", "${*}", "${?}", "${$}"]
)
def test_policy_variables_of_iam_pass_through(tmp_path: Path, variable: str) -> None:
    assert variable in json.dumps(render(tmp_path, policy(f"arn:x/{variable}")))


@pytest.mark.parametrize("name", ["Tabel", "AWS::Acount", ""])
def test_an_unknown_token_is_an_error_that_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    message = r"\$\{NAME\} is not a token; allowed: \$\{AWS::Partition\}.*\$\{LogGroupName\}".replace("NAME", name)
    with pytest.raises(UserError, match=message):
        render(tmp_path, policy(f"${{{name}}}"))


def test_the_value_of_a_token_is_escaped_for_json(tmp_path: Path) -> None:
    (tmp_path / "execution-policy.json").write_text(policy("${TableName}"))
    document = policies.render(tmp_path / "execution-policy.json", lambda: {"TableName": 'a"b\\c'})
    assert document["Statement"][0]["Resource"] == 'a"b\\c'


def test_tokens_are_looked_up_only_for_documents_that_have_one(tmp_path: Path) -> None:
    (tmp_path / "execution-policy.json").write_text(policy("arn:x"))
    assert policies.render(tmp_path / "execution-policy.json", lambda: pytest.fail("looked up"))


def trust(**statement: Any) -> dict[str, Any]:
    principal = {"Service": "lambda.amazonaws.com"}
    return {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **statement}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a trust policy, an execution policy and one more policy."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "trust-policy.json").write_text(json.dumps({"Statement": [trust()]}))
    (folder / "execution-policy.json").write_text(policy("${TableName}"))
    (folder / "read-bucket.json").write_text(policy("arn:aws:s3:::bucket"))
    return tmp_path


def documents(root: Path, *, write: bool = True, **overrides: str) -> dict[str, dict[str, Any]]:
    settings = load(None, {}, {"PIPELINE_NAME": "nightly", **overrides})
    return policies.inline_policies(settings, root, lambda: TOKENS, write=write)


def test_each_document_is_an_inline_policy_but_the_trust_policy(root: Path) -> None:
    assert list(documents(root)) == ["nightly-policy", "nightly-read-bucket"]
    assert documents(root)["nightly-policy"]["Statement"][0]["Resource"] == "orders"
    assert policies.trust_policy(root, lambda: TOKENS) == {"Statement": [trust()]}


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


@pytest.mark.parametrize("version", ['"Version": "2008-10-17", ', '"Version": "2012-10-17", ', ""])
def test_both_versions_and_none_are_allowed(tmp_path: Path, version: str) -> None:
    text = "{" + version + '"Statement": {"Effect": "Allow", "Action": "logs:Get*", "NotResource": ["arn:x"]}}'
    assert render(tmp_path, text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "is not JSON"),
        ("[]", "a JSON object with a Statement"),
        ('{"Version": "2012-10-17"}', "a JSON object with a Statement"),
        (policy(version="2012-10-18"), "Version '2012-10-18' is not allowed; allowed: \"2012-10-17\""),
        (policy(Sid="Read the stream"), "Sid 'Read the stream' is not allowed; allowed: letters and digits"),
        (policy(Sid="read-stream"), "Sid 'read-stream' is not allowed"),
        (policy(Effect="Permit"), 'an Effect, "Allow" or "Deny"'),
        (policy(NotAction="x:y"), "needs Action or NotAction"),
        (policy(Principal="*"), "remove Principal"),
        ('{"Statement": ["Allow"]}', 'an Effect, "Allow" or "Deny"'),
        ('{"Statement": [{"Effect": "Allow", "Action": "x:y"}]}', "needs Resource or NotResource"),
        (policy().replace("[{", '[{"Sid": "A", "Effect": "Deny", "Action": "x:y", "Resource": "*"}, {"Sid": "A", '),
         "each Sid must be unique"),
    ],
)  # fmt: skip
def test_a_document_that_iam_would_refuse_is_an_error(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        render(tmp_path, text)


def test_the_inline_policies_of_a_role_have_10240_characters_in_all(root: Path) -> None:
    for name in ("more", "other"):
        (root / "policies" / f"{name}.json").write_text(policy("x" * 5000))
    with pytest.raises(UserError, match=r"1\d{4} characters in total .*more\.json 5\d{3}.*of a role: 10240"):
        documents(root)
    assert not (root / "build").exists()


def test_white_space_in_a_policy_does_not_count(root: Path) -> None:
    (root / "policies" / "more.json").write_text(policy("x" * 5000) + " " * 10_000)
    (root / "policies" / "other.json").write_text(json.dumps(json.loads(policy()), indent=400))
    assert len(documents(root)) == 4


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
def test_a_trust_policy_that_does_not_let_lambda_assume_the_role_is_an_error(
    tmp_path: Path, statements: list[Any]
) -> None:
    with pytest.raises(UserError, match=r"lambda\.amazonaws\.com is not allowed to assume the role"):
        render(tmp_path, json.dumps({"Statement": statements}), "trust-policy.json")


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
