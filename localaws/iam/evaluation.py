"""IAM's policy language: whether the statements of policies allow an action on a resource.

IAM user guide, "IAM JSON policy elements reference" and "Policy evaluation logic".
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Statements = list[dict[str, Any]]


@lru_cache(maxsize=256)
def statements(document: str) -> Statements:
    """The statements of a policy document. Raises ValueError if the text is no policy."""
    policy = json.loads(document)
    if not isinstance(policy, dict) or "Statement" not in policy:
        raise ValueError("The policy has no Statement")
    return as_list(policy["Statement"])


def as_list(value: Any) -> list[Any]:
    """The value itself if it is a list, or a list of it: most elements of a policy may be either."""
    return value if isinstance(value, list) else [value]


def principals(statement: Mapping[str, Any], kind: str) -> list[str]:
    """The principals of a kind ("AWS", "Service") in a statement; "*" counts as one of each kind."""
    principal = statement.get("Principal", {})
    return as_list(principal.get(kind, [])) if isinstance(principal, dict) else as_list(principal)


def evaluate(policies: Iterable[Statements], action: str, resource: str, context: Mapping[str, str]) -> str:
    """Evaluate policies: "Allow", "Deny" for an explicit deny, which wins, or "" if no statement applies.

    `context` has the condition keys, in lower case.
    """
    effects = {
        statement["Effect"]
        for each in policies
        for statement in each
        if _matches(statement, "Action", action, ignore_case=True)
        and _matches(statement, "Resource", resource)
        and _conditions_hold(statement.get("Condition", {}), context)
    }
    return "Deny" if "Deny" in effects else "Allow" if "Allow" in effects else ""


def _matches(statement: Mapping[str, Any], element: str, value: str, *, ignore_case: bool = False) -> bool:
    """Whether `value` matches the statement's Action or NotAction (or Resource or NotResource)."""
    if element in statement:
        return any(_like(pattern, value, ignore_case=ignore_case) for pattern in as_list(statement[element]))
    excluded = as_list(statement.get(f"Not{element}", "*"))
    return not any(_like(pattern, value, ignore_case=ignore_case) for pattern in excluded)


def _like(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    return bool(_compiled(pattern, ignore_case).fullmatch(value))


@lru_cache(maxsize=1024)
def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


# IAM user guide, "Condition operators". A condition with any other operator does not hold: no context key of the local
# AWS has a number, a date or an IP address.
_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, value: value == expected,
    "StringEqualsIgnoreCase": lambda expected, value: value.lower() == expected.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda expected, value: value.lower() == expected.lower(),
}


def _conditions_hold(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    return all(
        _condition_holds(operator, expected, context.get(key.lower()))
        for operator, keys in conditions.items()
        for key, expected in keys.items()
    )


def _condition_holds(operator: str, expected: Any, value: str | None) -> bool:
    """Whether the condition on one key holds; `value` is None if the request does not have the key."""
    if operator == "Null":
        return (value is None) == (str(expected).lower() == "true")
    name = operator.removesuffix("IfExists")
    negated = name.replace("Not", "", 1) if "Not" in name else ""
    compare = _OPERATORS.get(negated or name)
    if not compare:
        return False
    if value is None:
        return bool(negated) or name != operator
    return any(compare(str(one), value) for one in as_list(expected)) != bool(negated)
