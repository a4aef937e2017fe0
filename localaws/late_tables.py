"""Tables that are created and deleted as late as AWS does it, when delays are asked for.

DynamoDB API reference, "CreateTable", "DeleteTable", "DescribeTable": the states, and what they refuse.
"""

from __future__ import annotations

import json
from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from moto.core.utils import utcnow
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from werkzeug.wrappers import Response

from localaws import ACCOUNT_ID, access, delays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from werkzeug.wrappers import Request

_TARGET = "DynamoDB_20120810"
_CHANGES = {"UpdateTable", "DeleteTable", "UpdateTimeToLive", "UpdateContinuousBackups"}
_HARMLESS = {"CreateTable", "DescribeTable", "ListTables", "ListTagsOfResource", "TagResource", "UntagResource"}

_deleting: WeakSet[Table] = WeakSet()


def install() -> None:
    """Make moto's tables say how far they are."""
    Table.describe = _describe(Table.describe)  # type: ignore[method-assign]


def answer(request: Request) -> Response | None:
    """Refuse what a table that is not ACTIVE refuses, and let a deletion take its time."""
    target, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
    if target != _TARGET or operation in _HARMLESS or not delays.seconds("table-creating"):
        return None
    backend = dynamodb_backends[ACCOUNT_ID][access.region(request)]
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


def _describe(describe: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    @wraps(describe)
    def with_status(self: Table, base_key: str = "TableDescription") -> dict[str, Any]:
        description = describe(self, base_key)
        description[base_key]["TableStatus"] = _status(self)
        return description

    return with_status


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
