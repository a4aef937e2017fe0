"""SimulatePrincipalPolicy for a role, by the evaluator that judges the calls of functions.

IAM API reference: SimulatePrincipalPolicy, EvaluationResult, ResourceSpecificResult.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult

from localaws.errors import AwsError
from localaws.iam import policies
from localaws.iam.evaluation import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moto.iam.responses import IamResponse

    from localaws.iam.policies import Caller

_DECISIONS = {"Allow": "allowed", "Deny": "explicitDeny", "": "implicitDeny"}


def simulate_principal_policy(self: IamResponse) -> ActionResult:
    """Answer the call. A key of a condition that the request does not give is a missing context value."""
    role_arn, resources = self._get_param("PolicySourceArn"), self._get_param("ResourceArns") or ["*"]
    if not policies.exists(role_arn):
        raise AwsError("NoSuchEntity", f"The role with name {role_arn.rpartition('/')[2]} cannot be found.", 404)
    context = {
        entry["ContextKeyName"].lower(): entry["ContextKeyValues"][0]
        for entry in self._get_param("ContextEntries") or []
        if entry.get("ContextKeyValues")
    }
    actions = self._get_param("ActionNames")
    if vague := [action for action in actions if "*" in action or "?" in action]:
        raise AwsError("InvalidInput", f"Invalid action name: {vague[0]}; wildcards are not supported")
    results = [_result(policies.role_session(role_arn), action, resources, context) for action in actions]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _result(role: Caller, action: str, resources: Iterable[str], context: dict[str, str]) -> dict[str, Any]:
    """The result for an action: the decision on each resource, and that on all of them."""
    missing = sorted(_condition_keys(role) - context.keys())
    decisions = {each: _DECISIONS[_effect(role, action, each, context)] for each in resources}
    return {
        "EvalActionName": action,
        "EvalResourceName": "*",
        "EvalDecision": next((each for each in decisions.values() if each != "allowed"), "allowed"),
        "MatchedStatements": [],
        "MissingContextValues": missing,
        "ResourceSpecificResults": [
            {
                "EvalResourceName": resource,
                "EvalResourceDecision": decision,
                "MatchedStatements": [],
                "MissingContextValues": missing,
            }
            for resource, decision in decisions.items()
        ],
    }


def _effect(role: Caller, action: str, resource: str, context: dict[str, str]) -> str:
    """The effect of the role's policies, which a permissions boundary limits."""
    effect = evaluate(role.identity or (), action, resource, context)
    if effect != "Allow" or role.boundary is None:
        return effect
    return evaluate([role.boundary], action, resource, context)


def _condition_keys(role: Caller) -> set[str]:
    """The keys in the conditions of the role's policies, in lower case."""
    return {
        key.lower()
        for statements in [*(role.identity or ()), role.boundary or []]
        for statement in statements
        for keys in statement.get("Condition", {}).values()
        for key in keys
    }
