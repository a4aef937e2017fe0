"""A DynamoDB table and its stream: describe, create or update, wait, delete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import WaiterError

from . import change
from .change import OWNER_TAG, Action, Change, Diff, UserError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# AWS's defaults. A parameter that `desired` omits is compared with its default, so that removing an option resets it.
DEFAULTS: dict[str, Any] = {
    "BillingMode": "PROVISIONED",
    "DeletionProtectionEnabled": False,
    "OnDemandThroughput": {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": -1},
    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False},
    "ProvisionedThroughput": {},
    "SSESpecification": {"Enabled": False},
    "StreamSpecification": {"StreamEnabled": False},
    "TableClass": "STANDARD",
    "Tags": [],
}
PARAMETERS = {*DEFAULTS, "TableName", "KeySchema", "AttributeDefinitions"}

# Parameters that `ensure` does not change, because AWS cannot change them or items would be lost, with advice.
_IMMUTABLE = {
    "KeySchema": "Copy the items to a table with another name, or delete the table and create it again",
    "AttributeDefinitions": "They belong to the keys. Choose another table name, or delete the table first",
}

_NO_STREAM = {"StreamEnabled": False}
_PLANNED_STREAM = "/stream/<LatestStreamLabel>"  # follows the table's ARN in the plan of a mapping


def describe(dynamodb: DynamoDBClient, name: str, *, tags: bool = True) -> dict[str, Any] | None:
    """Return the table under the names of CreateTable's parameters, or None if it does not exist.

    Adds TableArn, TableStatus, ItemCount, Replicas, and LatestStreamArn ("" if there never was a stream). With `tags`,
    unless the table is CREATING or DELETING, also adds PointInTimeRecoverySpecification and `Tags` by name. DynamoDB
    API reference: DescribeTable, DescribeContinuousBackups, ListTagsOfResource.
    """
    # The calls for backups and tags may not find a table that DescribeTable finds. Then describe it again.
    return change.retry(partial(_describe, dynamodb, name, tags))


def _describe(dynamodb: DynamoDBClient, name: str, tags: bool) -> dict[str, Any] | None:
    try:
        current = to_create_parameters(dynamodb.describe_table(TableName=name)["Table"])
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    if not tags or current["TableStatus"] in ("CREATING", "DELETING"):
        return current
    recovery: Mapping[str, Any] = {}
    if current["TableStatus"] in ("ACTIVE", "UPDATING"):  # backups of an archived table cannot be described
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        recovery = backups.get("PointInTimeRecoveryDescription", {})
    enabled = recovery.get("PointInTimeRecoveryStatus") == "ENABLED"
    current["PointInTimeRecoverySpecification"] = _recovery({**recovery, "PointInTimeRecoveryEnabled": enabled})
    pages = dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=current["TableArn"])
    current["Tags"] = change.tag_map(tag for page in pages for tag in page["Tags"])
    return current


def ensure(dynamodb: DynamoDBClient, desired: Mapping[str, Any], *, adopt: bool = False) -> Change:
    """Create the table, or update what differs. To wait until the table is ACTIVE afterwards, call `wait`.

    `desired` holds CreateTable's parameters, and PointInTimeRecoverySpecification as in UpdateContinuousBackups.
    Omitted parameters get AWS's defaults, except KMSMasterKeyId, a key ID or ARN. Indexes stay as they are.
    Raises UserError if the table belongs to another pipeline (unless `adopt`), or if keys differ.
    DynamoDB API reference: CreateTable, UpdateTable, UpdateContinuousBackups, TagResource.
    """
    name = desired["TableName"]
    resource = f"table {name}"
    change.reject_unsupported(resource, desired, PARAMETERS)
    current = describe(dynamodb, name)
    if current and current["TableStatus"] == "DELETING":
        wait_until_deleted(dynamodb, name)
        current = None
    elif current and current["TableStatus"] == "CREATING":
        current = wait(dynamodb, name)
    if current is None:
        return _create(dynamodb, desired)
    normalized = _normalize_desired(desired, current)
    created = {**normalized, "PointInTimeRecoverySpecification": current["PointInTimeRecoverySpecification"]}
    current = current if adopt else change.wait_for_tags(current, created, lambda: describe(dynamodb, name))
    change.check_owner(resource, current["Tags"], normalized["Tags"].get(OWNER_TAG, ""), adopt=adopt)
    diffs = change.diff({**current, "Tags": change.own_tags(current["Tags"], normalized["Tags"])}, normalized)
    if not diffs:
        return Change(resource, "unchanged", attributes=current, pending=current["TableStatus"] != "ACTIVE")
    if current["TableStatus"] == "UPDATING":
        # AWS shows some of the old settings until an update is done, and refuses an update to the same values.
        wait(dynamodb, name)
        return ensure(dynamodb, desired, adopt=adopt)
    change.reject_immutable(resource, diffs, _IMMUTABLE)
    return _update(dynamodb, current, normalized, diffs)


def wait(dynamodb: DynamoDBClient, name: str) -> dict[str, Any]:
    """Wait until the table is ACTIVE, for at most 15 minutes, and return it. Raises UserError if that is impossible."""
    _wait_until_active(dynamodb, name)
    if current := describe(dynamodb, name):
        return current
    raise UserError(f"table {name} was deleted while this step waited for it; run the step again")


def delete(dynamodb: DynamoDBClient, name: str, *, owner: str = "", adopt: bool = False) -> Change:
    """Delete the table and all its items. To wait until it is gone, call `wait_until_deleted`.

    Raises UserError if it belongs to another pipeline or is protected. DynamoDB API reference: DeleteTable.
    """
    resource = f"table {name}"
    current = describe(dynamodb, name)
    if current and current["TableStatus"] == "CREATING":
        current = wait(dynamodb, name)
    if current is None:
        return Change(resource, "absent")
    if current["TableStatus"] == "DELETING":
        return Change(resource, "deleted", attributes=current, note="deletion was already in progress", pending=True)
    change.check_owner(resource, current["Tags"], owner, adopt=adopt or None)
    if current["DeletionProtectionEnabled"]:
        advice = "set TABLE_DELETION_PROTECTION_ENABLED=false and run create-table first"
        raise UserError(f"{resource} is protected from deletion; {advice}")
    _wait_until_active(dynamodb, name)
    response = dynamodb.delete_table(TableName=name)
    return Change(resource, "deleted", attributes=current, pending=not change.is_dry_run(response))


def wait_until_deleted(dynamodb: DynamoDBClient, name: str) -> None:
    """Wait until the table no longer exists, for at most 15 minutes."""
    gone = {"state": "success", "matcher": "error", "expected": "ResourceNotFoundException"}
    change.wait_until(dynamodb, "TableDeleted", "DescribeTable", gone, timeout=900, TableName=name)


def _wait_until_active(dynamodb: DynamoDBClient, name: str) -> None:
    status = {"matcher": "path", "argument": "Table.TableStatus"}
    final = ("INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVING", "ARCHIVED", "DELETING")
    acceptors = [
        # A table stays ACTIVE while its encryption changes.
        {**status, "state": "retry", "argument": "Table.SSEDescription.Status", "expected": "UPDATING"},
        {**status, "state": "success", "expected": "ACTIVE"},
        change.NOT_FOUND_YET,
        *({**status, "state": "failure", "expected": each} for each in final),
    ]
    try:
        change.wait_until(dynamodb, "TableActive", "DescribeTable", *acceptors, timeout=900, TableName=name)
    except WaiterError as error:
        response: Mapping[str, Any] = error.last_response
        reached = response.get("Table", {}).get("TableStatus")
        if reached not in final:
            raise
        advice = f"check its encryption key and its backups: aws dynamodb describe-table --table-name {name}"
        raise UserError(f"table {name} is {reached} and will not become ACTIVE; {advice}") from error


def _create(dynamodb: DynamoDBClient, desired: Mapping[str, Any]) -> Change:
    name = desired["TableName"]
    # CreateTable has no PointInTimeRecoverySpecification, and UpdateContinuousBackups requires an ACTIVE table.
    parameters = {**desired}
    recovery = parameters.pop("PointInTimeRecoverySpecification", {})
    response = dynamodb.create_table(**parameters)
    if recovery.get("PointInTimeRecoveryEnabled"):
        if not change.is_dry_run(response):
            _wait_until_active(dynamodb, name)
        _update_recovery(dynamodb, name, recovery)
    table: dict[str, Any] = {**response["TableDescription"]}
    if change.is_dry_run(response):
        region = dynamodb.meta.region_name
        table["LatestStreamArn"] = f"arn:aws:dynamodb:{region}:<AccountId>:table/{name}{_PLANNED_STREAM}"
    created = {**to_create_parameters(table), "PointInTimeRecoverySpecification": _recovery(recovery)}
    created["Tags"] = change.tag_map(desired.get("Tags", ()))
    diffs = change.diff({}, {setting: created.get(setting, value) for setting, value in desired.items()})
    return Change(f"table {name}", "created", diffs, attributes=created, pending=not change.is_dry_run(response))


def _update(
    dynamodb: DynamoDBClient, current: Mapping[str, Any], desired: Mapping[str, Any], diffs: tuple[Diff, ...]
) -> Change:
    name = current["TableName"]
    settings = {each.setting for each in diffs}
    attributes = {**current, **{setting: desired[setting] for setting in settings}}
    written = False
    for parameters in _updates(current, desired, settings):
        # AWS accepts one update at a time, and an earlier run may have started one.
        _wait_until_active(dynamodb, name)
        response = dynamodb.update_table(TableName=name, **parameters)
        written = not change.is_dry_run(response)
        if parameters.get("StreamSpecification", _NO_STREAM)["StreamEnabled"]:
            stream = response["TableDescription"]["LatestStreamArn"]
            attributes["LatestStreamArn"] = stream if written else current["TableArn"] + _PLANNED_STREAM
    if "PointInTimeRecoverySpecification" in settings:
        _wait_until_active(dynamodb, name)
        _update_recovery(dynamodb, name, desired["PointInTimeRecoverySpecification"])
    if "Tags" in settings:
        removed, put = change.tag_changes(change.own_tags(current["Tags"], desired["Tags"]), desired["Tags"])
        if removed:
            dynamodb.untag_resource(ResourceArn=current["TableArn"], TagKeys=removed)
        if put:
            tags: Any = [{"Key": tag, "Value": value} for tag, value in put.items()]
            # AWS refuses it for seconds after UntagResource.
            change.retry(lambda: dynamodb.tag_resource(ResourceArn=current["TableArn"], Tags=tags))
    note = ""
    if current["StreamSpecification"]["StreamEnabled"] and attributes["LatestStreamArn"] != current["LatestStreamArn"]:
        note = "a new stream replaces the old one; a mapping that moves skips the old records, readable for 24 hours"
    action: Action = "replaced" if note else "updated"
    return Change(f"table {name}", action, diffs, attributes=attributes, note=note, pending=written)


def _updates(current: Mapping[str, Any], desired: Mapping[str, Any], settings: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the parameters of each UpdateTable call, in order."""
    mode, limits = ("BillingMode", "ProvisionedThroughput"), ("OnDemandThroughput",)
    # The limits belong to on-demand mode. AWS accepts them only in this mode.
    capacity = (mode, limits) if desired["BillingMode"] == "PAY_PER_REQUEST" else (limits, mode)
    alone = (("DeletionProtectionEnabled",), ("TableClass",), ("SSESpecification",))
    for names in (*alone, *capacity):
        if parameters := {name: desired[name] for name in names if name in settings and desired[name] != {}}:
            yield parameters
    if "StreamSpecification" in settings:
        if current["StreamSpecification"]["StreamEnabled"]:
            # AWS cannot change the view type of a stream. The table needs a new stream.
            yield {"StreamSpecification": _NO_STREAM}
        if desired["StreamSpecification"]["StreamEnabled"]:
            yield {"StreamSpecification": desired["StreamSpecification"]}


