"""What DynamoDB refuses, in its words, as public conformance suites recorded them on AWS."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HASH = [{"AttributeName": "pk", "KeyType": "HASH"}]
BOTH = [*HASH, {"AttributeName": "sk", "KeyType": "RANGE"}]
STRING = [{"AttributeName": "pk", "AttributeType": "S"}]
STRINGS = [*STRING, {"AttributeName": "sk", "AttributeType": "S"}]
KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}
VALUE = {"ExpressionAttributeValues": {":v": {"S": "x"}}}
INVALID = "One or more parameter values were invalid: "
ALL = {"ProjectionType": "ALL"}
UNITS = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
LIMIT = {"MaxReadRequestUnits": 5}
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}


@pytest.fixture(scope="module")
def dynamodb(unchecked_client: Callable[[str], Any]) -> Any:
    return unchecked_client("dynamodb")


@pytest.fixture(scope="module")
def table(dynamodb: Any) -> Iterator[str]:
    """A table with the keys `pk` and `sk`, and an index on `indexed`."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[*STRINGS, {"AttributeName": "indexed", "AttributeType": "S"}],
        KeySchema=BOTH,
        GlobalSecondaryIndexes=[
            {"IndexName": "index", "KeySchema": [{"AttributeName": "indexed", "KeyType": "HASH"}], "Projection": ALL}
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    yield name
    # No refused call has written anything.
    assert dynamodb.scan(TableName=name)["Count"] == 0


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    """The message of a ValidationException."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    message: str = refused.value.response["Error"]["Message"]
    return message


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("", "The expression can not be empty;"),
        ("pk = ", 'Syntax error; token: "<EOF>", near: "="'),
        ("pk == :v", 'Syntax error; token: "=", near: "== :v"'),
        ("pk = 5", 'Syntax error; token: "5", near: "= 5"'),
        ("name = :v", "Attribute name is a reserved keyword; reserved keyword: name"),
        (
            "pk = :none",
            "An expression attribute value used in expression is not defined; attribute value: :none",
        ),
        (
            "#none = :v",
            "An expression attribute name used in the document path is not defined; attribute name: #none",
        ),
        ("((pk = :v))", "The expression has redundant parentheses;"),
        ("found(pk)", "Invalid function name; function: found"),
        (
            "if_not_exists(pk, :v)",
            "The function is not allowed to be used this way in an expression; function: if_not_exists",
        ),
        (
            "attribute_exists(pk, sk)",
            (
                "Incorrect number of operands for operator or function; operator or function: attribute_exists, "
                "number of operands: 2"
            ),
        ),
        (
            "contains(a, a)",
            (
                "The first operand must be distinct from the remaining operands for this operator or function; "
                "operator: contains, first operand: [a]"
            ),
        ),
        ("(" * 2000 + "pk = :v" + ")" * 2000, "The expression is nested too deeply"),
        ("pk = :v OR " * 400, "Expression size has exceeded the maximum allowed size; expression size: 4400"),
    ],
)
def test_condition_is_refused(dynamodb: Any, table: str, condition: str, reason: str) -> None:
    message = refusal(dynamodb.put_item, TableName=table, Item=KEY, ConditionExpression=condition, **VALUE)
    assert message == f"Invalid ConditionExpression: {reason}"


TYPED = {":n": {"N": "2"}, ":m": {"N": "10"}, ":s": {"S": "x"}, ":t": {"BOOL": True}}
OPERAND = "Incorrect operand type for operator or function; operator or function:"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("a > :t", f"{OPERAND} >, operand type: BOOL"),
        ("begins_with(a, :n)", f"{OPERAND} begins_with, operand type: N"),
        ("attribute_type(a, :n)", f"{OPERAND} attribute_type, operand type: N"),
        (
            "attribute_type(a, :s)",
            "Invalid attribute type name found; type: x, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
        ),
        (
            "a BETWEEN :m AND :n",
            (
                "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
                "lower bound operand: AttributeValue: {N:10}, upper bound operand: AttributeValue: {N:2}"
            ),
        ),
        (
            "a BETWEEN :n AND :s",
            (
                "The BETWEEN operator requires same data type for lower and upper bounds; "
                "lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {S:x}"
            ),
        ),
    ],
)
def test_type_of_an_operand_is_refused(dynamodb: Any, table: str, condition: str, reason: str) -> None:
    values = {name: value for name, value in TYPED.items() if name in condition}
    message = refusal(dynamodb.scan, TableName=table, FilterExpression=condition, ExpressionAttributeValues=values)
    assert message == f"Invalid FilterExpression: {reason}"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({}, "Value must be provided when Exists is null for Attribute: a"),
        ({"Exists": False, "Value": {"S": "x"}}, "Value cannot be used when Exists is set to false for Attribute: a"),
        ({"ComparisonOperator": "EQ"}, "Invalid number of argument(s) for the EQ ComparisonOperator"),
        (
            {"AttributeValueList": [{"S": "x"}]},
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        ),
    ],
)
def test_legacy_condition_is_refused(dynamodb: Any, table: str, condition: dict[str, Any], reason: str) -> None:
    message = refusal(dynamodb.put_item, TableName=table, Item=KEY, Expected={"a": condition})
    assert message == INVALID + reason


def test_false_null_is_stored_as_true(dynamodb: Any) -> None:
    name = f"table-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(TableName=name, AttributeDefinitions=STRING, KeySchema=HASH, BillingMode="PAY_PER_REQUEST")
    dynamodb.put_item(TableName=name, Item={"pk": {"S": "a"}, "a": {"NULL": False}})
    assert dynamodb.get_item(TableName=name, Key={"pk": {"S": "a"}})["Item"]["a"] == {"NULL": True}


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        ("INVALID SYNTAX HERE", 'Syntax error; token: "INVALID", near: "INVALID SYNTAX"'),
        ("SET a = :v SET b = :v", 'The "SET" section can only be used once in an update expression;'),
        (
            "SET a = :v REMOVE a.b",
            (
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [a], path two: [a, b]"
            ),
        ),
        (
            "ADD a :v",
            "Incorrect operand type for operator or function; operator: ADD, operand type: STRING",
        ),
    ],
)
def test_update_is_refused(dynamodb: Any, table: str, update: str, reason: str) -> None:
    message = refusal(dynamodb.update_item, TableName=table, Key=KEY, UpdateExpression=update, **VALUE)
    assert message == f"Invalid UpdateExpression: {reason}"


@pytest.mark.parametrize("projection", ["a, a", "a, a.b", "a b", "status", "#none", "a["])
def test_projection_is_refused(dynamodb: Any, table: str, projection: str) -> None:
    message = refusal(dynamodb.get_item, TableName=table, Key=KEY, ProjectionExpression=projection)
    assert message.startswith("Invalid ProjectionExpression: ")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"ExpressionAttributeNames": {"#a": "a"}},
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        (VALUE, "ExpressionAttributeValues can only be specified when using expressions"),
        (
            {"FilterExpression": "a = :v", **VALUE, "ExpressionAttributeNames": {"#a": "a"}},
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}",
        ),
        (
            {"ProjectionExpression": "a", **VALUE},
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}",
        ),
        (
            {"FilterExpression": "a = :v", **VALUE, "ExpressionAttributeNames": {"a": "a"}},
            'ExpressionAttributeNames contains invalid key: Syntax error; key: "a"',
        ),
        (
            {"ProjectionExpression": "a", "AttributesToGet": ["a"]},
            (
                "Can not use both expression and non-expression parameters in the same request: "
                "Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}"
            ),
        ),
        (
            {"Segment": 5, "TotalSegments": 5},
            (
                "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
                "Segment: 5 is not less than TotalSegments: 5"
            ),
        ),
        (
            {"Limit": 0},
            (
                "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: "
                "Member must have value greater than or equal to 1"
            ),
        ),
    ],
)
def test_scan_is_refused(dynamodb: Any, table: str, parameters: dict[str, Any], message: str) -> None:
    assert refusal(dynamodb.scan, TableName=table, **parameters) == message


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("pk = :v OR sk = :v", "Invalid operator used in KeyConditionExpression: OR"),
        ("NOT pk = :v", "Invalid operator used in KeyConditionExpression: NOT"),
        ("pk = :v AND sk <> :v", "Invalid operator used in KeyConditionExpression: <>"),
        ("pk = :v AND sk.a = :v", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("sk = :v", "Query condition missed key schema element: pk"),
    ],
)
def test_key_condition_is_refused(dynamodb: Any, table: str, condition: str, message: str) -> None:
    assert refusal(dynamodb.query, TableName=table, KeyConditionExpression=condition, **VALUE) == message


INDEX = {"IndexName": "index", "ExpressionAttributeNames": {"#i": "indexed"}}


@pytest.mark.parametrize(
    ("index", "key", "path", "name"),
    [({}, "pk", "pk", "pk"), ({}, "pk", "sk", "sk"), (INDEX, "#i", "#i", "indexed")],
)
def test_filter_on_the_key_of_a_query_is_refused(
    dynamodb: Any, table: str, index: dict[str, Any], key: str, path: str, name: str
) -> None:
    """DynamoDB developer guide, "Filter expressions for the Query operation". Users quote the message in issues."""
    expressions = {"KeyConditionExpression": f"{key} = :v", "FilterExpression": f"b = :v OR {path} = :v"}
    message = f"Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
    assert refusal(dynamodb.query, TableName=table, **index, **expressions, **VALUE) == message


def test_filter_on_the_key_of_the_table_is_allowed_in_a_query_of_an_index(dynamodb: Any, table: str) -> None:
    expressions = {"KeyConditionExpression": "#i = :v", "FilterExpression": "pk = :v"}
    assert dynamodb.query(TableName=table, **INDEX, **expressions, **VALUE)["Count"] == 0


def test_query_of_a_missing_index_is_refused(dynamodb: Any, table: str) -> None:
    """Users quote the message in issues."""
    message = "The table does not have the specified index: missing"
    assert (
        refusal(dynamodb.query, TableName=table, IndexName="missing", KeyConditionExpression="a = :v", **VALUE)
        == message
    )


@pytest.mark.parametrize("condition", ["a < :v", "size(b) > :v", "a BETWEEN :v AND :v"])
def test_unlike_types_do_not_hold(dynamodb: Any, condition: str) -> None:
    name = f"table-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(TableName=name, AttributeDefinitions=STRING, KeySchema=HASH, BillingMode="PAY_PER_REQUEST")
    dynamodb.put_item(TableName=name, Item={"pk": {"S": "a"}, "a": {"N": "1"}})
    assert dynamodb.scan(TableName=name, FilterExpression=condition, **VALUE)["Items"] == []


def test_failure_of_moto_is_a_refusal(dynamodb: Any, table: str) -> None:
    message = refusal(dynamodb.put_item, TableName=table, Item=KEY, ConditionExpression="(a) = :v", **VALUE)
    assert message.startswith("The request is invalid: ")


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("arn:aws:dynamodb:eu-west-1:000000000000:table/missing", "ResourceNotFoundException"),
        ("missing", "ValidationException"),
    ],
)
def test_tags_of_a_missing_table_are_refused(dynamodb: Any, arn: str, code: str) -> None:
    with pytest.raises(ClientError, match=code):
        dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])


@pytest.mark.parametrize(
    "tags",
    [[], [("a", "x"), ("a", "y")], [("aws:a", "x")], [(str(number), "x") for number in range(51)]],
    ids=["none", "duplicates", "reserved", "51"],
)
def test_tags_are_refused(dynamodb: Any, table: str, tags: list[tuple[str, str]]) -> None:
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    refusal(dynamodb.tag_resource, ResourceArn=arn, Tags=[{"Key": key, "Value": value} for key, value in tags])


MISMATCH = "The provided key element does not match the schema"
EMPTY = (
    "One or more parameter values are not valid. "
    "The AttributeValue for a key attribute cannot contain an empty string value. Key: sk"
)
LONG = "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"
WRONG_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"pk": {"S": "a"}}, MISMATCH),
    ({**KEY, "other": {"S": "c"}}, MISMATCH),
    ({**KEY, "sk": {"N": "1"}}, MISMATCH),
    ({**KEY, "sk": {"S": ""}}, EMPTY),
    ({**KEY, "pk": {"S": "a" * 2049}}, LONG),
]


@pytest.mark.parametrize(("key", "message"), WRONG_KEYS)
@pytest.mark.parametrize("call", ["get_item", "delete_item", "update_item"])
def test_key_is_refused(dynamodb: Any, table: str, call: str, key: dict[str, Any], message: str) -> None:
    assert refusal(getattr(dynamodb, call), TableName=table, Key=key) == message


@pytest.mark.parametrize(("key", "message"), WRONG_KEYS)
@pytest.mark.parametrize("kind", ["get", "delete"])
def test_key_in_a_batch_is_refused(dynamodb: Any, table: str, kind: str, key: dict[str, Any], message: str) -> None:
    if kind == "get":
        got = refusal(dynamodb.batch_get_item, RequestItems={table: {"Keys": [key]}})
    else:
        put = {"PutRequest": {"Item": {**KEY, "sk": {"S": "not written"}}}}
        got = refusal(dynamodb.batch_write_item, RequestItems={table: [put, {"DeleteRequest": {"Key": key}}]})
    assert got == message


@pytest.mark.parametrize("kind", ["Get", "Delete"])
def test_wrong_key_cancels_a_transaction(dynamodb: Any, table: str, kind: str) -> None:
    call = dynamodb.transact_get_items if kind == "Get" else dynamodb.transact_write_items
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        call(TransactItems=[{kind: {"TableName": table, "Key": key}} for key in (KEY, {**KEY, "sk": {"N": "1"}})])
    reasons = cancelled.value.response["CancellationReasons"]
    assert [(each["Code"], each.get("Message")) for each in reasons] == [("None", None), ("ValidationError", MISMATCH)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"N": "5"},
            (
                "One or more parameter values were invalid: Type mismatch for Index Key indexed Expected: S Actual: N "
                "IndexName: index"
            ),
        ),
        (
            {"S": ""},
            (
                "One or more parameter values are not valid. "
                "A value specified for a secondary index key is not supported. "
                "The AttributeValue for a key attribute cannot contain an empty string value. "
                "IndexName: index, IndexKey: indexed"
            ),
        ),
        ({"S": "a" * 2049}, LONG),
    ],
)
@pytest.mark.parametrize("kind", ["put", "batch"])
def test_key_of_an_index_is_refused(dynamodb: Any, table: str, kind: str, value: Any, message: str) -> None:
    item = {**KEY, "indexed": value}
    if kind == "put":
        got = refusal(dynamodb.put_item, TableName=table, Item=item)
    else:
        got = refusal(dynamodb.batch_write_item, RequestItems={table: [{"PutRequest": {"Item": item}}]})
    assert got == message


def test_key_of_an_index_is_refused_in_an_update(dynamodb: Any, table: str) -> None:
    names, values = {"ExpressionAttributeNames": {"#i": "indexed"}}, {"ExpressionAttributeValues": {":v": {"N": "5"}}}
    assert refusal(
        dynamodb.update_item, TableName=table, Key=KEY, UpdateExpression="SET #i = :v", **names, **values
    ) == (INVALID + "Type mismatch for Index Key indexed Expected: S Actual: N IndexName: index")


@pytest.mark.parametrize(
    ("action", "parameters", "message"),
    [
        (
            "Update",
            {
                "Key": KEY,
                "UpdateExpression": "SET a = :v",
                "ExpressionAttributeValues": {":v": {"S": "x" * 400 * 1024}},
            },
            "Item size to update has exceeded the maximum allowed size",
        ),
        (
            "Update",
            {
                "Key": KEY,
                "UpdateExpression": "SET #i = :v",
                "ExpressionAttributeNames": {"#i": "indexed"},
                "ExpressionAttributeValues": {":v": {"N": "5"}},
            },
            INVALID + "Type mismatch for Index Key indexed Expected: S Actual: N IndexName: index",
        ),
        (
            "Put",
            {"Item": {**KEY, "indexed": {"N": "5"}}},
            INVALID + "Type mismatch for Index Key indexed Expected: S Actual: N IndexName: index",
        ),
        (
            "Put",
            {"Item": {**KEY, "sk": {"N": "5"}}},
            INVALID + "Type mismatch for key sk expected: S actual: N",
        ),
    ],
    ids=["size", "index", "index of a put", "key of a put"],
)
def test_item_cancels_a_transaction(
    dynamodb: Any, table: str, action: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(TransactItems=[{action: {"TableName": table, **parameters}}])
    assert cancelled.value.response["CancellationReasons"] == [{"Code": "ValidationError", "Message": message}]


def keys(number: int) -> list[dict[str, Any]]:
    return [{**KEY, "sk": {"S": str(index)}} for index in range(number)]


def test_batches_have_limits(dynamodb: Any, table: str) -> None:
    deletes = [{"DeleteRequest": {"Key": key}} for key in keys(26)]
    assert refusal(dynamodb.batch_write_item, RequestItems={table: deletes}).endswith(
        "failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal "
        "to 25, Member must have length greater than or equal to 1]"
    )
    assert "less than or equal to 100" in refusal(dynamodb.batch_get_item, RequestItems={table: {"Keys": keys(101)}})
    for call, name in ((dynamodb.batch_get_item, "BatchGetItem"), (dynamodb.batch_write_item, "BatchWriteItem")):
        assert refusal(call, RequestItems={}) == f"The requestItems parameter is required for {name}"


@pytest.mark.parametrize(("call", "action"), [("transact_get_items", "Get"), ("transact_write_items", "Delete")])
def test_transactions_have_limits(dynamodb: Any, table: str, call: str, action: str) -> None:
    actions = [{action: {"TableName": table, "Key": key}} for key in keys(101)]
    assert refusal(getattr(dynamodb, call), TransactItems=actions).endswith("length less than or equal to 100")
    assert refusal(getattr(dynamodb, call), TransactItems=[]) == (
        "1 validation error detected: Value '[]' at 'transactItems' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )


def test_one_number_in_two_spellings_is_a_duplicate(dynamodb: Any) -> None:
    name = f"table-{uuid.uuid4().hex[:12]}"
    numbers = [{"AttributeName": "pk", "AttributeType": "N"}]
    dynamodb.create_table(TableName=name, AttributeDefinitions=numbers, KeySchema=HASH, BillingMode="PAY_PER_REQUEST")
    found = refusal(dynamodb.batch_get_item, RequestItems={name: {"Keys": [{"pk": {"N": n}} for n in ("10", "1E1")]}})
    assert found == "Provided list of item keys contains duplicates"


def index(name: str = "one", projection: Any = ALL, key: str = "pk") -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}], "Projection": projection}


NAME = "1 validation error detected: Value '{}' at 'tableName' failed to satisfy constraint: Member must {}"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"TableName": None}, "The parameter 'TableName' is required but was not present in the request"),
        ({"TableName": "ab"}, NAME.format("ab", "have length greater than or equal to 3")),
        ({"TableName": "a b!"}, NAME.format("a b!", "satisfy regular expression pattern: [a-zA-Z0-9_.-]+")),
        ({"TableName": "a" * 256}, NAME.format("a" * 256, "have length less than or equal to 255")),
        (
            {"KeySchema": [{"AttributeName": "pk", "KeyType": "INVALID"}]},
            (
                "1 validation error detected: Value 'INVALID' at 'keySchema.1.member.keyType' failed to satisfy "
                "constraint: Member must satisfy enum value set: [HASH, RANGE]"
            ),
        ),
        (
            {"KeySchema": [{"AttributeName": "pk", "KeyType": "RANGE"}]},
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
        ),
        ({"GlobalSecondaryIndexes": [index(), index()]}, INVALID + "Duplicate index name: one"),
        (
            {"LocalSecondaryIndexes": [index()]},
            INVALID
            + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
        ),
        (
            {"GlobalSecondaryIndexes": [index(projection={"ProjectionType": "INCLUDE"})]},
            INVALID + "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
        ),
        (
            {"StreamSpecification": {"StreamEnabled": False, "StreamViewType": "NEW_IMAGE"}},
            INVALID + "If stream is being disabled, then UpdateViewType must not be specified",
        ),
        (
            {"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}},
            INVALID
            + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        ),
        # Recorded: ack-api-quirks, DDB-TABLE-031, 038 and 039.
        (
            {"SSESpecification": {"Enabled": True, "KMSMasterKeyId": "alias/mine"}},
            INVALID + "SSEType KMS is required if KMSMasterKeyId is specified",
        ),
        (
            {"OnDemandThroughput": {"MaxReadRequestUnits": -1}},
            INVALID + "Requested MaxReadRequestUnits for OnDemandThroughput for table is outside of valid range",
        ),
        (
            {"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS, "OnDemandThroughput": LIMIT},
            INVALID
            + "MaxReadRequestUnits for OnDemandThroughput cannot be specified when table BillingMode is PROVISIONED",
        ),
    ],
)
def test_new_table_is_refused(dynamodb: Any, parameters: dict[str, Any], message: str) -> None:
    definition: dict[str, Any] = {
        "TableName": f"table-{uuid.uuid4().hex[:12]}",
        "AttributeDefinitions": STRING,
        "KeySchema": HASH,
        "BillingMode": "PAY_PER_REQUEST",
    }
    given = {name: value for name, value in {**definition, **parameters}.items() if value is not None}
    assert refusal(dynamodb.create_table, **given) == message


def test_unknown_view_type_is_refused(dynamodb: Any, table: str) -> None:
    stream = {"StreamEnabled": True, "StreamViewType": "EVERYTHING"}
    assert "at 'streamSpecification.streamViewType'" in refusal(
        dynamodb.update_table, TableName=table, StreamSpecification=stream
    )


def test_update_of_nothing_is_refused(dynamodb: Any, table: str) -> None:
    assert refusal(dynamodb.update_table, TableName=table).startswith("At least one of ProvisionedThroughput")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (
            {"SSESpecification": {"Enabled": True}, "TableClass": "STANDARD", "DeletionProtectionEnabled": True},
            "Server-Side Encryption modification must be the only operation in the request",
        ),
        (
            {"TableClass": "STANDARD", "DeletionProtectionEnabled": True},
            "TableClass modification must be the only operation in the request",
        ),
        (
            {"DeletionProtectionEnabled": True, "BillingMode": "PAY_PER_REQUEST"},
            "DeletionProtection modification must be the only operation in the request",
        ),
        (
            {"OnDemandThroughput": LIMIT, "StreamSpecification": STREAM},
            "OnDemandThroughput can only be combined with BillingMode in an UpdateTable request",
        ),
        (
            {"ProvisionedThroughput": UNITS, "StreamSpecification": STREAM},
            "You cannot modify stream status while updating table IOPS",
        ),
        ({"BillingMode": "PROVISIONED"}, "ProvisionedThroughput must be specified when BillingMode is PROVISIONED"),
        ({"SSESpecification": {"Enabled": False}}, "Table is already encrypted by default"),
    ],
)
def test_update_of_a_table_is_refused(dynamodb: Any, table: str, parameters: dict[str, Any], reason: str) -> None:
    """Recorded: ack-api-quirks, DDB-TABLE-018, 057 and 433."""
    assert refusal(dynamodb.update_table, TableName=table, **parameters) == INVALID + reason


def test_update_to_the_same_key_is_refused(dynamodb: Any) -> None:
    """Recorded: ack-api-quirks, DDB-TABLE-082."""
    name, key = f"table-{uuid.uuid4().hex[:12]}", "arn:aws:kms:eu-west-1:000000000000:key/0a1b2c3d"
    encryption = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    mode = {"BillingMode": "PAY_PER_REQUEST", "SSESpecification": encryption}
    dynamodb.create_table(TableName=name, AttributeDefinitions=STRING, KeySchema=HASH, **mode)
    message = refusal(dynamodb.update_table, TableName=name, SSESpecification=encryption)
    assert message.startswith(INVALID + "Table is already encrypted with given KMSMasterKeyId.")


def test_update_to_the_same_throughput_is_refused(dynamodb: Any) -> None:
    name, throughput = f"table-{uuid.uuid4().hex[:12]}", {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    dynamodb.create_table(TableName=name, AttributeDefinitions=STRING, KeySchema=HASH, ProvisionedThroughput=throughput)
    message = refusal(dynamodb.update_table, TableName=name, ProvisionedThroughput=throughput)
    assert message.startswith("The provisioned throughput for the table will not change.")


def test_time_to_live_is_refused_twice(dynamodb: Any) -> None:
    name = f"table-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(TableName=name, AttributeDefinitions=STRING, KeySchema=HASH, BillingMode="PAY_PER_REQUEST")

    def update(attribute: str, *, enabled: bool) -> dict[str, Any]:
        return {"TableName": name, "TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute}}

    change = dynamodb.update_time_to_live
    assert refusal(change, **update("at", enabled=False)) == "TimeToLive is already disabled"
    change(**update("at", enabled=True))
    assert refusal(change, **update("at", enabled=True)) == "TimeToLive is already enabled"
    other = "TimeToLive is active on a different AttributeName: current AttributeName is at"
    assert refusal(change, **update("other", enabled=True)) == other


@pytest.mark.parametrize("call", ["describe_time_to_live", "describe_table"])
def test_missing_table_is_not_found(dynamodb: Any, call: str) -> None:
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException, match="Requested resource not found"):
        getattr(dynamodb, call)(TableName="missing")


# The sizes that a public conformance suite measured on AWS.
@pytest.mark.parametrize(
    ("number", "size"),
    [
        ("0", 1), ("-0", 1), ("1", 2), ("12", 2), ("123", 3), ("12345678901234567890123456789012345678", 20),
        ("0042", 2), ("100", 2), ("1010", 3), ("0.0000001", 2), ("1E125", 2), ("1E-100", 2), ("1.5", 3),
        ("1.234", 4), ("3.14159", 5), ("100.5", 4), ("0.15", 2), ("-42", 3),
    ],
)  # fmt: skip
def test_item_may_have_400_kb_to_the_byte(dynamodb: Any, table: str, number: str, size: int) -> None:
    rest = 400 * 1024 - len("pk" + "sk" + "number" + "text" + "ab") - size
    item = {**KEY, "number": {"N": number}, "text": {"S": "x" * rest}}
    dynamodb.put_item(TableName=table, Item=item)
    dynamodb.delete_item(TableName=table, Key=KEY)
    item["text"] = {"S": "x" * (rest + 1)}
    message = refusal(dynamodb.put_item, TableName=table, Item=item)
    assert message == "Item size has exceeded the maximum allowed size"


# What differs from AWS: docs/local-aws.md names these tests.


@pytest.mark.parametrize("condition", [":v = pk", "(pk) = :v"])
def test_value_before_the_key_is_refused(dynamodb: Any, table: str, condition: str) -> None:
    refusal(dynamodb.query, TableName=table, KeyConditionExpression=condition, **VALUE)


def test_time_to_live_can_be_changed_at_once(dynamodb: Any) -> None:
    name = f"table-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(TableName=name, AttributeDefinitions=STRING, KeySchema=HASH, BillingMode="PAY_PER_REQUEST")
    for enabled in (True, False):
        specification = {"Enabled": enabled, "AttributeName": "at"}
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)
    status = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"]
    assert status == "DISABLED"
