"""AWS's own description of a service, as botocore carries it: the routes, enums, ranges, lengths and patterns."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import UnknownServiceError
from moto.core.utils import get_service_model

from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Path = tuple["str | int", ...]  # of a member: the names of members, and indices

_JSON_TYPES: dict[str, tuple[Any, str]] = {
    "structure": (dict, "map"), "map": (dict, "map"), "list": (list, "list"), "string": (str, "String"),
    "blob": ((str, bytes), "Blob"), "boolean": (bool, "Boolean"), "integer": (int, "Integer"), "long": (int, "Long"),
    "timestamp": ((int, float, datetime), "Timestamp"),
}  # fmt: skip


def operation_name(service: str, method: str, path: str) -> str:
    """The operation that a request to a REST service calls; "Unknown" if the model has none."""
    return next((name for name, verb, matches in _routes(service) if verb == method and matches(path)), "Unknown")


@lru_cache
def _routes(service: str) -> list[tuple[str, str, Any]]:
    """Name, method and path matcher of each operation."""
    try:
        model = get_service_model(service)
    except UnknownServiceError:
        return []
    routes = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(http["requestUri"])) + "/?"
        routes.append((name, http["method"], re.compile(path).fullmatch))
    return routes


def validate(service: str, operation: str, parameters: dict[str, Any], code: str = "ValidationException") -> None:
    """Check the parameters of a call against its input shape. Raises AwsError, in the words that AWS uses."""
    shape = get_service_model(service).operation_model(operation).input_shape
    if problems := list(_problems(shape, parameters, ())):
        errors = "error" if len(problems) == 1 else "errors"
        raise AwsError(code, f"{len(problems)} validation {errors} detected: {'; '.join(problems)}")


def check_types(service: str, operation: str, parameters: Any) -> list[Any]:
    """Check the JSON types in the parameters of a call, and that none is missing that is required. Raises AwsError.

    Returns DynamoDB's attribute values, without those inside of others.
    """
    values: list[Any] = []
    _check_types(get_service_model(service).operation_model(operation).input_shape, parameters, (), values)
    return values


def _check_types(shape: Any, value: Any, path: Path, values: list[Any]) -> None:
    kind, name = _JSON_TYPES.get(shape.type_name if shape else "", (None, ""))
    if kind and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        message = f"The value of {_member(path) or 'the request'} cannot be converted to {name}"
        raise AwsError("SerializationException", message)
    if not shape or shape.type_name not in ("structure", "list", "map"):
        return
    if shape.name == "AttributeValue":
        values.append(value)
        values = []
    if shape.type_name == "structure":
        for each in shape.required_members:
            if value.get(each) is None:
                raise _null((*path, each))
        members = [(shape.members[key], key, each) for key, each in value.items() if key in shape.members]
    elif shape.type_name == "list":
        members = [(shape.member, index, each) for index, each in enumerate(value)]
    else:
        members = [(shape.value, key, each) for key, each in value.items()]
    for inner, key, each in members:
        if each is None and shape.type_name != "structure":
            raise _null((*path, key))
        if each is not None and not (isinstance(each, str) and inner.type_name == "string"):  # the most frequent type
            _check_types(inner, each, (*path, key), values)


def _null(path: Path) -> AwsError:
    problem = f"Value null at '{_member(path)}' failed to satisfy constraint: Member must not be null"
    return AwsError("ValidationException", f"1 validation error detected: {problem}")


def _member(path: Path) -> str:
    """The name of a member in AWS's messages: `keySchema.1.member.attributeName`."""
    return ".".join(f"{key + 1}.member" if isinstance(key, int) else f"{key[:1].lower()}{key[1:]}" for key in path)


def _problems(shape: Any, value: Any, path: Path) -> Iterator[str]:
    if value is None or shape.metadata.get("sensitive"):
        return
    if shape.type_name == "structure":
        for name in value.keys() & shape.members.keys():
            yield from _problems(shape.members[name], value[name], (*path, name))
    elif shape.type_name == "list":
        is_structure = shape.member.type_name == "structure"
        for index, each in enumerate(value):
            yield from _problems(shape.member, each, (*path, index) if is_structure else path)
    for constraint in _broken_constraints(shape, value):
        yield f"Value '{value}' at '{_member(path)}' failed to satisfy constraint: Member must {constraint}"


def _broken_constraints(shape: Any, value: Any) -> Iterator[str]:
    if shape.type_name in ("integer", "long", "string", "list"):
        what, size = ("length", len(value)) if shape.type_name in ("string", "list") else ("value", value)
        if size < shape.metadata.get("min", size):
            yield f"have {what} greater than or equal to {shape.metadata['min']}"
        if size > shape.metadata.get("max", size):
            yield f"have {what} less than or equal to {shape.metadata['max']}"
    if shape.metadata.get("enum") and value not in shape.metadata["enum"]:
        yield f"satisfy enum value set: [{', '.join(shape.metadata['enum'])}]"
    if (pattern := shape.metadata.get("pattern")) and not _fits(pattern, value):
        yield f"satisfy regular expression pattern: {pattern}"


def _fits(pattern: str, value: str) -> bool:
    try:
        return bool(re.fullmatch(pattern, value))
    except re.error:  # the pattern uses Java's syntax
        return True
