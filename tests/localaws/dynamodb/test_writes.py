"""Calls that write items: each changes the table and its stream together, or nothing."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.localaws.conftest import REGION
from tests.localaws.dynamodb import comparison

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.localaws.dynamodb.calls import Request

KEY = {"name": {"S": "a"}}


@pytest.fixture(scope="module")
def tables(client: Callable[[str], Any]) -> dict[str, str]:
    return comparison.create_tables(client("dynamodb"))


@pytest.fixture
def table(client: Callable[[str], Any]) -> str:
    """A new table with a stream, and the hash key `name`."""
    return comparison.create_tables(client("dynamodb"))["simple"]


@pytest.fixture
def dynamodb(client: Callable[[str], Any]) -> Any:
    return client("dynamodb")


@pytest.fixture
def unchecked(endpoint: str) -> Any:
    """A client that sends whatever it is given, once."""
    config = Config(parameter_validation=False, retries={"max_attempts": 0})
    return boto3.Session("local", "local", region_name=REGION).client("dynamodb", endpoint_url=endpoint, config=config)


@pytest.fixture
def records(client: Callable[[str], Any]) -> Callable[[str], list[dict[str, Any]]]:
    return lambda table: comparison.records(client, table)


def item(dynamodb: Any, table: str) -> Any:
    """The item with KEY, or None."""
    return dynamodb.get_item(TableName=table, Key=KEY).get("Item")


@pytest.mark.parametrize(
    ("action", "before", "operand", "after"),
    [
        ("ADD", {"N": "1"}, {"N": "2"}, {"N": "3"}),
        ("ADD", {"SS": ["a"]}, {"SS": ["a", "b"]}, {"SS": ["a", "b"]}),
        ("ADD", {"L": [{"S": "a"}]}, {"L": [{"S": "b"}]}, {"L": [{"S": "a"}, {"S": "b"}]}),
        ("DELETE", {"SS": ["a", "b"]}, {"SS": ["b"]}, {"SS": ["a"]}),
        ("DELETE", {"SS": ["a"]}, {"SS": ["a"]}, None),
    ],
)
def test_attribute_updates_add_to_a_value_and_delete_from_a_set(
    dynamodb: Any,
    table: str,
    action: str,
    before: dict[str, Any],
    operand: dict[str, Any],
    after: dict[str, Any] | None,
) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, "v": before})
    dynamodb.update_item(TableName=table, Key=KEY, AttributeUpdates={"v": {"Action": action, "Value": operand}})
    assert item(dynamodb, table).get("v") == after


def names(records: list[dict[str, Any]]) -> list[str]:
    return [record["eventName"] for record in records]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests=st.lists(comparison.requests, max_size=12))
def test_answers_items_and_records_are_those_of_the_model(
    client: Callable[[str], Any], tables: dict[str, str], requests: list[Request]
) -> None:
    comparison.check(client, tables, requests)


@pytest.mark.parametrize("value", [{"BOOL": False}, {"B": b"\xff"}, {"NULL": True}, {"BS": [b"x"]}, {"S": ""}])
def test_attribute_updates_store_the_type_of_the_value(
    dynamodb: Any, table: str, records: Callable[[str], list[dict[str, Any]]], value: dict[str, Any]
) -> None:
    dynamodb.update_item(TableName=table, Key=KEY, AttributeUpdates={"v": {"Action": "PUT", "Value": value}})
    dynamodb.put_item(TableName=table, Item={**KEY, "v": {"S": "later"}})
    images = [record["dynamodb"]["NewImage"]["v"] for record in records(table)]
    assert images == [value, {"S": "later"}]


def test_refused_batch_writes_nothing(
    dynamodb: Any, table: str, records: Callable[[str], list[dict[str, Any]]]
) -> None:
    requests = [{"PutRequest": {"Item": KEY}}, {"PutRequest": {"Item": {"name": {"N": "1"}}}}]
    with pytest.raises(ClientError, match=r"ValidationException.*key element does not match the schema"):
        dynamodb.batch_write_item(RequestItems={table: requests})
    assert (item(dynamodb, table), records(table)) == (None, [])


def test_batch_with_a_put_and_a_delete_of_one_item_is_refused(dynamodb: Any, table: str) -> None:
    requests = [{"PutRequest": {"Item": KEY}}, {"DeleteRequest": {"Key": KEY}}]
    with pytest.raises(ClientError, match=r"ValidationException.*duplicates"):
        dynamodb.batch_write_item(RequestItems={table: requests})


def test_text_that_names_an_action_is_stored(dynamodb: Any, table: str) -> None:
    stored = {**KEY, "v": {"S": "a&Action=DeleteTable&b"}}
    dynamodb.put_item(TableName=table, Item=stored)
    assert item(dynamodb, table) == stored


@pytest.mark.parametrize("write", ["update", "delete", "put", "batch"])
def test_scan_after_a_write_shows_it(dynamodb: Any, table: str, write: str) -> None:
    dynamodb.put_item(TableName=table, Item=KEY)
    dynamodb.scan(TableName=table)
    before, after = {"name": {"S": "Z"}}, {**KEY, "v": {"S": "x"}}
    expected = [after]
    if write == "update":
        dynamodb.update_item(TableName=table, Key=KEY, AttributeUpdates={"v": {"Value": after["v"]}})
    elif write == "put":
        dynamodb.put_item(TableName=table, Item=after)
    elif write == "delete":
        expected = []
        dynamodb.delete_item(TableName=table, Key=KEY)
    else:
        expected = [before]
        requests = [{"PutRequest": {"Item": before}}, {"DeleteRequest": {"Key": KEY}}]
        dynamodb.batch_write_item(RequestItems={table: requests})
    assert dynamodb.scan(TableName=table)["Items"] == expected


@pytest.mark.parametrize(
    "update",
    [
        {"UpdateExpression": "REMOVE g"},
        {"UpdateExpression": "DELETE g :s", "ExpressionAttributeValues": {":s": {"SS": ["x"]}}},
        {"AttributeUpdates": {"g": {"Action": "DELETE"}}},
    ],
)
def test_update_that_only_removes_creates_no_item(
    dynamodb: Any, table: str, records: Callable[[str], list[dict[str, Any]]], update: dict[str, Any]
) -> None:
    answer = dynamodb.update_item(TableName=table, Key=KEY, ReturnValues="ALL_NEW", **update)
    assert ("Attributes" in answer, item(dynamodb, table), records(table)) == (False, None, [])


def test_update_with_the_key_alone_creates_the_item(
    dynamodb: Any, table: str, records: Callable[[str], list[dict[str, Any]]]
) -> None:
    answer = dynamodb.update_item(TableName=table, Key=KEY, ReturnValues="ALL_NEW")
    assert (answer["Attributes"], item(dynamodb, table), names(records(table))) == (KEY, KEY, ["INSERT"])


def test_delete_checks_the_legacy_conditions(dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, "v": {"S": "x"}})
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        dynamodb.delete_item(TableName=table, Key=KEY, Expected={"v": {"Value": {"S": "y"}}})
    assert item(dynamodb, table)


def test_legacy_conditions_can_be_alternatives(dynamodb: Any, table: str) -> None:
    expected = {"v": {"Value": {"S": "x"}}, "name": {"ComparisonOperator": "NULL"}}
    dynamodb.put_item(TableName=table, Item=KEY, Expected=expected, ConditionalOperator="OR")
    assert item(dynamodb, table) == KEY


def test_update_expression_may_have_tabs_and_line_feeds(dynamodb: Any, table: str) -> None:
    change = {"UpdateExpression": "SET\ta = :v,\n\tb = :v", "ExpressionAttributeValues": {":v": {"S": "x"}}}
    answer = dynamodb.update_item(TableName=table, Key=KEY, ReturnValues="UPDATED_NEW", **change)
    assert answer["Attributes"] == {"a": {"S": "x"}, "b": {"S": "x"}}


def test_copied_set_is_a_set_of_its_own(dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, "one": {"SS": ["x"]}})
    dynamodb.update_item(TableName=table, Key=KEY, UpdateExpression="SET twin = one")
    dynamodb.update_item(
        TableName=table, Key=KEY, UpdateExpression="ADD twin :s", ExpressionAttributeValues={":s": {"SS": ["y"]}}
    )
    assert item(dynamodb, table)["one"] == {"SS": ["x"]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"M": {"x": {"BOOL": True}}}, {"M": {"x": {"N": "1"}}}),
        ({"L": [{"NULL": True}]}, {"L": [{"BOOL": True}]}),
        ({"N": "0.10000000000000000000000000000000000001"}, {"N": "0.1"}),
    ],
)
def test_change_of_a_type_or_of_the_last_digit_writes_a_record(
    dynamodb: Any,
    table: str,
    records: Callable[[str], list[dict[str, Any]]],
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    for value in (before, after):
        dynamodb.put_item(TableName=table, Item={**KEY, "v": value})
    assert names(records(table)) == ["INSERT", "MODIFY"]


def test_sum_has_38_digits(dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, "n": {"N": "1.0000000000000000000000000000000000001"}})
    add = {"UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": "2"}}}
    dynamodb.update_item(TableName=table, Key=KEY, **add)
    assert item(dynamodb, table)["n"] == {"N": "3.0000000000000000000000000000000000001"}
    add["ExpressionAttributeValues"] = {":n": {"N": "10"}}
    with pytest.raises(ClientError, match=r"ValidationException.*38 significant digits"):
        dynamodb.update_item(TableName=table, Key=KEY, **add)


@pytest.mark.parametrize("values", ["UPDATED_OLD", "UPDATED_NEW"])
def test_update_returns_the_attributes_that_it_names(dynamodb: Any, table: str, values: str) -> None:
    """Recorded on AWS: also attributes that it does not change, and of a map only the members that it names."""
    value = {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}
    dynamodb.put_item(TableName=table, Item={**KEY, "m": value, "same": {"S": "s"}})
    answer = dynamodb.update_item(
        TableName=table,
        Key=KEY,
        UpdateExpression="SET m.x = :x, same = :s",
        ExpressionAttributeValues={":x": {"N": "3"}, ":s": {"S": "s"}},
        ReturnValues=values,
    )
    number = "1" if values == "UPDATED_OLD" else "3"
    assert answer["Attributes"] == {"m": {"M": {"x": {"N": number}}}, "same": {"S": "s"}}


@pytest.mark.parametrize(
    "value",
    [
        {"B": b"x" * 350 * 1024},
        {"S": "\u3042" * 110_000},
        {"L": [{"N": "12"}] * 60_000},
    ],
    ids=["350 KB of binary", "110,000 Japanese letters", "60,000 numbers"],
)
def test_item_within_400_kb_is_stored(
    dynamodb: Any, table: str, records: Callable[[str], list[dict[str, Any]]], value: dict[str, Any]
) -> None:
    """DynamoDB developer guide, "DynamoDB item sizes and formats"."""
    dynamodb.put_item(TableName=table, Item={**KEY, "v": value})
    assert records(table)[0]["dynamodb"]["NewImage"]["v"] == value


def test_item_above_400_kb_is_refused_and_undone(
    dynamodb: Any, table: str, records: Callable[[str], list[dict[str, Any]]]
) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, "v": {"S": "x" * 300 * 1024}})
    with pytest.raises(ClientError, match=r"ValidationException.*Item size"):
        dynamodb.update_item(
            TableName=table,
            Key=KEY,
            UpdateExpression="SET w = :w",
            ExpressionAttributeValues={":w": {"S": "x" * 110 * 1024}},
        )
    assert ("w" in item(dynamodb, table), names(records(table))) == (False, ["INSERT"])


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"S": "a", "N": "1"},
        {"N": "one"},
        {"N": "1E126"},
        {"N": "123456789012345678901234567890123456789"},
        {"N": 1},
        {"SS": []},
        {"SS": ["x", "x"]},
        {"NS": ["1", "1.0"]},
        {"L": [{"M": {"deep": {}}}]},
        {"S": "\ud800"},
    ],
    ids=str,
)
def test_invalid_value_is_refused_by_each_call(
    unchecked: Any, table: str, records: Callable[[str], list[dict[str, Any]]], value: dict[str, Any]
) -> None:
    named = {"TableName": table, "Item": {**KEY, "v": value}}
    other = {"TableName": table, "Item": {"name": {"S": "other"}}}
    calls: dict[str, Any] = {
        "put_item": named,
        "update_item": {
            "TableName": table, "Key": KEY, "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": {":v": value}
        },
        "batch_write_item": {"RequestItems": {table: [{"PutRequest": {"Item": p["Item"]}} for p in (other, named)]}},
        "transact_write_items": {"TransactItems": [{"Put": other}, {"Put": named}]},
        "execute_statement": {
            "Statement": f"INSERT INTO \"{table}\" VALUE {{'name': 'a', 'v': ?}}", "Parameters": [value]
        },
    }  # fmt: skip
    for name, parameters in calls.items():
        with pytest.raises(ClientError, match=r"ValidationException|SerializationException"):
            getattr(unchecked, name)(**parameters)
    assert (unchecked.scan(TableName=table)["Items"], records(table)) == ([], [])


def test_delete_with_a_key_of_another_type_is_refused(dynamodb: Any, table: str) -> None:
    with pytest.raises(ClientError, match=r"ValidationException.*key element does not match the schema"):
        dynamodb.delete_item(TableName=table, Key={"name": {"N": "1"}})


def test_repeated_transaction_with_one_token_writes_once(dynamodb: Any, table: str) -> None:
    def add(number: str) -> None:
        update = {
            "TableName": table,
            "Key": KEY,
            "UpdateExpression": "ADD n :n",
            "ExpressionAttributeValues": {":n": {"N": number}},
        }
        dynamodb.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken=token)

    token = uuid.uuid4().hex
    add("1")
    add("1")
    assert item(dynamodb, table)["n"] == {"N": "1"}
    with pytest.raises(ClientError, match="IdempotentParameterMismatchException"):
        add("2")


def test_cancelled_transaction_names_each_reason(dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, "v": {"S": "x"}})
    add = {"UpdateExpression": "ADD v :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}
    with pytest.raises(ClientError) as error:
        dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": table, "Item": {"name": {"S": "b"}}}},
                {"Update": {"TableName": table, "Key": KEY, **add}},
            ]
        )
    assert [reason["Code"] for reason in error.value.response["CancellationReasons"]] == ["None", "ValidationError"]
    assert len(dynamodb.scan(TableName=table)["Items"]) == 1


def test_insert_over_an_item_is_refused(
    dynamodb: Any, table: str, records: Callable[[str], list[dict[str, Any]]]
) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, "v": {"S": "x"}})
    with pytest.raises(ClientError, match="DuplicateItemException"):
        dynamodb.execute_statement(Statement=f"INSERT INTO \"{table}\" VALUE {{'name': 'a'}}")
    assert (item(dynamodb, table)["v"], names(records(table))) == ({"S": "x"}, ["INSERT"])


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE {} SET v = 1 WHERE v = 2", "mandatory equality on all key attributes"),
        ("DELETE FROM {} WHERE name = 'a' OR v = 1", "mandatory equality on all key attributes"),
        ("DELETE FROM {} WHERE name = ?", "Number of parameters"),
        ("INSERT INTO {} VALUE 'a'", "wasn't well formed"),
        ("UPDATE {} SET v WHERE name = 'a'", "wasn't well formed"),
        ("DROP {}", "wasn't well formed"),
        ("UPDATE {} SET v = 1 WHERE name = 'absent'", "conditional request failed"),
    ],
)
def test_statement_is_refused(dynamodb: Any, table: str, statement: str, message: str) -> None:
    dynamodb.put_item(TableName=table, Item={**KEY, "v": {"N": "2"}})
    with pytest.raises(ClientError, match=message):
        dynamodb.execute_statement(Statement=statement.format(f'"{table}"'))
    assert item(dynamodb, table)["v"] == {"N": "2"}


@pytest.mark.parametrize(
    "condition",
    [
        "v BETWEEN 1 AND 3",
        "v IN [2, 5]",
        "w IS MISSING AND v IS NOT MISSING",
        "begins_with(s, 'it''s')",
        "(v = 1 OR v = 2) AND NOT v = 3",
        "m.x[0] = true",
        "v <> 3 AND v != -3",
    ],
)
def test_statement_with_a_condition_writes(dynamodb: Any, table: str, condition: str) -> None:
    members = {"m": {"M": {"x": {"L": [{"BOOL": True}]}}}, "s": {"S": "it's it"}}
    dynamodb.put_item(TableName=table, Item={**KEY, "v": {"N": "2"}, **members})
    update = f'UPDATE "{table}" SET v = v + 1'  # noqa: S608 - the name of our own table
    answer = dynamodb.execute_statement(Statement=f"{update} WHERE name = 'a' AND {condition} RETURNING MODIFIED NEW *")
    assert answer["Items"] == [{"v": {"N": "3"}}]


def writing(dynamodb: Any, table: str, written: list[str]) -> Iterator[threading.Thread]:
    """Threads that write items until the table is gone. `written` gets the names of those that are answered."""

    def write(thread: int) -> None:
        for number in range(100_000):
            name = f"{thread} {number}"
            try:
                dynamodb.put_item(TableName=table, Item={"name": {"S": name}})
            except dynamodb.exceptions.ResourceNotFoundException:
                return
            written.append(name)

    for thread in range(3):
        yield threading.Thread(target=write, args=(thread,), daemon=True)


def test_streams_end_well_beside_writes(client: Callable[[str], Any], dynamodb: Any, table: str) -> None:
    """The stream is turned off and on, and the table is deleted, while items are written and read."""
    streams, written = client("dynamodbstreams"), list[str]()
    threads = list(writing(dynamodb, table, written))
    for thread in threads:
        thread.start()
    for enabled in (False, True) * 4:
        view = {"StreamViewType": "KEYS_ONLY"} if enabled else {}
        dynamodb.update_table(TableName=table, StreamSpecification={"StreamEnabled": enabled, **view})
        dynamodb.scan(TableName=table, Limit=10)
        time.sleep(0.05)
    dynamodb.delete_table(TableName=table)
    for thread in threads:
        thread.join(timeout=10)
    found = [each["StreamArn"] for each in streams.list_streams(TableName=table)["Streams"]]
    described = [streams.describe_stream(StreamArn=arn)["StreamDescription"] for arn in found]
    assert [stream["StreamStatus"] for stream in described] == ["DISABLED"] * 5
    recorded = [name for stream in described for name in inserted(streams, stream)]
    assert len(set(recorded)) == len(recorded)
    assert set(recorded) <= set(written)


def inserted(streams: Any, stream: dict[str, Any]) -> Iterator[str]:
    (shard,) = stream["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    while iterator:
        page = streams.get_records(ShardIterator=iterator)
        yield from (record["dynamodb"]["Keys"]["name"]["S"] for record in page["Records"])
        iterator = page.get("NextShardIterator")


def test_refused_update_of_a_table_changes_nothing(dynamodb: Any, table: str) -> None:
    with pytest.raises(ClientError, match="must be the only operation"):
        dynamodb.update_table(
            TableName=table,
            DeletionProtectionEnabled=True,
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
        )
    assert dynamodb.describe_table(TableName=table)["Table"]["DeletionProtectionEnabled"] is False
