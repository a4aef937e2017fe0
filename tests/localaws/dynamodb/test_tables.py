"""The settings of a table, and the form in which it stores items."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable


def create(client: Callable[[str], Any], **options: Any) -> str:
    """Create a table with the hash key `name` and return its name."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        **options,
    )
    return name


def described(client: Callable[[str], Any], name: str) -> dict[str, Any]:
    table: dict[str, Any] = client("dynamodb").describe_table(TableName=name)["Table"]
    return table


KEY = "arn:aws:kms:eu-west-1:000000000000:key/0a1b2c3d"
ENCRYPTED = {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": KEY}
LIMITS = {"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": 6}
# Each setting with a value, and how the description shows it (DynamoDB API reference, "TableDescription").
SETTINGS: list[tuple[str, Any, str, Any]] = [
    ("TableClass", "STANDARD_INFREQUENT_ACCESS", "TableClassSummary", {"TableClass": "STANDARD_INFREQUENT_ACCESS"}),
    ("OnDemandThroughput", LIMITS, "OnDemandThroughput", LIMITS),
    ("SSESpecification", {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}, "SSEDescription", ENCRYPTED),
    ("SSESpecification", {"SSEType": "KMS", "KMSMasterKeyId": "0a1b2c3d"}, "SSEDescription", ENCRYPTED),
]


@pytest.mark.parametrize(("setting", "value", "shown_as", "shown"), SETTINGS)
def test_create_table_stores_the_setting(client: Any, setting: str, value: Any, shown_as: str, shown: Any) -> None:
    assert described(client, create(client, **{setting: value}))[shown_as] == shown


@pytest.mark.parametrize(("setting", "value", "shown_as", "shown"), SETTINGS)
def test_update_table_stores_the_setting(client: Any, setting: str, value: Any, shown_as: str, shown: Any) -> None:
    name = create(client)
    answer = client("dynamodb").update_table(TableName=name, **{setting: value})["TableDescription"]
    assert (answer[shown_as], described(client, name)[shown_as]) == (shown, shown)


def test_create_returns_creating_and_then_the_table_is_active(client: Any) -> None:
    """Recorded on AWS: the TableStatus in the response."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    answer = client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]
    assert (answer["TableStatus"], described(client, name)["TableStatus"]) == ("CREATING", "ACTIVE")


def test_delete_returns_deleting(client: Any) -> None:
    answer = client("dynamodb").delete_table(TableName=create(client))["TableDescription"]
    assert answer["TableStatus"] == "DELETING"


def test_protected_table_is_not_deleted(client: Any) -> None:
    """The error message that users quote in issues."""
    name = create(client, DeletionProtectionEnabled=True)
    with pytest.raises(ClientError) as refused:
        client("dynamodb").delete_table(TableName=name)
    message = (
        "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first."
    )
    assert refused.value.response["Error"] == {"Code": "ValidationException", "Message": message}


def test_table_without_indexes_shows_none(client: Any) -> None:
    """Recorded: LocalStack, tests/aws/services/dynamodb/test_dynamodb.snapshot.json."""
    assert not {"LocalSecondaryIndexes", "GlobalSecondaryIndexes"} & set(described(client, create(client)))


def test_table_has_an_id_of_its_own(client: Any) -> None:
    one, two = create(client), create(client)
    assert described(client, one)["TableId"] == described(client, one)["TableId"] != described(client, two)["TableId"]


@pytest.mark.parametrize(("asked", "shown"), [({}, False), ({"ReturnConsumedCapacity": "TOTAL"}, True)])
def test_answer_has_the_capacity_if_asked(client: Any, asked: dict[str, str], shown: bool) -> None:
    name, key = create(client), {"name": {"S": "a"}}
    dynamodb = client("dynamodb")
    answers = [
        dynamodb.update_item(TableName=name, Key=key, **asked),
        dynamodb.batch_write_item(RequestItems={name: [{"PutRequest": {"Item": key}}]}, **asked),
        dynamodb.batch_get_item(RequestItems={name: {"Keys": [key]}}, **asked),
    ]
    assert ["ConsumedCapacity" in each for each in answers] == [shown] * len(answers)


def test_update_returns_updating_and_then_the_table_is_active(client: Any) -> None:
    """Recorded on AWS: the TableStatus in the response."""
    name = create(client)
    answer = client("dynamodb").update_table(TableName=name, TableClass="STANDARD")["TableDescription"]
    assert (answer["TableStatus"], described(client, name)["TableStatus"]) == ("UPDATING", "ACTIVE")


@pytest.mark.parametrize("update", [{"DeletionProtectionEnabled": True}, {"OnDemandThroughput": LIMITS}])
def test_update_that_takes_no_time_returns_active(client: Any, update: dict[str, Any]) -> None:
    """Recorded: ack-api-quirks, DDB-TABLE-017 and 178."""
    answer = client("dynamodb").update_table(TableName=create(client), **update)["TableDescription"]
    assert answer["TableStatus"] == "ACTIVE"


def test_update_of_one_setting_leaves_the_others(client: Any) -> None:
    name = create(client, OnDemandThroughput=LIMITS, TableClass="STANDARD_INFREQUENT_ACCESS")
    client("dynamodb").update_table(TableName=name, OnDemandThroughput={"MaxReadRequestUnits": -1})
    table = described(client, name)
    assert (table["OnDemandThroughput"], table["TableClassSummary"]["TableClass"]) == (
        {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 6},
        "STANDARD_INFREQUENT_ACCESS",
    )


def test_encryption_with_an_aws_owned_key_shows_its_arn(client: Any) -> None:
    name = create(client)
    client("dynamodb").update_table(TableName=name, SSESpecification={"Enabled": True, "SSEType": "KMS"})
    assert described(client, name)["SSEDescription"]["KMSMasterKeyArn"].startswith("arn:aws:kms:eu-west-1:0")


def test_encryption_can_be_turned_off(client: Any) -> None:
    name = create(client, SSESpecification={"Enabled": True, "SSEType": "KMS"})
    client("dynamodb").update_table(TableName=name, SSESpecification={"Enabled": False})
    assert "SSEDescription" not in described(client, name)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1.0", "1"),
        ("0007", "7"),
        ("-0", "0"),
        ("1E2", "100"),
        ("1.50e-3", "0.0015"),
        ("-1.20", "-1.2"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
    ],
)
def test_number_loses_its_zeros_and_its_exponent(client: Any, written: str, stored: str) -> None:
    """DynamoDB developer guide, "Supported data types and naming rules in Amazon DynamoDB"."""
    name = create(client)
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}, "n": {"N": written}, "s": {"NS": [written]}})
    item = client("dynamodb").get_item(TableName=name, Key={"name": {"S": "a"}})["Item"]
    assert (item["n"], item["s"]) == ({"N": stored}, {"NS": [stored]})


FAILS = {
    "UpdateExpression": "SET first = :one, absent = missing + :one",
    "ExpressionAttributeValues": {":one": {"N": "1"}},
}


def test_failed_update_creates_no_item(client: Any) -> None:
    name = create(client)
    with pytest.raises(ClientError, match="ValidationException"):
        client("dynamodb").update_item(TableName=name, Key={"name": {"S": "a"}}, **FAILS)
    assert client("dynamodb").scan(TableName=name)["Items"] == []


def test_failed_update_changes_nothing(client: Any) -> None:
    name = create(client)
    item = {"name": {"S": "a"}, "old": {"M": {"deep": {"N": "1"}}}}
    client("dynamodb").put_item(TableName=name, Item=item)
    with pytest.raises(ClientError, match="ValidationException"):
        client("dynamodb").update_item(TableName=name, Key={"name": {"S": "a"}}, **FAILS)
    assert client("dynamodb").scan(TableName=name)["Items"] == [item]


def test_a_tag_that_the_table_has_gets_the_new_value(client: Any) -> None:
    dynamodb = client("dynamodb")
    arn = described(client, create(client, Tags=[{"Key": "stage", "Value": "old"}]))["TableArn"]
    dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "new"}])
    assert dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "stage", "Value": "new"}]
