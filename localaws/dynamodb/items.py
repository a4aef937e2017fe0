"""Attribute values and items, as DynamoDB checks, compares and counts them and moto does not.

DynamoDB developer guide, "Supported data types and naming rules" and "DynamoDB item sizes and formats".
"""

from __future__ import annotations

import copy
import re
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any

from moto.core.parse import BaseJSONParser
from moto.dynamodb.comparisons import AttributeValue, Func
from moto.dynamodb.exceptions import InvalidUpdateExpressionInvalidDocumentPath
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.parsing.ast_nodes import DDBTypedValue  # type: ignore[attr-defined] # moto has no types for it

from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.core.parse import JSONParser

# Precise enough for every number that DynamoDB accepts.
_EXACT = Context(prec=512)
_MAX_DIGITS = 38
_MIN_EXPONENT, _MAX_EXPONENT = -130, 125
_MAX_DEPTH = 32
_MAX_BYTES = 400 * 1024
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TYPES: dict[str, Any] = {
    "S": str, "N": str, "B": bytes, "BOOL": bool, "NULL": bool, "M": dict, "L": list, "SS": list, "NS": list, "BS": list
}  # fmt: skip
_SETS = {"SS": "An string set ", "NS": "An number set ", "BS": "Binary sets should not be empty"}


def invalid(message: str) -> AwsError:
    """DynamoDB's error for a request that its service model allows and the service refuses."""
    return AwsError("ValidationException", message)


def invalid_value(reason: str) -> AwsError:
    """The error for an attribute value that DynamoDB refuses."""
    return invalid(f"One or more parameter values were invalid: {reason}")


def parse_structure(self: JSONParser, shape: Any, value: Any) -> Any:
    """Replace moto's parser of structures, which looks in each value for each type: most are a string or a number."""
    if shape.name == "AttributeValue" and len(value) == 1 and isinstance(value.get("S") or value.get("N"), str):
        return value
    return BaseJSONParser._parse_structure(self, shape, value)  # type: ignore[no-untyped-call] # noqa: SLF001


def check_value(value: Any, depth: int = 0) -> None:
    """Refuse a value that DynamoDB does not store."""
    if not value:
        raise invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if len(value) > 1:
        message = "Supplied AttributeValue has more than one datatypes set, must contain exactly one"
        raise invalid(f"{message} of the supported datatypes")
    kind: str
    content: Any
    ((kind, content),) = value.items()
    if not isinstance(content, _TYPES.get(kind, ())):
        raise AwsError("SerializationException", f"The value of a {kind} has another type")
    if kind == "N":
        _check_number(content)
    elif kind in _SETS:
        _check_set(kind, content)
    elif kind in ("L", "M"):
        _check_depth(depth + 1)
        for member in content if kind == "L" else content.values():
            check_value(member, depth + 1)


def _check_number(text: str) -> None:
    if not _NUMBER.fullmatch(text):
        raise invalid(f"The parameter cannot be converted to a numeric value: {text}")
    number = Decimal(text)
    if number and number.adjusted() > _MAX_EXPONENT:
        raise invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
    if number and number.adjusted() < _MIN_EXPONENT:
        raise invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
    if len("".join(map(str, number.as_tuple().digits)).strip("0")) > _MAX_DIGITS:
        raise invalid("Attempting to store more than 38 significant digits in a Number")


def _check_set(kind: str, members: list[Any]) -> None:
    if not members:
        raise invalid_value(_SETS[kind] + ("" if kind == "BS" else " may not be empty"))
    for member in members:
        check_value({kind[0]: member})
    if len({_shortest(member) for member in members} if kind == "NS" else set(members)) < len(members):
        raise invalid_value(f"Input collection [{', '.join(map(str, members))}] contains duplicates.")


def check_item(image: Mapping[str, Any], *, is_update: bool = False) -> None:
    """Refuse the image of an item that is too large or, after an update, too deep."""
    try:
        too_large = size(image) > _MAX_BYTES
    except UnicodeEncodeError:
        raise AwsError("SerializationException", "A name or a string is not valid Unicode") from None
    if too_large:
        raise invalid(f"Item size {'to update ' if is_update else ''}has exceeded the maximum allowed size")


