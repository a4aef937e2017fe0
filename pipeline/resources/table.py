"""A DynamoDB table with its stream: look, compare, create or update, wait, delete.

To use it elsewhere, copy this file and `change.py` into one folder and import it from there
(`from steps import table`). It needs boto3 and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import WaiterError
from botocore.waiter import WaiterModel, create_waiter_with_client

from .change import (
    OWNER_TAG,
    Change,
    Diff,
    UserError,
    added,
    check_owner,
    diff,
    is_dry_run,
    reject_unsupported,
    tag_changes,
    tag_map,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from types_boto3_dynamodb import DynamoDBClient

# What AWS takes for what is left out: compared like the rest, so that an option taken away is set back.
_DEFAULTS: dict[str, Any] = {
    "BillingMode": "PROVISIONED",
    "DeletionProtectionEnabled": False,
    "GlobalSecondaryIndexes": [],
    "LocalSecondaryIndexes": [],
    "OnDemandThroughput": {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": -1},
    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False},
    "ProvisionedThroughput": {},
    "SSESpecification": {"Enabled": False},
    "StreamSpecification": {"StreamEnabled": False},
    "TableClass": "STANDARD",
    "Tags": [],
}
_KNOWN = {*_DEFAULTS, "TableName", "KeySchema", "AttributeDefinitions", "WarmThroughput"}

# In the order in which they are brought about; each is an UpdateTable of its own.
_UPDATABLE = ("DeletionProtectionEnabled", "TableClass", "SSESpecification", "OnDemandThroughput", "WarmThroughput")

_WAITERS = WaiterModel(
    {
        "version": 2,
        "waiters": {
            "Active": {
                "operation": "DescribeTable",
                "delay": 1,
                "maxAttempts": 900,
                "acceptors": [
                    {"state": "success", "matcher": "path", "argument": "Table.TableStatus", "expected": "ACTIVE"},
                    # Just created, and not seen by every server of AWS yet.
                    {"state": "retry", "matcher": "error", "expected": "ResourceNotFoundException"},
                    *(
                        {"state": "failure", "matcher": "path", "argument": "Table.TableStatus", "expected": status}
                        for status in ("INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVING", "ARCHIVED", "DELETING")
                    ),
                ],
            },
            # A new table is ACTIVE some time before AWS can back it up.
            "Recovers": {
                "operation": "UpdateContinuousBackups",
                "delay": 1,
                "maxAttempts": 300,
                "acceptors": [
                    {"state": "success", "matcher": "status", "expected": 200},
                    {"state": "retry", "matcher": "error", "expected": "ContinuousBackupsUnavailableException"},
                ],
            },
        },
    }
)


def describe(dynamodb: DynamoDBClient, name: str) -> dict[str, Any] | None:
    """What AWS has of the table under the names of CreateTable's parameters, or None.

    Adds TableArn, TableStatus, ItemCount, LatestStreamArn ("" when there never was a stream), and
    PointInTimeRecoverySpecification; `Tags` are name to value. A table that is coming or going is told without the
    last two.
    DynamoDB API reference: DescribeTable, DescribeContinuousBackups, ListTagsOfResource.
    """
    try:
        table = dynamodb.describe_table(TableName=name)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    found = to_create_parameters(table)
    if found["TableStatus"] in ("CREATING", "DELETING"):
        return found
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery: Mapping[str, Any] = backups.get("PointInTimeRecoveryDescription", {})
    enabled = recovery.get("PointInTimeRecoveryStatus") == "ENABLED"
    found["PointInTimeRecoverySpecification"] = _recovery({**recovery, "PointInTimeRecoveryEnabled": enabled})
    pages = dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=found["TableArn"])
    found["Tags"] = tag_map(tag for page in pages for tag in page["Tags"])
    return found


def ensure(dynamodb: DynamoDBClient, wanted: Mapping[str, Any], *, adopt: bool = False) -> Change:
    """Make the table as wanted; not waiting for ACTIVE at the end (`wait` does).

    `wanted` are CreateTable's parameters, and PointInTimeRecoverySpecification as UpdateContinuousBackups has it; what
    is left out is put to AWS's default (WarmThroughput is left alone). A KMSMasterKeyId is compared when it is wanted,
    by key id or ARN. The answer's LatestStreamArn is what an event source mapping needs.

    Raises UserError for a table of another pipeline (unless `adopt`), and for what AWS cannot change in place: the keys
    and the indexes. DynamoDB API reference: CreateTable, UpdateTable, UpdateContinuousBackups, TagResource.
    """
    name = wanted["TableName"]
    resource = f"table {name}"
    reject_unsupported(resource, wanted, _KNOWN)
    found = describe(dynamodb, name)
    if found and found["TableStatus"] == "DELETING":
        wait_until_deleted(dynamodb, name)
        found = None
    elif found and found["TableStatus"] == "CREATING":
        found = wait(dynamodb, name)
    if found is None:
        return _create(dynamodb, wanted)
    complete = _complete(wanted, found)
    check_owner(resource, found["Tags"], complete["Tags"].get(OWNER_TAG, ""), adopt=adopt)
    changed = diff(found, complete)
    if not changed:
        return Change(resource, "unchanged", attributes=found, pending=found["TableStatus"] != "ACTIVE")
    _refuse_what_cannot_change(resource, changed)
    return _update(dynamodb, found, complete, changed)


def wait(dynamodb: DynamoDBClient, name: str) -> dict[str, Any]:
    """Wait until the table is ACTIVE and return what `describe` says; 15 minutes at most.

    Raises UserError for a state that does not become ACTIVE by waiting.
    """
    _until_active(dynamodb, name)
    found = describe(dynamodb, name)
    if found is None:
        raise UserError(f"table {name} was deleted while it was waited for; run the step again")
    return found


def delete(dynamodb: DynamoDBClient, name: str, *, owner: str = "") -> Change:
    """Delete the table, with all items; not waiting until it is gone (`wait_until_deleted` does).

    Raises UserError for a table of another pipeline and for one that is protected from deletion.
    DynamoDB API reference: DeleteTable.
    """
    resource = f"table {name}"
    found = describe(dynamodb, name)
    if found and found["TableStatus"] == "CREATING":
        found = wait(dynamodb, name)
    if found is None:
        return Change(resource, "absent")
    if found["TableStatus"] == "DELETING":
        return Change(resource, "deleted", attributes=found, note="it was being deleted already", pending=True)
    check_owner(resource, found["Tags"], owner)
    if found["DeletionProtectionEnabled"]:
        raise UserError(
            f"{resource} is protected from deletion (DeletionProtectionEnabled is true). "
            f"To delete it, turn the protection off first: in the settings, then create-table."
        )
    _until_active(dynamodb, name)
    answer = dynamodb.delete_table(TableName=name)
    return Change(resource, "deleted", attributes=found, pending=not is_dry_run(answer))


def wait_until_deleted(dynamodb: DynamoDBClient, name: str) -> None:
    """Wait until AWS has no such table; 15 minutes at most."""
    dynamodb.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 900})


def _until_active(dynamodb: DynamoDBClient, name: str) -> None:
    try:
        create_waiter_with_client("Active", _WAITERS, dynamodb).wait(TableName=name)
    except WaiterError as error:
        answer: Mapping[str, Any] = error.last_response
        status = answer.get("Table", {}).get("TableStatus")
        if status in (None, "CREATING", "UPDATING"):
            raise
        raise UserError(
            f"table {name} is {status} and does not become ACTIVE by waiting; "
            f"look at its encryption key and its backups: aws dynamodb describe-table --table-name {name}"
        ) from error


def _create(dynamodb: DynamoDBClient, wanted: Mapping[str, Any]) -> Change:
    name = wanted["TableName"]
    parameters = {setting: value for setting, value in wanted.items() if setting != "PointInTimeRecoverySpecification"}
    answer = dynamodb.create_table(**parameters)
    recovery: Any = wanted.get("PointInTimeRecoverySpecification", {})
    if recovery.get("PointInTimeRecoveryEnabled"):
        # CreateTable does not take it, and UpdateContinuousBackups takes only a table that is ACTIVE.
        if not is_dry_run(answer):
            _until_active(dynamodb, name)
        _set_recovery(dynamodb, name, recovery)
    table: dict[str, Any] = {**answer["TableDescription"]}
    if is_dry_run(answer):
        table["LatestStreamArn"] = _planned_stream(
            f"arn:aws:dynamodb:{dynamodb.meta.region_name}:<AccountId>:table/{name}"
        )
    created = {**to_create_parameters(table), "PointInTimeRecoverySpecification": _recovery(recovery)}
    created["Tags"] = tag_map(wanted.get("Tags", ()))
    new = added({setting: created.get(setting, value) for setting, value in wanted.items()})
    return Change(f"table {name}", "created", new, attributes=created, pending=not is_dry_run(answer))


def _update(
    dynamodb: DynamoDBClient, found: Mapping[str, Any], wanted: Mapping[str, Any], changed: tuple[Diff, ...]
) -> Change:
    name = found["TableName"]
    settings = {difference.setting for difference in changed}
    now = {**found, **{setting: wanted[setting] for setting in settings}}
    written = False
    for parameters in _updates(found, wanted, settings):
        # AWS takes one update at a time; a run before this one may have begun one as well.
        _until_active(dynamodb, name)
        answer = dynamodb.update_table(TableName=name, **parameters)
        written = not is_dry_run(answer)
        if parameters.get("StreamSpecification", {}).get("StreamEnabled"):
            now["LatestStreamArn"] = (
                answer["TableDescription"]["LatestStreamArn"] if written else _planned_stream(found["TableArn"])
            )
    if "PointInTimeRecoverySpecification" in settings:
        _until_active(dynamodb, name)
        _set_recovery(dynamodb, name, wanted["PointInTimeRecoverySpecification"])
    if "Tags" in settings:
        _update_tags(dynamodb, found["TableArn"], found["Tags"], wanted["Tags"])
    moved = found["StreamSpecification"]["StreamEnabled"] and now["LatestStreamArn"] != found["LatestStreamArn"]
    note = (
        "a new stream replaces the old one; AWS keeps what the old one holds for 24 hours, "
        "but a mapping that moves to the new one does not read it any more"
    )
    if moved:
        return Change(f"table {name}", "replaced", changed, attributes=now, note=note, pending=written)
    return Change(f"table {name}", "updated", changed, attributes=now, pending=written)


def _updates(
    found: Mapping[str, Any], wanted: Mapping[str, Any], settings: Collection[str]
) -> Iterator[dict[str, Any]]:
    """The parameters of each UpdateTable that is due, in order."""
    for setting in _UPDATABLE:
        if setting in settings:
            yield {setting: wanted[setting]}
    if "BillingMode" in settings and wanted["BillingMode"] == "PAY_PER_REQUEST":
        yield {"BillingMode": "PAY_PER_REQUEST"}
    elif "BillingMode" in settings:
        yield {"BillingMode": "PROVISIONED", "ProvisionedThroughput": wanted["ProvisionedThroughput"]}
    elif "ProvisionedThroughput" in settings:
        yield {"ProvisionedThroughput": wanted["ProvisionedThroughput"]}
    if "StreamSpecification" in settings:
        if found["StreamSpecification"]["StreamEnabled"]:
            # A stream's view type is for life: another one is a new stream.
            yield {"StreamSpecification": {"StreamEnabled": False}}
        if wanted["StreamSpecification"]["StreamEnabled"]:
            yield {"StreamSpecification": wanted["StreamSpecification"]}


def _set_recovery(dynamodb: DynamoDBClient, name: str, recovery: Mapping[str, Any]) -> None:
    recovers = create_waiter_with_client("Recovers", _WAITERS, dynamodb)
    recovers.wait(TableName=name, PointInTimeRecoverySpecification=recovery)


def _update_tags(dynamodb: DynamoDBClient, arn: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    gone, put = tag_changes(old, new)
    if gone:
        dynamodb.untag_resource(ResourceArn=arn, TagKeys=gone)
    if put:
        dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": name, "Value": value} for name, value in put.items()])


def _refuse_what_cannot_change(resource: str, changed: tuple[Diff, ...]) -> None:
    by_hand = {
        "KeySchema": "copy the items to a table of another name, or delete the table with its items and create it anew",
        "AttributeDefinitions": "they belong to the keys and indexes: change the table by hand, or create it anew",
        "LocalSecondaryIndexes": "AWS makes them with the table only: create the table anew",
        "GlobalSecondaryIndexes": "AWS changes them one at a time: aws dynamodb update-table "
        "--global-secondary-index-updates; then put the same into the settings",
    }
    different = {difference.setting: difference for difference in changed}
    for setting, way in by_hand.items():
        if setting in different:
            raise UserError(
                f"{resource} has {setting} {different[setting].old}, wanted is {different[setting].new}; "
                f"no step changes that, as data would be lost. By hand: {way}."
            )


def _planned_stream(table_arn: str) -> str:
    """Stands for the ARN of a stream that is only planned; it names the table, which is what a mapping's plan asks."""
    return f"{table_arn}/stream/<LatestStreamLabel>"