def _update_recovery(dynamodb: DynamoDBClient, name: str, recovery: Any) -> None:
    # AWS cannot enable backups of a new table until some time after it becomes ACTIVE.
    change.retry(lambda: dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery))


def to_create_parameters(table: Mapping[str, Any]) -> dict[str, Any]:
    """Convert DescribeTable's response to the names of CreateTable's parameters, with AWS's defaults filled in.

    TableStatus is UPDATING also while the encryption changes.
    """
    current = {setting: table.get(setting, default) for setting, default in DEFAULTS.items() if setting != "Tags"}
    current |= {name: table.get(name, "") for name in ("TableName", "TableArn", "TableStatus", "LatestStreamArn")}
    current |= {name: table[name] for name in ("KeySchema", "AttributeDefinitions")}
    current |= {"ItemCount": table.get("ItemCount", 0), "Replicas": table.get("Replicas", [])}
    current["BillingMode"] = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if current["BillingMode"] == "PAY_PER_REQUEST":
        current["ProvisionedThroughput"] = {}
    current["TableClass"] = table.get("TableClassSummary", {}).get("TableClass", "STANDARD")
    encryption = table.get("SSEDescription", {})
    key = {"KMSMasterKeyId": encryption.get("KMSMasterKeyArn", "")}
    if encryption.get("Status") == "UPDATING":  # from an old key, or none, to a new one, or none
        current["SSESpecification"] = {"Status": "UPDATING", **key}
        current["TableStatus"] = current["TableStatus"].replace("ACTIVE", "UPDATING")
    elif "SSEType" in encryption:
        current["SSESpecification"] = {"Enabled": True, "SSEType": encryption["SSEType"], **key}
    return normalize(current)