def size(attributes: Mapping[str, Any], depth: int = 0) -> int:
    """The size of the attributes of an image in bytes."""
    _check_depth(depth)
    return sum([_text_size(name) + _value_size(value, depth) for name, value in attributes.items()])


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _check_depth(depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise invalid("Nesting Levels have exceeded supported limits: Attributes cannot be nested more than 32 levels")


def _value_size(attribute: Mapping[str, Any], depth: int) -> int:
    ((kind, value),) = attribute.items()
    if kind == "S":
        return _text_size(value)
    if kind == "N":
        return _number_size(value)
    if kind == "B":
        return int(len(value) // 4 * 3 - value[-2:].count("="))  # in base64
    if kind in _SETS:
        return sum(_value_size({kind[0]: member}, depth) for member in value)
    if kind == "L":
        _check_depth(depth + 1)
        return 3 + sum(1 + _value_size(member, depth + 1) for member in value)
    if kind == "M":
        return 3 + len(value) + size(value, depth + 1)
    return 1  # BOOL and NULL


def _number_size(value: str) -> int:
    """The size of a number in its shortest form.

    One byte, one for two digits before the point, one for two after it, and one for a minus sign. The zeros at the
    ends do not count. (A public conformance suite measured this; the developer guide calls its rule approximate.)
    """
    integer, _, fraction = value.lstrip("-").partition(".")
    if integer == "0":
        integer, fraction = "", fraction.lstrip("0")
    elif not fraction:
        integer = integer.rstrip("0")
    return 1 + (len(integer) + 1) // 2 + (len(fraction) + 1) // 2 + (value[0] == "-")


def initialize(self: DynamoType, value: DynamoType | Mapping[str, Any]) -> None:
    """Replace the initializer of a value: it stores numbers in their shortest form, null as true, and its own set."""
    content: Any
    if isinstance(value, DynamoType):
        self.type, content = value.type, value.value
    else:
        self.type, content = next(iter(value.items()))
    if self.type == "N":
        content = _shortest(content)
    elif self.type == "L":
        content = [DynamoType(member) for member in content]
    elif self.type == "M":
        content = {name: DynamoType(member) for name, member in content.items()}
    elif self.type in _SETS:
        content = [_shortest(member) for member in content] if self.type == "NS" else list(content)
    self.value = True if self.type == "NULL" else content


def _shortest(number: Any) -> Any:
    """Remove leading zeros, trailing zeros and the exponent: "1" for "01.0", "100" for "1E2"."""
    if not isinstance(number, str) or (number.isdigit() and (number[0] != "0" or number == "0")):
        return number
    try:
        exact = _EXACT.create_decimal(number)
    except InvalidOperation:
        return number  # moto refuses it
    return format(exact.normalize(_EXACT), "f") if exact else "0"


def equal(self: DynamoType, other: object) -> bool:
    """Replace the equality of values: the types have to be the same too, also inside lists and maps."""
    if not isinstance(other, DynamoType) or self.type != other.type:
        return False
    if self.type in _SETS:
        return set(self.value) == set(other.value)
    return bool(self.value == other.value)


def calculate(operation: Callable[..., DynamoType], self: DynamoType, other: DynamoType) -> DynamoType:
    """Wrap addition and subtraction: Python has 28 digits by default, DynamoDB 38, and refuses a longer result."""
    with localcontext(_EXACT):
        result = operation(self, other)
    _check_number(result.value)
    return result


def in_container(change: Callable[..., Any], self: DynamoType, member: int | str, *rest: Any) -> Any:
    """Wrap setting and removing a member: moto ignores it, or fails, if the value is neither a map nor a list."""
    if self.type != ("L" if isinstance(member, int) else "M"):
        raise InvalidUpdateExpressionInvalidDocumentPath
    return change(self, member, *rest)


def copy_operand(resolve: Callable[..., Any], self: Any, path: Any) -> Any:
    """Wrap the evaluation of an operand of an update: moto stores the very object that it has read elsewhere."""
    operand = resolve(self, path)
    return DDBTypedValue(copy.deepcopy(operand.get_value())) if isinstance(operand, DDBTypedValue) else operand


def in_order(evaluate: Callable[..., bool], self: Any, item: Any) -> bool:
    """Wrap the evaluation of `<`, `>`, `<=`, `>=`, `BETWEEN`: for unlike types, or a size of nothing, it is false."""
    try:
        return evaluate(self, item)
    except (TypeError, ValueError):
        return False


def is_equal(self: Any, item: Any) -> bool:
    """Replace the evaluation of `=` in conditions: moto takes a missing attribute for NULL, and true for 1."""
    return _are_equal(self.lhs, self.rhs, item)


def is_unequal(self: Any, item: Any) -> bool:
    """Replace the evaluation of `<>` in conditions."""
    return not _are_equal(self.lhs, self.rhs, item)


def is_in(self: Any, item: Any) -> bool:
    """Replace the evaluation of `IN` in conditions."""
    return any(_are_equal(self.attr, value, item) for value in self.possible_values)


def _are_equal(left: Any, right: Any, item: Any) -> bool:
    if isinstance(left, Func) or isinstance(right, Func):
        return bool(left.expr(item) == right.expr(item))  # size() has a number
    values = [
        DynamoType({operand.type: operand.value}) if isinstance(operand, AttributeValue) else operand._get_attr(item)  # noqa: SLF001
        for operand in (left, right)
    ]
    return values[0] is not None and bool(values[0] == values[1])
