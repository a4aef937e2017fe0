"""Items in plain JSON or DynamoDB JSON: parse them, check them against the table, put them into it."""

import base64
import binascii
import json
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Context, Decimal
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any

from .resources.change import UserError, backoff

# docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_ITEM_BYTES = 400 * 1024
_KEY_BYTES = (2048, 1024)  # of the partition key, of the sort key
BATCH_ITEMS = 25
_BATCH_BYTES = 16 * 1024 * 1024
_NUMBER_DIGITS, _NUMBER_EXPONENT = 38, 125
# The JSON type of each type of DynamoDB JSON.
_TYPES: dict[str, Any] = {
    "S": str, "N": str, "B": str, "SS": list, "NS": list, "BS": list, "L": list, "M": dict, "BOOL": bool, "NULL": bool,
}  # fmt: skip
_IN_WORDS = {str: "a string", list: "a list", dict: "an object", bool: "true or false"}
UNPROCESSED_TIMEOUT = 60.0  # seconds without progress
_CONNECTIONS = 40
_SPOOL_BYTES = 16 * 1024 * 1024  # larger files go to disk


def parse(text: str, where: str = "the item") -> dict[str, Any]:
    """A JSON object as the attributes that PutItem takes.

    DynamoDB JSON ({"id": {"S": "x"}}) if each attribute is, otherwise plain JSON. Raises UserError that names `where`.
    """
    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {error}; allowed: an object such as " + '{"name": "test3"}') from None
    if not isinstance(document, dict) or not document:
        raise UserError(f"{where} is not a JSON object; allowed: an object such as " + '{"name": "test3"}')
    from boto3.dynamodb.types import TypeSerializer  # noqa: PLC0415 - slow to import

    try:
        typed = all(_is_typed(value) for value in document.values())
        convert = _from_typed if typed else TypeSerializer().serialize
        item = {name: convert(value) for name, value in document.items()}
        size(item)  # raises for text that is not valid in UTF-8
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UserError(f"{where}: {error}; allowed: numbers of up to 38 digits, binary as base64") from None
    return item


def check(item: Mapping[str, Any], table: Mapping[str, Any], where: str = "the item") -> None:
    """Raise UserError for an item that the table would not accept. `table` is as DescribeTable returns it."""
    for (name, expected_kind), limit in zip(key_types(table).items(), _KEY_BYTES, strict=False):
        expected = f"the key of {table['TableName']} must be {name} of type {expected_kind}"
        if name not in item:
            raise UserError(f"{where} has no attribute {name!r}; {expected}")
        kind, value = next(iter(item[name].items()))
        if kind != expected_kind:
            raise UserError(f"{where}: {name!r} is of type {kind}; {expected}")
        length = len(value.encode() if isinstance(value, str) else value)
        if not 1 <= length <= limit:
            raise UserError(f"{where}: {name!r} has {length} bytes; allowed in this key: 1 to {limit}")
    if (total := size(item)) > _ITEM_BYTES:
        raise UserError(f"{where} is about {total} bytes; allowed: {_ITEM_BYTES}")


def size(attributes: Mapping[str, Any]) -> int:
    """The minimum size of an item in bytes. DynamoDB developer guide: "DynamoDB Item sizes and formats"."""
    return sum(len(name.encode()) + _value_size(value) for name, value in attributes.items())


def _value_size(value: Mapping[str, Any]) -> int:
    kind, content = next(iter(value.items()))
    if kind == "M":
        return 3 + len(content) + size(content)
    if kind == "L":
        return 3 + sum(1 + _value_size(each) for each in content)
    if kind in ("SS", "NS", "BS"):
        return sum(_value_size({kind[0]: each}) for each in content)
    if kind == "N":
        return (len(_digits(Decimal(content))) + 1) // 2 + 1
    return 1 if kind in ("BOOL", "NULL") else len(content.encode() if isinstance(content, str) else content)


def key_types(table: Mapping[str, Any]) -> dict[str, str]:
    """The type of each key attribute by its name, partition key first."""
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    return {each["AttributeName"]: types[each["AttributeName"]] for each in table["KeySchema"]}


