"""Filter patterns of event source mappings: each compiles to a predicate on records.

Lambda developer guide, "Control which events Lambda sends to your function", and the EventBridge user guide,
"Comparison operators for use in event patterns". Like EventBridge, a filter sees a record as a list of leaf fields,
each with its dotted path: {"a": {"b": [1, 2]}} has the field `a.b` twice, {"a": []} has no field.
"""

from __future__ import annotations

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

Predicate = Callable[[Any], bool]

_MAX_CHARACTERS = 4096
_MAX_BRANCHES = 1000
# EventBridge refuses a wildcard that could match in too many ways at once, and does not document its limit. It accepts
# a pattern with 8 positions and refuses one with 12 (recorded).
_MAX_WILDCARD_POSITIONS = 10
_COMPARISONS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class _Rules(NamedTuple):
    """The rules for one path: one of the predicates matches a field, or there is no field if it `may_be_absent`."""

    predicates: list[Predicate]
    may_be_absent: bool


class _Field(NamedTuple):
    """A leaf of a record, and the array elements that it is in: {number of the array: index}."""

    value: Any
    elements: dict[int, int]


_Branch = dict[str, _Rules]


def compile_pattern(pattern: Any) -> Predicate:
    """Compile a pattern. The predicate takes a record. Raises ValueError for a pattern that AWS refuses."""
    _require(isinstance(pattern, str) and 0 < len(pattern) <= _MAX_CHARACTERS)
    try:
        branches = _branches(json.loads(pattern, parse_constant=_refuse), "", [{}])
    except RecursionError:
        raise ValueError from None
    paths = {path for branch in branches for path in branch}
    prefixes = {path[: dot.start()] for path in paths for dot in re.finditer(r"\.|$", path)}

    def matches(record: Any) -> bool:
        fields: dict[str, list[_Field]] = {}
        _collect(record, "", prefixes, {}, fields, [0])
        return any(_match(list(branch.items()), fields, {}) for branch in branches)

    return matches


def any_of(patterns: Iterable[Any]) -> Predicate:
    """A predicate: whether one of the patterns matches a record, or there are no patterns. Raises ValueError."""
    predicates = [compile_pattern(pattern) for pattern in patterns]
    return lambda record: not predicates or any(matches(record) for matches in predicates)


def _require(valid: object) -> None:
    if not valid:
        raise ValueError


def _refuse(_: str) -> None:
    raise ValueError


def _branches(pattern: Any, path: str, branches: list[_Branch]) -> list[_Branch]:
    """Add the rules of a pattern at a path to each branch. `$or` multiplies the branches."""
    _require(isinstance(pattern, dict) and pattern)
    for name, rules in pattern.items():
        inner = f"{path}.{name}" if path else name
        if name == "$or":
            _require(isinstance(rules, list) and len(rules) > 1)
            branches = [each for alternative in rules for each in _branches(alternative, path, branches)]
            _require(len(branches) <= _MAX_BRANCHES)
        elif isinstance(rules, dict):
            branches = _branches(rules, inner, branches)
        else:
            compiled = _rules(rules)
            branches = [{**branch, inner: compiled} for branch in branches]
    return branches


def _collect(
    value: Any,
    path: str,
    prefixes: set[str],
    elements: dict[int, int],
    fields: dict[str, list[_Field]],
    arrays: list[int],
) -> None:
    """Collect the leaf fields whose paths begin with one of the prefixes. `arrays` counts the arrays."""
    if isinstance(value, dict):
        for name, member in value.items():
            if (inner := f"{path}.{name}" if path else name) in prefixes:
                _collect(member, inner, prefixes, elements, fields, arrays)
    elif isinstance(value, list):
        arrays[0] += 1
        array = arrays[0]
        for index, member in enumerate(value):
            inside = {**elements, array: index} if isinstance(member, (dict, list)) else elements
            _collect(member, path, prefixes, inside, fields, arrays)
    else:
        fields.setdefault(path, []).append(_Field(value, elements))


def _match(rules: list[tuple[str, _Rules]], fields: Mapping[str, list[_Field]], elements: dict[int, int]) -> bool:
    """Whether all rules match. Fields inside an array of objects have to be in the same element."""
    if not rules:
        return True
    (path, rule), *others = rules
    if path not in fields:
        return rule.may_be_absent and _match(others, fields, elements)
    return any(
        all(elements.get(array, index) == index for array, index in field.elements.items())
        and any(predicate(field.value) for predicate in rule.predicates)
        and _match(others, fields, elements | field.elements)
        for field in fields[path]
    )