def to_create_parameters(table: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeTable's answer under the names of CreateTable's parameters, with AWS's defaults where it is silent."""
    found = {setting: table.get(setting, default) for setting, default in _DEFAULTS.items() if setting != "Tags"}
    found.update({name: table.get(name, "") for name in ("TableName", "TableArn", "TableStatus", "LatestStreamArn")})
    found.update({name: table[name] for name in ("KeySchema", "AttributeDefinitions")})
    found["ItemCount"] = table.get("ItemCount", 0)
    found["BillingMode"] = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if found["BillingMode"] == "PAY_PER_REQUEST":
        found["ProvisionedThroughput"] = {}
    found["TableClass"] = table.get("TableClassSummary", {}).get("TableClass", "STANDARD")
    encryption = table.get("SSEDescription", {})
    if encryption.get("Status") in ("ENABLED", "ENABLING", "UPDATING"):
        key = encryption.get("KMSMasterKeyArn", "")
        found["SSESpecification"] = {"Enabled": True, "SSEType": encryption["SSEType"], "KMSMasterKeyId": key}
    if "WarmThroughput" in table:
        units = ("ReadUnitsPerSecond", "WriteUnitsPerSecond")
        found["WarmThroughput"] = {unit: table["WarmThroughput"].get(unit) for unit in units}
    return normalize(found)


def _complete(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The wanted parameters with AWS's defaults, in the forms of `describe`."""
    complete = normalize({**_DEFAULTS, **wanted})
    complete["Tags"] = tag_map(complete["Tags"])
    encryption = complete["SSESpecification"]
    if encryption.get("Enabled"):
        # AWS tells the key's ARN; wanted may be its id alone, or whichever key there is.
        has = found["SSESpecification"].get("KMSMasterKeyId", "")
        same = {"KMSMasterKeyId": has} if has and has.endswith(encryption.get("KMSMasterKeyId", "")) else {}
        complete["SSESpecification"] = {"SSEType": "KMS", **encryption, **same}
    return complete


def normalize(parameters: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults within nested parameters, leave out what only AWS says, sort what has no order."""
    return {
        **parameters,
        "KeySchema": _by("KeyType", parameters["KeySchema"]),
        "AttributeDefinitions": _by("AttributeName", parameters["AttributeDefinitions"]),
        "OnDemandThroughput": {**_DEFAULTS["OnDemandThroughput"], **parameters["OnDemandThroughput"]},
        "ProvisionedThroughput": _units(parameters),
        "PointInTimeRecoverySpecification": _recovery(parameters["PointInTimeRecoverySpecification"]),
        "LocalSecondaryIndexes": _by("IndexName", map(_index, parameters["LocalSecondaryIndexes"])),
        "GlobalSecondaryIndexes": _by("IndexName", map(_index, parameters["GlobalSecondaryIndexes"])),
    }


def _recovery(specification: Mapping[str, Any]) -> dict[str, Any]:
    if not specification.get("PointInTimeRecoveryEnabled"):
        return {"PointInTimeRecoveryEnabled": False}
    # 35 days is AWS's default and longest.
    return {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": specification.get("RecoveryPeriodInDays") or 35}


def _units(owner: Mapping[str, Any]) -> dict[str, int]:
    """Of a table or an index; of an index on demand AWS tells 0 units."""
    throughput = owner.get("ProvisionedThroughput", {})
    return {unit: throughput[unit] for unit in ("ReadCapacityUnits", "WriteCapacityUnits") if throughput.get(unit)}


def _index(index: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "IndexName": index["IndexName"],
        "KeySchema": _by("KeyType", index["KeySchema"]),
        "Projection": {**index["Projection"]},
        "ProvisionedThroughput": _units(index),
    }


def _by(name: str, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({**entry} for entry in entries), key=lambda entry: str(entry[name]))
