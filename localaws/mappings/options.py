"""One event source mapping: the options a request may set, and what AWS shows of it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.utilities.utils import get_partition

from localaws import ACCOUNT_ID
from localaws.iam import policies
from localaws.mappings import filters

if TYPE_CHECKING:
    from collections.abc import Mapping as Options

    from localaws.dynamodb.stream import Journal

# Name of the option: AWS's default, the least and the greatest value (Lambda API reference, CreateEventSourceMapping).
_NUMBERS = {
    "BatchSize": (100, 1, 10_000),
    "MaximumBatchingWindowInSeconds": (0, 0, 300),
    "MaximumRecordAgeInSeconds": (-1, -1, 604_800),
    "MaximumRetryAttempts": (-1, -1, 10_000),
    "ParallelizationFactor": (1, 1, 10),
    "TumblingWindowInSeconds": (0, 0, 900),
}
_DEFAULTS: dict[str, Any] = {
    **{name: default for name, (default, _, _) in _NUMBERS.items()},
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {"OnFailure": {}},
    "FunctionResponseTypes": [],
}
# Shown only when set.
_OPTIONAL = ("FilterCriteria", "KMSKeyArn", "MetricsConfig")
_HANDLED_ELSEWHERE = ("Enabled", "EventSourceArn", "FunctionName", "Tags", "UUID")
_STARTING = ("StartingPosition", "StartingPositionTimestamp")
_LEAST_RECORD_AGE = 60
_MOST_FILTERS = 10
_DESTINATIONS = ("sqs", "sns", "s3")
_STREAM_ACTIONS = ("GetRecords", "GetShardIterator", "DescribeStream", "ListStreams")


class Invalid(Exception):  # noqa: N818 - AWS names its errors
    """A request that AWS refuses, with the code and the text that it gives."""

    def __init__(self, message: str, code: str = "InvalidParameterValueException", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass
class Progress:
    """How far one lane has got: its place in the journal, and the tumbling window that is open there.

    The window is of so many `window_seconds` and starts at `window`, seconds since 1970 (None: none is open); `state`
    is what the function gave back in it.
    """

    place: int
    window_seconds: int = 0
    window: int | None = None
    state: dict[str, Any] = field(default_factory=dict)


@dataclass
class Mapping:
    """An event source mapping as it stands.

    `lanes` is how far each lane has got; it is empty until polling begins for the first time.
    """

    function_arn: str
    journal: Journal
    starting_position: str
    options: dict[str, Any]
    state: str = "Creating"
    result: str = "No records processed"
    tags: dict[str, str] = field(default_factory=dict)
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    modified: float = field(default_factory=time.time)
    lanes: list[Progress] = field(default_factory=list)

    @property
    def arn(self) -> str:
        """The mapping's own ARN."""
        region = self.journal.region
        return f"arn:{get_partition(region)}:lambda:{region}:{ACCOUNT_ID}:event-source-mapping:{self.uuid}"

    @property
    def patterns(self) -> list[str]:
        """The filter patterns, none when every record is wanted."""
        return [each["Pattern"] for each in self.options.get("FilterCriteria", {}).get("Filters", [])]

    def describe(self) -> dict[str, Any]:
        """What the API answers about this mapping."""
        return {
            **self.options,
            "EventSourceArn": self.journal.arn,
            "EventSourceMappingArn": self.arn,
            "FunctionArn": self.function_arn,
            "LastModified": self.modified,
            "LastProcessingResult": self.result,
            "StartingPosition": self.starting_position,
            "State": self.state,
            "StateTransitionReason": "User action",
            "UUID": self.uuid,
        }


