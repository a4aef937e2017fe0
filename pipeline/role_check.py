"""ROLE_ARN: check whether an existing role has the permissions that the function needs. Only reads."""

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from botocore.exceptions import ClientError

from . import policies
from .resources import role
from .resources.change import Change, UserError

_TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def check(iam: Any, role_arn: str, region: str, documents: Mapping[str, Mapping[str, Any]]) -> Change:
    """Check that Lambda can assume the role, and that the role has the permissions in the documents.

    Raises UserError with the missing statements. The note of the Change names the permissions that it could not check.
    """
    problem, statements, unknown = missing(iam, role_arn, region, documents)
    if problem or statements:
        policy = f"Its policies do not allow:\n{_document(statements)}" if statements else ""
        advice = "Ask its owner to add them (changes take seconds to take effect), or remove actions from policies/."
        raise UserError(f"ROLE_ARN: {role_arn} lacks permissions. {advice}\n{problem}{policy}")
    return unmanaged(role_arn, f"; could not check: {', '.join(unknown)}" if unknown else "")


def missing(
    iam: Any, role_arn: str, region: str, documents: Mapping[str, Mapping[str, Any]]
) -> tuple[str, list[dict[str, Any]], list[str]]:
    """Return why Lambda cannot assume the role (or ""), the missing statements, and the unknown permissions.

    IAM simulates the role's policies. Without permission to simulate, evaluates the policies that the caller can read.
    IAM API reference: GetRole, SimulatePrincipalPolicy, GetRolePolicy, GetPolicyVersion.
    """
    lacking = []
    calls, unknown = simulations(documents, region)
    problem = _trust_problem(iam, role_arn)
    if problem is None:
        unknown.append("its trust policy")
    statements = cache(partial(_statements, iam, role_arn.rpartition("/")[2]))
    for call in calls:
        resources = call["ResourceArns"]
        simulated = _if_allowed(partial(_simulate, iam, role_arn, call)) or {}
        denied = []
        for action in call["ActionNames"]:
            verdicts = simulated.get(action) or {_judge(statements(), action, resource) for resource in resources}
            if verdicts == {"missing"}:
                denied.append(action)
            elif verdicts != {"allowed"}:  # an action may concern only one of the resources
                unknown.append(action)
        if denied:
            lacking.append({"Effect": "Allow", "Action": denied, "Resource": resources})
    return problem or "", lacking, unknown


def unmanaged(role_arn: str, remark: str = "") -> Change:
    """The Change of a role that no task changes."""
    note = f"not managed here (ROLE_ARN){remark}"
    return Change(f"role {role_arn.rpartition('/')[2]}", "unchanged", attributes={"Arn": role_arn}, note=note)


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def _trust_problem(iam: Any, role_arn: str) -> str | None:
    """Why Lambda cannot assume the role. "" if it can, None if the caller is not allowed to read the trust policy."""
    try:
        response = _if_allowed(partial(iam.get_role, RoleName=role_arn.rpartition("/")[2]))
    except iam.exceptions.NoSuchEntityException:
        raise UserError(f"ROLE_ARN: {role_arn} does not exist; if the role is new, try again in a minute") from None
    if response is None:
        return None
    if (arn := response["Role"]["Arn"]) != role_arn:
        raise UserError(f"ROLE_ARN: {role_arn} does not exist; choose the existing role with this name: {arn}")
    if policies.lets_lambda_in(policies.listed(response["Role"]["AssumeRolePolicyDocument"]["Statement"])):
        return ""
    return f"Lambda is not allowed to assume the role. Its trust policy needs:\n{_document([_TRUST])}\n"


def simulations(documents: Mapping[str, Mapping[str, Any]], region: str) -> tuple[list[dict[str, Any]], list[str]]:
    """SimulatePrincipalPolicy's parameters for each Allow statement, and the statements that it cannot evaluate."""
    calls, vague = [], []
    statements = [each for document in documents.values() for each in policies.listed(document["Statement"])]
    # Without the region, IAM would deny what a condition allows in this region.
    context = {"ContextKeyName": "aws:RequestedRegion", "ContextKeyType": "string", "ContextKeyValues": [region]}
    for statement in statements:
        if statement["Effect"] == "Allow" and {"Condition", "NotAction", "NotResource"} & {*statement}:
            vague.append(json.dumps(statement))
        elif statement["Effect"] == "Allow":
            actions, resources = policies.listed(statement["Action"]), policies.listed(statement["Resource"])
            calls.append({"ActionNames": actions, "ResourceArns": resources, "ContextEntries": [context]})
    return calls, vague


def _simulate(iam: Any, role_arn: str, call: Mapping[str, Any]) -> dict[str, set[str]]:
    verdicts: dict[str, set[str]] = {}
    for page in iam.get_paginator("simulate_principal_policy").paginate(PolicySourceArn=role_arn, **call):
        for result in page["EvaluationResults"]:
            organization = result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True)
            for each in result.get("ResourceSpecificResults") or [result]:
                allowed = each.get("EvalResourceDecision", each.get("EvalDecision")) == "allowed"
                # IAM evaluates conditions, including those of the organization's policies, without the values that they
                # need.
                denied = "unknown" if each.get("MissingContextValues") or not organization else "missing"
                verdicts.setdefault(result["EvalActionName"], set()).add("allowed" if allowed else denied)
    return verdicts


def _judge(statements: list[Any], action: str, resource: str) -> str:
    """Evaluate the statements. None is an unknown statement. A condition may be true or false."""
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
    """The statements of the role's policies. None for unreadable policies and for statements with policy variables."""
    inline = _if_allowed(partial(role.inline_policy_names, iam, name))
    attached = _if_allowed(iam.get_paginator("list_attached_role_policies").paginate(RoleName=name).build_full_result)
    managed = (attached or {}).get("AttachedPolicies", ())
    reads = [partial(role.describe_policy, iam, name, each) for each in inline or ()]
    reads += [partial(_default_version, iam, each["PolicyArn"]) for each in managed]
    documents = [*map(_if_allowed, reads), *([None] if inline is None or attached is None else [])]
    statements = [each for document in documents for each in policies.listed(document and document["Statement"])]
    return [None if "${" in json.dumps(each) else each for each in statements]


def _default_version(iam: Any, arn: str) -> Any:
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def _if_allowed(call: Callable[[], Any]) -> Any:
    """Return the result of a call; None if the caller is not allowed to make it or IAM cannot simulate wildcards."""
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "InvalidInput"):
            raise
        return None
