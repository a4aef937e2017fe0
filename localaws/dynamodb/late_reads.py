"""What reads of DynamoDB's control plane show after a delay: new and deleted tables, their tags and their backups.

DynamoDB API reference, "DescribeTable", "TagResource", "ListTables" and "UpdateContinuousBackups".
"""

from __future__ import annotations

import copy
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from moto.core.utils import utcnow

from localaws import delays
from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.responses import DynamoHandler


class _Seen(NamedTuple):
    tags: list[dict[str, str]]
    backups: dict[str, Any]


_history: delays.History[_Seen] = delays.History()


def record(write: Callable[..., Any], self: DynamoDBBackend, *arguments: Any, **options: Any) -> Any:
    """Wrap a write to tables, tags or backups: reads show its effect after a delay."""
    result = write(self, *arguments, **options)
    _history.record(_scope(self), partial(_current, self))
    return result


def list_tags(call: Callable[..., Any], self: DynamoDBBackend, table_arn: str) -> list[dict[str, str]]:
    """Wrap ListTagsOfResource."""
    call(self, table_arn)
    seen = _seen(self, "table-tags-listed").get(_name(table_arn))
    return seen.tags if seen else []


def list_tables(call: Callable[..., Any], self: DynamoDBBackend, *arguments: Any, **options: Any) -> Any:
    """Wrap ListTables."""
    return call(SimpleNamespace(tables=_seen(self, "table-listed")), *arguments, **options)


def describe_table(call: Callable[..., Any], self: DynamoHandler) -> Any:
    """Wrap DescribeTable: a table that is too new is not found."""
    backend, name = self.dynamodb_backend, _name(self.body["TableName"])
    if name in backend.tables and name not in _seen(backend, "table-described"):
        raise AwsError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")
    return call(self)


def describe_backups(call: Callable[..., Any], self: DynamoDBBackend, table_name: str) -> dict[str, Any]:
    """Wrap DescribeContinuousBackups."""
    current: dict[str, Any] = call(self, table_name)
    seen = _seen(self, "backups-described").get(_name(table_name))
    return seen.backups if seen else current


def refuse_backups(call: Callable[..., Any], self: DynamoDBBackend, *arguments: Any, **options: Any) -> Any:
    """Wrap UpdateContinuousBackups or CreateBackup: refuse it for a while after the table was created."""
    name = _name(options.get("table_name") or arguments[0])
    table = self.tables.get(name)
    if table and (utcnow() - table.created_at).total_seconds() < delays.delay_for("backups-available"):
        message = f"Backups are being enabled for the table: {name}. Please retry later"
        raise AwsError("ContinuousBackupsUnavailableException", message)
    return call(self, *arguments, **options)


def _name(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]


def _current(backend: DynamoDBBackend) -> dict[str, _Seen]:
    tables = dict(backend.tables)
    return {name: _Seen(list(each.tags), copy.deepcopy(each.continuous_backups)) for name, each in tables.items()}


def _seen(backend: DynamoDBBackend, event: str) -> Mapping[str, _Seen]:
    return _history.seen(_scope(backend), event, partial(_current, backend))


def _scope(backend: DynamoDBBackend) -> str:
    return f"{backend.account_id} {backend.region_name}"
