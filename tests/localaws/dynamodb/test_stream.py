"""The stream records of a table's writes, read through the API."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.pipe import until

if TYPE_CHECKING:
    from collections.abc import Callable

Records = list[dict[str, Any]]


@pytest.fixture
def table(client: Callable[[str], Any]) -> Callable[..., str]:
    """Create a table with a stream and return its name. Its hash key is `name` by default."""

    def create(view_type: str = "NEW_AND_OLD_IMAGES", key: str = "name", kind: str = "S") -> str:
        name = f"table-{uuid.uuid4().hex[:12]}"
        client("dynamodb").create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view_type},
        )
        return name

    return create


@pytest.fixture
def stream_arn(client: Callable[[str], Any]) -> Callable[[str], str]:
    return lambda table: client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]


@pytest.fixture
def read(client: Callable[[str], Any]) -> Callable[[str], Records]:
    """All readable records of a stream."""

    def from_arn(arn: str) -> Records:
        following: str | None = iterator(client, arn, "TRIM_HORIZON")
        records: Records = []
        while following:
            page = client("dynamodbstreams").get_records(ShardIterator=following)
            if not page["Records"]:
                break
            records += page["Records"]
            following = page.get("NextShardIterator")
        return records

    return from_arn


@pytest.fixture
def records(stream_arn: Callable[[str], str], read: Callable[[str], Records]) -> Callable[[str], Records]:
    return lambda table: read(stream_arn(table))


def iterator(client: Any, arn: str, kind: str, **options: Any) -> str:
    streams = client("dynamodbstreams")
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType=kind, **options)
    found: str = answer["ShardIterator"]
    return found


def names(records: Records) -> list[str]:
    return [record["eventName"] for record in records]


def test_put_update_delete_write_insert_modify_remove(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    dynamodb = client("dynamodb")
    dynamodb.put_item(TableName=name, Item={"name": {"S": "a"}})
    dynamodb.put_item(TableName=name, Item={"name": {"S": "a"}, "n": {"N": "1"}})
    dynamodb.delete_item(TableName=name, Key={"name": {"S": "a"}})
    assert names(records(name)) == ["INSERT", "MODIFY", "REMOVE"]


def test_identical_put_writes_no_record(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    for _ in range(2):
        client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}, "tags": {"SS": ["x", "y"]}})
    assert names(records(name)) == ["INSERT"]


def test_identical_update_writes_no_record(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}, "n": {"N": "1"}})
    client("dynamodb").update_item(
        TableName=name,
        Key={"name": {"S": "a"}},
        UpdateExpression="SET n = :n",
        ExpressionAttributeValues={":n": {"N": "1"}},
    )
    assert names(records(name)) == ["INSERT"]


def test_update_of_a_new_key_writes_one_insert_with_the_whole_item(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    client("dynamodb").update_item(
        TableName=name,
        Key={"name": {"S": "a"}},
        UpdateExpression="SET n = :n",
        ExpressionAttributeValues={":n": {"N": "1"}},
    )
    (record,) = records(name)
    assert record["dynamodb"]["NewImage"] == {"name": {"S": "a"}, "n": {"N": "1"}}


def test_failed_condition_writes_no_record(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        client("dynamodb").put_item(
            TableName=name,
            Item={"name": {"S": "a"}},
            ConditionExpression="attribute_exists(#n)",
            ExpressionAttributeNames={"#n": "name"},
        )
    assert records(name) == []


def test_record_has_version_1_1_and_size_of_keys_and_images(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    """The article's record: {"name": {"S": "test3"}} is 9 bytes of key and 9 of new image."""
    name = table()
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "test3"}})
    (record,) = records(name)
    assert (record["eventVersion"], record["dynamodb"]["SizeBytes"]) == ("1.1", 18)


def test_size_of_a_new_image_with_binary(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    """Recorded on AWS: keys 27, image 27 + 10 + 6."""
    name = table("NEW_IMAGE", key="my_partition_key")
    client("dynamodb").put_item(
        TableName=name, Item={"my_partition_key": {"S": "hello world"}, "binary_key": {"B": b"foobar"}}
    )
    assert records(name)[0]["dynamodb"]["SizeBytes"] == 70


@pytest.mark.parametrize(
    ("view_type", "images"),
    [
        ("KEYS_ONLY", set()),
        ("NEW_IMAGE", {"NewImage"}),
        ("OLD_IMAGE", {"OldImage"}),
        ("NEW_AND_OLD_IMAGES", {"NewImage", "OldImage"}),
    ],
)
def test_view_type_selects_the_images(
    client: Any, table: Callable[..., str], records: Callable[[str], Records], view_type: str, images: set[str]
) -> None:
    name = table(view_type)
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}})
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}, "n": {"N": "1"}})
    assert {key for key in records(name)[1]["dynamodb"] if key.endswith("Image")} == images


