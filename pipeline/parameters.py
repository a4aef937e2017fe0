"""Settings -> the parameters of AWS's create calls, under AWS's own names. Pure: nothing here calls AWS."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from . import archive
from .resources.change import OWNER_TAG, UserError, record, reject_unsupported
from .resources.function import PARAMETERS as FUNCTION_PARAMETERS
from .resources.mapping import PARAMETERS as MAPPING_PARAMETERS
from .resources.role import PARAMETERS as ROLE_PARAMETERS
from .resources.table import PARAMETERS as TABLE_PARAMETERS
from .settings import CREATE_CALLS, Settings, parameters_of
from .validators import check_options, json_object

# An ARN for checks of a request's form.
PLACEHOLDER_ARN = "arn:aws:iam::000000000000:role/any"

# The parameters that options extend: LogGroup has no setting.
_EXTENDED = ("LoggingConfig",)
# The function's tag that lists the alarms, so a deploy without alarms makes no calls for them.
ALARMS_TAG = "pipeline:alarms"
# The names of code objects in the pipeline's folder of CODE_BUCKET.
CODE_OBJECT_NAME = r"[0-9a-f]{64}\.zip"


def check(settings: Settings) -> None:
    """Raise UserError for a mistake in FILTER_CRITERIA or in an *_OPTIONS setting."""
    table(settings)
    role(settings, {})
    function(settings, PLACEHOLDER_ARN, b"")
    mapping(settings, PLACEHOLDER_ARN)
    topic = settings.alarm_topic_arn
    if topic and settings.aws_region not in ("", topic.split(":")[3]):
        allowed = f"a topic in {settings.aws_region}, the region of the alarms"
        raise UserError(f"ALARM_TOPIC_ARN: {topic!r} is not allowed; allowed: {allowed}")


def tags(settings: Settings) -> dict[str, str]:
    """The tags of every resource."""
    return {**settings.tags, **record(settings.tags), OWNER_TAG: settings.pipeline_name}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in the form of DynamoDB and IAM."""
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def table(settings: Settings) -> dict[str, Any]:
    """CreateTable's parameters, and UpdateContinuousBackups' PointInTimeRecoverySpecification."""
    keys = [key.rpartition(":") for key in (settings.table_key, settings.table_sort_key) if key]
    roles = ("HASH", "RANGE")
    desired = {
        "TableName": settings.table_name,
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, _, kind in keys],
        "KeySchema": [{"AttributeName": key[0], "KeyType": role} for key, role in zip(keys, roles, strict=False)],
        **from_settings("table", settings),
        "Tags": tag_list(tags(settings)),
    }
    desired["StreamSpecification"] = {"StreamEnabled": True, **desired["StreamSpecification"]}
    if settings.table_billing_mode != "PROVISIONED":
        del desired["ProvisionedThroughput"]
    desired = _with_options("table", settings, desired, TABLE_PARAMETERS)
    if limits := desired.get("OnDemandThroughput"):  # -1, no limit, is a value of UpdateTable only
        desired["OnDemandThroughput"] = {name: limit for name, limit in limits.items() if limit != -1}
    return desired


def role(settings: Settings, trust_policy: Mapping[str, Any]) -> dict[str, Any]:
    """CreateRole's parameters with the policy document as a mapping, and the ManagedPolicyArns to attach."""
    desired = {
        "RoleName": settings.role_name,
        "AssumeRolePolicyDocument": trust_policy,
        **from_settings("role", settings),
        "Tags": tag_list({**tags(settings), **record([*settings.tags, *settings.role_managed_policy_arns])}),
    }
    return _with_options("role", settings, desired, ROLE_PARAMETERS)