def _normalize_desired(desired: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Add AWS's defaults to the desired parameters, in the form that `describe` returns."""
    normalized = normalize({**DEFAULTS, **desired})
    normalized["Tags"] = change.tag_map(normalized["Tags"])
    encryption = {"Enabled": "SSEType" in normalized["SSESpecification"], **normalized["SSESpecification"]}
    if encryption["Enabled"]:
        # AWS returns the key's ARN. The desired key may be its ID, or be left to AWS.
        key = current["SSESpecification"].get("KMSMasterKeyId", "")
        same = {"KMSMasterKeyId": key} if key and key.endswith(encryption.get("KMSMasterKeyId", "")) else {}
        encryption = {"SSEType": "KMS", **encryption, **same}
    normalized["SSESpecification"] = encryption
    return normalized


def normalize(parameters: dict[str, Any]) -> dict[str, Any]:
    """Fill in nested defaults, remove what AWS and indexes add, and sort lists whose order has no meaning."""
    keys = {each["AttributeName"] for each in parameters["KeySchema"]}
    definitions = _sorted_by("AttributeName", parameters["AttributeDefinitions"])
    units, throughput = ("ReadCapacityUnits", "WriteCapacityUnits"), parameters["ProvisionedThroughput"]
    return {
        **parameters,
        "KeySchema": _sorted_by("KeyType", parameters["KeySchema"]),
        "AttributeDefinitions": [each for each in definitions if each["AttributeName"] in keys],
        "OnDemandThroughput": {**DEFAULTS["OnDemandThroughput"], **parameters["OnDemandThroughput"]},
        "ProvisionedThroughput": {unit: throughput[unit] for unit in units if unit in throughput},
        "PointInTimeRecoverySpecification": _recovery(parameters["PointInTimeRecoverySpecification"]),
    }


def _recovery(specification: Mapping[str, Any]) -> dict[str, Any]:
    if not specification.get("PointInTimeRecoveryEnabled"):
        return {"PointInTimeRecoveryEnabled": False}
    # 35 days are AWS's default and maximum.
    return {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": specification.get("RecoveryPeriodInDays") or 35}


def _sorted_by(name: str, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({**entry} for entry in entries), key=lambda entry: str(entry[name]))