def test_record_has_every_attribute_type(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    item = {
        "name": {"S": "ä"},
        "n": {"N": "-1.5"},
        "b": {"B": b"\x00\xff"},
        "bool": {"BOOL": True},
        "null": {"NULL": True},
        "ss": {"SS": ["x", "y"]},
        "ns": {"NS": ["1", "2"]},
        "bs": {"BS": [b"x", b"y"]},
        "l": {"L": [{"S": "x"}, {"B": b"y"}, {"M": {"z": {"N": "1"}}}]},
        "m": {"M": {"l": {"L": [{"BOOL": False}]}, "b": {"B": b"z"}}},
    }
    client("dynamodb").put_item(TableName=name, Item=item)
    assert records(name)[0]["dynamodb"]["NewImage"] == item


def test_table_can_have_a_binary_key(client: Any, table: Callable[..., str], records: Callable[[str], Records]) -> None:
    name = table(key="id", kind="B")
    client("dynamodb").put_item(TableName=name, Item={"id": {"B": b"\x01"}})
    assert records(name)[0]["dynamodb"]["Keys"] == {"id": {"B": b"\x01"}}


def test_event_ids_are_unique_and_sequence_numbers_increase(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    requests = [{"PutRequest": {"Item": {"name": {"S": str(number)}}}} for number in range(25)]
    client("dynamodb").batch_write_item(RequestItems={name: requests})
    found = records(name)
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in found]
    assert (len({record["eventID"] for record in found}), sorted(set(numbers))) == (25, numbers)


def test_event_id_is_32_hexadecimal_digits(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}})
    assert re.fullmatch("[0-9a-f]{32}", records(name)[0]["eventID"])


def test_image_has_numbers_in_their_shortest_form(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}, "n": {"N": "1.50"}})
    assert records(name)[0]["dynamodb"]["NewImage"]["n"] == {"N": "1.5"}


def test_failed_update_writes_no_record(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    with pytest.raises(ClientError, match="ValidationException"):
        client("dynamodb").update_item(
            TableName=name,
            Key={"name": {"S": "a"}},
            UpdateExpression="SET n = absent + :n",
            ExpressionAttributeValues={":n": {"N": "1"}},
        )
    assert records(name) == []


def test_transaction_writes_each_change(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}})
    client("dynamodb").transact_write_items(
        TransactItems=[
            {"Put": {"TableName": name, "Item": {"name": {"S": "b"}}}},
            {"Delete": {"TableName": name, "Key": {"name": {"S": "a"}}}},
        ]
    )
    assert names(records(name)) == ["INSERT", "INSERT", "REMOVE"]


def test_cancelled_transaction_writes_no_record(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    with pytest.raises(ClientError, match="TransactionCanceled"):
        client("dynamodb").transact_write_items(
            TransactItems=[
                {"Put": {"TableName": name, "Item": {"name": {"S": "a"}}}},
                {
                    "ConditionCheck": {
                        "TableName": name,
                        "Key": {"name": {"S": "b"}},
                        "ConditionExpression": "attribute_exists(#n)",
                        "ExpressionAttributeNames": {"#n": "name"},
                    }
                },
            ]
        )
    assert records(name) == []


def test_expired_item_is_removed_by_the_service(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    """DynamoDB developer guide, "DynamoDB Streams and Time to Live": userIdentity names the service."""
    name = table()
    client("dynamodb").update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
    )
    a_minute_ago = str(int(time.time()) - 60)
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}, "until": {"N": a_minute_ago}})
    until(lambda: names(records(name)) == ["INSERT", "REMOVE"])
    assert records(name)[1]["userIdentity"] == {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}


