"""Calls that write items: each changes the items and their streams together, or nothing.

moto writes an item at a time, in place, and keeps what it has written when a later step fails. Here, a call checks its
request, remembers the items that it names, lets moto write, and compares. The differences are the records of the
streams. If anything fails, the items are put back.
"""

from __future__ import annotations

import copy
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.dynamodb import exceptions
from moto.dynamodb.comparisons import get_expected, get_filter_expression
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.responses import DynamoResult

from localaws.dynamodb import items, partiql, stream, updates
from localaws.dynamodb.items import invalid, invalid_value
from localaws.dynamodb.records import TIME_TO_LIVE, image
from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.table import Table
    from moto.dynamodb.responses import DynamoHandler

T = TypeVar("T")

_MAX_STATEMENTS = 25
_MAX_HASH_KEY, _MAX_RANGE_KEY = 2048, 1024
_MAX_TRANSACTION = 100
_TOKEN_SECONDS = 10 * 60
# The answers of transactions by their ClientRequestToken: when, the request, the answer.
_answers: dict[str, tuple[float, str, Any]] = {}
# What is wrong only with the item as it is cancels a transaction. Anything else that is wrong refuses the request.
_WRONG_WITH_ITEM = (
    exceptions.AttributeDoesNotExist,
    exceptions.IncorrectDataType,
    exceptions.IncorrectOperandType,
    exceptions.InvalidUpdateExpressionInvalidDocumentPath,
)


_NOT_VALID = "One or more parameter values are not valid."
_EMPTY = {
    kind: f"AttributeValue for a key attribute cannot contain an empty {name} value."
    for kind, name in (("S", "string"), ("B", "binary"), ("N", "number"))
}


class _WrongKeyError(AwsError):
    """A key is not that of the table's schema."""

    def __init__(self, message: str = "The provided key element does not match the schema") -> None:
        super().__init__("ValidationException", message)


class _WrongIndexKeyError(_WrongKeyError):
    """A key of an index is not that of the index."""


class Key(NamedTuple):
    """The place of an item in a table."""

    table: Table
    hash_key: DynamoType
    range_key: DynamoType | None

    def item(self) -> Item | None:
        """Return the item. moto's own look-up adds an empty partition for a key that it does not find."""
        stored: Any = self.table.items.get(self.hash_key)
        found: Item | None = stored.get(self.range_key) if stored and self.range_key else stored or None
        return found

    def put(self, item: Item | None) -> None:
        """Put an item there, or none."""
        stored: Any = self.table.items
        if not self.range_key and item:
            stored[self.hash_key] = item
        elif not self.range_key:
            stored.pop(self.hash_key, None)
        elif item:
            stored[self.hash_key][self.range_key] = item
        else:
            stored[self.hash_key].pop(self.range_key, None)
            if not stored[self.hash_key]:
                del stored[self.hash_key]


class Write(NamedTuple):
    """A Put, Update, Delete, ConditionCheck, or Insert (of PartiQL) of an item, with the parameters of its call."""

    kind: str
    key: Key
    parameters: Mapping[str, Any]


def locked(call: Callable[..., T], self: DynamoHandler) -> T:
    """Wrap a call that reads items or changes a table: no other call writes meanwhile."""
    with stream.table_lock:
        return call(self)


def hide_consumption(call: Callable[..., DynamoResult], self: DynamoHandler) -> DynamoResult:
    """Wrap a call whose capacity and metrics moto returns always: DynamoDB does if the request asks for them."""
    answer = call(self)
    result: dict[str, Any] = answer.result  # type: ignore[assignment]
    for member in ("ConsumedCapacity", "ItemCollectionMetrics"):
        if self.body.get(f"Return{member}", "NONE") == "NONE":
            result.pop(member, None)
    return answer


def get_item(call: Callable[..., T], self: DynamoHandler) -> T:
    """Wrap GetItem."""
    with stream.table_lock:
        _key(self.dynamodb_backend.get_table(self.body["TableName"]), self.body["Key"])
        return call(self)


