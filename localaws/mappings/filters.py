"""Filter patterns of event source mappings: which patterns are valid, and which records match one.

Lambda developer guide, "Control which events Lambda sends to your function", and the EventBridge user guide,
"Comparison operators for use in event patterns".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_CHARACTERS = 4096
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}
_ABSENT = object()


def is_valid(pattern: Any) -> bool:
    """Whether AWS accepts this text as a filter pattern."""
    if not isinstance(pattern, str) or not 0 < len(pattern) <= _MAX_CHARACTERS:
        return False
    try:
        document = json.loads(pattern)
    except ValueError:
        return False
    return isinstance(document, dict) and _valid_node(document)


def matches(pattern: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a record matches a parsed, valid pattern: for each of its fields, one of the rules."""
    return all(
        any(matches(branch, record) for branch in rules)
        if name == "$or"
        else _field_matches(rules, record.get(name, _ABSENT))
        for name, rules in pattern.items()
    )


def _field_matches(rules: Any, value: Any) -> bool:
    if isinstance(rules, dict):
        if isinstance(value, list):
            return any(_field_matches(rules, member) for member in value)
        # The members of an absent field are absent too, which matches `exists: false`.
        return matches(rules, value if isinstance(value, dict) else {})
    return any(_rule_matches(rule, value) for rule in rules)


def _rule_matches(rule: Any, value: Any) -> bool:
    # `exists` works on leaves only: on AWS, a map does not exist (recorded).
    if isinstance(rule, dict) and "exists" in rule:
        return bool(rule["exists"]) == (value is not _ABSENT and not isinstance(value, dict))
    if value is _ABSENT or isinstance(value, dict):
        return False
    if isinstance(value, list):
        return any(_rule_matches(rule, member) for member in value)
    if not isinstance(rule, dict):
        return _same(rule, value)
    ((operator, operand),) = rule.items()
    if operator == "anything-but":
        return not _is_any_of(operand, value)
    if operator == "numeric":
        return _is_number(value) and all(
            _COMPARISONS[sign](value, bound) for sign, bound in zip(operand[::2], operand[1::2], strict=True)
        )
    return isinstance(value, str) and _text_matches(operator, operand, value)


def _is_any_of(operand: Any, value: Any) -> bool:
    """Whether `anything-but` excludes a value: it names one value, several, or an operator."""
    if isinstance(operand, dict):
        ((operator, texts),) = operand.items()
        texts = texts if isinstance(texts, list) else [texts]
        return isinstance(value, str) and any(_text_matches(operator, text, value) for text in texts)
    return any(_same(each, value) for each in (operand if isinstance(operand, list) else [operand]))


def _text_matches(operator: str, operand: Any, value: str) -> bool:
    if isinstance(operand, dict):  # {"prefix": {"equals-ignore-case": "x"}}
        operand, value = operand["equals-ignore-case"].lower(), value.lower()
    if operator == "prefix":
        return value.startswith(operand)
    if operator == "suffix":
        return value.endswith(operand)
    if operator == "wildcard":
        return _wildcard(operand, value)
    return bool(operator == "equals-ignore-case" and value.lower() == operand.lower())


def _wildcard(pattern: str, value: str) -> bool:
    first, *middle = pattern.split("*")
    if not middle:
        return value == pattern
    *middle, last = middle
    if not value.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = value.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(value) - len(last) >= at and value.endswith(last)


def _same(expected: Any, value: Any) -> bool:
    """JSON equality: true is not 1."""
    return bool(expected == value) and isinstance(expected, bool) == isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _valid_node(node: Mapping[str, Any]) -> bool:
    return bool(node) and all(
        _valid_branches(rules) if name == "$or" else _valid_field(rules) for name, rules in node.items()
    )


def _valid_branches(branches: Any) -> bool:
    return (
        isinstance(branches, list)
        and len(branches) > 1
        and all(isinstance(branch, dict) and _valid_node(branch) for branch in branches)
    )


def _valid_field(rules: Any) -> bool:
    if isinstance(rules, dict):
        return _valid_node(rules)
    return isinstance(rules, list) and bool(rules) and all(_valid_rule(rule) for rule in rules)


def _valid_rule(rule: Any) -> bool:
    if isinstance(rule, list):
        return False
    if not isinstance(rule, dict):
        return True
    if len(rule) != 1:
        return False
    ((operator, operand),) = rule.items()
    if operator == "exists":
        return isinstance(operand, bool)
    if operator == "numeric":
        return _valid_numeric(operand)
    if operator == "anything-but":
        return _valid_anything_but(operand)
    return _valid_text_rule(operator, operand)


def _valid_text_rule(operator: str, operand: Any) -> bool:
    if operator in ("prefix", "suffix") and isinstance(operand, dict):
        return list(operand) == ["equals-ignore-case"] and isinstance(operand["equals-ignore-case"], str)
    if operator == "wildcard":
        return isinstance(operand, str) and "**" not in operand
    return operator in ("prefix", "suffix", "equals-ignore-case") and isinstance(operand, str)


def _valid_anything_but(operand: Any) -> bool:
    if isinstance(operand, dict):
        if len(operand) != 1:
            return False
        ((operator, texts),) = operand.items()
        texts = texts if isinstance(texts, list) else [texts]
        return bool(texts) and all(_valid_text_rule(operator, text) for text in texts)
    values = operand if isinstance(operand, list) else [operand]
    return bool(values) and (
        all(isinstance(value, str) for value in values) or all(_is_number(value) for value in values)
    )


def _valid_numeric(operand: Any) -> bool:
    """["=", 1], or one or two bounds: [">", 0, "<=", 5]."""
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        return False
    signs, bounds = operand[::2], operand[1::2]
    if not all(sign in _COMPARISONS for sign in signs) or not all(_is_number(bound) for bound in bounds):
        return False
    return len(signs) == 1 or (signs[0] in (">", ">=") and signs[1] in ("<", "<=") and bounds[0] < bounds[1])
