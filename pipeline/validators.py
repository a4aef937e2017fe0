"""Validators. Each parses the text of a setting, or raises ValueError with the allowed values.

AWS's limits come from botocore's service models (`aws_parameter`). This module contains rules that the models lack.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from .resources.change import UserError

# PutRetentionPolicy accepts only these values, which its model does not list. 0 is this project's value for no expiry.
RETENTION_DAYS = (
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
_ENVIRONMENT_BYTES = 4096
_RESERVED_VARIABLES = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}  # fmt: skip
_TAGS = 47  # AWS's limit is 50 for a resource. Three are ours.
_IN_TAGS = "_.:/=+-@"


def aws_parameter(path: str, value: str) -> Any:
    """A value, or comma-separated values, that AWS's model accepts at `path`: "lambda CreateFunction Layers"."""
    operation, _, members = path.rpartition(" ")
    shape = _input_shape(operation)
    for member in members.split("."):
        shape = shape.members[member]
    return _parse_shape(shape, value)


def check_options(setting: str, path: str, options: Mapping[str, Any]) -> None:
    """Raise UserError for options that AWS's model of a call ("lambda CreateFunction") does not accept."""
    if not options:
        return
    from botocore.validate import ParamValidator  # noqa: PLC0415

    members = _input_shape(path).members
    for name, value in options.items():
        where = f"{setting}: {name}"
        if name not in members:
            raise UserError(f"{where} is not a parameter of {path.split(' ')[1]}; parameters: {', '.join(members)}")
        report = ParamValidator().validate(value, members[name])
        if report.has_errors():
            raise UserError(f"{where}: {report.generate_report()}".replace("\n", "; "))


def _input_shape(path: str) -> Any:
    service, operation = path.split(" ")
    return _service_model(service).operation_model(operation).input_shape


@cache
def _service_model(service: str) -> Any:
    from botocore.loaders import create_loader  # noqa: PLC0415 - slow to import, and defaults do not need it
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(create_loader().load_service_model(service, "service-2"), service)


def _parse_shape(shape: Any, value: str) -> Any:
    limits = shape.metadata
    if shape.type_name == "boolean":
        return boolean(value)
    if shape.type_name in ("integer", "long"):
        return integer(limits["min"], limits.get("max"), value)
    if shape.type_name == "list":
        return tuple(_parse_shape(shape.member, part) for part in _split(value))
    if shape.enum:
        return choice(shape.enum, value)
    low, high, pattern = limits.get("min", 0), limits.get("max", "any number of"), limits.get("pattern", "")
    allowed = f"{low} to {high} characters" + (f" matching {pattern}" if pattern else "")
    if len(value) < low or ("max" in limits and len(value) > high):
        raise ValueError(allowed)
    return text(pattern, allowed, value) if pattern else value


def text(pattern: str, allowed: str, value: str) -> str:
    """A text that matches the whole pattern."""
    if not re.fullmatch(pattern, value, re.ASCII):
        raise ValueError(allowed)
    return value


def choice(allowed: Iterable[str], value: str) -> str:
    """One of these words."""
    return text("|".join(map(re.escape, allowed)), " or ".join(allowed), value)


def integer(low: int, high: int | None, value: str) -> int:
    """A whole number from `low` to `high`. None means no limit."""
    if not re.fullmatch(r"-?[0-9]{1,12}", value) or int(value) < low or (high is not None and int(value) > high):
        raise ValueError(f"a whole number from {low}" + (f" to {high}" if high is not None else ""))
    return int(value)


def record_age(value: str) -> int:
    """A MaximumRecordAgeInSeconds. The model's range starts at -1; the API reference excludes 0 to 59."""
    age: int = aws_parameter("lambda CreateEventSourceMapping MaximumRecordAgeInSeconds", value)
    if 0 <= age < 60:  # noqa: PLR2004 - AWS's limit
        raise ValueError("-1, or a whole number from 60 to 604800")
    return age


