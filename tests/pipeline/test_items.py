"""Items in plain JSON or DynamoDB JSON: parsing, checks and writes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from pipeline import items
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE: dict[str, Any] = {
    "TableName": "test",
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
}


def test_plain_json_becomes_attributes() -> None:
    assert items.parse('{"name": "test3"}') == {"name": {"S": "test3"}}


def test_dynamodb_json_is_not_converted() -> None:
    assert items.parse('{"name": {"S": "test3"}, "n": {"N": "1.5"}}') == {"name": {"S": "test3"}, "n": {"N": "1.5"}}


def test_plain_json_keeps_numbers_exact_and_nests() -> None:
    parsed = items.parse('{"price": 0.1, "big": 12345678901234567890, "list": [true, null, {"a": "b"}]}')
    nested = {"L": [{"BOOL": True}, {"NULL": True}, {"M": {"a": {"S": "b"}}}]}
    assert parsed == {"price": {"N": "0.1"}, "big": {"N": "12345678901234567890"}, "list": nested}


def test_binary_in_dynamodb_json_is_base64() -> None:
    text = base64.b64encode(b"\x00\xff").decode()
    assert items.parse(f'{{"b": {{"B": "{text}"}}, "bs": {{"BS": ["{text}"]}}}}') == {
        "b": {"B": b"\x00\xff"},
        "bs": {"BS": [b"\x00\xff"]},
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{'name': 1}", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("{}", "is not a JSON object"),
        ('{"n": NaN}', "NaN not supported"),
        ('{"n": 123456789012345678901234567890123456789}', "38 digits"),
        ('{"n": {"N": "ten"}}', "38 digits"),
        ('{"n": {"N": 10}}', "N takes a string"),
        ('{"n": {"N": "123456789012345678901234567890123456789"}}', "38 digits"),
        ('{"b": {"B": "not base64!"}}', "base64"),
        ('{"s": {"SS": []}}', "one or more distinct values"),
        ('{"s": {"SS": ["a", "a"]}}', "one or more distinct values"),
        ('{"s": {"BOOL": "true"}}', "true or false"),
        ('{"s": {"M": []}}', r"M takes an object, not \[\]"),
        ('{"s": {"L": {}}}', "L takes a list, not {}"),
        ('{"s": {"M": {"a": "b"}}}', "is not a DynamoDB JSON value"),
        ('{"s": "\\ud800"}', "surrogates not allowed"),
    ],
)
def test_json_that_is_not_an_item_is_an_error(text: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        items.parse(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"other": "x"}', "has no attribute 'name'; the key of test must be name of type S"),
        ('{"name": 1}', "'name' is of type N; the key of test must be name of type S"),
        ('{"name": ""}', "'name' has 0 bytes"),
        (f'{{"name": "x", "data": "{"x" * 410_000}"}}', "allowed: 409600"),
    ],
)
def test_an_item_that_the_table_would_refuse_is_an_error(text: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        items.check(items.parse(text), TABLE, "items.json line 3")


LARGE = {
    "Japanese letters": {"S": "語" * 110_000},
    "numbers": {"L": [{"N": str(number)} for number in range(60_000)]},
    "binary": {"B": bytes(350 * 1024)},
    "a set of strings": {"SS": [f"{number:04}" for number in range(10_000)] + ["語" * 100_000]},
    "a map": {"M": {f"{number:05}": {"BOOL": True} for number in range(50_000)}},
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_an_item_within_400_kb_as_dynamodb_counts_is_accepted(value: dict[str, Any]) -> None:
    items.check({"name": {"S": "large"}, "data": value}, TABLE)


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_an_item_above_400_kb_as_dynamodb_counts_is_an_error(value: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"is about \d+ bytes; allowed: 409600"):
        items.check({"name": {"S": "large"}, "one": value, "two": value}, TABLE)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "語a"}, 4),
        ({"B": b"123"}, 3),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"N": "0"}, 1),
        ({"N": "-123"}, 3),
        ({"N": "0.00012300"}, 3),
        ({"N": "1e100"}, 2),
        ({"NS": ["1", "22"]}, 4),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}, {"N": "1"}]}, 3 + 3 + 3),
        ({"M": {"key": {"S": "ab"}}}, 3 + 1 + 3 + 2),
    ],
    ids=str,
)
def test_the_size_of_a_value_follows_the_developer_guide(value: dict[str, Any], size: int) -> None:
    assert items.size({"語": value}) == 3 + size


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-west-1")
        client.create_table(**TABLE, BillingMode="PAY_PER_REQUEST")
        yield client


def stored(client: Any) -> dict[str, Any]:
    return {item["name"]["S"]: item for item in client.scan(TableName="test")["Items"]}


def test_many_items_are_written_in_batches(dynamodb: Any) -> None:
    sizes: list[int] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        sizes.append(len(params["RequestItems"]["test"]))

    dynamodb.meta.events.register("provide-client-params.dynamodb.BatchWriteItem", note)
    written = list(items.put(dynamodb, TABLE, ({"name": {"S": f"item {n}"}} for n in range(1060)), 1060))
    assert (len(stored(dynamodb)), written) == (1060, [1000, 1060])
    assert sorted(sizes) == [10, *[25] * 42]


def test_items_of_one_key_are_written_in_their_order(dynamodb: Any) -> None:
    many = [{"name": {"S": f"item {n % 7}"}, "v": {"N": str(n)}} for n in range(100)]
    list(items.put(dynamodb, TABLE, many, 100))
    assert {int(item["v"]["N"]) for item in stored(dynamodb).values()} == {*range(93, 100)}


def test_unprocessed_items_are_written_again(dynamodb: Any) -> None:
    """BatchWriteItem may answer UnprocessedItems: DynamoDB API reference, BatchWriteItem."""
    left: list[int] = []

    def leave_one(parsed: dict[str, Any], **_: Any) -> None:
        if not left:
            left.append(1)
            dynamodb.delete_item(TableName="test", Key={"name": {"S": "b"}})
            parsed["UnprocessedItems"] = {"test": [{"PutRequest": {"Item": {"name": {"S": "b"}}}}]}

    dynamodb.meta.events.register("after-call.dynamodb.BatchWriteItem", leave_one)
    list(items.put(dynamodb, TABLE, [{"name": {"S": name}} for name in "abc"], 3))
    assert sorted(stored(dynamodb)) == ["a", "b", "c"]


def test_items_that_stay_unprocessed_are_an_error_after_a_while(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave_all(parsed: dict[str, Any], **_: Any) -> None:
        parsed["UnprocessedItems"] = {"test": [{"PutRequest": {"Item": {"name": {"S": "b"}}}}]}

    monkeypatch.setattr(items, "UNPROCESSED_TIMEOUT", 0.5)
    dynamodb.meta.events.register("after-call.dynamodb.BatchWriteItem", leave_all)
    with pytest.raises(UserError, match=r"unprocessed items after 0\.5 s without progress: 1;"):
        list(items.put(dynamodb, TABLE, [{"name": {"S": name}} for name in "abc"], 3))
