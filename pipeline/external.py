"""What belongs to others: the table of TABLE_ARN. The pipeline reads its stream, and never changes the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from . import echo
from .events import Changed, Started
from .resources import table
from .resources.change import Change, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .deployment import Deployment
    from .events import Events


def check_table(d: Deployment) -> Events[dict[str, Any]]:
    """Check that the table has the stream that the function needs, and return the table."""
    yield Started("create-table")
    current = describe_table(d)
    check_stream(d, current)
    note = "exists; TABLE_ARN: read only"
    yield Changed("create-table", Change(f"table {d.settings.table_name}", "unchanged", attributes=current, note=note))
    return current


def describe_table(d: Deployment) -> dict[str, Any]:
    """The table, as `table.describe_only` returns it. Raises UserError if it does not exist."""
    current, arn = table.describe_only(d.client("dynamodb"), d.settings.table_name), d.settings.table_arn
    if current is None or current["TableArn"] != arn:
        account = d.caller_identity["Account"]
        raise UserError(f"TABLE_ARN: {arn} does not exist in account {account}; correct it, or leave it empty")
    return current


def check_stream(d: Deployment, current: Mapping[str, Any]) -> None:
    """Raise UserError, with commands for the owner, if the stream is off or lacks what STREAM_VIEW_TYPE asks for."""
    name, desired, stream = current["TableName"], d.settings.stream_view_type, current["StreamSpecification"]
    has = stream.get("StreamViewType", "") if stream["StreamEnabled"] else ""
    if current["TableStatus"] not in ("ACTIVE", "UPDATING"):
        raise UserError(f"table {name} is {current['TableStatus']}; run the same command again when it is ACTIVE")
    if has and (has in (desired, "NEW_AND_OLD_IMAGES") or desired in ("", "KEYS_ONLY")):
        return
    # A new stream has the images of the old one too, for its other readers.
    needed = desired if desired and has in ("", "KEYS_ONLY") else "NEW_AND_OLD_IMAGES"
    turn_off = [{"StreamEnabled": False}] if has else []  # AWS cannot change the view type of a stream
    model = d.client("dynamodb").meta.service_model.operation_model("UpdateTable")
    message = f"a stream of view type {has}; STREAM_VIEW_TYPE is {desired}" if has else "no stream"
    message = f"table {name} has {message}. It is not changed (TABLE_ARN: read only), and nothing was created. "
    message += "Its owner can run:"
    for specification in (*turn_off, {"StreamEnabled": True, "StreamViewType": needed}):
        parameters = {"TableName": name, "StreamSpecification": specification}
        message += "\n  " + echo.command_line(echo.Call(model, parameters, d.settings.aws_region), lambda _: None)
    raise UserError(message)


def table_key_arn(d: Deployment, current: Mapping[str, Any]) -> str:
    """The ARN of the customer managed key that encrypts the table, or "".

    A key that the caller may not read counts as customer managed. KMS API reference: DescribeKey.
    """
    key = str(current["SSESpecification"].get("KMSMasterKeyId", ""))
    try:
        managed = key and d.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyManager"] == "AWS"
    except ClientError:
        managed = False
    return "" if managed else key
