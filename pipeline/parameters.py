"""Settings -> the parameters of AWS's create calls, under AWS's own names. Pure: nothing here calls AWS."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from . import archive
from .resources.change import OWNER_TAG, UserError, record, reject_unsupported
from .resources.function import PARAMETERS as FUNCTION_PARAMETERS
from .resources.mapping import PARAMETERS as MAPPING_PARAMETERS
from .resources.role import PARAMETERS as ROLE_PARAMETERS
from .resources.table import PARAMETERS as TABLE_PARAMETERS
from .settings import Settings
from .validators import check_options

# Stands for an ARN where only the form of a request is checked.
PLACEHOLDER_ARN = "arn:aws:iam::000000000000:role/any"

# The parameters that options extend: LogGroup has no setting.
_EXTENDED = ("LoggingConfig",)
# The names of code objects in the pipeline's folder of CODE_BUCKET.
CODE_OBJECT_NAME = r"[0-9a-f]{64}\.zip"


def check(settings: Settings) -> None:
    """Raise UserError for a mistake in FILTER_CRITERIA or in an *_OPTIONS setting."""
    table(settings)
    role(settings, {})
    function(settings, PLACEHOLDER_ARN, b"")
    mapping(settings, PLACEHOLDER_ARN)


def tags(settings: Settings) -> dict[str, str]:
    """The tags of every resource."""
    return {**settings.tags, **record(settings.tags), OWNER_TAG: settings.pipeline_name}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in the form of DynamoDB and IAM."""
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def table(settings: Settings) -> dict[str, Any]:
    """CreateTable's parameters, and UpdateContinuousBackups' PointInTimeRecoverySpecification."""
    keys = [key.rpartition(":") for key in (settings.table_key, settings.table_sort_key) if key]
    desired = {
        "TableName": settings.table_name,
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, _, kind in keys],
        "KeySchema": [
            {"AttributeName": name, "KeyType": role}
            for (name, _, _), role in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        "BillingMode": settings.table_billing_mode,
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": settings.stream_view_type},
        "DeletionProtectionEnabled": settings.table_deletion_protection_enabled,
        "PointInTimeRecoverySpecification": {
            "PointInTimeRecoveryEnabled": settings.table_point_in_time_recovery_enabled
        },
        "Tags": tag_list(tags(settings)),
    }
    if settings.table_billing_mode == "PROVISIONED":
        desired["ProvisionedThroughput"] = {
            "ReadCapacityUnits": settings.table_read_capacity_units,
            "WriteCapacityUnits": settings.table_write_capacity_units,
        }
    operation = "dynamodb CreateTable"
    return _with_options("TABLE_OPTIONS", operation, desired, settings.table_options, TABLE_PARAMETERS)


def role(settings: Settings, trust_policy: Mapping[str, Any]) -> dict[str, Any]:
    """CreateRole's parameters, with the document as a mapping, and the ManagedPolicyArns to attach."""
    managed = list(settings.role_managed_policy_arns)
    desired = {
        "RoleName": settings.role_name,
        "AssumeRolePolicyDocument": trust_policy,
        "PermissionsBoundary": settings.role_permissions_boundary,
        "ManagedPolicyArns": managed,
        "Tags": tag_list({**tags(settings), **record([*settings.tags, *managed])}),
    }
    return _with_options("ROLE_OPTIONS", "iam CreateRole", desired, settings.role_options, ROLE_PARAMETERS)


def function(settings: Settings, role_arn: str, code: bytes) -> dict[str, Any]:
    """CreateFunction's parameters, `code` being the zip, and what `function.ensure` takes besides them."""
    logging = {"LogFormat": settings.function_log_format}
    if settings.function_log_format == "JSON":
        logging["ApplicationLogLevel"] = settings.function_log_level
    desired = {
        "FunctionName": settings.function_name,
        "Role": role_arn,
        "Code": {"ZipFile": code},
        "Runtime": settings.function_runtime,
        "Handler": settings.function_handler,
        "MemorySize": settings.function_memory_size,
        "Timeout": settings.function_timeout,
        "Environment": {"Variables": dict(settings.function_environment)},
        "Architectures": [settings.function_architecture],
        "EphemeralStorage": {"Size": settings.function_ephemeral_storage},
        "Layers": list(settings.function_layers),
        "TracingConfig": {"Mode": settings.function_tracing},
        "LoggingConfig": logging,
        "ReservedConcurrentExecutions": settings.function_reserved_concurrent_executions,
        "Tags": tags(settings),
    }
    if place := code_object(settings, code):
        desired["Code"] = {"S3Bucket": place["Bucket"], "S3Key": place["Key"]}
        desired["CodeSha256"] = archive.sha256(code)
    operation = "lambda CreateFunction"
    return _with_options("FUNCTION_OPTIONS", operation, desired, settings.function_options, FUNCTION_PARAMETERS)


