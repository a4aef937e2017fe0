"""ROLE_ARN: whether a role that others manage allows what the function needs. Reads only."""

from __future__ import annotations

import json
import re
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from . import policies
from .resources import role
from .resources.change import Change, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def check(iam: Any, role_arn: str, region: str, documents: Mapping[str, Mapping[str, Any]]) -> Change:
    """Check that Lambda may assume the role, and that the role allows what the documents allow.

    IAM simulates the role's policies. If the caller may not simulate, the policies that the caller may read decide.
    Raises UserError, with the missing statements, if something is known to be missing. The note of the Change names
    what is unknown. IAM API reference: GetRole, SimulatePrincipalPolicy, GetRolePolicy, GetPolicyVersion.
    """
    problems, missing, unknown = [], [], []
    trusts_lambda = _trusts_lambda(iam, role_arn)
    if trusts_lambda is None:
        unknown.append("its trust policy")
    elif not trusts_lambda:
        problems.append(f"Lambda may not assume it. Its trust policy needs:\n{_document([_TRUST])}")
    read = cache(partial(_statements, iam, role_arn.rpartition("/")[2]))
    for statement in _allowing(documents):
        verdicts = _verdicts(iam, role_arn, region, statement, read)
        if denied := [action for action, verdict in verdicts.items() if verdict == {"missing"}]:
            missing.append({"Effect": "Allow", "Action": denied, "Resource": statement["Resource"]})
        unknown += [action for action, verdict in verdicts.items() if verdict not in ({"missing"}, {"allowed"})]
    if missing:
        problems.append(f"Its policies do not allow:\n{_document(missing)}")
    if problems:
        advice = "Ask its owner to change it, or remove from policies/ what the function does not need."
        raise UserError(f"ROLE_ARN: {role_arn} lacks permissions. {advice}\n" + "\n".join(problems))
    return unmanaged(role_arn, f"; cannot be checked: {', '.join(dict.fromkeys(unknown))}" if unknown else "")


def unmanaged(role_arn: str, remark: str = "") -> Change:
    """The Change of a role that no task changes."""
    note = f"not managed here (ROLE_ARN){remark}"
    return Change(f"role {role_arn.rpartition('/')[2]}", "unchanged", attributes={"Arn": role_arn}, note=note)


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def _trusts_lambda(iam: Any, role_arn: str) -> bool | None:
    """Whether Lambda may assume the role; None if the caller may not read its trust policy."""
    try:
        response = _if_allowed(partial(iam.get_role, RoleName=role_arn.rpartition("/")[2]))
    except iam.exceptions.NoSuchEntityException:
        raise UserError(f"ROLE_ARN: {role_arn} does not exist; if the role is new, try again in a minute") from None
    if response is None:
        return None
    if (arn := response["Role"]["Arn"]) != role_arn:
        raise UserError(f"ROLE_ARN: {role_arn} does not exist; the role of this name is {arn}")
    return policies.lets_lambda_in(policies.listed(response["Role"]["AssumeRolePolicyDocument"]["Statement"]))


def _verdicts(
    iam: Any, role_arn: str, region: str, statement: Mapping[str, Any], read: Callable[[], list[Any]]
) -> dict[str, set[str]]:
    """For each action the verdicts on the resources: "allowed", "missing" or "unknown".

    Different verdicts decide nothing: an action may concern only one of the statement's resources.
    """
    call = _simulation(statement, region)
    if call is None:
        return {json.dumps(statement): {"unknown"}}
    simulated = (call["ActionNames"] and _if_allowed(partial(_simulate, iam, role_arn, call))) or {}
    actions, resources = policies.listed(statement["Action"]), call["ResourceArns"]
    return {each: simulated.get(each) or {_judge(read(), each, name) for name in resources} for each in actions}


def simulations(documents: Mapping[str, Mapping[str, Any]], region: str) -> list[dict[str, Any]]:
    """SimulatePrincipalPolicy's parameters for the statements of the documents, without those that it cannot judge."""
    calls = [_simulation(statement, region) for statement in _allowing(documents)]
    return [call for call in calls if call and call["ActionNames"]]


def _allowing(documents: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    statements = [each for document in documents.values() for each in policies.listed(document["Statement"])]
    return [each for each in statements if each["Effect"] == "Allow"]


def _simulation(statement: Mapping[str, Any], region: str) -> dict[str, Any] | None:
    if {"Condition", "NotAction", "NotResource"} & {*statement}:
        return None
    return {
        # IAM simulates no actions with wildcards.
        "ActionNames": [each for each in policies.listed(statement["Action"]) if not re.search(r"[*?]", each)],
        "ResourceArns": policies.listed(statement["Resource"]),
        # Without the region, IAM would deny what a condition allows in this region.
        "ContextEntries": [
            {"ContextKeyName": "aws:RequestedRegion", "ContextKeyType": "string", "ContextKeyValues": [region]}
        ],
    }


def _simulate(iam: Any, role_arn: str, call: Mapping[str, Any]) -> dict[str, set[str]]:
    verdicts: dict[str, set[str]] = {}
    for page in iam.get_paginator("simulate_principal_policy").paginate(PolicySourceArn=role_arn, **call):
        for result in page["EvaluationResults"]:
            organization = result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True)
            for each in result.get("ResourceSpecificResults") or [result]:
                allowed = each.get("EvalResourceDecision", each.get("EvalDecision")) == "allowed"
                # Conditions, also those of the organization's policies, are evaluated without the values they need.
                denied = "unknown" if each.get("MissingContextValues") or not organization else "missing"
                verdicts.setdefault(result["EvalActionName"], set()).add("allowed" if allowed else denied)
    return verdicts


def _judge(statements: list[Any], action: str, resource: str) -> str:
    """The verdict by the statements, of which None stands for unknown ones. A condition may hold or not."""
    concerned = [
        each or {"Effect": "Allow", "Condition": {}}
        for each in statements
        if not each or (policies.covers(each, "Action", action) and policies.covers(each, "Resource", resource))
    ]
    certain = {each["Effect"] for each in concerned if "Condition" not in each}
    effects = {each["Effect"] for each in concerned}
    if "Deny" in certain or "Allow" not in effects:
        return "missing"
    return "allowed" if "Allow" in certain and "Deny" not in effects else "unknown"


def _statements(iam: Any, name: str) -> list[Any]:
    """The statements of the role's policies. None for what the caller may not read, and for policy variables."""
    inline = _if_allowed(partial(role.inline_policy_names, iam, name))
    attached = _if_allowed(iam.get_paginator("list_attached_role_policies").paginate(RoleName=name).build_full_result)
    reads = [partial(role.describe_policy, iam, name, each) for each in inline or ()]
    reads += [
        partial(_default_version, iam, each["PolicyArn"]) for each in (attached or {}).get("AttachedPolicies", ())
    ]
    documents = [*map(_if_allowed, reads), *([None] if inline is None or attached is None else [])]
    statements = [each for document in documents for each in policies.listed(document and document["Statement"])]
    return [None if "${" in json.dumps(each) else each for each in statements]


def _default_version(iam: Any, arn: str) -> Any:
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def _if_allowed(call: Callable[[], Any]) -> Any:
    """What a call returns; None if the caller may not make it."""
    try:
        return call()
    except ClientError as error:
        if not error.response["Error"]["Code"].startswith("AccessDenied"):
            raise
        return None