def options(request: Options[str, Any], before: Options[str, Any] = _DEFAULTS) -> dict[str, Any]:
    """The options that a create or update request leaves, checked; what it does not name stays as `before`.

    Raises Invalid for a value that AWS refuses, and for an option of another kind of source.
    """
    known = (*_DEFAULTS, *_OPTIONAL, *_STARTING, *_HANDLED_ELSEWHERE)
    if foreign := sorted(name for name, value in request.items() if name not in known and value not in (None, {}, [])):
        raise Invalid(f"Unsupported parameters for a DynamoDB stream: {', '.join(foreign)}. Known: {', '.join(known)}")
    for name in _NUMBERS:
        _check_number(name, request.get(name))
    _check_destination(request.get("DestinationConfig") or {})
    _check_filters(request.get("FilterCriteria") or {})
    for kind in request.get("FunctionResponseTypes") or []:
        if kind != "ReportBatchItemFailures":
            raise _constraint("functionResponseTypes", kind, "satisfy enum value set: [ReportBatchItemFailures]")
    wanted = dict(before) | {
        name: value for name, value in request.items() if name in (*_DEFAULTS, *_OPTIONAL) and value is not None
    }
    wanted["DestinationConfig"] = {"OnFailure": wanted["DestinationConfig"].get("OnFailure", {})}
    # An empty criteria takes the filters away; AWS then shows none.
    if not wanted.get("FilterCriteria", {}).get("Filters"):
        wanted.pop("FilterCriteria", None)
    return wanted


def starting_position(request: Options[str, Any]) -> str:
    """The StartingPosition of a create request. Raises Invalid when it is missing or not for DynamoDB."""
    value = request.get("StartingPosition")
    if value is None:
        raise Invalid(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
            "Member must not be null."
        )
    if value not in ("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"):
        allowed = "satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
        raise _constraint("startingPosition", value, allowed)
    if value == "AT_TIMESTAMP":
        raise Invalid(f"Unsupported starting position for arn type: {request['EventSourceArn']}")
    if request.get("StartingPositionTimestamp") is not None:
        raise Invalid("Timestamp only valid with StartingPosition AT_TIMESTAMP")
    return str(value)


def unreadable(stream_arn: str, role_arn: str) -> str:
    """Why a function of that role cannot be fed from a stream, in AWS's words; "" when it can."""
    if all(policies.allows(role_arn, f"dynamodb:{action}", stream_arn) for action in _STREAM_ACTIONS):
        return ""
    return (
        f"Cannot access stream {stream_arn}. Please ensure the role can perform the GetRecords, GetShardIterator, "
        f"DescribeStream, and ListStreams Actions on your stream in IAM."
    )


def _check_number(name: str, value: Any) -> None:
    _, least, most = _NUMBERS[name]
    member = name[0].lower() + name[1:]
    if value is None:
        return
    if value < least:
        raise _constraint(member, value, f"have value greater than or equal to {least}")
    if value > most:
        raise _constraint(member, value, f"have value less than or equal to {most}")
    if name == "MaximumRecordAgeInSeconds" and least < value < _LEAST_RECORD_AGE:
        raise Invalid(f"MaximumRecordAgeInSeconds {value} is invalid: -1, or {_LEAST_RECORD_AGE} to {most}")


def _check_destination(config: Options[str, Any]) -> None:
    if config.get("OnSuccess"):
        raise Invalid("Unsupported DestinationConfig parameter for given event source mapping type.")
    arn = config.get("OnFailure", {}).get("Destination")
    if arn and (not arn.startswith("arn:") or arn.split(":")[2] not in _DESTINATIONS):
        raise Invalid(f"OnFailure destination {arn} is invalid: the ARN of one of {', '.join(_DESTINATIONS)}")


def _check_filters(criteria: Options[str, Any]) -> None:
    patterns = [each.get("Pattern") for each in criteria.get("Filters") or []]
    if len(patterns) > _MOST_FILTERS:
        value = f"{len(patterns)} filters"
        raise _constraint("filterCriteria.filters", value, f"have length less than or equal to {_MOST_FILTERS}")
    if not all(filters.valid(pattern) for pattern in patterns):
        raise Invalid("Invalid filter pattern definition.")


def _constraint(member: str, value: object, allowed: str) -> Invalid:
    text = f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must "
    return Invalid(text + allowed, "ValidationException")
