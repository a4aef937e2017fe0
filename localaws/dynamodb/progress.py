"""Changes of a table that take AWS a while, if delays are on: what reads show meanwhile, and what AWS refuses.

DynamoDB API reference, "UpdateTable", "DeleteTable" and "TagResource". The numbers in the comments are those of the
findings DDB-TABLE-... that the ack-api-quirks of aws-controllers-k8s/dynamodb-controller recorded on AWS.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from localaws import delays
from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moto.dynamodb.models.table import Table

# A change of these makes the table UPDATING; others leave it ACTIVE (410).
SLOW = {"BillingMode", "GlobalSecondaryIndexUpdates", "ProvisionedThroughput", "StreamSpecification", "TableClass"}
_SHOWN_LATE = ("ProvisionedThroughput", "TableClassSummary")  # 180, 370
_ALWAYS_ACCEPTED = {"DeletionProtectionEnabled", "SSESpecification", "TableName", "WarmThroughput"}  # 119, 286
_IN_USE = "Attempt to change a resource which is still in use"


def begin(table: Table, request: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Note that UpdateTable has begun to change a table, whose descriptions are those `before` and `after` it."""
    if SLOW & request.keys():
        shown = {name: before.get(name) for name in _SHOWN_LATE}
        _changes(table).append((_end("table-updating"), {**shown, "TableStatus": "UPDATING"}))
    if "SSESpecification" in request:
        # The table stays ACTIVE. It shows the earlier key, if it had one, and then the new one (065, 140).
        end, updating = _end("table-encrypting"), {"Status": "UPDATING"}
        keys = [{**(each.get("SSEDescription") or {}), **updating} for each in (after, before)]
        half = (end + time.monotonic()) / 2
        _changes(table).extend([(end, {"SSEDescription": keys[0]}), (half, {"SSEDescription": keys[1]})])


def shown(table: Table) -> dict[str, Any]:
    """The members of the table's description that differ while it is changed. None for one that is absent."""
    members: dict[str, Any] = {}
    for _, each in _changes(table):
        members |= each
    return members


def refuse(table: Table, operation: str, request: Mapping[str, Any]) -> None:
    """Raise AwsError for a call that AWS refuses until an earlier change is done."""
    current = shown(table)
    if operation == "DeleteTable":
        if current:  # 065, 370
            raise _in_use(f"Table: {table.name} is in the process of being updated.")
        if _tag_lock(table):  # 103
            raise _in_use(f"Table tags are being updated: {table.name}")
    if operation == "UpdateTable":
        if "TableStatus" in current and request.keys() - _ALWAYS_ACCEPTED:
            raise _in_use(f"Table is being updated: {table.name}")
        if "SSEDescription" in current and "SSESpecification" in request:
            raise _in_use("Server-Side Encryption is still being updated")


def change_tags(table: Table, added: Mapping[str, str] | None = None) -> None:
    """Let the table refuse other changes of tags for a while. Raises AwsError if it does so now (103, 440)."""
    in_flight = _tag_lock(table)
    if in_flight and not (added and in_flight[0].items() <= added.items()):
        message = f"Subscriber limit exceeded: Table tags are being updated: {table.name}"
        raise AwsError("LimitExceededException", message)
    # What UntagResource removes is in no TagResource.
    vars(table)["localaws_tag_lock"] = _end("table-tags-updating"), added or {"": ""}


def _tag_lock(table: Table) -> list[Mapping[str, str]]:
    end, tags = vars(table).get("localaws_tag_lock", (0.0, {}))
    return [tags] if time.monotonic() < end else []


def _changes(table: Table) -> list[tuple[float, dict[str, Any]]]:
    """The changes in progress: when each ends, and what it shows until then."""
    changes = [each for each in vars(table).get("localaws_changes", []) if time.monotonic() < each[0]]
    vars(table)["localaws_changes"] = changes
    return changes


def _end(event: str) -> float:
    return time.monotonic() + delays.delay_for(event)


def _in_use(reason: str) -> AwsError:
    return AwsError("ResourceInUseException", f"{_IN_USE}: {reason}")
