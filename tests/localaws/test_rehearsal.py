"""What a rehearsal finds in its account: the resources that its settings name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from localaws import rehearsal
from tests.localaws.conftest import REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    ClientOf = Callable[[str], Callable[[str], Any]]

ACCOUNT, OTHER = "600000000000", "700000000000"
PLACE = f"{REGION}:{ACCOUNT}"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture(scope="module")
def client_of(endpoint: str) -> ClientOf:
    """Clients of an account, by its ID."""
    session: Any = boto3.Session(region_name=REGION)

    @cache
    def client(account: str, service: str) -> Any:
        keys = {"aws_access_key_id": account, "aws_secret_access_key": "x"}
        return session.client(service, endpoint_url=endpoint, **keys)

    return lambda account: lambda service: client(account, service)


@pytest.mark.parametrize(
    ("arn", "service", "call", "parameters"),
    [
        (f"arn:aws:dynamodb:{PLACE}:table/made", "dynamodb", "describe_table", {"TableName": "made"}),
        (f"arn:aws:iam::{ACCOUNT}:role/a/b/r", "iam", "get_role", {"RoleName": "r"}),
        (
            f"arn:aws:iam::{ACCOUNT}:policy/a/p",
            "iam",
            "get_policy",
            {"PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/a/p"},
        ),
        (f"arn:aws:sqs:{PLACE}:q.fifo", "sqs", "get_queue_url", {"QueueName": "q.fifo"}),
        (f"arn:aws:sns:{PLACE}:t", "sns", "get_topic_attributes", {"TopicArn": f"arn:aws:sns:{PLACE}:t"}),
        ("arn:aws:s3:::rehearsed", "s3", "head_bucket", {"Bucket": "rehearsed"}),
        (f"arn:aws:kms:{PLACE}:key/{KEY}", "kms", "describe_key", {"KeyId": KEY}),
        ("alias/rehearsed", "kms", "describe_key", {"KeyId": "alias/rehearsed"}),
        (f"arn:aws:lambda:{PLACE}:layer:l:2", "lambda", "get_layer_version", {"LayerName": "l", "VersionNumber": 2}),
    ],
)
def test_what_an_arn_names_exists(
    client_of: ClientOf, arn: str, service: str, call: str, parameters: dict[str, Any]
) -> None:
    rehearsal.create(client_of, ACCOUNT, arn)
    answer = getattr(client_of(ACCOUNT)(service), call)(**parameters)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_table_of_another_account_can_be_read(client_of: ClientOf) -> None:
    arn = f"arn:aws:dynamodb:{REGION}:{OTHER}:table/theirs"
    rehearsal.create(client_of, ACCOUNT, arn)
    assert client_of(ACCOUNT)("dynamodb").describe_table(TableName=arn)["Table"]["TableArn"] == arn


def test_what_aws_owns_is_not_created(client_of: ClientOf) -> None:
    rehearsal.create(client_of, ACCOUNT, "arn:aws:iam::aws:policy/ReadOnlyAccess")
    assert client_of(ACCOUNT)("iam").list_policies(Scope="Local", PathPrefix="/service-role/")["Policies"] == []


def test_arns_and_aliases_are_found_in_a_text() -> None:
    text = "{'a': 'arn:aws:s3:::b', \"c\": \"alias/d\"} arn:aws:s3::: arn:aws:sqs:eu-west-1:1:q"
    assert rehearsal.named(text) == ["arn:aws:s3:::b", "alias/d"]
