"""Random requests, and the comparison of what DynamoDB and the model make of them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from hypothesis import strategies as st

from tests.localaws.dynamodb.calls import Call, Condition, Request
from tests.localaws.dynamodb.model import Action, Item, Model, RefusedError, comparable

if TYPE_CHECKING:
    from collections.abc import Callable

ATTRIBUTES = ["a", "b", "m"]
RETURN_VALUES = ["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"]

numbers = st.sampled_from(["0", "1", "01.50", "-2E1", "12345678901234567890123456789012345678", "1E-5", "-0.0"])
scalars = st.one_of(
    st.builds(lambda text: {"S": text}, st.sampled_from(["", "x", "1", "ü", "it's"])),
    st.builds(lambda number: {"N": number}, numbers),
    st.builds(lambda content: {"B": content}, st.sampled_from([b"x", b"\x00\xff", b""])),
    st.sampled_from([{"BOOL": True}, {"BOOL": False}, {"NULL": True}]),
)
sets = st.one_of(
    st.builds(lambda members: {"SS": sorted(members)}, st.sets(st.sampled_from("xyz"), min_size=1)),
    st.builds(lambda members: {"NS": sorted(members)}, st.sets(st.sampled_from(["1.0", "2", "30"]), min_size=1)),
    st.builds(lambda members: {"BS": sorted(members)}, st.sets(st.sampled_from([b"x", b"\xff"]), min_size=1)),
)
lists = st.builds(lambda members: {"L": members}, st.lists(scalars, max_size=2))
values = st.one_of(
    scalars,
    sets,
    lists,
    st.builds(lambda members: {"M": members}, st.dictionaries(st.sampled_from(["x", "y"]), scalars | sets, max_size=2)),
)
numeric = st.builds(lambda number: {"N": number}, numbers)
attributes = st.dictionaries(st.sampled_from(ATTRIBUTES), values, max_size=3)
conditions = st.one_of(
    st.just(Condition()),
    st.just(Condition()),
    st.sampled_from([Condition("exists"), Condition("absent")]),
    st.builds(lambda value: Condition("equals", value), scalars),
)


def actions(*, legacy: bool) -> st.SearchStrategy[list[Action]]:
    """Updates of different attributes, by an expression or by AttributeUpdates."""
    operands: dict[str, st.SearchStrategy[Any]] = {"ADD": numeric | sets, "DELETE": sets, "REMOVE": st.none()}
    if legacy:
        operands |= {"PUT": values, "ADD": numeric | sets | lists}
    else:
        operands |= {"SET": values, "COPY": st.sampled_from(ATTRIBUTES), "PLUS": numeric, "SET IN MAP": scalars}
        operands |= {"REMOVE FROM MAP": st.none()}
    one = st.one_of([st.tuples(st.just(what), st.just(operand)) for what, operand in operands.items()])
    return st.dictionaries(st.sampled_from(ATTRIBUTES), one.flatmap(_drawn), max_size=3).map(
        lambda drawn: [(what, name, operand) for name, (what, operand) in drawn.items()]
    )


def _drawn(pair: tuple[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.just(pair[0]), pair[1])


def keys(table: str) -> st.SearchStrategy[Item]:
    name = st.sampled_from("pqr").map(lambda text: {"S": text})
    number = st.sampled_from(["1", "1.0", "2"]).map(lambda text: {"N": text})
    return st.fixed_dictionaries({"name": name} | ({"number": number} if table == "sorted" else {}))


@st.composite
def calls(draw: st.DrawFn, *, legacy: bool | None = None) -> Call:
    table = draw(st.sampled_from(["simple", "sorted"]))
    is_legacy = draw(st.booleans()) if legacy is None else legacy
    return Call(
        kind=draw(st.sampled_from(["put", "update", "update", "delete"])),
        table=table,
        key=draw(keys(table)),
        attributes=draw(attributes),
        actions=draw(actions(legacy=is_legacy)),
        condition=draw(conditions),
        return_values=draw(st.sampled_from(RETURN_VALUES)),
        legacy=is_legacy,
    )


several = st.lists(
    calls(legacy=False).filter(lambda call: call.kind != "update" or bool(call.actions)), min_size=1, max_size=3
)
requests = st.one_of(
    calls().map(lambda call: Request("one", [call])),
    calls().map(lambda call: Request("one", [call])),
    st.builds(Request, st.sampled_from(["batch", "transaction", "statements", "statement transaction"]), several),
)


def create_tables(dynamodb: Any) -> dict[str, str]:
    """Create a table with a hash key, and one with a sort key too, both with a stream. Return their names."""
    names = {}
    for table, keys in (("simple", ["name"]), ("sorted", ["name", "number"])):
        names[table] = f"{table}-{uuid.uuid4().hex[:12]}"
        dynamodb.create_table(
            TableName=names[table],
            AttributeDefinitions=[
                {"AttributeName": key, "AttributeType": "S" if key == "name" else "N"} for key in keys
            ],
            KeySchema=[
                {"AttributeName": key, "KeyType": role} for key, role in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
    return names


def check(client: Callable[[str], Any], names: dict[str, str], wanted: list[Request]) -> None:
    """Empty the tables and send requests. Assert that each answer, the items and the records are those of the model."""
    dynamodb, model = client("dynamodb"), Model({"simple": ["name"], "sorted": ["name", "number"]})
    for table, name in names.items():
        empty(dynamodb, name, model.keys[table])
    starts = {name: iterator(client, name) for name in names.values()}
    for request in wanted:
        try:
            expected = request.run(model)
        except RefusedError as error:
            expected = error.code
        try:
            answer = request.send(dynamodb, names)
        except ClientError as error:
            answer = error.response["Error"]["Code"]
        assert comparable(answer) == comparable(expected), f"{request} was answered {answer}, not {expected}"
    for table, name in names.items():
        stored = dynamodb.scan(TableName=name, ConsistentRead=True)["Items"]
        kept = {model.key(table, item): item for item in stored}
        assert comparable(kept) == comparable(model.tables.get(table, {}))
        written = records(client, name, starts[name])
        assert comparable(folded(model, table, written)) == comparable(kept)
        assert len(written) == model.records.get(table, 0)


def empty(client: Any, table: str, key: list[str]) -> None:
    for item in client.scan(TableName=table)["Items"]:
        client.delete_item(TableName=table, Key={name: item[name] for name in key})


def folded(model: Model, table: str, written: list[dict[str, Any]]) -> dict[Any, Item]:
    """The items that result from the records of a stream. Asserts that each record follows from those before."""
    items: dict[Any, Item] = {}
    for record in written:
        change = record["dynamodb"]
        key = model.key(table, change["Keys"])
        assert comparable(items.get(key)) == comparable(change.get("OldImage"))
        old, new = "OldImage" in change, "NewImage" in change
        assert (
            record["eventName"] == {(False, True): "INSERT", (True, True): "MODIFY", (True, False): "REMOVE"}[old, new]
        )
        if new:
            items[key] = change["NewImage"]
        else:
            del items[key]
    return items


def iterator(client: Callable[[str], Any], table: str, kind: str = "LATEST") -> str:
    """A shard iterator of the table's stream."""
    streams = client("dynamodbstreams")
    arn = client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType=kind)
    return str(answer["ShardIterator"])


def records(client: Callable[[str], Any], table: str, start: str = "") -> list[dict[str, Any]]:
    """The records of the table's stream, from an iterator or from the beginning."""
    streams, found = client("dynamodbstreams"), list[dict[str, Any]]()
    page = streams.get_records(ShardIterator=start or iterator(client, table, "TRIM_HORIZON"))
    while page["Records"]:
        found += page["Records"]
        page = streams.get_records(ShardIterator=page["NextShardIterator"])
    return found