def retention_days(value: str) -> int:
    """A number of days for which CloudWatch Logs keeps events, or 0."""
    if value not in map(str, RETENTION_DAYS):
        raise ValueError("one of " + ", ".join(map(str, RETENTION_DAYS)))
    return int(value)


def decimal(low: float, high: float, value: str) -> float:
    """A number from `low` to `high`."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not low <= float(value) <= high:
        raise ValueError(f"a number from {low:g} to {high:g}")
    return float(value)


def boolean(value: str) -> bool:
    """Either true or false."""
    return choice(("true", "false"), value.lower()) == "true"


def delays(value: str) -> float:
    """Off (0), on (1), or a multiplier."""
    try:
        return decimal(0, 100, {"off": "0", "on": "1"}.get(value.lower(), value))
    except ValueError as error:
        raise ValueError(f"off, on, or {error}") from None


def json_object(value: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        document = json.loads(value)
    except ValueError as error:
        raise ValueError(f"a JSON object ({error})") from None
    if not isinstance(document, dict):
        raise ValueError("a JSON object")  # noqa: TRY004 - every bad value is a ValueError here
    return document


def strings(value: str) -> dict[str, str]:
    """A JSON object whose values are strings."""
    document = json_object(value)
    if not all(isinstance(text, str) for text in document.values()):
        raise ValueError('a JSON object of strings, such as {"STAGE": "test"}')
    return document


def environment(value: str) -> dict[str, str]:
    """Environment variables, except Lambda's own. Lambda developer guide: "Working with environment variables"."""
    variables = strings(value)
    for name in variables:
        if not re.fullmatch(r"[A-Za-z]\w+", name, re.ASCII):
            raise ValueError(f"variable names of letters, digits, and _ that start with a letter, not {name!r}")
        if name in _RESERVED_VARIABLES:
            raise ValueError(f"variable names that Lambda does not reserve, not {name}")
    if len(json.dumps(variables).encode()) > _ENVIRONMENT_BYTES:
        raise ValueError(f"at most {_ENVIRONMENT_BYTES} bytes in total")
    return variables


def tags(value: str) -> dict[str, str]:
    """Tags that AWS accepts, except those that the pipeline sets itself. General reference: "Tagging AWS resources"."""
    tags = strings(value)
    if len(tags) > _TAGS:
        raise ValueError(f"up to {_TAGS} tags")
    for name, content in tags.items():
        if not 1 <= len(name) <= 128 or re.match("(aws:|pipeline(:.*)?$)", name, re.IGNORECASE):  # noqa: PLR2004 - AWS's
            raise ValueError(f"names of 1 to 128 characters, not starting with aws: and not 'pipeline': {name!r}")
        if len(content) > 256:  # noqa: PLR2004 - AWS's limit
            raise ValueError(f"values of up to 256 characters: {name!r} has {len(content)}")
        if refused := [c for c in name + content if c not in _IN_TAGS and unicodedata.category(c)[0] not in "LNZ"]:
            raise ValueError(f"letters, digits, spaces and {_IN_TAGS} in names and values: {name!r} has {refused[0]!r}")
    if len({name.lower() for name in tags}) < len(tags):
        raise ValueError("names that differ in more than case, because IAM ignores case")
    return tags


def string_list(pattern: str, allowed: str, value: str) -> tuple[str, ...]:
    """A comma-separated list of texts that match the pattern."""
    return tuple(text(pattern, f"a comma-separated list of {allowed}", part) for part in _split(value))


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def timestamp(value: str, now: float) -> int:
    """A past time such as 15m (ago) or 2026-01-31T08:00:00Z, in milliseconds since 1970; `now` is in seconds."""
    if ago := re.fullmatch(r"([0-9]{1,9})([smhd])", value):
        return int((now - int(ago[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[ago[2]]) * 1000)
    try:
        stated = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError("90s, 15m, 2h, 1d (ago), or a time such as 2026-01-31T08:00:00Z") from None
    seconds = (stated if stated.tzinfo else stated.astimezone()).timestamp()
    if seconds > now:
        raise ValueError("a time that is not in the future, such as 2h (ago)")
    return int(seconds * 1000)
