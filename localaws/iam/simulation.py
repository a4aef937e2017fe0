"""SimulatePrincipalPolicy for a role, by the evaluator that judges the calls of functions.

IAM API reference: SimulatePrincipalPolicy, EvaluationResult, ResourceSpecificResult.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult

from localaws.errors import AwsError
from localaws.iam import policies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moto.iam.responses import IamResponse

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
    missing = sorted(policies.context_keys(role_arn) - context.keys())
    results = [_result(role_arn, action, resources, context, missing) for action in actions]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _result(
    role_arn: str, action: str, resources: Iterable[str], context: dict[str, str], missing: list[str]
) -> dict[str, Any]:
    """The result for an action: the decision on each resource, and that on all of them."""
    decisions = {each: _DECISIONS[policies.effect(role_arn, action, each, context)] for each in resources}
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
