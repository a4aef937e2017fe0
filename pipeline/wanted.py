"""Settings -> the parameters of AWS's create calls, under AWS's own names. Pure: no call is made here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .change import OWNER_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .settings import Settings


def tags(settings: Settings) -> dict[str, str]:
    """The tags of everything we create."""
    return {**settings.tags, OWNER_TAG: settings.pipeline_name}


def _tag_list(settings: Settings) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags(settings).items()]


def table(settings: Settings) -> dict[str, Any]:
    """CreateTable's parameters."""
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
        "Tags": _tag_list(settings),
    }
    if settings.table_billing_mode == "PROVISIONED":
        wanted["ProvisionedThroughput"] = {
            "ReadCapacityUnits": settings.table_read_capacity_units,
            "WriteCapacityUnits": settings.table_write_capacity_units,
        }
    return wanted


def role(settings: Settings, trust_policy: Mapping[str, Any]) -> dict[str, Any]:
    """CreateRole's parameters; the document as a mapping."""
    return {
        "RoleName": settings.role_name,
        "AssumeRolePolicyDocument": trust_policy,
        "Tags": _tag_list(settings),
    }


def function(settings: Settings, role_arn: str, code: bytes) -> dict[str, Any]:
    """CreateFunction's parameters; `code` is the zip."""
    return {
        "FunctionName": settings.function_name,
        "Role": role_arn,
        "Code": {"ZipFile": code},
        "Runtime": settings.function_runtime,
        "Handler": settings.function_handler,
        "MemorySize": settings.function_memory_size,
        "Timeout": settings.function_timeout,
        "Environment": {"Variables": dict(settings.function_environment)},
        "Architectures": [settings.function_architecture],
        "Tags": tags(settings),
    }


def log_group_name(settings: Settings) -> str:
    """Where Lambda writes what the function prints."""
    return f"/aws/lambda/{settings.function_name}"


def log_group(settings: Settings) -> dict[str, Any]:
    """CreateLogGroup's parameters, and the retention."""
    return {
        "logGroupName": log_group_name(settings),
        "retentionInDays": settings.log_retention_in_days or None,
        "tags": tags(settings),
    }


def mapping(settings: Settings, stream_arn: str) -> dict[str, Any]:
    """CreateEventSourceMapping's parameters."""
    return {
        "FunctionName": settings.function_name,
        "EventSourceArn": stream_arn,
        "StartingPosition": settings.starting_position,
        "BatchSize": settings.batch_size,
        "MaximumBatchingWindowInSeconds": settings.maximum_batching_window_in_seconds,
        "MaximumRetryAttempts": settings.maximum_retry_attempts,
        "MaximumRecordAgeInSeconds": settings.maximum_record_age_in_seconds,
        "BisectBatchOnFunctionError": settings.bisect_batch_on_function_error,
        "ParallelizationFactor": settings.parallelization_factor,
        "FunctionResponseTypes": list(settings.function_response_types),
        "FilterCriteria": dict(settings.filter_criteria),
        "Tags": tags(settings),
    }


def policy_tokens(settings: Settings, caller: Mapping[str, str]) -> dict[str, str]:
    """What the tokens in policies/*.json stand for; `caller` is GetCallerIdentity's answer."""
    return {
        "AWS::Partition": caller["Arn"].split(":")[1],
        "AWS::Region": settings.aws_region,
        "AWS::AccountId": caller["Account"],
        "TableName": settings.table_name,
        "FunctionName": settings.function_name,
    }
