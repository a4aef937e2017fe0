"""The options of an event source mapping: AWS's defaults, and what AWS refuses.

Lambda API reference, CreateEventSourceMapping and UpdateEventSourceMapping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import filter_patterns
from localaws import service_model
from localaws.errors import AwsError, invalid
from localaws.iam import policies

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULTS: dict[str, Any] = {
    "BatchSize": 100,
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {"OnFailure": {}},
    "FunctionResponseTypes": [],
    "MaximumBatchingWindowInSeconds": 0,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
    "TumblingWindowInSeconds": 0,
}
# Shown only if set.
_OPTIONAL = ("FilterCriteria", "KMSKeyArn", "MetricsConfig")
_OTHER_PARAMETERS = (
    "Enabled", "EventSourceArn", "FunctionName", "StartingPosition", "StartingPositionTimestamp", "Tags", "UUID",
)  # fmt: skip
_MIN_RECORD_AGE = 60
_MAX_FILTERS = 10
_DESTINATIONS = ("sqs", "sns", "s3")
_SENDING_ACTIONS = {"sqs": "SendMessage", "sns": "Publish"}
_STREAM_ACTIONS = ("GetRecords", "GetShardIterator", "DescribeStream", "ListStreams")


def stream_access_problem(stream_arn: str, role_arn: str) -> str:
    """Say why a function with that role cannot read a stream, in AWS's words; "" if it can."""
    if policies.allows(role_arn, stream_arn, *[f"dynamodb:{action}" for action in _STREAM_ACTIONS]):
        return ""
    return (
        f"Cannot access stream {stream_arn}. Please ensure the role can perform the GetRecords, GetShardIterator, "
        f"DescribeStream, and ListStreams Actions on your stream in IAM."
    )


def destination_problem(request: Mapping[str, Any], role_arn: str) -> str:
    """Say why a function with that role cannot send to the destination in a request, in AWS's words; "" if it can."""
    arn = (request.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination") or "::"
    service = arn.split(":")[2]
    action = _SENDING_ACTIONS.get(service)
    if not action or policies.allows(role_arn, arn, f"{service}:{action}"):
        return ""
    return f"The provided execution role does not have permissions to call {action} on {service.upper()}"


def merge(request: dict[str, Any], current: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the options after a request: `current`, or AWS's defaults for a new mapping, with those in the request.

    Raises AwsError.
    """
    if current is None:
        _validate_starting_position(request)
    operation = "CreateEventSourceMapping" if current is None else "UpdateEventSourceMapping"
    known = (*_DEFAULTS, *_OPTIONAL, *_OTHER_PARAMETERS)
    if unknown := sorted(name for name, value in request.items() if name not in known and value not in (None, {}, [])):
        raise invalid(f"Unsupported parameters for a DynamoDB stream: {', '.join(unknown)}. Known: {', '.join(known)}")
    service_model.validate("lambda", operation, request)
    age = request.get("MaximumRecordAgeInSeconds")
    if age is not None and -1 < age < _MIN_RECORD_AGE:
        raise invalid(f"MaximumRecordAgeInSeconds {age} is invalid: -1, or at least {_MIN_RECORD_AGE}")
    _validate_destination(request.get("DestinationConfig") or {})
    _validate_filters(request.get("FilterCriteria") or {})
    options = (current or _DEFAULTS) | {
        name: value for name, value in request.items() if name in (*_DEFAULTS, *_OPTIONAL) and value is not None
    }
    # The text that users report: github.com/terraform-aws-modules/terraform-aws-lambda/issues/619 names the rule.
    if options["TumblingWindowInSeconds"] and options["ParallelizationFactor"] > 1:
        raise invalid("Parallelization factor must be equal to 1 when tumbling window period is configured")
    # An empty destination removes it. AWS then shows none.
    destination = options["DestinationConfig"].get("OnFailure", {}).get("Destination")
    options["DestinationConfig"] = {"OnFailure": {"Destination": destination} if destination else {}}
    # Empty criteria remove the filters. AWS then shows no criteria.
    if not options.get("FilterCriteria", {}).get("Filters"):
        options.pop("FilterCriteria", None)
    return options


def _validate_starting_position(request: Mapping[str, Any]) -> None:
    position = request.get("StartingPosition")
    if position is None:
        raise invalid(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
            "Member must not be null."
        )
    # AWS lists the values in another order than its model.
    if position not in ("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"):
        raise _constraint("startingPosition", position, "satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]")
    if position == "AT_TIMESTAMP":
        raise invalid(f"Unsupported starting position for arn type: {request['EventSourceArn']}")
    if request.get("StartingPositionTimestamp") is not None:
        raise invalid("Timestamp only valid with StartingPosition AT_TIMESTAMP")


def _validate_destination(config: Mapping[str, Any]) -> None:
    if config.get("OnSuccess"):
        raise invalid("Unsupported DestinationConfig parameter for given event source mapping type.")
    arn = config.get("OnFailure", {"Destination": ""}).get("Destination")
    if arn is None:
        raise invalid("The Destination field is required for an OnFailure configuration.")
    # Lambda guide, "Lambda parameters for Amazon DynamoDB event source mappings": standard queues and topics only.
    known = arn and arn.startswith("arn:") and arn.split(":")[2] in _DESTINATIONS and not arn.endswith(".fifo")
    if arn and not known:
        raise invalid(f"OnFailure destination {arn} is invalid: the ARN of one of {', '.join(_DESTINATIONS)}, not FIFO")


def _validate_filters(criteria: Mapping[str, Any]) -> None:
    patterns = [each.get("Pattern") for each in criteria.get("Filters") or []]
    if len(patterns) > _MAX_FILTERS:
        value = f"{len(patterns)} filters"
        raise _constraint("filterCriteria.filters", value, f"have length less than or equal to {_MAX_FILTERS}")
    try:
        for pattern in patterns:
            filter_patterns.compile_pattern(pattern)
    except ValueError as error:
        raise invalid("Invalid filter pattern definition.") from error


def _constraint(member: str, value: object, constraint: str) -> AwsError:
    text = f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must "
    return AwsError("ValidationException", text + constraint)
