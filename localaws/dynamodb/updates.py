"""Parts of UpdateItem that moto lacks: AttributeUpdates, and the attributes that an update returns.

DynamoDB API reference, "UpdateItem" and "AttributeValueUpdate".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.parsing import ast_nodes
from moto.dynamodb.parsing.expressions import UpdateExpressionParser  # type: ignore[attr-defined]

from localaws.dynamodb.items import invalid, invalid_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moto.dynamodb.models.dynamo_type import Item
    from moto.dynamodb.models.table import Table

_SETS = ("SS", "NS", "BS")
_ACTIONS = [
    ast_nodes.UpdateExpressionSetAction,  # type: ignore[attr-defined]
    ast_nodes.UpdateExpressionRemoveAction,  # type: ignore[attr-defined]
    ast_nodes.UpdateExpressionAddAction,  # type: ignore[attr-defined]
    ast_nodes.UpdateExpressionDeleteAction,  # type: ignore[attr-defined]
]

Path = list[Any]  # names and indexes


def check_attribute_updates(table: Table, updates: Mapping[str, Any]) -> None:
    """Refuse AttributeUpdates that are wrong whatever the item is."""
    for name, update in updates.items():
        action = update.get("Action", "PUT")
        if name in table.table_key_attrs:
            raise invalid_value(f"Cannot update attribute {name}. This attribute is part of the key")
        if action not in ("PUT", "ADD", "DELETE"):
            raise invalid(
                f"1 validation error detected: Value '{action}' at 'attributeUpdates.{name}.member.action' failed to "
                "satisfy constraint: Member must satisfy enum value set: [ADD, DELETE, PUT]"
            )
        if "Value" not in update:
            if action != "DELETE":
                raise invalid_value("Only DELETE action is allowed when no attribute value is specified")
            continue
        (kind,) = update["Value"]
        if action == "DELETE" and kind not in _SETS:
            raise invalid_value(f"DELETE action with value is not supported for the type {kind}")
        if action == "ADD" and kind not in ("N", "L", *_SETS):
            raise invalid_value(f"ADD action is not supported for the type {kind}")


def apply_attribute_updates(self: Item, updates: Mapping[str, Any] | None) -> None:
    """Apply checked AttributeUpdates to an item; a method of it."""
    for name, update in (updates or {}).items():
        action, current = update.get("Action", "PUT"), self.attrs.get(name)
        value = DynamoType(update["Value"]) if "Value" in update else None
        if action != "PUT" and value and current:
            if current.type != value.type:
                raise invalid("Type mismatch for attribute to update")
            value = _add(current, value) if action == "ADD" else _subtract(current, value)
        elif action == "DELETE":
            value = None
        if value:
            self.attrs[name] = value
        else:
            self.attrs.pop(name, None)


def _add(current: DynamoType, value: DynamoType) -> DynamoType:
    if value.type == "N":
        return current + value
    added = [each for each in value.value if value.type == "L" or each not in current.value]
    return DynamoType({value.type: [*current.value, *added]})


def _subtract(current: DynamoType, value: DynamoType) -> DynamoType | None:
    """Remove the members of a set. An empty set is no value."""
    left = [each for each in current.value if each not in value.value]
    return DynamoType({value.type: left}) if left else None


def returned(values: str, before: Item | None, after: Item | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that an update with these parameters returns for these ReturnValues."""
    item = before if values.endswith("_OLD") else after
    if not item or values == "NONE":
        return {}
    return dict(item.attrs) if values.startswith("ALL_") else _project(item.attrs, _updated_paths(parameters))


def _updated_paths(parameters: Mapping[str, Any]) -> list[Path]:
    """The paths that an update writes to: a.b[0] is ["a", "b", 0]."""
    if "UpdateExpression" not in parameters:
        return [[name] for name in parameters.get("AttributeUpdates", {})]
    names = parameters.get("ExpressionAttributeNames", {})
    actions = UpdateExpressionParser.make(parameters["UpdateExpression"].strip()).find_clauses(_ACTIONS)
    return [
        [
            names.get(part.children[0], part.children[0])
            for part in action.children[0].children
            if not isinstance(part, ast_nodes.ExpressionPathDescender)  # type: ignore[attr-defined]
        ]
        for action in actions
    ]


def _project(attributes: Mapping[Any, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """The parts of the attributes at the paths, inside the maps and lists that they are in."""
    by_name: dict[Any, list[Path]] = {}
    for first, *others in paths:
        by_name.setdefault(first, []).append(others)
    parts = {name: _part(attributes[name], inner) for name, inner in by_name.items() if name in attributes}
    return {name: part for name, part in parts.items() if part}


def _part(value: DynamoType, paths: list[Path]) -> DynamoType | None:
    if [] in paths:
        return value
    members = dict(enumerate(value.value)) if value.type == "L" else value.value if value.type == "M" else {}
    found = _project(members, paths)
    if not found:
        return None
    return DynamoType({value.type: found if value.type == "M" else [found[index] for index in sorted(found)]})