class Stored:
    """The items of many lines, in a temporary file. They can be read repeatedly with little memory.

    `lines` contains the location of each item, for error messages, and its text. Raises UserError for an invalid item.
    """

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self.count = 0
        self._file = SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - stays open
        for where, line in lines:
            pickle.dump((where, parse(line, where)), self._file)
            self.count += 1

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the location of each item, and the item."""
        self._file.seek(0)
        for _ in range(self.count):
            yield pickle.load(self._file)  # noqa: S301 - from above


def put(client: Any, table: Mapping[str, Any], items: Iterable[Mapping[str, Any]], count: int) -> Iterator[int]:
    """Write `count` items over several connections. Items with the same key stay in order. Yields the number written.

    DynamoDB API reference: PutItem, BatchWriteItem.
    """
    name, names, written = table["TableName"], [*key_types(table)], 0
    if count == 1:
        client.put_item(TableName=name, Item=next(iter(items)))
        yield 1
        return
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        # No two items of a group have the same key, so their batches can be written in any order.
        most, room = _CONNECTIONS * BATCH_ITEMS, 2 * _BATCH_BYTES
        for group in batches(items, most, room, key=lambda item: repr([item[name] for name in names])):
            requests = [{"PutRequest": {"Item": item}} for item in group]
            for _ in pool.map(partial(write, client, name), batches(requests, BATCH_ITEMS, _BATCH_BYTES)):
                pass  # raises what kept a batch from being written
            written += len(group)
            yield written


def batches(entries: Iterable[Any], most: int, room: int, key: Callable[[Any], Any] = id) -> Iterator[list[Any]]:
    """Batches of up to `most` entries and `room` bytes of JSON, without two entries of the same `key`."""
    batch: list[Any] = []
    seen: set[Any] = set()
    total = 0
    for entry in entries:
        own_key = key(entry)
        length = len(json.dumps(entry, default=lambda binary: base64.b64encode(binary).decode())) + 2
        if batch and (len(batch) == most or own_key in seen or total + length > room):
            yield batch
            batch, seen, total = [], set(), 0
        batch.append(entry)
        seen.add(own_key)
        total += length
    if batch:
        yield batch


def write(client: Any, name: str, requests: list[dict[str, Any]]) -> None:
    """Make up to 25 write requests, and repeat those that AWS leaves unprocessed. API reference: BatchWriteItem."""
    pauses = backoff(UNPROCESSED_TIMEOUT)
    while rest := client.batch_write_item(RequestItems={name: requests}).get("UnprocessedItems"):
        before, (requests,) = requests, rest.values()
        if len(requests) < len(before):
            pauses = backoff(UNPROCESSED_TIMEOUT)
        if (pause := next(pauses, None)) is None:
            problem = f"unprocessed items after {UNPROCESSED_TIMEOUT:g} s without progress: {len(requests)}"
            raise UserError(f"table {name}: {problem}; raise TABLE_WRITE_CAPACITY_UNITS, or put these items again")
        time.sleep(pause)


def _is_typed(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _TYPES


def _from_typed(value: Any) -> dict[str, Any]:
    """A DynamoDB JSON value as boto3 takes it: types checked, binary decoded."""
    if not _is_typed(value):
        raise ValueError(f"{json.dumps(value, default=str)} is not a DynamoDB JSON value, such as " + '{"S": "test3"}')
    kind, content = next(iter(value.items()))
    if not isinstance(content, _TYPES[kind]):
        shown = content if isinstance(content, Decimal) else json.dumps(content, default=str)
        raise TypeError(f"{kind} takes {_IN_WORDS[_TYPES[kind]]}, not {shown}")
    if kind == "M":
        return {kind: {name: _from_typed(each) for name, each in content.items()}}
    if kind == "L":
        return {kind: [_from_typed(each) for each in content]}
    if kind in ("SS", "NS", "BS"):
        if not content or len(set(map(str, content))) != len(content):
            raise ValueError(f"{kind} takes a list of one or more distinct values")
        return {kind: [_from_typed({kind[0]: each})[kind[0]] for each in content]}
    if kind == "N":
        number = Decimal(content, Context(traps=[]))  # NaN for a text that is not a number
        if not number.is_finite() or len(_digits(number)) > _NUMBER_DIGITS or abs(number.adjusted()) > _NUMBER_EXPONENT:
            limits = f"up to {_NUMBER_DIGITS} digits and {_NUMBER_EXPONENT} places"
            raise ValueError(f"{content!r} is not a number of {limits}")
    if kind == "B":
        try:
            return {kind: base64.b64decode(content, validate=True)}
        except binascii.Error as error:
            raise ValueError(f"{content!r} is not base64: {error}") from None
    return {kind: content}


def _digits(number: Decimal) -> str:
    """The significant digits."""
    return "".join(map(str, number.as_tuple().digits)).strip("0")
