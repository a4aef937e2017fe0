"""What a setting's value may be: parsers that return the value or raise ValueError with what is allowed."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# What Lambda reserves: docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
_RESERVED_VARIABLES = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}  # fmt: skip
_ENVIRONMENT_BYTES = 4096
RETENTION_DAYS = (
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip


def text(pattern: str, allowed: str) -> Callable[[str], str]:
    """A text that matches the whole pattern."""

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(allowed)
        return value

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """One of these words."""
    return text("|".join(map(re.escape, allowed)), " or ".join(allowed))


def number(low: int, high: int, *others: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`, or one of the others."""
    allowed = f"a whole number from {low} to {high}" + "".join(f", or {other}" for other in others)

    def parse(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,12}", value) or not (low <= int(value) <= high or int(value) in others):
            raise ValueError(allowed)
        return int(value)

    return parse


def one_of_numbers(*numbers: int) -> Callable[[str], int]:
    """One of these whole numbers."""

    def parse(value: str) -> int:
        if value not in map(str, numbers):
            raise ValueError("one of " + ", ".join(map(str, numbers)))
        return int(value)

    return parse


def decimal(low: float, high: float) -> Callable[[str], float]:
    """A number from `low` to `high`."""

    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not low <= float(value) <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return parse


def switch(value: str) -> bool:
    """Either true or false."""
    if value.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return value.lower() == "true"


def delays(value: str) -> float:
    """off, on, or a factor."""
    words = {"off": 0.0, "on": 1.0}
    return words[value.lower()] if value.lower() in words else decimal(0, 100)(value)


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
    """The variables of a function, without those that Lambda sets itself."""
    variables = strings(value)
    for name in variables:
        if not re.fullmatch(r"[A-Za-z]\w+", name, re.ASCII):
            raise ValueError(f"variable names of letters, digits and _, starting with a letter, not {name!r}")
        if name in _RESERVED_VARIABLES:
            raise ValueError(f"no variable that Lambda sets itself: {name}")
    if len(json.dumps(variables).encode()) > _ENVIRONMENT_BYTES:
        raise ValueError(f"at most {_ENVIRONMENT_BYTES} bytes in all")
    return variables


def tags(value: str) -> dict[str, str]:
    """Tags that AWS takes and that leave our own tag alone."""
    tags = strings(value)
    for name in tags:
        if not 1 <= len(name) <= 128 or name.lower().startswith("aws:") or name == "pipeline":  # noqa: PLR2004 - AWS's limit
            raise ValueError(f"names of 1 to 128 characters, without aws: in front, and not 'pipeline': {name!r}")
    return tags


def key(value: str) -> str:
    """A key attribute, NAME:TYPE."""
    name, _, kind = value.rpartition(":")
    if not 1 <= len(name.encode()) <= 255 or kind not in ("S", "N", "B"):  # noqa: PLR2004 - AWS's limit
        raise ValueError("NAME:TYPE, with TYPE S (string), N (number) or B (binary), such as name:S")
    return value


def items(pattern: str, allowed: str) -> Callable[[str], tuple[str, ...]]:
    """A comma-separated list of texts that match the pattern."""

    def parse(value: str) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        if not all(re.fullmatch(pattern, part) for part in parts):
            raise ValueError(f"a comma-separated list of {allowed}")
        return parts

    return parse


def moment(value: str, now: float) -> int:
    """A time such as 15m (ago) or 2026-01-31T08:00:00Z, in milliseconds since 1970; `now` in seconds since 1970."""
    ago = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    if ago:
        return int((now - int(ago[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[ago[2]]) * 1000)
    try:
        stated = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError("90s, 15m, 2h, 1d (ago), or a time such as 2026-01-31T08:00:00Z") from None
    return int((stated if stated.tzinfo else stated.astimezone()).timestamp() * 1000)
