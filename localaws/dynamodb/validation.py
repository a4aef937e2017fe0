"""What DynamoDB refuses whatever its tables hold, before moto sees the call. `writes` checks keys against the table.

DynamoDB API reference, each operation; developer guide, "Quotas in Amazon DynamoDB". The messages are those that public
conformance suites recorded on AWS.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from localaws import service_model
from localaws.dynamodb.expressions import check_expressions
from localaws.dynamodb.items import check_value, invalid, invalid_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from moto.dynamodb.responses import DynamoHandler

    Parameters = Mapping[str, Any]

_TABLE_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_MAX_NAME, _MIN_NEW_NAME = 255, 3
_MAX_WRITES, _MAX_READS = 25, 100
_MAX_LOCAL_INDEXES, _MAX_GLOBAL_INDEXES = 5, 20
_UPDATES_OF_NOTHING = {"TableName", "AttributeDefinitions"}
_LEGACY_CONDITIONS = ("Expected", "KeyConditions", "QueryFilter", "ScanFilter")
# The least and the largest number of values for an operator, if that is not one.
_ARGUMENTS = {"NULL": (0, 0), "NOT_NULL": (0, 0), "IN": (1, 100), "BETWEEN": (2, 2)}
_FILTERED_KEY = "Filter Expression can only contain non-primary key attributes"
# UpdateTable takes each of these alone. With several of them, AWS names the first (ack-api-quirks, DDB-TABLE-433).
_ALONE = {
    "SSESpecification": "Server-Side Encryption",
    "TableClass": "TableClass",
    "DeletionProtectionEnabled": "DeletionProtection",
}
_ON_DEMAND = "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"


def check(call_action: Callable[..., Any], self: DynamoHandler) -> Any:
    """Wrap the handling of a DynamoDB call: refuse it, as DynamoDB does, before it reads or changes anything."""
    operation, parameters = self._get_action(), self.params
    if specific := _CHECKS.get(operation):
        specific(parameters)
    values = service_model.check_types("dynamodb", operation, parameters)
    for name in _table_names(parameters):
        _check_name(name, _MIN_NEW_NAME if operation == "CreateTable" else 1)
    service_model.validate("dynamodb", operation, parameters)
    for value in values:
        check_value(value)
    for member in _LEGACY_CONDITIONS:
        _check_legacy_conditions(parameters.get(member) or {})
    for part in _parts(parameters):
        if "UpdateExpression" in check_expressions(part):
            # moto takes tabs and line feeds for syntax errors.
            part["UpdateExpression"] = " ".join(part["UpdateExpression"].split())
    return call_action(self)


def check_query(call: Callable[..., Any], self: DynamoHandler) -> Any:
    """Wrap Query: refuse an index that the table does not have, and a filter on the key that is queried."""
    table, index = self.dynamodb_backend.get_table(self.body["TableName"]), self.body.get("IndexName") or ""
    schemas = {"": table.schema} | {str(each.name): each.schema for each in table.all_indexes()}
    if index not in schemas:
        raise invalid(f"The table does not have the specified index: {index}")
    filtered = check_expressions(self.body).get("FilterExpression")
    for name in [key["AttributeName"] for key in schemas[index]]:
        if filtered and name in filtered.attributes:
            raise invalid(f"{_FILTERED_KEY}: Primary key attribute: {name}")
    return call(self)


def _parts(parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parameters that can hold expressions: those of the call, of each table of a batch, of each action."""
    yield parameters
    for request in (parameters.get("RequestItems") or {}).values():
        if isinstance(request, dict):  # of BatchGetItem
            yield request
    for item in parameters.get("TransactItems") or []:
        yield from item.values()


def _table_names(parameters: dict[str, Any]) -> Iterator[str]:
    for part in _parts(parameters):
        if isinstance(part.get("TableName"), str):
            yield part["TableName"]
    yield from parameters.get("RequestItems") or {}


def _check_name(name: str, shortest: int) -> None:
    problem = ""
    if len(name) < shortest:
        problem = f"have length greater than or equal to {shortest}"
    elif not name.startswith("arn:") and not _TABLE_NAME.fullmatch(name):
        problem = f"satisfy regular expression pattern: {_TABLE_NAME.pattern}"
    elif not name.startswith("arn:") and len(name) > _MAX_NAME:
        problem = f"have length less than or equal to {_MAX_NAME}"
    if problem:
        constraint = f"Value '{name}' at 'tableName' failed to satisfy constraint: Member must {problem}"
        raise invalid(f"1 validation error detected: {constraint}")


