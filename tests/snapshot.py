"""All that an account holds of what pipelines are made of, in AWS's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# What differs from one making of the same thing to the next: times, and identifiers that AWS makes up.
_MADE_UP = {
    "CreateDate", "CreationDateTime", "CreationTime", "EarliestRestorableDateTime", "EventSourceMappingArn",
    "LastDecreaseDateTime", "LastIncreaseDateTime", "LastModified", "LastProcessingResult",
    "LastUpdateToPayPerRequestDateTime", "LatestRestorableDateTime", "LatestStreamArn", "LatestStreamLabel",
    "Location", "ResponseMetadata", "RevisionId", "RoleId", "RoleLastUsed", "TableId", "UUID",
    "creationTime", "storedBytes",
}  # fmt: skip


def everything(client: Callable[[str], Any]) -> dict[str, list[Any]]:
    """Every table, role, function, mapping and log group with its policies and tags, without what is made up anew.

    `client` makes a boto3 client of a service's name.
    """
    dynamodb, iam, lambda_, logs = (client(service) for service in ("dynamodb", "iam", "lambda", "logs"))
    tables = [dynamodb.describe_table(TableName=name)["Table"] for name in dynamodb.list_tables()["TableNames"]]
    roles = [each["RoleName"] for each in iam.list_roles()["Roles"]]
    functions = [each["FunctionName"] for each in lambda_.list_functions()["Functions"]]
    mappings = lambda_.list_event_source_mappings()["EventSourceMappings"]
    groups = logs.describe_log_groups()["logGroups"]
    held: dict[str, list[Any]] = {
        "tables": tables,
        "tags of tables": [dynamodb.list_tags_of_resource(ResourceArn=each["TableArn"]) for each in tables],
        "recovery": [dynamodb.describe_continuous_backups(TableName=each["TableName"]) for each in tables],
        "roles": [iam.get_role(RoleName=name) for name in roles],
        "policies": [
            iam.get_role_policy(RoleName=role, PolicyName=name)
            for role in roles
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        ],
        "attached": [iam.list_attached_role_policies(RoleName=name) for name in roles],
        "functions": [lambda_.get_function(FunctionName=name) for name in functions],
        "mappings": mappings,
        "tags of mappings": [lambda_.list_tags(Resource=each["EventSourceMappingArn"]) for each in mappings],
        "log groups": groups,
        "tags of log groups": [logs.list_tags_for_resource(resourceArn=each["logGroupArn"]) for each in groups],
    }
    return {kind: [_lasting(each) for each in found] for kind, found in held.items()}


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _lasting(each) for name, each in value.items() if name not in _MADE_UP}
        # A stream's ARN ends with the time when it was made.
        return {
            name: each.partition("/stream/")[0] if name == "EventSourceArn" else each for name, each in kept.items()
        }
    if isinstance(value, list):
        return sorted((_lasting(each) for each in value), key=str)  # sets, as AWS answers them
    return value