def function(settings: Settings, role_arn: str, code: bytes) -> dict[str, Any]:
    """The parameters of CreateFunction and the additional ones of `function.ensure`. `code` is the zip."""
    desired = {
        "FunctionName": settings.function_name,
        "Role": role_arn,
        "Code": {"ZipFile": code},
        **from_settings("function", settings),
        "Architectures": [settings.function_architecture],
        "Tags": tags(settings),
    }
    if settings.function_log_format != "JSON":
        del desired["LoggingConfig"]["ApplicationLogLevel"]
    if place := code_object(settings, code):
        desired["Code"] = {"S3Bucket": place["Bucket"], "S3Key": place["Key"]}
        desired["CodeSha256"] = archive.sha256(code)
    return _with_options("function", settings, desired, FUNCTION_PARAMETERS)


def code_object(settings: Settings, code: bytes) -> dict[str, Any]:
    """PutObject's parameters for code that is too large for CreateFunction; {} for other code."""
    if len(code) <= archive.DIRECT_UPLOAD_BYTES:
        return {}
    # Named by its content, so the same code is uploaded once, and in the pipeline's folder, so `clean` finds it.
    key = f"{settings.pipeline_name}/{hashlib.sha256(code).hexdigest()}.zip"
    return {"Bucket": settings.code_bucket, "Key": key, "Body": code}


def log_group_name(settings: Settings) -> str:
    """The log group of the function."""
    logging = settings.function_options.get("LoggingConfig", {})
    return str(logging.get("LogGroup") or f"/aws/lambda/{settings.function_name}")


def log_group(settings: Settings) -> dict[str, Any]:
    """CreateLogGroup's parameters, and PutRetentionPolicy's retentionInDays."""
    return {
        "logGroupName": log_group_name(settings),
        "retentionInDays": settings.log_retention_in_days or None,
        "tags": tags(settings),
    }


def alias(settings: Settings) -> dict[str, Any]:
    """CreateAlias's parameters, except FunctionVersion. The description replaces the tag of other resources."""
    owner = f"{OWNER_TAG}={settings.pipeline_name}"
    return {"FunctionName": settings.function_name, "Name": settings.function_alias, "Description": owner}


def mapping(settings: Settings, stream_arn: str) -> dict[str, Any]:
    """CreateEventSourceMapping's parameters."""
    if settings.filter_criteria:
        check_options("FILTER_CRITERIA", CREATE_CALLS["mapping"], {"FilterCriteria": settings.filter_criteria})
    for pattern in [each.get("Pattern", "{}") for each in settings.filter_criteria.get("Filters", ())]:
        try:
            json_object(pattern)
        except ValueError as error:
            problem = f"FILTER_CRITERIA: Pattern {pattern!r} is not allowed; allowed: {error}, as a string: "
            raise UserError(problem + '{"Filters": [{"Pattern": "{\\"eventName\\": [\\"INSERT\\"]}"}]}') from None
    desired = {
        "FunctionName": ":".join(filter(None, (settings.function_name, settings.function_alias))),
        "EventSourceArn": stream_arn,
        **from_settings("mapping", settings),
        "FunctionResponseTypes": [each for each in [settings.function_response_types] if each != "none"],
        "Tags": tags(settings),
    }
    desired = _with_options("mapping", settings, desired, MAPPING_PARAMETERS)
    # AWS rejects an empty destination except in an update, which removes it. An empty filter is omitted as well.
    empty = {"DestinationConfig": not settings.on_failure, "FilterCriteria": not settings.filter_criteria}
    return {name: value for name, value in desired.items() if not empty.get(name)}


