"""Items, as DynamoDB stores them and moto does not: numbers in their shortest form, and no half-done updates."""

from __future__ import annotations

import copy
from decimal import Context, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.dynamo_type import DynamoType

# Precise enough for every number that DynamoDB accepts (developer guide, "Supported data types and naming rules").
_EXACT = Context(prec=128)


def normalize_numbers(init: Callable[..., None], self: DynamoType, type_as_dict: Any) -> None:
    """Wrap the initializer of an attribute value: it stores numbers in their shortest form."""
    init(self, type_as_dict)
    if self.type == "N":
        self.value = _shortest(self.value)
    elif self.type == "NS":
        self.value = [_shortest(number) for number in self.value]


def _shortest(number: Any) -> Any:
    """Remove leading zeros, trailing zeros and the exponent: "1" for "01.0", "100" for "1E2"."""
    if not isinstance(number, str) or (number.isdigit() and (number[0] != "0" or number == "0")):
        return number
    try:
        exact = _EXACT.create_decimal(number)
    except InvalidOperation:
        return number  # moto refuses it
    return format(exact.normalize(_EXACT), "f") if exact else "0"


def undo_on_failure(
    update_item: Callable[..., Any], self: DynamoDBBackend, table: str, key: dict[str, Any], *rest: Any, **options: Any
) -> Any:
    """Wrap UpdateItem: a call that fails changes nothing. moto leaves a bare key, or half the changes."""
    before = copy.deepcopy(self.get_item(table, key))
    try:
        return update_item(self, table, key, *rest, **options)
    except Exception:
        after = self.get_item(table, key)
        if after and before:
            after.attrs = before.attrs
        elif after:
            self.get_table(table).delete_item(after.hash_key, after.range_key)
        raise
