"""Clients for the target: the plan as a hook, the account guard, and nothing of this machine with TARGET=local."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from pipeline import session
from pipeline.resources.change import UserError, is_dry_run
from pipeline.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLE: dict[str, Any] = {
    "TableName": "test",
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """`aws(service, dry=True, AWS_ACCOUNT_ID=...)`: a client as the tasks have it, on moto in process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield lambda service, **how: session.connect(load(None, {"TARGET": "aws"}, {}), None, **how)(service)


def test_a_planned_write_is_answered_and_not_made(aws: Callable[..., Any]) -> None:
    answer = aws("dynamodb", dry=True).create_table(**TABLE)
    assert is_dry_run(answer)
    assert aws("dynamodb").list_tables()["TableNames"] == []


def test_a_planned_write_echoes_what_was_asked_and_marks_what_aws_will_make(aws: Callable[..., Any]) -> None:
    answer = aws("dynamodb", dry=True).create_table(**TABLE)["TableDescription"]
    assert (answer["TableName"], answer["TableArn"]) == ("test", "<TableArn>")


def test_a_read_is_made_in_a_plan_too(aws: Callable[..., Any]) -> None:
    aws("dynamodb").create_table(**TABLE)
    assert aws("dynamodb", dry=True).describe_table(TableName="test")["Table"]["TableName"] == "test"


def test_a_real_write_is_not_planned(aws: Callable[..., Any]) -> None:
    assert not is_dry_run(aws("dynamodb").create_table(**TABLE))


def test_a_planned_call_is_still_checked_by_boto3(aws: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="Missing required parameter"):
        aws("dynamodb", dry=True).create_table()


def test_a_foreign_account_is_refused(aws: Callable[..., Any]) -> None:
    settings = load(None, {"TARGET": "aws", "AWS_ACCOUNT_ID": "999999999999"}, {})
    with pytest.raises(
        UserError, match="AWS_ACCOUNT_ID: 999999999999 is wanted, but the credentials are of 123456789012"
    ):
        session.check_account(settings, aws("sts"))


def test_the_right_account_is_told(aws: Callable[..., Any]) -> None:
    settings = load(None, {"TARGET": "aws", "AWS_ACCOUNT_ID": "123456789012"}, {})
    assert session.check_account(settings, aws("sts"))["Account"] == "123456789012"


def test_credentials_of_the_env_file_reach_boto3(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "to be put back")
        monkeypatch.delenv(name)
    file = tmp_path / ".env"
    file.write_text("TARGET=aws\nAWS_ACCESS_KEY_ID=of-the-file\nAWS_SECRET_ACCESS_KEY=secret\n")
    client = session.connect(load(file, {}, {}), "http://127.0.0.1:9")("sts")
    assert client._request_signer._credentials.access_key == "of-the-file"


@pytest.mark.parametrize("name", ["DescribeTable", "GetRole", "ListTags", "FilterLogEvents", "BatchGetItem"])
def test_reading_calls_are_told_from_writing_ones(name: str) -> None:
    assert session.is_read(name)


@pytest.mark.parametrize("name", ["PutItem", "CreateTable", "TagResource", "UpdateTable", "BatchWriteItem"])
def test_writing_calls_are_told_from_reading_ones(name: str) -> None:
    assert not session.is_read(name)