def code_object(settings: Settings, code: bytes) -> dict[str, Any]:
    """PutObject's parameters for code that is too large for CreateFunction; {} for other code."""
    if len(code) <= archive.DIRECT_UPLOAD_BYTES:
        return {}
    # Named by the content, so that the same code is uploaded once. In the pipeline's folder, for `clean`.
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


def mapping(settings: Settings, stream_arn: str) -> dict[str, Any]:
    """CreateEventSourceMapping's parameters."""
    operation = "lambda CreateEventSourceMapping"
    if settings.filter_criteria:
        check_options("FILTER_CRITERIA", operation, {"FilterCriteria": settings.filter_criteria})
        _check_patterns(settings.filter_criteria)
    desired = {
        "FunctionName": settings.function_name,
        "EventSourceArn": stream_arn,
        "StartingPosition": settings.starting_position,
        "BatchSize": settings.batch_size,
        "MaximumBatchingWindowInSeconds": settings.maximum_batching_window_in_seconds,
        "MaximumRetryAttempts": settings.maximum_retry_attempts,
        "MaximumRecordAgeInSeconds": settings.maximum_record_age_in_seconds,
        "BisectBatchOnFunctionError": settings.bisect_batch_on_function_error,
        "ParallelizationFactor": settings.parallelization_factor,
        "FunctionResponseTypes": [each for each in [settings.function_response_types] if each != "none"],
        "FilterCriteria": dict(settings.filter_criteria),
        "TumblingWindowInSeconds": settings.tumbling_window_in_seconds,
        "DestinationConfig": {"OnFailure": {"Destination": settings.on_failure} if settings.on_failure else {}},
        "Enabled": settings.mapping_enabled,
        "Tags": tags(settings),
    }
    return _with_options("MAPPING_OPTIONS", operation, desired, settings.mapping_options, MAPPING_PARAMETERS)


def _check_patterns(filter_criteria: Mapping[str, Any]) -> None:
    for pattern in [each.get("Pattern", "{}") for each in filter_criteria.get("Filters", ())]:
        try:
            is_object = isinstance(json.loads(pattern), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise UserError(
                f"FILTER_CRITERIA: Pattern {pattern!r} is not allowed; allowed: a JSON object as text, such as "
                '{"Filters": [{"Pattern": "{\\"eventName\\": [\\"INSERT\\"]}"}]}'
            )


# What each kind of destination needs: docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
_ON_FAILURE_ACTIONS = {"sqs": ["sqs:SendMessage"], "sns": ["sns:Publish"], "s3": ["s3:ListBucket", "s3:PutObject"]}


def on_failure_policy(destination: str) -> dict[str, Any]:
    """The policy that lets the role deliver to ON_FAILURE's queue, topic or bucket."""
    service = destination.split(":")[2]
    resources = [destination, f"{destination}/*"] if service == "s3" else destination
    return allow(_ON_FAILURE_ACTIONS[service], resources)


def allow(actions: list[str], resources: str | list[str]) -> dict[str, Any]:
    """A policy of one statement."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
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


def _with_options(
    setting: str, operation: str, desired: dict[str, Any], options: Mapping[str, Any], supported: Iterable[str]
) -> dict[str, Any]:
    """The parameters with those of an *_OPTIONS setting, checked against AWS's model of the call and our modules."""
    merged = _merged(desired, options, setting)
    check_options(setting, operation, {name: merged[name] for name in options})
    reject_unsupported(setting, options, supported)
    return merged


def _merged(desired: dict[str, Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    merged = dict(desired)
    for name, value in options.items():
        current = merged.get(name)
        if name in merged and name not in _EXTENDED:
            raise UserError(f"{where}: {name} has a setting of its own; see docs/settings.md")
        if isinstance(current, dict) and isinstance(value, dict):
            merged[name] = _merged(current, value, f"{where}: {name}")
        else:
            merged[name] = value
    return merged
