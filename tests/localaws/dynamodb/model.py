"""A small model of DynamoDB's items: how it stores values, what an update does, and what it returns.

A table is a dictionary from keys to items. An item is a dictionary of the API's attribute values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

Value = dict[str, Any]
Item = dict[str, Value]

SETS = ("SS", "NS", "BS")
_EXACT = Context(prec=300)


class RefusedError(Exception):
    """The call is refused with this error code, and changes nothing."""

    def __init__(self, code: str = "ValidationException") -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Model:
    """Tables by name, the names of their keys, and how many records their streams have."""

    keys: dict[str, list[str]]
    tables: dict[str, dict[Any, Item]] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)

    def key(self, table: str, item: Item) -> Any:
        return json.dumps({name: canonical(item[name]) for name in self.keys[table]}, sort_keys=True)

    def get(self, table: str, item: Item) -> Item | None:
        return self.tables.setdefault(table, {}).get(self.key(table, item))

    def write(self, table: str, key: Item, item: Item | None) -> None:
        old = self.get(table, key)
        if item is None:
            self.tables[table].pop(self.key(table, key), None)
        else:
            self.tables[table][self.key(table, key)] = item
        if comparable(old) != comparable(item):
            self.records[table] = self.records.get(table, 0) + 1


def canonical(value: Value) -> Value:
    """A value as DynamoDB stores it: numbers have no superfluous digits."""
    ((kind, content),) = value.items()
    if kind == "N":
        return {"N": shortest(content)}
    if kind == "NS":
        return {"NS": [shortest(each) for each in content]}
    if kind == "L":
        return {"L": [canonical(each) for each in content]}
    if kind == "M":
        return {"M": {name: canonical(each) for name, each in content.items()}}
    return value


def shortest(number: str) -> str:
    exact = _EXACT.create_decimal(number)
    return format(exact.normalize(_EXACT), "f") if exact else "0"


def comparable(item: Any) -> Any:
    """An item or value, with sets in which the order does not matter."""
    if isinstance(item, dict):
        return {
            name: sorted(each, key=repr) if name in SETS and isinstance(each, list) else comparable(each)
            for name, each in item.items()
        }
    return [comparable(each) for each in item] if isinstance(item, list) else item


# An update: what it does to an attribute, the attribute, and a value or another attribute.
Action = tuple[str, str, Any]


def updated(old: Item | None, key: Item, actions: list[Action]) -> Item | None:
    """The item after an update. All actions see the item as it was."""
    if old is None and actions and all(what in ("REMOVE", "DELETE") for what, _, _ in actions):
        return None
    before = old or {name: canonical(value) for name, value in key.items()}
    item = dict(before)
    for what, name, operand in actions:
        new = _new_value(what, before.get(name), operand, before)
        item.pop(name, None)
        if new is not None:
            item[name] = new
    return item


def _new_value(what: str, current: Value | None, operand: Any, item: Item) -> Value | None:
    if what in ("SET", "PUT"):
        return canonical(operand)
    if what == "COPY":
        if operand not in item:
            raise RefusedError
        return item[operand]
    if what in ("SET IN MAP", "REMOVE FROM MAP"):
        if current is None or "M" not in current:
            raise RefusedError
        others = {name: value for name, value in current["M"].items() if name != "x"}
        return {"M": {**others, "x": canonical(operand)} if what == "SET IN MAP" else others}
    if what == "PLUS":
        if current is None or "N" not in current:
            raise RefusedError
        return plus(current, operand)
    if what == "REMOVE" or (what == "DELETE" and current is None):
        return None
    if current is None:
        return canonical(operand)
    ((kind, members),) = canonical(operand).items()
    if kind not in current:
        raise RefusedError
    if kind == "N":
        return plus(current, operand)
    if what == "ADD":
        return {kind: current[kind] + [each for each in members if kind == "L" or each not in current[kind]]}
    left = [each for each in current[kind] if each not in members]
    return {kind: left} if left else None


def plus(first: Value, second: Value) -> Value:
    total = _EXACT.add(Decimal(first["N"]), Decimal(second["N"]))
    if len("".join(map(str, total.as_tuple().digits)).strip("0")) > 38:
        raise RefusedError
    return {"N": shortest(str(total))}


def returned(values: str, before: Item | None, after: Item | None, actions: list[Action]) -> Item | None:
    item = before if values.endswith("OLD") else after
    if item is None or values == "NONE":
        return None
    if values.startswith("ALL"):
        return item
    parts: Item = {}
    for what, name, _ in actions:
        if what in ("SET IN MAP", "REMOVE FROM MAP"):
            if "M" in item.get(name, {}) and "x" in item[name]["M"]:
                parts[name] = {"M": {"x": item[name]["M"]["x"]}}
        elif name in item:
            parts[name] = item[name]
    return parts or None
