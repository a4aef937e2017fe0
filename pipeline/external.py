"""What belongs to another team: the table of TABLE_ARN. The pipeline reads its stream, and never changes the table."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from . import parameters
from .deployment import Deployment
from .events import Changed, Events, Started
from .resources import mapping, table
from .resources.change import Change, UserError, retry

# AWS Database Blog: "Simplify cross-account stream processing with AWS Lambda and Amazon DynamoDB".
_STREAM_ACTIONS = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]


def check_table(d: Deployment) -> Events[dict[str, Any]]:
    """Check that the table has the stream that the function needs, and return the table."""
    yield Started("create-table")
    current = describe_table(d)
    check_stream(d, current)
    resource, note = f"table {d.settings.table_name}", "exists; TABLE_ARN is read-only"
    yield Changed("create-table", Change(resource, "unchanged", attributes=current, note=note))
    return current


def describe_table(d: Deployment) -> dict[str, Any]:
    """The table, as `table.describe` returns it, without tags. Its TableName is the ARN, which calls accept as a name.

    Raises UserError if the table does not exist or, with a command for its owner, if this account cannot read it.
    DynamoDB developer guide: "Cross-account access with resource-based policies in DynamoDB".
    """
    arn = d.settings.table_arn
    _, partition, _, _, owner, _ = arn.split(":")
    try:
        current = table.describe(d.client("dynamodb"), arn, tags=False)
    except ClientError as error:
        account = d.client("sts").get_caller_identity()["Account"]
        if error.response["Error"]["Code"] != "AccessDeniedException" or owner == account:
            raise
        raise UserError(
            f"TABLE_ARN: the table belongs to account {owner}. Your credentials for account {account} cannot "
            f"read it. Nothing was created.\n  AWS said: {error.response['Error']['Message']}"
            + _policy_for_owner(d, arn, f"arn:{partition}:iam::{account}:root", ["dynamodb:DescribeTable"])
        ) from None
    if current is None:
        raise UserError(f"TABLE_ARN: {arn} does not exist in account {owner}; correct or unset TABLE_ARN")
    return {**current, "TableName": arn}


def map_stream(d: Deployment, desired: Mapping[str, Any], *, tags: bool) -> Change:
    """Create or update the mapping. Raises UserError with a command if the table's owner does not allow it.

    Lambda developer guide: "Creating a cross-account event source mapping".
    """
    lambda_, stream_arn = d.client("lambda"), desired["EventSourceArn"]
    owner = stream_arn.split(":")[4]
    foreign = d.settings.table_arn != "" and d.client("sts").get_caller_identity()["Account"] != owner
    try:
        return retry(lambda: mapping.ensure(lambda_, desired, tags=tags, await_role=not foreign))
    except ClientError as error:
        message = error.response["Error"].get("Message", "")
        if not foreign or "Cannot access stream" not in message:
            raise
        role_arn = lambda_.get_function_configuration(FunctionName=desired["FunctionName"])["Role"]
        problem = f"account {owner}, which owns the table, does not allow the function's role to read the stream.\n"
        policy = _policy_for_owner(d, stream_arn, role_arn, _STREAM_ACTIONS)
        raise UserError(f"{problem}  AWS said: {message}{policy}") from None


def _policy_for_owner(d: Deployment, arn: str, principal: str, actions: list[str]) -> str:
    """The resource-based policy that a table or stream needs, and the command that puts it."""
    document = parameters.allow(actions, arn, Principal={"AWS": principal})
    return (
        f"\nRequired policy:\n{json.dumps(document, indent=2)}\n"
        "The owner can run this command, which replaces an existing policy:"
        + _command(d, "PutResourcePolicy", ResourceArn=arn, Policy=json.dumps(document))
        + "\nThen run the same command again. AWS may take seconds to apply a policy or to recognize a new role."
    )


def _command(d: Deployment, operation: str, **parameters: Any) -> str:
    from . import echo  # noqa: PLC0415 - slow to import

    model = d.client("dynamodb").meta.service_model.operation_model(operation)
    return f"\n  {echo.command_line(echo.Call(model, parameters, d.settings.aws_region), lambda _: None)}"


def check_stream(d: Deployment, current: Mapping[str, Any]) -> None:
    """Raise UserError with commands for the owner if the stream is disabled or lacks the images of STREAM_VIEW_TYPE."""
    name, desired, stream = d.settings.table_name, d.settings.stream_view_type, current["StreamSpecification"]
    view_type = stream.get("StreamViewType", "") if stream["StreamEnabled"] else ""
    if current["TableStatus"] not in ("ACTIVE", "UPDATING"):
        raise UserError(f"table {name} is {current['TableStatus']}; run the command again when the table is ACTIVE")
    if view_type and (view_type in (desired, "NEW_AND_OLD_IMAGES") or desired in ("", "KEYS_ONLY")):
        return
    # A new stream must also contain the images of the old stream, for its other readers.
    needed = desired if desired and view_type in ("", "KEYS_ONLY") else "NEW_AND_OLD_IMAGES"
    # AWS cannot change the view type of a stream.
    off, on = {"StreamEnabled": False}, {"StreamEnabled": True, "StreamViewType": needed}
    specifications = [off, on] if view_type else [on]
    commands = [_command(d, "UpdateTable", TableName=name, StreamSpecification=each) for each in specifications]
    reason = f"a stream with view type {view_type}; STREAM_VIEW_TYPE is {desired}" if view_type else "no stream"
    note = "Tasks only read this table (TABLE_ARN); nothing was created. Its owner can run:"
    raise UserError(f"table {name} has {reason}. {note}{''.join(commands)}")


def table_key_arn(d: Deployment, current: Mapping[str, Any]) -> str:
    """The ARN of the table's customer managed key, or of an unreadable key; otherwise "". KMS API: DescribeKey."""
    key = str(current.get("SSESpecification", {}).get("KMSMasterKeyId", ""))
    try:
        found = d.client("kms").describe_key(KeyId=key)["KeyMetadata"] if key else {}
    except ClientError:
        return key if key.startswith("arn:") else ""
    return "" if found.get("KeyManager") == "AWS" else str(found.get("Arn", ""))