def _check_batch_get(parameters: Parameters) -> None:
    tables = parameters.get("RequestItems")
    if not tables:
        raise invalid("The requestItems parameter is required for BatchGetItem")
    keys = {name: len(table.get("Keys") or []) for name, table in tables.items()}
    if max(keys.values()) > _MAX_READS:
        where = f"Value at 'requestItems.{max(keys, key=lambda name: keys[name])}.member.keys'"
        constraint = f"failed to satisfy constraint: Member must have length less than or equal to {_MAX_READS}"
        raise invalid(f"1 validation error detected: {where} {constraint}")
    if sum(keys.values()) > _MAX_READS:
        raise invalid("Too many items requested for the BatchGetItem call")


def _check_batch_write(parameters: Parameters) -> None:
    tables = parameters.get("RequestItems")
    if not tables:
        raise invalid("The requestItems parameter is required for BatchWriteItem")
    for name, requests in tables.items():
        if not 1 <= len(requests) <= _MAX_WRITES:
            lengths = f"[Member must have length less than or equal to {_MAX_WRITES}, "
            lengths += "Member must have length greater than or equal to 1]"
            where = f"Value '{{{name}={requests}}}' at 'requestItems'"
            constraint = f"failed to satisfy constraint: Map value must satisfy constraint: {lengths}"
            raise invalid(f"1 validation error detected: {where} {constraint}")
    if sum(map(len, tables.values())) > _MAX_WRITES:
        raise invalid("Too many items requested for the BatchWriteItem call")


def _check_transaction(parameters: Parameters) -> None:
    for item in parameters.get("TransactItems") or []:
        if len(item) != 1:
            raise invalid("TransactItems can only contain one of Check, Put, Update or Delete")


