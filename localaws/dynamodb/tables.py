"""What moto lacks in tables: some of their settings, and the states they pass through if delays are on.

DynamoDB API reference, "CreateTable", "UpdateTable", "DeleteTable", "DescribeTable".
"""

from __future__ import annotations

import uuid
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from moto.core.utils import utcnow
from moto.dynamodb.exceptions import ResourceNotFoundException
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.responses import DynamoResult

from localaws import delays
from localaws.dynamodb import progress, stream
from localaws.dynamodb.items import invalid, invalid_value
from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.dynamo_type import Item
    from moto.dynamodb.models.table import Table
    from moto.dynamodb.responses import DynamoHandler

_CHANGES = {"UpdateTable", "DeleteTable", "UpdateTimeToLive", "UpdateContinuousBackups"}
_ARN_COLONS = 5
_MAX_TAGS = 50
_ALLOWED_IN_ANY_STATE = {"CreateTable", "DescribeTable", "ListTables"}


def backend(self: DynamoHandler) -> DynamoDBBackend:
    """The backend of a DynamoDB call: that of the account whose table the call names by its ARN, or of the caller.

    `iam.authorization` has judged whether the caller may use it.
    """
    names = [*_table_names(self.params), self.params.get("ResourceArn") or ""]
    arn = next((name for name in names if name.startswith("arn:")), "")
    account = arn.split(":")[4] if arn.count(":") >= _ARN_COLONS else ""
    return dynamodb_backends[account or self.current_account][self.region]


def count_items(self: Table) -> int:
    """The number of items. moto counts them one by one."""
    return sum(map(len, self.items.values())) if self.range_key_attr else len(self.items)


def all_items(self: Table) -> list[Item]:
    """The items by their keys, until a write forgets them. moto sorts them in Python, and for each page of a scan."""
    with stream.table_lock:
        known: list[Item] = vars(self).get("localaws_items", [])
        if len(known) != len(self):
            kinds = {"hash_key": self.hash_key_type, "range_key": self.range_key_type}
            keys = [f"{name}.{'cast_value' if kind == 'N' else 'value'}" for name, kind in kinds.items() if kind]
            partitions: list[Any] = list(self.items.values())
            items = [item for each in partitions for item in each.values()] if self.range_key_attr else partitions
            known = vars(self)["localaws_items"] = sorted(items, key=attrgetter(*keys))
        return known


def create(call: Callable[..., Any], self: DynamoHandler) -> DynamoResult:
    """Wrap CreateTable: keep the settings that moto drops, and return the status that AWS returns."""
    call(self)
    table = self.dynamodb_backend.get_table(self.body["TableName"])
    _keep_settings(table, self.body)
    return _result(table, "CREATING")


def update(call: Callable[..., Any], self: DynamoHandler) -> DynamoResult:
    """Wrap UpdateTable: keep the settings that moto drops. If delays are on, the table is UPDATING for a while."""
    table = self.dynamodb_backend.get_table(self.body["TableName"])
    before = dict(table.describe()["TableDescription"])
    call(self)
    _keep_settings(table, self.body)
    progress.begin(table, self.body, before, table.describe()["TableDescription"])
    return _result(table, "UPDATING" if progress.SLOW & self.body.keys() else "ACTIVE")


def _result(table: Table, status: str) -> DynamoResult:
    description = table.describe()
    description["TableDescription"]["TableStatus"] = status
    return DynamoResult(description)


