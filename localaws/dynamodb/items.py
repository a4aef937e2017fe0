"""Items, as DynamoDB stores them and moto does not: numbers in their shortest form, and no half-done updates."""

from __future__ import annotations

import copy
from decimal import Context, InvalidOperation
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.dynamo_type import DynamoType

# Precise enough for every number that DynamoDB accepts (developer guide, "Supported data types and naming rules").
_EXACT = Context(prec=128)


def normalizing_numbers(initialize: Callable[..., None]) -> Callable[..., None]:
    """Wrap the initializer of an attribute value: it stores numbers in their shortest form."""

    @wraps(initialize)
    def init(self: DynamoType, type_as_dict: Any) -> None:
        initialize(self, type_as_dict)
        if self.type == "N":
            self.value = _shortest(self.value)
        elif self.type == "NS":
            self.value = [_shortest(number) for number in self.value]

    return init


def _shortest(number: Any) -> Any:
    """Remove leading zeros, trailing zeros and the exponent: "1" for "01.0", "100" for "1E2"."""
    if not isinstance(number, str) or (number.isdigit() and (number[0] != "0" or number == "0")):
        return number
    try:
        exact = _EXACT.create_decimal(number)
    except InvalidOperation:
        return number  # moto refuses it
    return format(exact.normalize(_EXACT), "f") if exact else "0"


def all_or_nothing(update_item: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap UpdateItem: a call that fails changes nothing. moto leaves a bare key, or half the changes."""

    @wraps(update_item)
    def update(self: DynamoDBBackend, table_name: str, key: dict[str, Any], *arguments: Any, **options: Any) -> Any:
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

    return update
