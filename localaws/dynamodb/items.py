"""Items as DynamoDB keeps them and moto does not: numbers in their shortest form, no update half made."""

from __future__ import annotations

import copy
from decimal import Context, InvalidOperation
from functools import wraps
from typing import TYPE_CHECKING, Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType

if TYPE_CHECKING:
    from collections.abc import Callable

# Enough for any number that DynamoDB takes (developer guide, "Supported data types and naming rules").
_EXACT = Context(prec=128)


def install() -> None:
    """Make moto keep items so; before the journal is installed, which then sees nothing of an update that failed."""
    DynamoType.__init__ = _with_short_numbers(DynamoType.__init__)  # type: ignore[method-assign]
    DynamoDBBackend.update_item = _all_or_nothing(DynamoDBBackend.update_item)  # type: ignore[method-assign]


def _with_short_numbers(initialise: Callable[..., None]) -> Callable[..., None]:
    @wraps(initialise)
    def whole(self: DynamoType, type_as_dict: Any) -> None:
        initialise(self, type_as_dict)
        if self.type == "N":
            self.value = _shortest(self.value)
        elif self.type == "NS":
            self.value = [_shortest(number) for number in self.value]

    return whole


def _shortest(number: Any) -> Any:
    """The number without leading and trailing zeros and without an exponent: "1" for "01.0", "100" for "1E2"."""
    if not isinstance(number, str) or (number.isdigit() and (number[0] != "0" or number == "0")):
        return number
    try:
        exact = _EXACT.create_decimal(number)
    except InvalidOperation:
        return number  # no number: moto says so
    return format(exact.normalize(_EXACT), "f") if exact else "0"


def _all_or_nothing(update_item: Callable[..., Any]) -> Callable[..., Any]:
    """UpdateItem that changes nothing when it fails; moto leaves a bare new item, or half of the changes."""

    @wraps(update_item)
    def whole(self: DynamoDBBackend, table_name: str, key: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        before = copy.deepcopy(self.get_item(table_name, key))
        try:
            return update_item(self, table_name, key, *arguments, **options)
        except Exception:
            after = self.get_item(table_name, key)
            if after and before:
                after.attrs = before.attrs
            elif after:
                self.get_table(table_name).delete_item(after.hash_key, after.range_key)
            raise

    return whole