def batch_get_item(call: Callable[..., T], self: DynamoHandler) -> T:
    """Wrap BatchGetItem."""
    with stream.table_lock:
        for name, request in self.body["RequestItems"].items():
            table = self.dynamodb_backend.get_table(name)
            keys = [_key(table, key) for key in request["Keys"]]
            if len(set(keys)) < len(keys):
                raise invalid("Provided list of item keys contains duplicates")
        return call(self)


def transact_get_items(call: Callable[..., T], self: DynamoHandler) -> T:
    """Wrap TransactGetItems."""
    with stream.table_lock:
        gets = [each["Get"] for each in self.body["TransactItems"]]
        _all_or_cancel([partial(_key, self.dynamodb_backend.get_table(get["TableName"]), get["Key"]) for get in gets])
        return call(self)


def write_item(kind: str, call: Callable[..., DynamoResult], self: DynamoHandler) -> DynamoResult:
    """Wrap PutItem, UpdateItem or DeleteItem."""
    body = self.body
    with stream.table_lock:
        write = _write(self.dynamodb_backend, kind, body)
        before = write.key.item()
        _check_expected(body, before)
        if kind != "Update":
            return _apply([write], lambda: call(self))
        updates.check_attribute_updates(write.key.table, body.get("AttributeUpdates", {}))
        result: dict[str, Any] = _apply([write], lambda: call(self)).result  # type: ignore[assignment]
        result.pop("Attributes", None)
        attributes = updates.returned(body.get("ReturnValues", "NONE"), before, write.key.item(), body)
        return DynamoResult({**result, **({"Attributes": attributes} if attributes else {})})


def batch_write_item(self: DynamoHandler) -> ActionResult:
    """Replace BatchWriteItem: moto checks each item again."""
    with stream.table_lock:
        writes = []
        for table, requests in self.body["RequestItems"].items():
            for request in requests:
                if len(request) != 1:
                    raise invalid("A WriteRequest has a PutRequest or a DeleteRequest")
                ((name, parameters),) = request.items()
                kind = name.removesuffix("Request")
                try:
                    writes.append(_write(self.dynamodb_backend, kind, {"TableName": table, **parameters}))
                except _WrongIndexKeyError:
                    raise
                except _WrongKeyError:
                    raise _WrongKeyError from None
        if len({write.key for write in writes}) < len(writes):
            raise invalid("Provided list of item keys contains duplicates")

        def perform() -> None:
            for write in writes:
                _perform(self.dynamodb_backend, write)

        _apply(writes, perform)
    units = {"CapacityUnits": 1.0}
    capacity = [{"TableName": table, **units, "Table": units} for table in self.body["RequestItems"]]
    return ActionResult({"ConsumedCapacity": capacity, "ItemCollectionMetrics": {}, "UnprocessedItems": {}})


def transact_write_items(call: Callable[..., DynamoResult], self: DynamoHandler) -> DynamoResult:
    """Wrap TransactWriteItems."""
    with stream.table_lock:
        return _once(self, "TransactItems", lambda: call(self))


