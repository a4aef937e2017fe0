"""A snapshot of an account: every resource that pipelines consist of, as AWS describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Attributes that differ whenever the same resource is created again: times, and identifiers that AWS generates.
_GENERATED = {
    "AlarmConfigurationUpdatedTimestamp", "CreateDate", "CreationDateTime", "CreationTime",
    "EarliestRestorableDateTime", "EventSourceMappingArn", "LastDecreaseDateTime", "LastIncreaseDateTime",
    "LastModified", "LastProcessingResult", "LastUpdateToPayPerRequestDateTime", "LatestRestorableDateTime",
    "LatestStreamArn", "LatestStreamLabel", "Location", "ResponseMetadata", "RevisionId", "RoleId", "RoleLastUsed",
    "StateTransitionedTimestamp", "StateUpdatedTimestamp", "TableId", "UUID", "creationTime", "storedBytes",
}  # fmt: skip


def take(client: Callable[[str], Any]) -> dict[str, list[Any]]:
    """Return every table, role, function, mapping, log group and alarm with its policies and tags.

    `client` returns a boto3 client for the name of a service. Generated attributes are left out, so that two
    snapshots are equal when the resources are.
    """
    dynamodb, iam, lambda_, logs = (client(service) for service in ("dynamodb", "iam", "lambda", "logs"))
    tables = [dynamodb.describe_table(TableName=name)["Table"] for name in dynamodb.list_tables()["TableNames"]]
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    functions = [function["FunctionName"] for function in lambda_.list_functions()["Functions"]]
    mappings = lambda_.list_event_source_mappings()["EventSourceMappings"]
    cloudwatch = client("cloudwatch")
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    groups = logs.describe_log_groups()["logGroups"]
    resources: dict[str, list[Any]] = {
        "tables": tables,
        "tags of tables": [dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"]) for table in tables],
        "recovery": [dynamodb.describe_continuous_backups(TableName=table["TableName"]) for table in tables],
        "roles": [iam.get_role(RoleName=name) for name in roles],
        "policies": [
            iam.get_role_policy(RoleName=role, PolicyName=name)
            for role in roles
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        ],
        "attached": [iam.list_attached_role_policies(RoleName=name) for name in roles],
        "functions": [lambda_.get_function(FunctionName=name) for name in functions],
        "versions": [each for name in functions for each in _versions(lambda_, name)],
        "mappings": mappings,
        "tags of mappings": [lambda_.list_tags(Resource=mapping["EventSourceMappingArn"]) for mapping in mappings],
        "alarms": alarms,
        "tags of alarms": [cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"]) for alarm in alarms],
        "log groups": groups,
        "tags of log groups": [logs.list_tags_for_resource(resourceArn=group["logGroupArn"]) for group in groups],
    }
    return {kind: [_comparable(each) for each in described] for kind, described in resources.items()}


def _versions(lambda_: Any, function: str) -> list[Any]:
    """The published versions with their aliases, without their numbers, which Lambda never uses again."""
    aliases = lambda_.list_aliases(FunctionName=function)["Aliases"]
    return [
        {
            **{name: value for name, value in version.items() if name not in ("FunctionArn", "Version")},
            "Aliases": [
                {name: value for name, value in alias.items() if name != "FunctionVersion"}
                for alias in aliases
                if alias["FunctionVersion"] == version["Version"]
            ],
        }
        for version in lambda_.list_versions_by_function(FunctionName=function)["Versions"][1:]
    ]


# What `adopt --write` and the deploy of other code change, and a count that AWS updates later.
_OURS = {"Tags", "tags", "CodeSha256", "CodeSize", "ItemCount", "TableSizeBytes"}


def without_ours(value: Any) -> Any:
    """Return a snapshot without the attributes that the pipeline takes over."""
    if isinstance(value, dict):
        return {
            name: without_ours(each)
            for name, each in value.items()
            if name not in _OURS and not name.startswith("tags of ")
        }
    return [without_ours(each) for each in value] if isinstance(value, list) else value


def _comparable(value: Any) -> Any:
    """Return `value` without generated attributes and with its lists sorted."""
    if isinstance(value, dict):
        attributes = {name: _comparable(each) for name, each in value.items() if name not in _GENERATED}
        if attributes.get("Description") == "":  # the same as none
            del attributes["Description"]
        if "EventSourceArn" in attributes:  # a stream's ARN ends with its creation time
            attributes["EventSourceArn"] = attributes["EventSourceArn"].partition("/stream/")[0]
        return attributes
    if isinstance(value, list):
        return sorted((_comparable(each) for each in value), key=str)  # AWS returns sets in any order
    return value