def _rules(rules: Any) -> _Rules:
    _require(isinstance(rules, list) and rules)
    absent = [rule for rule in rules if isinstance(rule, dict) and list(rule) == ["exists"] and rule["exists"] is False]
    return _Rules([_rule(rule) for rule in rules if rule not in absent], bool(absent))


def _rule(rule: Any) -> Predicate:
    if not isinstance(rule, dict):
        _require(not isinstance(rule, list))
        return lambda value: _same(rule, value)
    _require(len(rule) == 1)
    ((name, operand),) = rule.items()
    if name == "exists":
        _require(operand is True)
        return lambda _: True
    if name == "anything-but":
        is_excluded = _excluded(operand)
        return lambda value: not is_excluded(value)
    if name == "numeric":
        return _numeric(operand)
    return _cidr(operand) if name == "cidr" else _text(name, operand)


def _excluded(operand: Any) -> Predicate:
    """`anything-but` names one value, several of one type, or an operator with one text or several."""
    if isinstance(operand, dict):
        _require(len(operand) == 1)
        ((name, texts),) = operand.items()
        texts = texts if isinstance(texts, list) else [texts]
        _require(texts and all(isinstance(text, str) for text in texts))
        _require(name not in ("prefix", "suffix") or all(texts))
        predicates = [_text(name, text) for text in texts]
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
    pattern = _wildcard(operand)
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _wildcard(text: str) -> re.Pattern[str]:
    r"""Compile a wildcard: `*` is any text, `\*` an asterisk, `\\` a backslash; no other escape, no `**`."""
    _require(re.fullmatch(r"(?:[^\\*]|\\[\\*]|\*(?!\*))*", text, re.DOTALL))
    characters = re.findall(r"\\.|.", text, re.DOTALL)
    _require(_wildcard_positions(characters) <= _MAX_WILDCARD_POSITIONS)
    return re.compile("".join(".*" if each == "*" else re.escape(each[-1]) for each in characters), re.DOTALL)


def _wildcard_positions(characters: list[str]) -> int:
    """The most positions in a wildcard at which it is at the same time while it reads its own literal text."""
    stars = sum(1 << number for number, character in enumerate(characters) if character == "*")
    if not stars:
        return 0
    positions, most = 1 | (stars & 1) << 1, 0  # a bit for each character that may come next
    for read in (character for character in characters if character != "*"):
        same = sum(1 << number for number, character in enumerate(characters) if character == read)
        positions = (positions & same) << 1 | positions & stars
        positions |= (positions & stars) << 1
        most = max(most, positions.bit_count())
    return most


def _cidr(operand: Any) -> Predicate:
    """A range of addresses, with a mask of less than all bits. It begins at the address, as in EventBridge."""
    _require(isinstance(operand, str) and re.fullmatch(r"[0-9a-fA-F:.]+/[0-9]+", operand))
    first, _, bits = operand.partition("/")
    network = ipaddress.ip_network(operand, strict=False)
    _require(int(bits) < network.max_prefixlen)
    lowest, highest = ipaddress.ip_address(first), network.broadcast_address

    def matches(value: Any) -> bool:
        try:
            address = ipaddress.ip_address(value) if isinstance(value, str) else None
        except ValueError:
            return False
        return bool(address and address.version == network.version and int(lowest) <= int(address) <= int(highest))

    return matches


def _numeric(operand: Any) -> Predicate:
    """One comparison, or a lower and an upper bound: ["=", 1] or [">", 0, "<=", 5]."""
    _require(isinstance(operand, list) and len(operand) in (2, 4))
    signs, bounds = operand[::2], operand[1::2]
    _require(all(isinstance(sign, str) and sign in _COMPARISONS for sign in signs) and all(map(_is_number, bounds)))
    _require(len(signs) == 1 or (signs[0] in (">", ">=") and signs[1] in ("<", "<=") and bounds[0] < bounds[1]))
    comparisons = [(_COMPARISONS[sign], bound) for sign, bound in zip(signs, bounds, strict=True)]
    return lambda value: _is_number(value) and all(compare(value, bound) for compare, bound in comparisons)


def _same(expected: Any, value: Any) -> bool:
    """JSON equality: true is not 1."""
    return bool(expected == value) and isinstance(expected, bool) == isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
