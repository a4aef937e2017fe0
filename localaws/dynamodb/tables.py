"""What moto leaves out of tables: some of their settings, and, when delays are asked for, the states they pass.

DynamoDB API reference, "CreateTable", "UpdateTable", "DeleteTable", "DescribeTable".
"""

from __future__ import annotations

import json
from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from moto.core.utils import utcnow
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler, DynamoResult
from werkzeug.wrappers import Response

from localaws import ACCOUNT_ID, delays
from localaws.iam import authorization

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from werkzeug.wrappers import Request

_TARGET = "DynamoDB_20120810"
_CHANGES = {"UpdateTable", "DeleteTable", "UpdateTimeToLive", "UpdateContinuousBackups"}
_HARMLESS = {"CreateTable", "DescribeTable", "ListTables", "ListTagsOfResource", "TagResource", "UntagResource"}

_deleting: WeakSet[Table] = WeakSet()
# What each table shows beside what moto shows.
_shown: WeakKeyDictionary[Table, dict[str, Any]] = WeakKeyDictionary()


def install() -> None:
    """Make moto's tables keep all settings and say how far they are."""
    DynamoHandler.create_table = _keeping(DynamoHandler.create_table, "CREATING")  # type: ignore[method-assign]
    DynamoHandler.update_table = _keeping(DynamoHandler.update_table, "UPDATING")  # type: ignore[method-assign]
    Table.describe = _describe(Table.describe)  # type: ignore[method-assign]


def answer(request: Request) -> Response | None:
    """Refuse what a table that is not ACTIVE refuses, and let a deletion take its time."""
    target, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
    if target != _TARGET or operation in _HARMLESS or not delays.seconds("table-creating"):
        return None
    backend = dynamodb_backends[ACCOUNT_ID][authorization.region(request)]
    tables = [backend.tables[name] for name in _names(json.loads(request.get_data())) if name in backend.tables]
    late = next((table for table in tables if _status(table) != "ACTIVE"), None)
    if late and operation in _CHANGES:
        doing = _status(late).lower().replace("ing", "ed")
        message = f"Attempt to change a resource which is still in use: Table is being {doing}: {late.name}"
        return _error("ResourceInUseException", message)
    if late:
        return _error("ResourceNotFoundException", "Requested resource not found")
    if operation != "DeleteTable" or not tables or tables[0].deletion_protection_enabled:
        return None
    (table,) = tables
    _deleting.add(table)
    delays.after("table-deleting", lambda: backend.delete_table(table.name))
    described = {"TableName": table.name, "TableArn": table.table_arn, "TableStatus": "DELETING"}
    return _json({"TableDescription": described}, 200)


def _keeping(call: Callable[..., Any], status: str) -> Callable[..., Any]:
    """CreateTable or UpdateTable that keeps what moto does not, and answers that it is under way, as AWS does."""

    @wraps(call)
    def whole(self: DynamoHandler) -> DynamoResult:
        call(self)
        table = self.dynamodb_backend.get_table(self.body["TableName"])
        shown = _shown.setdefault(table, {})
        if table_class := self.body.get("TableClass"):
            shown["TableClassSummary"] = {"TableClass": table_class}
        if limits := self.body.get("OnDemandThroughput"):
            shown["OnDemandThroughput"] = {**shown.get("OnDemandThroughput", {}), **limits}
        if self.body.get("BillingMode") == "PAY_PER_REQUEST":
            table.throughput = {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
        if encryption := self.body.get("SSESpecification"):
            table.sse_specification = _encryption(table, encryption)
        description = table.describe()
        description["TableDescription"]["TableStatus"] = status
        return DynamoResult(description)

    return whole


def _encryption(table: Table, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The encryption with the ARN of its key; AWS's own key where none was named."""
    key = wanted.get("KMSMasterKeyId") or table._get_default_encryption_key(table.account_id, table.region_name)  # noqa: SLF001 - moto has no other way to it
    if not key.startswith("arn:"):
        key = f"{table.table_arn.partition(':dynamodb:')[0]}:kms:{table.region_name}:{table.account_id}:key/{key}"
    return {**wanted, "KMSMasterKeyId": key}


def _describe(describe: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    @wraps(describe)
    def whole(self: Table, base_key: str = "TableDescription") -> dict[str, Any]:
        description = describe(self, base_key)
        description[base_key] |= {**_shown.get(self, {}), "TableStatus": _status(self)}
        return description

    return whole


def _status(table: Table) -> str:
    if table in _deleting:
        return "DELETING"
    age = (utcnow() - table.created_at).total_seconds()
    return "CREATING" if age < delays.seconds("table-creating") else "ACTIVE"


def _names(body: Mapping[str, Any]) -> Iterable[str]:
    """The tables that a request is about, by name."""
    named = [body.get("TableName", ""), *body.get("RequestItems", {})]
    named += [item["TableName"] for one in body.get("TransactItems", []) for item in one.values()]
    return (name.rpartition("/")[2] for name in named)


def _error(code: str, message: str) -> Response:
    return _json({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}, 400)


def _json(document: Mapping[str, Any], status: int) -> Response:
    return Response(json.dumps(document), status, mimetype="application/x-amz-json-1.0")
