"""Clients for the target: dry runs, --verbose, the expected account, and nothing of this machine with TARGET=local."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ParamValidationError
from moto import mock_aws

from pipeline import session
from pipeline.deployment import Deployment
from pipeline.resources.change import UserError, is_dry_run
from pipeline.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AWS = {"TARGET": "aws", "AWS_REGION": "eu-west-1"}
TABLE: dict[str, Any] = {
    "TableName": "test",
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """`connect(dry_run=True)`: clients as the tasks create them, with TARGET=aws, on moto in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield lambda **options: session.connect(load(None, AWS, {}), None, **options)


def test_a_dry_run_answers_a_write_without_making_it(connect: Callable[..., Any]) -> None:
    response = connect(dry_run=True)("dynamodb").create_table(**TABLE)
    assert is_dry_run(response)
    assert connect()("dynamodb").list_tables()["TableNames"] == []


def test_a_predicted_response_repeats_the_request_and_has_placeholders_for_arns(connect: Callable[..., Any]) -> None:
    table = connect(dry_run=True)("dynamodb").create_table(**TABLE)["TableDescription"]
    assert (table["TableName"], table["TableArn"]) == ("test", "<TableArn>")


def test_a_dry_run_makes_reads(connect: Callable[..., Any]) -> None:
    connect()("dynamodb").create_table(**TABLE)
    assert connect(dry_run=True)("dynamodb").describe_table(TableName="test")["Table"]["TableName"] == "test"


def test_a_write_outside_a_dry_run_is_made(connect: Callable[..., Any]) -> None:
    client = connect()
    assert not is_dry_run(client("dynamodb").create_table(**TABLE))
    assert client("dynamodb").list_tables()["TableNames"] == ["test"]


def test_boto3_validates_the_parameters_of_a_dry_run(connect: Callable[..., Any]) -> None:
    with pytest.raises(ParamValidationError, match="Missing required parameter"):
        connect(dry_run=True)("dynamodb").create_table()


def test_there_is_one_client_for_each_service(connect: Callable[..., Any]) -> None:
    client = connect()
    assert client("dynamodb") is client("dynamodb")
    assert client("dynamodb") is not client("dynamodb", dry_run=True)


def test_verbose_logs_each_call_with_its_time_and_outcome(
    connect: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    client = connect(dry_run=True, verbose=True)("dynamodb")
    client.list_tables()
    client.create_table(**TABLE)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName="test")
    lines = [re.sub(r"  \d+ ms", "  N ms", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "    dynamodb ListTables  N ms",
        "    dynamodb CreateTable  N ms  dry run",
        "    dynamodb DescribeTable  N ms  ResourceNotFoundException",
    ]


def test_echo_gets_each_call_once_also_when_a_plan_comes_first(connect: Callable[..., Any]) -> None:
    echoed: list[str] = []
    client = connect(echo=lambda call: echoed.append(call.model.name))
    client("dynamodb", dry_run=True).list_tables()
    client("dynamodb").create_table(**TABLE)
    assert echoed == ["CreateTable"]


def test_another_account_than_the_expected_one_is_an_error(connect: Callable[..., Any], tmp_path: Path) -> None:
    settings = load(None, {**AWS, "AWS_ACCOUNT_ID": "999999999999"}, {})
    error = "AWS_ACCOUNT_ID is 999999999999, but the credentials belong to account 123456789012 .* Nothing was changed"
    deployment = Deployment(settings, connect(), tmp_path)
    with pytest.raises(UserError, match=error):
        _ = deployment.caller_identity


@pytest.mark.parametrize("expected", ["123456789012", ""])
def test_the_expected_account_is_accepted(connect: Callable[..., Any], tmp_path: Path, expected: str) -> None:
    settings = load(None, {**AWS, "AWS_ACCOUNT_ID": expected}, {})
    assert Deployment(settings, connect(), tmp_path).caller_identity["Account"] == "123456789012"


def test_a_deployment_asks_for_its_account_once(connect: Callable[..., Any], tmp_path: Path) -> None:
    asked: list[str] = []
    client = connect(echo=lambda call: asked.append(call.model.name))
    deployment = Deployment(load(None, AWS, {}), client, tmp_path)
    assert deployment.caller_identity == deployment.caller_identity
    assert asked == ["GetCallerIdentity"]


def test_the_dry_run_of_a_deployment_writes_nothing(connect: Callable[..., Any], tmp_path: Path) -> None:
    deployment = Deployment(load(None, AWS, {}), connect(), tmp_path).as_dry_run()
    assert deployment.dry_run
    assert is_dry_run(deployment.client("dynamodb").create_table(**TABLE))


def test_credentials_in_the_env_file_reach_boto3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "restored after the test")
        monkeypatch.delenv(name)
    file = tmp_path / ".env"
    file.write_text("TARGET=aws\nAWS_REGION=eu-west-1\nAWS_ACCESS_KEY_ID=in-the-file\nAWS_SECRET_ACCESS_KEY=secret\n")
    client = session.connect(load(file, {}, {}), "http://127.0.0.1:9")("sts")
    assert client._request_signer._credentials.access_key == "in-the-file"