def _check_legacy_conditions(conditions: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the conditions that came before expressions: Expected, KeyConditions, QueryFilter, ScanFilter."""
    for name, condition in conditions.items():
        operator, exists = condition.get("ComparisonOperator"), condition.get("Exists")
        has_value, has_list = "Value" in condition, "AttributeValueList" in condition
        if operator and exists is not None:
            raise invalid_value(f"Exists and ComparisonOperator cannot be used together for Attribute: {name}")
        if operator and has_value and has_list:
            raise invalid_value(f"Value and AttributeValueList cannot be used together for Attribute: {name}")
        if operator:
            number = len(condition["AttributeValueList"] or []) if has_list else int(has_value)
            low, high = _ARGUMENTS.get(operator, (1, 1))
            if not low <= number <= high:
                raise invalid_value(f"Invalid number of argument(s) for the {operator} ComparisonOperator")
        elif has_list:
            raise invalid_value(f"AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}")
        elif exists in (None, True) and not has_value:
            shown = "null" if exists is None else "true"
            raise invalid_value(f"Value must be provided when Exists is {shown} for Attribute: {name}")
        elif exists is False and has_value:
            raise invalid_value(f"Value cannot be used when Exists is set to false for Attribute: {name}")


def _check_scan(parameters: Parameters) -> None:
    segment, total = parameters.get("Segment"), parameters.get("TotalSegments")
    if segment is not None and total is not None and segment >= total:
        rule = "The Segment parameter is zero-based and must be less than parameter TotalSegments"
        raise invalid(f"{rule}: Segment: {segment} is not less than TotalSegments: {total}")


def _check_create_table(parameters: Parameters) -> None:
    if parameters.get("TableName") is None:
        raise invalid("The parameter 'TableName' is required but was not present in the request")
    schema = parameters.get("KeySchema") or []
    _check_schema(schema)
    local = parameters.get("LocalSecondaryIndexes") or []
    others = parameters.get("GlobalSecondaryIndexes") or []
    if local and len(schema) == 1:
        rule = "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"
        raise invalid_value(rule)
    if len(local) > _MAX_LOCAL_INDEXES:
        raise invalid_value(f"Number of LocalSecondaryIndexes exceeds per-table limit of {_MAX_LOCAL_INDEXES}")
    if len(others) > _MAX_GLOBAL_INDEXES:
        raise invalid_value(f"GlobalSecondaryIndex count exceeds the per-table limit of {_MAX_GLOBAL_INDEXES}")
    names: set[str] = set()
    for index in [*local, *others]:
        if index.get("IndexName") in names:
            raise invalid_value(f"Duplicate index name: {index['IndexName']}")
        names.add(index.get("IndexName"))
        _check_schema(index.get("KeySchema") or [])
        _check_projection(index.get("Projection") or {})
    for index in local:
        hash_keys = index["KeySchema"][0].get("AttributeName"), schema[0].get("AttributeName")
        if hash_keys[0] != hash_keys[1]:
            rule = "Index KeySchema does not have the same leading hash key as table KeySchema for index"
            names_of = f"index hash key: {hash_keys[0]}, table hash key: {hash_keys[1]}"
            raise invalid_value(f"{rule}: {index['IndexName']}. {names_of}")
    _check_stream(parameters.get("StreamSpecification"))
    _check_billing(parameters)
    _check_encryption(parameters)
    for name, limit in (parameters.get("OnDemandThroughput") or {}).items():
        if parameters.get("BillingMode") != "PAY_PER_REQUEST":  # ack-api-quirks, DDB-TABLE-038
            mode = "cannot be specified when table BillingMode is PROVISIONED"
            raise invalid_value(f"{name} for OnDemandThroughput {mode}")
        if isinstance(limit, int) and limit < 1:  # only UpdateTable takes -1 for no limit (DDB-TABLE-039)
            raise invalid_value(f"Requested {name} for OnDemandThroughput for table is outside of valid range")


def _check_encryption(parameters: Parameters) -> None:
    """Check the key (ack-api-quirks, DDB-TABLE-031)."""
    encryption = parameters.get("SSESpecification") or {}
    if encryption.get("KMSMasterKeyId") and encryption.get("SSEType") != "KMS":
        raise invalid_value("SSEType KMS is required if KMSMasterKeyId is specified")


def _check_schema(schema: list[dict[str, str]]) -> None:
    """Check the order of the keys. The service model has their number and their types."""
    kinds = [key.get("KeyType") for key in schema]
    if kinds[:1] == ["RANGE"]:
        raise invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if kinds[1:] == ["HASH"]:
        raise invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")


def _check_projection(projection: Mapping[str, Any]) -> None:
    kind, attributes = projection.get("ProjectionType"), projection.get("NonKeyAttributes")
    if kind is None:
        raise invalid_value("Unknown ProjectionType: null")
    if kind == "INCLUDE" and not attributes:
        raise invalid_value("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
    if kind != "INCLUDE" and attributes:
        raise invalid_value(f"ProjectionType is {kind}, but NonKeyAttributes is specified")


def _check_stream(specification: Mapping[str, Any] | None) -> None:
    if specification and specification.get("StreamEnabled") and not specification.get("StreamViewType"):
        raise invalid_value("If stream is being enabled then UpdateViewType is required")
    if specification and not specification.get("StreamEnabled") and specification.get("StreamViewType"):
        raise invalid_value("If stream is being disabled, then UpdateViewType must not be specified")


def _check_billing(parameters: Parameters) -> None:
    if parameters.get("BillingMode") == "PAY_PER_REQUEST" and parameters.get("ProvisionedThroughput"):
        raise invalid_value(_ON_DEMAND)


def _check_update_table(parameters: Parameters) -> None:
    changes = {name for name, value in parameters.items() if value is not None} - _UPDATES_OF_NOTHING
    if not changes:
        members = "ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates"
        raise invalid(f"At least one of {members} or SSESpecification or ReplicaUpdates is required")
    for name, words in _ALONE.items():
        if name in changes and len(changes) > 1:
            raise invalid_value(f"{words} modification must be the only operation in the request")
    if "OnDemandThroughput" in changes and changes - {"OnDemandThroughput", "BillingMode"}:
        raise invalid_value("OnDemandThroughput can only be combined with BillingMode in an UpdateTable request")
    if changes >= {"StreamSpecification", "ProvisionedThroughput"}:
        raise invalid_value("You cannot modify stream status while updating table IOPS")
    if parameters.get("BillingMode") == "PROVISIONED" and "ProvisionedThroughput" not in changes:
        raise invalid_value("ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
    _check_billing(parameters)
    _check_encryption(parameters)


def _check_tags(parameters: Parameters) -> None:
    keys = [tag.get("Key") or "" for tag in parameters.get("Tags") or []]
    if not keys:
        raise invalid("Atleast one Tag needs to be provided as Input.")
    if len(set(keys)) < len(keys):
        raise invalid_value("There are duplicate tag keys in the request")
    if reserved := [key for key in keys if key.startswith("aws:")]:
        raise invalid_value(f"The tag key {reserved[0]} begins with aws:, which is reserved")


_CHECKS: dict[str, Callable[[Parameters], None]] = {
    "BatchGetItem": _check_batch_get,
    "BatchWriteItem": _check_batch_write,
    "CreateTable": _check_create_table,
    "Scan": _check_scan,
    "TagResource": _check_tags,
    "TransactWriteItems": _check_transaction,
    "UpdateTable": _check_update_table,
}
