"""What AWS has of a pipeline, in its own words, without what differs from one making to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Times, and identifiers that AWS makes up.
_MADE_UP = {
    "CreationDateTime", "CreationTime", "CreateDate", "EventSourceMappingArn", "LastIncreaseDateTime",
    "LastDecreaseDateTime", "LastModified", "LastProcessingResult", "LastUpdateToPayPerRequestDateTime",
    "LatestRestorableDateTime", "EarliestRestorableDateTime", "LatestStreamArn", "LatestStreamLabel", "Location",
    "ResponseMetadata", "RevisionId", "RoleId", "RoleLastUsed", "StateTransitionReason", "TableId", "UUID",
    "creationTime", "storedBytes",
}  # fmt: skip


def everything(client: Callable[[str], Any], names: Mapping[str, str]) -> dict[str, Any]:
    """All attributes of table, role, policies, function, log group and mapping; what is missing is None.

    `names` has PIPELINE_NAME, TABLE_NAME, ROLE_NAME, POLICY_NAME and FUNCTION_NAME.
    """
    dynamodb, iam, lambda_, logs = (client(service) for service in ("dynamodb", "iam", "lambda", "logs"))
    table, role, function = names["TABLE_NAME"], names["ROLE_NAME"], names["FUNCTION_NAME"]
    group = f"/aws/lambda/{function}"
    found = _asked(dynamodb.describe_table, TableName=table)
    groups = [each for each in logs.describe_log_groups()["logGroups"] if each["logGroupName"] == group]
    mappings = _asked(lambda_.list_event_source_mappings, FunctionName=function)
    of_table = {} if found is None else {"ResourceArn": found["Table"]["TableArn"]}
    asked = {
        "table": found,
        "table tags": found and dynamodb.list_tags_of_resource(**of_table),
        "recovery": found and dynamodb.describe_continuous_backups(TableName=table),
        "role": _asked(iam.get_role, RoleName=role),
        "inline": _asked(iam.list_role_policies, RoleName=role),
        "policy": _asked(iam.get_role_policy, RoleName=role, PolicyName=names["POLICY_NAME"]),
        "attached": _asked(iam.list_attached_role_policies, RoleName=role),
        "function": _asked(lambda_.get_function, FunctionName=function),
        "group": groups or None,
        "group tags": logs.list_tags_for_resource(resourceArn=groups[0]["arn"].removesuffix(":*")) if groups else None,
        "mappings": mappings and (mappings["EventSourceMappings"] or None),
        "mapping tags": [
            lambda_.list_tags(Resource=each["EventSourceMappingArn"])["Tags"]
            for each in (mappings or {}).get("EventSourceMappings", ())
        ]
        or None,
    }
    return {name: _lasting(answer) for name, answer in asked.items()}


def _asked(call: Callable[..., Any], **parameters: Any) -> Any:
    try:
        return call(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFoundException", "NoSuchEntity"):
            return None
        raise


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _lasting(each) for name, each in value.items() if name not in _MADE_UP}
        # A stream's ARN ends with the time when it was made.
        return {
            name: each.partition("/stream/")[0] if name == "EventSourceArn" else each for name, each in kept.items()
        }
    if isinstance(value, list):
        lasting = [_lasting(each) for each in value]
        return sorted(lasting, key=str)  # sets, as AWS answers them
    return value