def alarms(settings: Settings) -> list[dict[str, Any]]:
    """PutMetricAlarm's parameters for each alarm; none without ALARM_TOPIC_ARN. Missing data is not an alarm.

    Lambda developer guide: "Types of metrics for Lambda functions". SQS guide: "Available CloudWatch metrics".
    """
    function, queue = settings.function_name, settings.on_failure.rpartition(":")[2]
    rows = [
        ("iterator-age", "Lambda", "FunctionName", function, "IteratorAge", "Maximum", settings.alarm_iterator_age),
        ("errors", "Lambda", "FunctionName", function, "Errors", "Sum", settings.alarm_errors),
        ("throttles", "Lambda", "FunctionName", function, "Throttles", "Sum", settings.alarm_throttles),
        ("notes", "SQS", "QueueName", queue, "ApproximateNumberOfMessagesVisible", "Maximum", settings.alarm_notes),
    ]
    return [
        {
            "AlarmName": f"{settings.pipeline_name}-{name}",
            "AlarmDescription": f"{metric} of {watched} is {threshold} or more; see invoke status",
            "AlarmActions": [settings.alarm_topic_arn],
            "OKActions": [settings.alarm_topic_arn],
            "Namespace": f"AWS/{service}",
            "MetricName": metric,
            "Dimensions": [{"Name": dimension, "Value": watched}],
            "Statistic": statistic,
            "Period": 300,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "Threshold": threshold,
            "TreatMissingData": "notBreaching",
            "Tags": tag_list(tags(settings)),
        }
        for name, service, dimension, watched, metric, statistic, threshold in rows
        if settings.alarm_topic_arn and (service == "Lambda" or ":sqs:" in settings.on_failure)
    ]


# The permission for each kind of destination: docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
_ON_FAILURE_ACTIONS = {"sqs": ["sqs:SendMessage"], "sns": ["sns:Publish"], "s3": ["s3:ListBucket", "s3:PutObject"]}


def on_failure_policy(destination: str) -> dict[str, Any]:
    """The policy that allows the role to send to the queue, topic, or bucket of ON_FAILURE."""
    service = destination.split(":")[2]
    resources = [destination, f"{destination}/*"] if service == "s3" else destination
    return allow(_ON_FAILURE_ACTIONS[service], resources)


def allow(actions: list[str], resources: str | list[str], **others: Any) -> dict[str, Any]:
    """A policy with one statement. `others` contains additional elements, such as Principal."""
    statement = {"Effect": "Allow", **others, "Action": actions, "Resource": resources}
    return {"Version": "2012-10-17", "Statement": [statement]}


def policy_tokens(settings: Settings, arn: str) -> dict[str, str]:
    """The value of each token in policies/*.json. `arn` is the ARN of anything in the account."""
    _, partition, _, _, account, _ = arn.split(":", 5)
    return {
        "AWS::Partition": partition,
        "AWS::Region": settings.aws_region,
        "AWS::AccountId": account,
        "TableAccountId": settings.table_arn.split(":")[4] if settings.table_arn else account,
        "TableName": settings.table_name,
        "FunctionName": settings.function_name,
        "LogGroupName": log_group_name(settings),
    }


def from_settings(resource: str, settings: Settings) -> dict[str, Any]:
    """The parameters that have dedicated settings, each with the value of its setting."""
    desired: dict[str, Any] = {}
    for name, path in parameters_of(resource).items():
        *parents, parameter = path.split(".")
        value = getattr(settings, name.lower())
        parent = reduce(lambda outer, member: outer.setdefault(member, {}), parents, desired)
        parent[parameter] = list(value) if isinstance(value, tuple) else value
    return desired


def to_settings(resource: str, current: Any) -> dict[str, Any]:
    """The values of the settings by name, from the parameters. The inverse of `from_settings`."""
    return {
        name: reduce(lambda outer, member: outer and outer.get(member), path.split("."), current)
        for name, path in parameters_of(resource).items()
    }


def _with_options(kind: str, settings: Settings, desired: dict[str, Any], supported: Iterable[str]) -> dict[str, Any]:
    """Merge the parameters of an *_OPTIONS setting. Checks them against AWS's model of the call and our modules."""
    setting = f"{kind.upper()}_OPTIONS"
    options = getattr(settings, setting.lower())
    merged = _merged(desired, options, setting)
    check_options(setting, CREATE_CALLS[kind], {name: merged[name] for name in options})
    reject_unsupported(setting, options, supported)
    return merged


def _merged(desired: dict[str, Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    merged = dict(desired)
    for name, value in options.items():
        current = merged.get(name)
        if name in merged and name not in _EXTENDED:
            raise UserError(f"{where}: {name} has a dedicated setting; see docs/settings.md")
        if isinstance(current, dict) and isinstance(value, dict):
            merged[name] = _merged(current, value, f"{where}: {name}")
        else:
            merged[name] = value
    return merged