def test_item_stays_until_it_expires(client: Any, table: Callable[..., str]) -> None:
    name = table()
    client("dynamodb").update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
    )
    now = int(time.time())
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "later"}, "until": {"N": str(now + 3600)}})
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "over"}, "until": {"N": str(now - 60)}})
    left = until(lambda: len(items := client("dynamodb").scan(TableName=name)["Items"]) == 1 and items)
    assert left[0]["name"] == {"S": "later"}


def test_reenabled_stream_is_a_new_stream(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str]
) -> None:
    name = table()
    first = stream_arn(name)
    turn_off(client, name)
    client("dynamodb").update_table(
        TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    )
    assert stream_arn(name) != first


def turn_off(client: Any, table: str) -> None:
    client("dynamodb").update_table(TableName=table, StreamSpecification={"StreamEnabled": False})


def test_disabled_stream_is_still_the_latest(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str]
) -> None:
    name = table()
    arn = stream_arn(name)
    turn_off(client, name)
    description = client("dynamodbstreams").describe_stream(StreamArn=arn)["StreamDescription"]
    assert (description["StreamStatus"], stream_arn(name)) == ("DISABLED", arn)


def test_disabled_stream_keeps_its_records_and_gets_no_new_ones(
    client: Any, table: Callable[..., str], records: Callable[[str], Records]
) -> None:
    name = table()
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}})
    turn_off(client, name)
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "b"}})
    assert [record["dynamodb"]["Keys"] for record in records(name)] == [{"name": {"S": "a"}}]


def test_stream_of_a_deleted_table_can_be_read(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str], read: Callable[[str], Records]
) -> None:
    name = table()
    arn = stream_arn(name)
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}})
    client("dynamodb").delete_table(TableName=name)
    assert names(read(arn)) == ["INSERT"]


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ({"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}, "Table already has an enabled stream: TableName: "),
        ({"StreamEnabled": True}, "If stream is being enabled then UpdateViewType is required"),
        (
            {"StreamEnabled": False, "StreamViewType": "KEYS_ONLY"},
            "If stream is being disabled, then UpdateViewType must not be specified",
        ),
    ],
)
def test_stream_change_is_refused_in_the_words_of_aws(
    client: Any, table: Callable[..., str], specification: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=f"ValidationException.*{message}"):
        client("dynamodb").update_table(TableName=table(), StreamSpecification=specification)


def test_disabling_a_disabled_stream_is_refused(client: Any, table: Callable[..., str]) -> None:
    name = table()
    turn_off(client, name)
    with pytest.raises(ClientError, match="Table has no stream to disable: TableName: "):
        turn_off(client, name)


def test_list_streams_returns_the_streams_of_a_table(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str]
) -> None:
    name = table()
    streams = client("dynamodbstreams").list_streams(TableName=name)["Streams"]
    assert [stream["StreamArn"] for stream in streams] == [stream_arn(name)]


def test_list_streams_pages(client: Any, table: Callable[..., str]) -> None:
    table(), table()
    page = client("dynamodbstreams").list_streams(Limit=1)
    following = client("dynamodbstreams").list_streams(ExclusiveStartStreamArn=page["LastEvaluatedStreamArn"])
    assert following["Streams"][0]["StreamArn"] > page["Streams"][0]["StreamArn"]


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("list_streams", {"Limit": 0}),
        ("list_streams", {"Limit": 101}),
        ("list_streams", {"TableName": "no table"}),
        ("list_streams", {"ExclusiveStartStreamArn": "not the ARN of any stream, but long enough"}),
        ("describe_stream", {"StreamArn": "not the ARN of any stream, but long enough"}),
        ("describe_stream", {"StreamArn": "{arn}", "Limit": 0}),
        ("describe_stream", {"StreamArn": "{arn}", "Limit": 101}),
        ("describe_stream", {"StreamArn": "{arn}", "ExclusiveStartShardId": "short"}),
        ("describe_stream", {"StreamArn": "{arn}", "ShardFilter": {"Type": "PARENTS"}}),
        ("get_records", {"ShardIterator": "{iterator}", "Limit": 0}),
        ("get_records", {"ShardIterator": "{iterator}", "Limit": 1001}),
    ],
)
def test_parameter_out_of_range_is_refused(
    unchecked_client: Any,
    table: Callable[..., str],
    stream_arn: Callable[[str], str],
    call: str,
    parameters: dict[str, Any],
) -> None:
    arn = stream_arn(table())
    values = {"{arn}": arn, "{iterator}": iterator(unchecked_client, arn, "LATEST")}
    with pytest.raises(ClientError, match="ValidationException"):
        getattr(unchecked_client("dynamodbstreams"), call)(
            **{name: values.get(str(v), v) for name, v in parameters.items()}
        )