def transact(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    """Replace the transaction of the backend. moto copies whole tables, and puts the copies in place of the tables."""
    actions = [action for each in transact_items for action in each.items()]
    _transact(self, _all_or_cancel([partial(_write, self, kind, parameters) for kind, parameters in actions]))


def update_item(
    update: Callable[..., Item], self: DynamoDBBackend, table: str, key: dict[str, Any], *rest: Any, **options: Any
) -> Item:
    """Wrap the update of the backend: one that only removes attributes does not create an item."""
    where = _key(self.get_table(table), key)
    existed = where.item()
    item = update(self, table, key, *rest, **options)
    has_updates = options.get("update_expression") or options.get("attribute_updates")
    if not existed and has_updates and len(item.attrs) == len(key):
        where.put(None)
    return item


def execute_statement(call: Callable[..., DynamoResult], self: DynamoHandler) -> DynamoResult:
    """Wrap ExecuteStatement: moto executes SELECT, and `partiql` translates the statements that write."""
    with stream.table_lock:
        if partiql.is_select(self.body["Statement"]):
            return call(self)
        return DynamoResult({"Items": _execute(self.dynamodb_backend, self.body)})


def batch_execute_statement(call: Callable[..., DynamoResult], self: DynamoHandler) -> DynamoResult:
    """Wrap BatchExecuteStatement: each statement succeeds or fails on its own."""
    with stream.table_lock:
        statements = self.body["Statements"]
        if _are_selects(statements, _MAX_STATEMENTS):
            return call(self)
        responses: list[dict[str, Any]] = []
        for statement in statements:
            try:
                found = _execute(self.dynamodb_backend, statement)
                responses.append({"Item": found[0]} if found else {})
            except (AwsError, JsonRESTError) as error:
                code = error.code if isinstance(error, AwsError) else error.error_type.rpartition("#")[2]
                message = str(error) if isinstance(error, AwsError) else error.message
                responses.append({"Error": {"Code": _short(code), "Message": message}})
        return DynamoResult({"Responses": responses})


def execute_transaction(call: Callable[..., DynamoResult], self: DynamoHandler) -> DynamoResult:
    """Wrap ExecuteTransaction: all of its statements succeed, or none."""
    with stream.table_lock:
        statements, backend = self.body["TransactStatements"], self.dynamodb_backend
        if _are_selects(statements, _MAX_TRANSACTION):
            return call(self)

        def write() -> DynamoResult:
            _transact(backend, [_statement(backend, statement)[0] for statement in statements])
            return DynamoResult({"Responses": [{} for _ in statements]})

        return _once(self, "TransactStatements", write)


def expire(key: Key, still_expired: Callable[[Item], bool]) -> None:
    """Delete an item as time to live does, if it is still expired: the record names DynamoDB as the user."""
    with stream.table_lock:
        if (item := key.item()) and still_expired(item):
            _apply([Write("Delete", key, {})], lambda: key.put(None), TIME_TO_LIVE)


def _apply(writes: list[Write], run: Callable[[], T], user_identity: Mapping[str, str] | None = None) -> T:
    """Run writes. Their items and streams change, or nothing does."""
    before = [write.key.item() for write in writes]
    for write in writes:
        vars(write.key.table).pop("localaws_items", None)  # `tables.all_items` sorts them again
    try:
        for write, item in zip(writes, before, strict=True):
            if item and write.kind == "Update":
                write.key.put(copy.deepcopy(item))  # moto changes it in place
        result = run()
        changes: dict[Any, list[stream.Change]] = {}
        for write, old in zip(writes, before, strict=True):
            new = write.key.item()
            if new is old or (new and old and new.attrs == old.attrs):
                continue
            new_image = image(new) if new else None
            _check_image(write, new_image or {})
            if write.key.table.stream_shard:
                change = (image(old) if old else None, new_image)
                changes.setdefault(write.key.table.stream_shard, []).append(change)
        stream.write(changes, user_identity)
    except BaseException:
        for write, item in zip(writes, before, strict=True):
            write.key.put(item)
        raise
    return result


def _check_image(write: Write, image_after: Mapping[str, Any]) -> None:
    items.check_item(image_after, is_update=write.kind == "Update")
    _check_index_keys(write.key.table, image_after)


def _write(backend: DynamoDBBackend, kind: str, parameters: Mapping[str, Any]) -> Write:
    table = backend.get_table(parameters["TableName"])
    if kind in ("Put", "Insert"):
        key = _key(table, parameters["Item"], whole_item=True)
        _check_index_keys(table, parameters["Item"])
    else:
        key = _key(table, parameters["Key"])
    return Write(kind, key, parameters)


def _key(table: Table, attributes: Mapping[str, Any], *, whole_item: bool = False) -> Key:
    """The key in the attributes of an item, or in the Key of a request. Refuses one that is not of the schema."""
    if not whole_item and attributes.keys() != set(table.table_key_attrs):
        raise _WrongKeyError
    values: list[DynamoType | None] = []
    for name, kind in ((table.hash_key_attr, table.hash_key_type), (table.range_key_attr, table.range_key_type)):
        if not name or not kind:
            values.append(None)
            continue
        if name not in attributes:
            raise _WrongKeyError(f"One or more parameter values were invalid: Missing the key {name} in the item")
        ((its_kind, content),) = attributes[name].items()
        if its_kind != kind and not whole_item:
            raise _WrongKeyError
        if its_kind != kind:
            mismatch = f"Type mismatch for key {name} expected: {kind} actual: {its_kind}"
            raise _WrongKeyError(f"One or more parameter values were invalid: {mismatch}")
        if not content:
            raise invalid(f"{_NOT_VALID} The {_EMPTY[kind]} Key: {name}")
        values.append(DynamoType(attributes[name]))
        _check_key_size(content, is_hash=name == table.hash_key_attr)
    hash_key, range_key = values
    return Key(table, hash_key, range_key)  # type: ignore[arg-type] # each table has a hash key


def _check_key_size(content: str | bytes, *, is_hash: bool) -> None:
    size = len(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    if is_hash and size > _MAX_HASH_KEY:
        raise invalid_value(f"Size of hashkey has exceeded the maximum size limit of{_MAX_HASH_KEY} bytes")
    if not is_hash and size > _MAX_RANGE_KEY:
        raise invalid_value(f"Aggregated size of all range keys has exceeded the size limit of {_MAX_RANGE_KEY} bytes")


def _check_index_keys(table: Table, attributes: Mapping[str, Any]) -> None:
    """Refuse an item whose key of an index has another type, or is empty. An item without it is not in the index."""
    if not table.indexes and not table.global_indexes:
        return
    kinds = {each["AttributeName"]: each["AttributeType"] for each in table.attr}
    for index in sorted([*table.indexes, *table.global_indexes], key=lambda each: str(each.name)):
        for name, role in [(each["AttributeName"], each["KeyType"]) for each in index.schema]:
            if name not in attributes or name in table.table_key_attrs:
                continue
            ((kind, content),) = attributes[name].items()
            if kind != kinds[name]:
                mismatch = f"Type mismatch for Index Key {name} Expected: {kinds[name]} Actual: {kind}"
                wrong = f"One or more parameter values were invalid: {mismatch} IndexName: {index.name}"
                raise _WrongIndexKeyError(wrong)
            if not content:
                reason = f"A value specified for a secondary index key is not supported. The {_EMPTY[kind]}"
                raise invalid(f"{_NOT_VALID} {reason} IndexName: {index.name}, IndexKey: {name}")
            _check_key_size(content, is_hash=role == "HASH")


def _check_expected(parameters: dict[str, Any], item: Item | None) -> None:
    """Check the legacy conditions, which moto ignores in DeleteItem and combines by AND always, and remove them."""
    expected = parameters.pop("Expected", None)
    combine = any if parameters.pop("ConditionalOperator", "AND") == "OR" else all
    if expected and not combine(get_expected({name: condition}).expr(item) for name, condition in expected.items()):
        raise exceptions.ConditionalCheckFailed


def _perform(backend: DynamoDBBackend, write: Write) -> None:
    """Write an item by the backend of moto, with the parameters of an API call."""
    parameters, item = write.parameters, write.key.item()
    name, names = parameters["TableName"], parameters.get("ExpressionAttributeNames", {})
    values, condition = parameters.get("ExpressionAttributeValues", {}), parameters.get("ConditionExpression")
    if write.kind == "Insert" and item:
        raise AwsError("DuplicateItemException", "Duplicate primary key exists in table")
    if condition and not get_filter_expression(condition, names, values).expr(item):
        wanted = parameters.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        raise exceptions.ConditionalCheckFailed(item=item.to_json()["Attributes"] if item and wanted else None)
    if write.kind in ("Put", "Insert"):
        write.key.put(Item(write.key.hash_key, write.key.range_key, parameters["Item"]))
    elif write.kind == "Delete":
        write.key.put(None)
    elif write.kind == "Update":
        backend.update_item(
            name,
            parameters["Key"],
            update_expression=parameters["UpdateExpression"],
            expression_attribute_names=names,
            expression_attribute_values=values,
        )


def _all_or_cancel(steps: list[Callable[[], T]]) -> list[T]:
    """Take all steps of a transaction. Raises TransactionCanceledException if one finds a wrong key."""
    done: list[T] = []
    reasons: list[tuple[str | None, str | None, None]] = []
    for step in steps:
        try:
            done.append(step())
            reasons.append((None, None, None))
        except _WrongKeyError as error:
            reasons.append(("ValidationError", str(error), None))
    if len(done) < len(steps):
        raise exceptions.TransactionCanceledException(reasons)
    return done


def _transact(backend: DynamoDBBackend, writes: list[Write]) -> None:
    """Perform all writes, or none. Raises TransactionCanceledException with a reason for each."""
    if len({write.key for write in writes}) < len(writes):
        raise exceptions.MultipleTransactionsException

    def perform() -> None:
        reasons = [_reason(backend, write) for write in writes]
        if any(code for code, _, _ in reasons):
            raise exceptions.TransactionCanceledException(reasons)

    _apply(writes, perform)


def _reason(backend: DynamoDBBackend, write: Write) -> tuple[str | None, str | None, dict[str, Any] | None]:
    """Perform a write of a transaction. Return why it fails: code, message and the item as it is; or nothing."""
    try:
        _perform(backend, write)
        if write.kind == "Update" and (updated := write.key.item()):
            _check_image(write, image(updated))
    except exceptions.ConditionalCheckFailed as error:
        item = write.key.item()
        wanted = write.parameters.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return "ConditionalCheckFailed", error.message, item.to_json()["Attributes"] if item and wanted else None
    except _WRONG_WITH_ITEM as error:
        return "ValidationError", error.message, None
    except AwsError as error:
        return _short(error.code), str(error), None
    return None, None, None


def _short(code: str) -> str:
    """An error code as it is in the reasons of a transaction and in the responses of a batch."""
    return "ValidationError" if code == "ValidationException" else code.removesuffix("Exception")


def _once(self: DynamoHandler, member: str, write: Callable[[], DynamoResult]) -> DynamoResult:
    """Run a transaction, unless one with its ClientRequestToken succeeded within the last ten minutes."""
    token, request, now = self.body.get("ClientRequestToken"), repr(self.body[member]), time.monotonic()
    for old in [each for each, (at, *_) in _answers.items() if now - at > _TOKEN_SECONDS]:
        del _answers[old]
    if not token:
        return write()
    token = f"{self.current_account} {self.region} {token}"
    if token not in _answers:
        _answers[token] = (now, request, write())
    _, first_request, answer = _answers[token]
    if request != first_request:
        message = "The request has the same client token as a previous request, but it is not the same request"
        raise AwsError("IdempotentParameterMismatchException", message)
    result: DynamoResult = answer
    return result


def _are_selects(statements: list[dict[str, Any]], limit: int) -> bool:
    """Whether the statements read. Refuses a mixture."""
    if not 0 < len(statements) <= limit:
        raise invalid(f"A request has 1 to {limit} statements")
    selects = [partiql.is_select(each["Statement"]) for each in statements]
    if any(selects) and not all(selects):
        raise invalid("The statements of a request either all read or all write")
    return selects[0]


def _statement(backend: DynamoDBBackend, statement: Mapping[str, Any]) -> tuple[Write, str]:
    """Translate a statement into a write, and the ReturnValues."""
    kind, parameters, return_values = partiql.translate(
        statement["Statement"], statement.get("Parameters", []), lambda name: backend.get_table(name).table_key_attrs
    )
    return _write(backend, kind, parameters), return_values


def _execute(backend: DynamoDBBackend, statement: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Execute a statement that writes, and return the item that it returns."""
    write, return_values = _statement(backend, statement)
    before = write.key.item()
    _apply([write], lambda: _perform(backend, write))
    attributes = updates.returned(return_values, before, write.key.item(), write.parameters)
    return [attributes] if attributes else []
