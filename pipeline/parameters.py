"""Settings -> the parameters of AWS's create calls, under AWS's own names. Pure: no call is made here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .resources.change import OWNER_TAG, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .settings import Settings


def tags(settings: Settings) -> dict[str, str]:
    """The tags of everything we create."""
    return {**settings.tags, OWNER_TAG: settings.pipeline_name}


def _tag_list(settings: Settings) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags(settings).items()]


def table(settings: Settings) -> dict[str, Any]:
    """CreateTable's parameters, and UpdateContinuousBackups' PointInTimeRecoverySpecification."""
    keys = [key.rpartition(":") for key in (settings.table_key, settings.table_sort_key) if key]
    wanted = {
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
        "Tags": _tag_list(settings),
    }
    if settings.table_billing_mode == "PROVISIONED":
        wanted["ProvisionedThroughput"] = {
            "ReadCapacityUnits": settings.table_read_capacity_units,
            "WriteCapacityUnits": settings.table_write_capacity_units,
        }
    return _merged(wanted, settings.table_options, "TABLE_OPTIONS")


def role(settings: Settings, trust_policy: Mapping[str, Any]) -> dict[str, Any]:
    """CreateRole's parameters, the document as a mapping, and the ManagedPolicyArns that are attached."""
    wanted = {
        "RoleName": settings.role_name,
        "AssumeRolePolicyDocument": trust_policy,
        "PermissionsBoundary": settings.role_permissions_boundary,
        "ManagedPolicyArns": list(settings.role_managed_policy_arns),
        "Tags": _tag_list(settings),
    }
    return _merged(wanted, settings.role_options, "ROLE_OPTIONS")


def function(settings: Settings, role_arn: str, code: bytes) -> dict[str, Any]:
    """CreateFunction's parameters, `code` being the zip, and PutFunctionConcurrency's ReservedConcurrentExecutions."""
    logging = {"LogFormat": settings.function_log_format}
    if settings.function_log_format == "JSON":
        logging["ApplicationLogLevel"] = settings.function_log_level
    wanted = {
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
    return _merged(wanted, settings.function_options, "FUNCTION_OPTIONS")


def log_group_name(settings: Settings) -> str:
    """Where Lambda writes what the function prints."""
    chosen = settings.function_options.get("LoggingConfig", {}).get("LogGroup")
    return str(chosen or f"/aws/lambda/{settings.function_name}")


def log_group(settings: Settings) -> dict[str, Any]:
    """CreateLogGroup's parameters, and the retention."""
    return {
        "logGroupName": log_group_name(settings),
        "retentionInDays": settings.log_retention_in_days or None,
        "tags": tags(settings),
    }


def mapping(settings: Settings, stream_arn: str) -> dict[str, Any]:
    """CreateEventSourceMapping's parameters."""
    wanted = {
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
    return _merged(wanted, settings.mapping_options, "MAPPING_OPTIONS")


# What a destination takes: docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
_ON_FAILURE_ACTIONS = {"sqs": ["sqs:SendMessage"], "sns": ["sns:Publish"], "s3": ["s3:ListBucket", "s3:PutObject"]}


def on_failure_policy(destination: str) -> dict[str, Any]:
    """What the role needs to deliver to ON_FAILURE's queue, topic or bucket."""
    service = destination.split(":")[2]
    resources = [destination, f"{destination}/*"] if service == "s3" else destination
    allowed = {"Effect": "Allow", "Action": _ON_FAILURE_ACTIONS[service], "Resource": resources}
    return {"Version": "2012-10-17", "Statement": [allowed]}


def policy_tokens(settings: Settings, arn: str) -> dict[str, str]:
    """What the tokens in policies/*.json stand for; `arn` is that of anything in the account."""
    _, partition, _, _, account, _ = arn.split(":", 5)
    return {
        "AWS::Partition": partition,
        "AWS::Region": settings.aws_region,
        "AWS::AccountId": account,
        "TableName": settings.table_name,
        "FunctionName": settings.function_name,
    }


def _merged(parameters: dict[str, Any], options: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """The parameters with the options beside them; UserError for an option that has a setting of its own."""
    merged = dict(parameters)
    for name, value in options.items():
        if isinstance(merged.get(name), dict) and isinstance(value, dict):
            merged[name] = _merged(merged[name], value, f"{setting}: {name}")
        elif name in merged:
            raise UserError(f"{setting}: {name} has a setting of its own; see docs/settings.md")
        else:
            merged[name] = value
    return merged