def test_the_local_target_uses_credentials_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-this-machine")
    file = tmp_path / ".env"
    file.write_text("AWS_ACCESS_KEY_ID=in-the-file\n")
    client = session.connect(load(file, {}, {}), "http://127.0.0.1:9")("sts")
    assert client._request_signer._credentials.access_key == "local"


@pytest.mark.parametrize("name", ["DescribeTable", "GetRole", "ListTags", "FilterLogEvents", "BatchGetItem"])
def test_a_reading_operation_is_recognized(name: str) -> None:
    assert session.is_read(name)


@pytest.mark.parametrize("name", ["PutItem", "CreateTable", "TagResource", "UpdateTable", "BatchWriteItem"])
def test_a_writing_operation_is_recognized(name: str) -> None:
    assert not session.is_read(name)


def test_a_call_after_a_plan_reuses_each_read_of_the_plan_once(
    connect: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    client = connect(verbose=True)
    tables = client("dynamodb", dry_run=True).list_tables()["TableNames"]
    capsys.readouterr()
    assert client("dynamodb").list_tables()["TableNames"] == tables
    assert "ListTables" not in capsys.readouterr().err
    client("dynamodb").list_tables()
    assert "ListTables" in capsys.readouterr().err


def test_a_write_makes_the_reads_of_the_plan_obsolete(connect: Callable[..., Any]) -> None:
    client = connect()
    client("dynamodb", dry_run=True).list_tables()
    client("dynamodb").create_table(**TABLE)
    assert client("dynamodb").list_tables()["TableNames"] == ["test"]


def test_reads_of_a_plan_become_obsolete_after_seconds(
    connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_REUSE_SECONDS", 0)
    client = connect()
    client("dynamodb", dry_run=True).list_tables()
    connect()("dynamodb").create_table(**TABLE)
    assert client("dynamodb").list_tables()["TableNames"] == ["test"]


def test_a_scan_of_a_plan_is_never_reused(connect: Callable[..., Any]) -> None:
    client, others = connect(), connect()("dynamodb")
    others.create_table(**TABLE)
    assert client("dynamodb", dry_run=True).scan(TableName="test")["Count"] == 0
    others.put_item(TableName="test", Item={"name": {"S": "written meanwhile"}})
    assert client("dynamodb").scan(TableName="test")["Count"] == 1


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile with a region, and one without."""
    file = tmp_path / "config"
    file.write_text("[profile with]\nregion = ap-south-1\n[profile without]\noutput = json\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("profiles")
def test_the_region_is_that_of_the_settings_then_of_the_shell_then_of_the_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def region(**settings: str) -> str:
        return session.with_region(load(None, {"TARGET": "aws", **settings}, {})).aws_region

    assert region(AWS_PROFILE="with") == "ap-south-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    assert region(AWS_PROFILE="with") == "sa-east-1"
    assert region(AWS_PROFILE="with", AWS_REGION="eu-west-1") == "eu-west-1"


@pytest.mark.usefixtures("profiles")
def test_no_region_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "without")
    with pytest.raises(UserError, match="AWS_REGION is empty, and the profile default has no region"):
        session.with_region(load(None, {"TARGET": "aws"}, {}))