def _keep_settings(table: Table, request: Mapping[str, Any]) -> None:
    extra = _extra_description(table)
    if table_class := request.get("TableClass"):
        extra["TableClassSummary"] = {"TableClass": table_class}
    if limits := request.get("OnDemandThroughput"):
        extra["OnDemandThroughput"] = {**extra.get("OnDemandThroughput", {}), **limits}
    if request.get("BillingMode") == "PAY_PER_REQUEST":
        table.throughput = {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
    if encryption := request.get("SSESpecification"):
        table.sse_specification = _encryption(table, encryption)


def refuse_before_changing(call: Callable[..., Any], self: DynamoHandler) -> Any:
    """Wrap UpdateTable: moto changes other settings before it comes to a change of the stream that it refuses."""
    table = self.dynamodb_backend.get_table(self.body["TableName"])
    if specification := self.body.get("StreamSpecification"):
        stream.check_specification(table, specification)
    if self.body.keys() <= {"TableName", "BillingMode", "ProvisionedThroughput"}:
        _refuse_same_throughput(table, self.body)
    if encryption := self.body.get("SSESpecification"):
        _refuse_same_encryption(table, encryption)
    return call(self)


def _refuse_same_encryption(table: Table, requested: Mapping[str, Any]) -> None:
    """Refuse the key that the table has, by its ARN only (ack-api-quirks, DDB-TABLE-018 and 082)."""
    current = table.sse_specification or {}
    if not requested.get("Enabled", "SSEType" in requested) and not current.get("Enabled"):
        raise invalid_value("Table is already encrypted by default")
    if current.get("Enabled") and requested.get("KMSMasterKeyId") == current["KMSMasterKeyId"]:
        advice = "Use KMSMasterKeyId parameter if you want to change Master Key"
        raise invalid_value(f"Table is already encrypted with given KMSMasterKeyId. {advice}")


def _refuse_same_throughput(table: Table, request: Mapping[str, Any]) -> None:
    names = ("ReadCapacityUnits", "WriteCapacityUnits")
    current, requested = table.throughput or {}, request.get("ProvisionedThroughput")
    if requested and all(current.get(name) == requested.get(name) for name in names):
        values = " ".join(
            f"Current {name} provisioned for the table: {current[name]}. Requested {name}: {requested[name]}."
            for name in names
        )
        same = "The provisioned throughput for the table will not change. The requested value equals the current value."
        raise invalid(f"{same} {values}")


def update_time_to_live(
    update: Callable[..., None], self: DynamoDBBackend, table_name: str, specification: Mapping[str, Any]
) -> None:
    """Wrap UpdateTimeToLive: refuse what would change nothing, and another attribute while it is enabled."""
    ttl = _existing(self, table_name).ttl
    enabled, name = ttl["TimeToLiveStatus"] == "ENABLED", ttl.get("AttributeName")
    if enabled and specification["AttributeName"] != name:
        raise invalid(f"TimeToLive is active on a different AttributeName: current AttributeName is {name}")
    if enabled == specification["Enabled"]:
        raise invalid(f"TimeToLive is already {'enabled' if enabled else 'disabled'}")
    update(self, table_name, specification)


def describe_time_to_live(describe: Callable[..., Any], self: DynamoDBBackend, table_name: str) -> Any:
    """Wrap DescribeTimeToLive: moto has another error for a missing table."""
    _existing(self, table_name)
    return describe(self, table_name)


def _existing(backend: DynamoDBBackend, name: str) -> Table:
    try:
        return backend.get_table(name)
    except ResourceNotFoundException:
        message = f"Requested resource not found: Table: {name} not found"
        raise AwsError("ResourceNotFoundException", message) from None


def delete(delete_table: Callable[..., Any], self: DynamoHandler) -> Any:
    """Wrap DeleteTable: if delays are on, the table stays for a while, in the state DELETING."""
    backend = self.dynamodb_backend
    table = backend.tables.get(self.body["TableName"].rpartition("/")[2])
    if table and table.deletion_protection_enabled:
        what = "Resource cannot be deleted as it is currently protected against deletion."
        raise invalid(f"{what} Disable deletion protection first.")
    if not table or not delays.delay_for("table-deleting"):
        answer = delete_table(self)
        answer.result["TableDescription"]["TableStatus"] = "DELETING"
        return answer
    _extra_description(table)["TableStatus"] = "DELETING"
    delays.schedule("table-deleting", lambda: backend.delete_table(table.name))
    return DynamoResult(table.describe())


def describe(
    describe_table: Callable[..., dict[str, Any]], self: Table, base_key: str = "TableDescription"
) -> dict[str, Any]:
    """Wrap the description of a table: add its state, and the settings that moto drops."""
    description = describe_table(self, base_key)
    members = description[base_key] | {"TableStatus": _status(self), **_extra_description(self)} | progress.shown(self)
    return {base_key: {name: value for name, value in members.items() if value not in ([], None)}}


def overwrite_tags(tag: Callable[..., None], self: DynamoDBBackend, arn: str, tags: Mapping[str, str]) -> None:
    """Wrap TagResource: a tag that the table has gets the new value."""
    if arn.count(":") < _ARN_COLONS:
        raise invalid(f"Invalid TableArn: Invalid ResourceArn provided as input {arn}")
    if ":table/" in arn and all(table.table_arn != arn for table in self.tables.values()):
        raise AwsError("ResourceNotFoundException", f"Requested resource not found: ResourcArn: {arn} not found")
    for table in self.tables.values():
        if table.table_arn == arn:
            others = [each for each in table.tags if each["Key"] not in tags]
            if len(others) + len(tags) > _MAX_TAGS:
                raise invalid_value(f"Too many tags: a table has at most {_MAX_TAGS}")
            progress.change_tags(table, tags)
            table.tags = others
    tag(self, arn, tags)


def remove_tags(untag: Callable[..., None], self: DynamoDBBackend, arn: str, names: list[str]) -> None:
    """Wrap UntagResource: AWS refuses it while earlier changes of tags are in progress."""
    for table in self.tables.values():
        if table.table_arn == arn:
            progress.change_tags(table)
    untag(self, arn, names)


def refuse_busy_tables(call_action: Callable[..., Any], self: DynamoHandler) -> Any:
    """Wrap the handling of a DynamoDB call: refuse it if a table in it is not ACTIVE, as AWS does."""
    operation = self._get_action()
    if delays.delay_for("table-creating") and operation not in _ALLOWED_IN_ANY_STATE:
        tables = self.dynamodb_backend.tables
        arn = self.params.get("ResourceArn") or ""  # of a call for tags (ack-api-quirks, DDB-TABLE-101 and 104)
        names = [name.rpartition("/")[2] for name in (*_table_names(self.params), arn)]
        for table in [tables[name] for name in names if name in tables]:
            if (status := _status(table)) != "ACTIVE":
                raise _busy_error(table.name, status, operation)
            progress.refuse(table, operation, self.params)
    return call_action(self)


def _busy_error(name: str, status: str, operation: str) -> AwsError:
    if operation not in _CHANGES:
        return AwsError("ResourceNotFoundException", "Requested resource not found")
    change = status.lower().replace("ing", "ed")
    message = f"Attempt to change a resource which is still in use: Table is being {change}: {name}"
    return AwsError("ResourceInUseException", message)


def _extra_description(table: Table) -> dict[str, Any]:
    """The members that the description of the table has on top of moto's."""
    extra: dict[str, Any] = vars(table).setdefault("localaws_description", {"TableId": str(uuid.uuid4())})
    return extra


def _status(table: Table) -> str:
    age = (utcnow() - table.created_at).total_seconds()
    status = "CREATING" if age < delays.delay_for("table-creating") else "ACTIVE"
    return str(_extra_description(table).get("TableStatus", status))


def _encryption(table: Table, setting: Mapping[str, Any]) -> dict[str, Any]:
    """The encryption with the ARN of its key: of AWS's own key if the request names none."""
    key = setting.get("KMSMasterKeyId") or table._get_default_encryption_key(table.account_id, table.region_name)  # noqa: SLF001 - moto's only way to it
    if not key.startswith("arn:"):
        key = f"{table.table_arn.partition(':dynamodb:')[0]}:kms:{table.region_name}:{table.account_id}:key/{key}"
    return {"Enabled": "SSEType" in setting, **setting, "KMSMasterKeyId": key}


def _table_names(parameters: Mapping[str, Any]) -> Iterable[str]:
    """The names or ARNs of the tables in a request."""
    names = [parameters.get("TableName") or "", *(parameters.get("RequestItems") or {})]
    return names + [item["TableName"] for each in parameters.get("TransactItems") or [] for item in each.values()]
