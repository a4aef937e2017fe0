"""The permissions of a role, its trust policy, and its temporary credentials.

Only the role's own policies are evaluated, not the resource policies of other services.
"""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from localaws import ACCOUNT_ID
from localaws.iam import propagation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from moto.iam.models import ManagedPolicy, Role


def _find_role(role_arn: str, event: str) -> Role | None:
    """Return the role with that ARN as Lambda and the others see it; None if it does not exist, or not yet."""
    role = propagation.find_role(_partition(role_arn), role_arn.rpartition("/")[2], event)
    return role if role and role.arn == role_arn else None


def allows(role_arn: str, action: str, resource: str) -> bool:
    """Whether the role's policies allow `action` (`dynamodb:PutItem`) on the ARN `resource`.

    IAM user guide, "Policy evaluation logic": an explicit Deny wins. Otherwise a policy has to allow the action, and
    the permissions boundary too if the role has one. A role that does not exist has no permissions.
    """
    return effect(role_arn, action, resource) == "Allow"


def effect(role_arn: str, action: str, resource: str, context: Mapping[str, str] | None = None) -> str:
    """Evaluate the role's policies: "Allow", "Deny" for an explicit deny, or "" if no statement applies.

    `context` replaces the request's context; its keys are in lower case.
    """
    role = _find_role(role_arn, "policy-effective")
    if not role:
        return ""
    if context is None:
        context = {"aws:principalarn": role_arn, "aws:requestedregion": _region(resource)}
    result = _evaluate(_policies(role), action, resource, context)
    if result == "Allow" and role.permissions_boundary_arn:
        return _evaluate(_boundary(role), action, resource, context)
    return result


def exists(role_arn: str) -> bool:
    """Whether the role exists."""
    return _find_role(role_arn, "policy-effective") is not None


def context_keys(role_arn: str) -> set[str]:
    """The keys in the conditions of the role's policies, in lower case."""
    role = _find_role(role_arn, "policy-effective")
    documents = [*_policies(role), *_boundary(role)] if role else []
    return {
        key.lower()
        for statements in documents
        for statement in statements
        for keys in statement.get("Condition", {}).values()
        for key in keys
    }


def is_assumable(role_arn: str, service: str) -> bool:
    """Whether the role exists and its trust policy allows `service` (`lambda.amazonaws.com`) to assume it."""
    role = _find_role(role_arn, "role-assumable")
    if not role:
        return False
    statements = [
        {**statement, "Resource": "*"}
        for statement in _statements(role.assume_role_policy_document)
        if service in _as_list(_service_principals(statement))
    ]
    return _evaluate([statements], "sts:AssumeRole", role_arn, {}) == "Allow"


@cache  # moto keeps all credentials that it issues, and searches them on each request
def credentials(role_arn: str, session_name: str = "localaws") -> dict[str, str]:
    """Issue temporary credentials of the role: AccessKeyId, SecretAccessKey, SessionToken (STS AssumeRole).

    moto recognizes the access key: GetCallerIdentity returns the assumed role.
    """
    partition = _partition(role_arn)
    assumed = sts_backends[ACCOUNT_ID][partition].assume_role(
        region_name=_REGION_OF_PARTITION.get(partition, "us-east-1"),
        role_session_name=session_name,
        role_arn=role_arn,
        policy="",
        duration=3600,
        external_id="",
    )
    return {
        "AccessKeyId": assumed.access_key_id,
        "SecretAccessKey": assumed.secret_access_key,
        "SessionToken": assumed.session_token,
    }


# moto derives the partition of the credentials from a region.
_REGION_OF_PARTITION = {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1", "aws-eusc": "eusc-de-east-1"}


def _partition(arn: str) -> str:
    return arn.split(":")[1]


def _region(arn: str) -> str:
    return (arn.split(":") + [""] * 4)[3]


def _policies(role: Role) -> Iterator[list[dict[str, Any]]]:
    """The statements of each inline policy and each attached policy."""
    for document in list(role.policies.values()):
        yield _statements(document)
    for policy in list(role.managed_policies.values()):
        yield _statements(_default_document(policy))


def _boundary(role: Role) -> list[list[dict[str, Any]]]:
    policy = iam_backends[ACCOUNT_ID][role.partition].managed_policies.get(role.permissions_boundary_arn or "")
    return [_statements(_default_document(policy))] if policy else []


def _default_document(policy: ManagedPolicy) -> str:
    return next(version.document for version in policy.versions if version.is_default)


@lru_cache(maxsize=256)
def _statements(document: str) -> list[dict[str, Any]]:
    return _as_list(json.loads(document)["Statement"])


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _service_principals(statement: Mapping[str, Any]) -> Any:
    principal = statement.get("Principal", {})
    return principal.get("Service", []) if isinstance(principal, dict) else []


def _evaluate(policies: Iterable[list[dict[str, Any]]], action: str, resource: str, context: Mapping[str, str]) -> str:
    effects = {
        statement["Effect"]
        for statements in policies
        for statement in statements
        if _matches(statement, "Action", action, ignore_case=True)
        and _matches(statement, "Resource", resource)
        and _conditions_hold(statement.get("Condition", {}), context)
    }
    return "Deny" if "Deny" in effects else "Allow" if "Allow" in effects else ""


def _matches(statement: Mapping[str, Any], element: str, value: str, *, ignore_case: bool = False) -> bool:
    """Whether `value` matches the statement's Action or NotAction (or Resource or NotResource)."""
    if element in statement:
        return any(_like(pattern, value, ignore_case=ignore_case) for pattern in _as_list(statement[element]))
    excluded = _as_list(statement.get(f"Not{element}", "*"))
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
    return any(compare(str(one), value) for one in _as_list(expected)) != bool(negated)
