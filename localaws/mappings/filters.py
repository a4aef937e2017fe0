"""Filter patterns of event source mappings: each compiles to a predicate on records.

Lambda developer guide, "Control which events Lambda sends to your function", and the EventBridge user guide,
"Comparison operators for use in event patterns".
"""

from __future__ import annotations

import fnmatch
import json
import operator
import re
from collections.abc import Callable
from typing import Any

# Takes the value of a field, or _ABSENT.
Predicate = Callable[[Any], bool]

_MAX_CHARACTERS = 4096
_COMPARISONS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_ABSENT = object()


def compile_pattern(pattern: Any) -> Predicate:
    """Compile a pattern. The predicate takes a record. Raises ValueError for a pattern that AWS refuses."""
    _require(isinstance(pattern, str) and 0 < len(pattern) <= _MAX_CHARACTERS)
    return _object(json.loads(pattern))


def _require(valid: object) -> None:
    if not valid:
        raise ValueError


def _object(pattern: Any) -> Predicate:
    """All fields of the pattern have to match."""
    _require(isinstance(pattern, dict) and pattern)
    fields = [_either(rules) if name == "$or" else _member(name, rules) for name, rules in pattern.items()]
    return lambda record: all(field(record) for field in fields)


def _either(patterns: Any) -> Predicate:
    _require(isinstance(patterns, list) and len(patterns) > 1)
    alternatives = [_object(pattern) for pattern in patterns]
    return lambda record: any(alternative(record) for alternative in alternatives)


def _member(name: str, rules: Any) -> Predicate:
    field = _nested(rules) if isinstance(rules, dict) else _any_rule(rules)
    return lambda record: field(record.get(name, _ABSENT))


def _nested(pattern: dict[str, Any]) -> Predicate:
    matches_object = _object(pattern)

    def matches(value: Any) -> bool:
        if isinstance(value, list):
            return any(matches(member) for member in value)
        # The members of an absent field are absent too, which matches `exists: false`.
        return matches_object(value if isinstance(value, dict) else {})

    return matches


def _any_rule(rules: Any) -> Predicate:
    _require(isinstance(rules, list) and rules)
    predicates = [_rule(rule) for rule in rules]
    return lambda value: any(predicate(value) for predicate in predicates)


def _rule(rule: Any) -> Predicate:
    if not isinstance(rule, dict):
        _require(not isinstance(rule, list))
        return _leaf(lambda value: _same(rule, value))
    _require(len(rule) == 1)
    ((name, operand),) = rule.items()
    if name == "exists":
        _require(isinstance(operand, bool))
        # `exists` works on leaves only: on AWS, a map does not exist (recorded).
        return lambda value: bool(operand == (value is not _ABSENT and not isinstance(value, dict)))
    if name == "anything-but":
        is_excluded = _excluded(operand)
        return _leaf(lambda value: not is_excluded(value))
    return _leaf(_numeric(operand) if name == "numeric" else _text(name, operand))


def _leaf(predicate: Predicate) -> Predicate:
    def matches(value: Any) -> bool:
        if isinstance(value, list):
            return any(matches(member) for member in value)
        return value is not _ABSENT and not isinstance(value, dict) and predicate(value)

    return matches


def _excluded(operand: Any) -> Predicate:
    """`anything-but` names one value, several of one type, or an operator with one text or several."""
    if isinstance(operand, dict):
        _require(len(operand) == 1)
        ((name, texts),) = operand.items()
        _require(texts)
        predicates = [_text(name, text) for text in (texts if isinstance(texts, list) else [texts])]
        return lambda value: any(predicate(value) for predicate in predicates)
    values = operand if isinstance(operand, list) else [operand]
    _require(values and (all(isinstance(each, str) for each in values) or all(_is_number(each) for each in values)))
    return lambda value: any(_same(each, value) for each in values)


def _text(name: str, operand: Any) -> Predicate:
    if name in ("prefix", "suffix") and isinstance(operand, dict):
        _require(list(operand) == ["equals-ignore-case"] and isinstance(operand["equals-ignore-case"], str))
        in_lower_case = _text(name, operand["equals-ignore-case"].lower())
        return lambda value: isinstance(value, str) and in_lower_case(value.lower())
    _require(isinstance(operand, str) and name in ("prefix", "suffix", "equals-ignore-case", "wildcard"))
    if name == "prefix":
        return lambda value: isinstance(value, str) and value.startswith(operand)
    if name == "suffix":
        return lambda value: isinstance(value, str) and value.endswith(operand)
    if name == "equals-ignore-case":
        return lambda value: isinstance(value, str) and value.lower() == operand.lower()
    _require("**" not in operand)
    pattern = re.compile(fnmatch.translate(operand.replace("[", "[[]").replace("?", "[?]")))
    return lambda value: isinstance(value, str) and bool(pattern.match(value))


def _numeric(operand: Any) -> Predicate:
    """One comparison, or a lower and an upper bound: ["=", 1] or [">", 0, "<=", 5]."""
    _require(isinstance(operand, list) and len(operand) in (2, 4))
    signs, bounds = operand[::2], operand[1::2]
    _require(all(sign in _COMPARISONS for sign in signs) and all(_is_number(bound) for bound in bounds))
    _require(len(signs) == 1 or (signs[0] in (">", ">=") and signs[1] in ("<", "<=") and bounds[0] < bounds[1]))
    comparisons = [(_COMPARISONS[sign], bound) for sign, bound in zip(signs, bounds, strict=True)]
    return lambda value: _is_number(value) and all(compare(value, bound) for compare, bound in comparisons)


def _same(expected: Any, value: Any) -> bool:
    """JSON equality: true is not 1."""
    return bool(expected == value) and isinstance(expected, bool) == isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