@pytest.mark.parametrize(
    "parameters",
    [{"ExclusiveStartShardId": "z" * 30}, {"ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": "z" * 30}}],
)
def test_no_shards_follow(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str], parameters: dict[str, Any]
) -> None:
    answer = client("dynamodbstreams").describe_stream(StreamArn=stream_arn(table()), **parameters)
    assert answer["StreamDescription"]["Shards"] == []


@pytest.mark.parametrize(
    ("kind", "position"),
    [
        ("LATEST", {"SequenceNumber": "1" * 30}),
        ("TRIM_HORIZON", {"SequenceNumber": "1" * 30}),
        ("AT_SEQUENCE_NUMBER", {}),
        ("AFTER_SEQUENCE_NUMBER", {"SequenceNumber": "1"}),
        ("AT_SEQUENCE_NUMBER", {"SequenceNumber": "x" * 30}),
        ("AT_TIMESTAMP", {}),
        ("AT_TIMESTAMP", {"Timestamp": time.time() + 3600}),
        ("SOMEWHERE", {}),
    ],
)
def test_iterator_with_the_wrong_position_is_refused(
    unchecked_client: Any,
    table: Callable[..., str],
    stream_arn: Callable[[str], str],
    kind: str,
    position: dict[str, Any],
) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        iterator(unchecked_client, stream_arn(table()), kind, **position)


@pytest.mark.parametrize(("age", "found"), [(3600, 1), (0, 0)])
def test_iterator_starts_at_a_time(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str], age: float, found: int
) -> None:
    name = table()
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}})
    start = iterator(client, stream_arn(name), "AT_TIMESTAMP", Timestamp=time.time() - age)
    assert len(client("dynamodbstreams").get_records(ShardIterator=start)["Records"]) == found


def test_unknown_stream_is_not_found(client: Any) -> None:
    arn = "arn:aws:dynamodb:eu-west-1:000000000000:table/none/stream/2026-01-01T00:00:00.000"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client("dynamodbstreams").describe_stream(StreamArn=arn)


def test_iterator_of_an_unknown_shard_is_not_found(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str]
) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client("dynamodbstreams").get_shard_iterator(
            StreamArn=stream_arn(table()),
            ShardId="shardId-00000000000000000000-00000000",
            ShardIteratorType="LATEST",
        )


def test_invalid_iterator_is_refused(client: Any) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        client("dynamodbstreams").get_records(ShardIterator="made up")


def test_latest_iterator_starts_after_existing_records(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str]
) -> None:
    name = table()
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "before"}})
    latest = iterator(client, stream_arn(name), "LATEST")
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "after"}})
    (record,) = client("dynamodbstreams").get_records(ShardIterator=latest)["Records"]
    assert record["dynamodb"]["Keys"] == {"name": {"S": "after"}}


@pytest.mark.parametrize(("kind", "found"), [("AT_SEQUENCE_NUMBER", ["b", "c"]), ("AFTER_SEQUENCE_NUMBER", ["c"])])
def test_iterator_starts_at_a_sequence_number(
    client: Any, table: Callable[..., str], read: Callable[[str], Records], kind: str, found: list[str]
) -> None:
    name = table()
    arn = client("dynamodb").describe_table(TableName=name)["Table"]["LatestStreamArn"]
    for value in "abc":
        client("dynamodb").put_item(TableName=name, Item={"name": {"S": value}})
    start = iterator(client, arn, kind, SequenceNumber=read(arn)[1]["dynamodb"]["SequenceNumber"])
    records = client("dynamodbstreams").get_records(ShardIterator=start)["Records"]
    assert [record["dynamodb"]["Keys"]["name"]["S"] for record in records] == found


def test_closed_shard_ends_without_a_next_iterator(
    client: Any, table: Callable[..., str], stream_arn: Callable[[str], str]
) -> None:
    name = table()
    turn_off(client, name)
    start = iterator(client, stream_arn(name), "TRIM_HORIZON")
    assert "NextShardIterator" not in client("dynamodbstreams").get_records(ShardIterator=start)
