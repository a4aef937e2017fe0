"""The permissions of roles and users: what their policies, and those of DynamoDB's tables and streams, allow.

IAM user guide, "Policy evaluation logic", "Cross-account policy evaluation logic" and "Troubleshoot access denied error
messages". Of the services with resource-based policies, only DynamoDB's are evaluated.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from moto.dynamodb.models import dynamodb_backends
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends
from moto.utilities.utils import get_partition

from localaws.errors import AwsError
from localaws.iam import access_log, propagation, users
from localaws.iam.evaluation import as_list, evaluate, principals, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from moto.iam.models import Group, IAMBackend, ManagedPolicy, Role, User
    from moto.iam.responses import IamResponse

    from localaws.iam.evaluation import Statements
    from localaws.signature import Signature

# An action of the caller's own account, also if a policy names it beside those on a stream of another account: it has
# no resource (Service Authorization Reference, "Actions defined by Amazon DynamoDB").
_LISTS = "dynamodb:ListStreams"
# The resources that an account shares with another, and the actions on them that the other account can be allowed
# (DynamoDB developer guide, "DynamoDB API operations supported by resource-based policies").
_SHARED = re.compile(r"arn:[\w-]+:(dynamodb:[\w-]+:\d{12}:table/|lambda:[\w-]+:\d{12}:function:).+")
_CROSS_ACCOUNT_ACTIONS = {
    *("DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem", "BatchGetItem", "BatchWriteItem"),
    *("ConditionCheckItem", "DescribeTable", "UpdateTable", "DeleteTable"),
    *("TagResource", "UntagResource", "ListTagsOfResource", "DescribeStream", "GetRecords", "GetShardIterator"),
}


@dataclass(frozen=True)
class Caller:
    """Who makes a request. `arn` is the name in error messages, `principal` the ARN of the role or user.

    `identity` are the identity-based policies. None allows everything: nobody has issued made-up credentials. A
    `boundary` and a `session` policy limit what they allow.
    """

    arn: str
    principal: str
    identity: tuple[Statements, ...] | None
    boundary: Statements | None = None
    session: Statements | None = None

    @property
    def account(self) -> str:
        """The ID of the account that the role or user belongs to."""
        return self.principal.split(":")[4]


def caller(signature: Signature) -> Caller:
    """Who signed a request: a session of a role, a user, or for made-up credentials the account's root user."""
    account, partition = signature.account, get_partition(signature.region)
    role = sts_backends[account][partition].get_assumed_role_from_access_key(signature.access_key)
    if role:
        return role_session(role.role_arn, role.arn, role.policy or "")
    session = users.find_session(signature.access_key)
    user = _user(iam_backends[account][partition], session.issuer if session else signature.access_key)
    if not user:
        root = f"arn:{partition}:iam::{account}:root"
        return Caller(root, root, None)
    boundary = users.boundary_of(user)
    return Caller(
        session.arn if session and session.arn else user.arn,
        user.arn,
        tuple(_user_policies(iam_backends[account][partition], user)),
        _managed(iam_backends[account][partition], boundary) if boundary else None,
        statements(session.policy) if session and session.policy else [] if session and session.arn else None,
    )


def role_session(role_arn: str, arn: str = "", policy: str = "") -> Caller:
    """Who uses a role, with the session's `arn` and session policy. A role that does not exist allows nothing."""
    session = statements(policy) if policy else None
    role = _find_role(role_arn, "policy-effective")
    if not role:
        return Caller(arn or role_arn, role_arn, (), session=session)
    backend = iam_backends[role.account_id][role.partition]
    boundary = role.permissions_boundary_arn
    return Caller(
        arn or role_arn,
        role_arn,
        tuple(_documents(role)),
        _managed(backend, boundary) if boundary else None,
        session,
    )


def exists(role_arn: str) -> bool:
    """Whether the role exists."""
    return _find_role(role_arn, "policy-effective") is not None


def allows(role_arn: str, resource: str, *actions: str) -> bool:
    """Whether the role may perform each action (`dynamodb:PutItem`) on the ARN `resource`."""
    session = role_session(role_arn)
    return not any(denial(session, action, resource, {}) for action in actions)


def refusal(caller: Caller, action: str, resource: str, context: Mapping[str, str]) -> str:
    """AWS's message to a caller who may not perform the action; "" if it may."""
    why = denial(caller, action, resource, context)
    return why and f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} {why}"


def denial(caller: Caller, action: str, resource: str, context: Mapping[str, str]) -> str:
    """Say why the caller may not perform the action, in AWS's words; "" if it may.

    An explicit deny wins. Then each kind of policy has to allow the action. `context` has condition keys of the
    service. The access log gets the decision.
    """
    why = _denial(_effects(caller, action, resource, context), action)
    if caller.identity is not None:
        access_log.log(caller.arn, action, resource, context, why)
    return why


def _denial(effects: Mapping[str, str], action: str) -> str:
    for kind, effect in effects.items():
        if effect == "Deny":
            return f"with an explicit deny in {kind}"
    for kind, effect in effects.items():
        if not effect:
            return f"because no {kind.partition(' ')[2]} allows the {action} action"
    return ""


def _effects(caller: Caller, action: str, resource: str, context: Mapping[str, str]) -> dict[str, str]:
    """The effect of each kind of policy; "Allow" if the caller needs none of that kind.

    Within an account, a resource-based policy that names the caller replaces the identity-based one. Made-up
    credentials need neither there.
    """
    keys = {
        "aws:principalarn": caller.principal,
        "aws:principalaccount": caller.account,
        "aws:requestedregion": (resource.split(":") + [""] * 4)[3],
    }
    context = keys | {name.lower(): value for name, value in context.items()}
    judge = partial(evaluate, action=action, resource=resource, context=context)
    own = action == _LISTS or not _SHARED.fullmatch(resource) or resource.split(":")[4] == caller.account
    if own and caller.identity is None:
        return {}
    identity = "Allow" if caller.identity is None else judge(caller.identity)
    shared = judge([_about(caller, _resource_policy(resource), account_counts=not own)])
    if own and shared == "Allow":
        identity = identity or "Allow"
    elif own:
        shared = shared or "Allow"
    elif action.partition(":")[2] not in _CROSS_ACCOUNT_ACTIONS:
        shared = shared.replace("Allow", "")
    return {
        "an identity-based policy": identity,
        "a resource-based policy": shared,
        "a permissions boundary": "Allow" if caller.boundary is None else judge([caller.boundary]),
        "a session policy": "Allow" if caller.session is None else judge([caller.session]),
    }


def is_assumable(role_arn: str, service: str) -> bool:
    """Whether the role exists and its trust policy allows `service` (`lambda.amazonaws.com`) to assume it."""
    role = _find_role(role_arn, "role-assumable")
    if not role:
        return False
    trust = [
        {**statement, "Resource": "*"}
        for statement in statements(role.assume_role_policy_document)
        if service in principals(statement, "Service")
    ]
    return evaluate([trust], "sts:AssumeRole", role_arn, {}) == "Allow"


def check_trust(call: Callable[..., Any], self: IamResponse) -> Any:
    """Wrap CreateRole or UpdateAssumeRolePolicy: refuse or store a trust policy as IAM does. moto first takes any."""
    name = "AssumeRolePolicyDocument" if "AssumeRolePolicyDocument" in self.params else "PolicyDocument"
    try:
        trust = statements(self.params[name])
    except ValueError:
        raise AwsError("MalformedPolicyDocument", "This policy contains invalid Json") from None
    for each in trust:
        problem = "Has prohibited field Resource" if "Resource" in each else ""
        if not {"Principal", "NotPrincipal"} & set(each):
            problem = "Missing required field Principal"
        elif any(not action.startswith(("sts:", "*")) for action in as_list(each.get("Action", []))):
            problem = "AssumeRole policy may only specify STS AssumeRole actions."
        if problem:
            raise AwsError("MalformedPolicyDocument", problem)
    self.params[name] = _with_root_arns(self.params[name], self.partition)
    return call(self)


def _with_root_arns(document: str, partition: str) -> str:
    """The policy with the ARN of the root user for each principal that is an account ID, which is short for it.

    IAM user guide, "AWS JSON policy elements: Principal".
    """
    policy = json.loads(document)
    for statement in as_list(policy["Statement"]):
        principal = statement.get("Principal")
        if isinstance(principal, dict) and "AWS" in principal:
            arns = [
                re.sub(r"^\d{12}$", rf"arn:{partition}:iam::\g<0>:root", each) for each in as_list(principal["AWS"])
            ]
            principal["AWS"] = arns if isinstance(principal["AWS"], list) else arns[0]
    return json.dumps(policy)


@cache  # moto keeps all credentials that it issues, and searches them on each request
def credentials(role_arn: str, session_name: str = "localaws") -> dict[str, str]:
    """Issue temporary credentials of the role: AccessKeyId, SecretAccessKey, SessionToken (STS AssumeRole).

    moto recognizes the access key: GetCallerIdentity returns the assumed role.
    """
    partition, account = role_arn.split(":")[1], role_arn.split(":")[4]
    assumed = sts_backends[account][partition].assume_role(
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


def _find_role(role_arn: str, event: str) -> Role | None:
    """Return the role with that ARN as Lambda and the others see it; None if it does not exist, or not yet."""
    _, partition, _, _, account, name = role_arn.split(":", 5)
    role = propagation.find_role(account, partition, name.rpartition("/")[2], event)
    return role if role and role.arn == role_arn else None


def _user(backend: IAMBackend, access_key: str) -> User | None:
    return backend.get_user_from_access_key_id(access_key) if access_key in backend.access_keys else None


def _user_policies(backend: IAMBackend, user: User) -> Iterator[Statements]:
    yield from _documents(user)
    for group in backend.get_groups_for_user(user.name):
        yield from _documents(group)


def _documents(identity: Role | User | Group) -> Iterator[Statements]:
    """The statements of each inline policy and each attached policy."""
    for document in list(identity.policies.values()):
        yield statements(document)
    for policy in list(identity.managed_policies.values()):
        yield statements(_default_document(policy))


def _managed(backend: IAMBackend, policy_arn: str) -> Statements:
    policy = backend.managed_policies.get(policy_arn)
    return statements(_default_document(policy)) if policy else []


def _default_document(policy: ManagedPolicy) -> str:
    return next(version.document for version in policy.versions if version.is_default)


def _resource_policy(resource: str) -> Statements:
    """The resource-based policy of a table, of its indexes, or of a stream."""
    if ":dynamodb:" not in resource or not _SHARED.fullmatch(resource):
        return []
    _, _, _, region, account, _ = resource.split(":", 5)
    backends = dynamodb_backends[account]
    policy = backends[region].resource_policies.get(resource.partition("/index/")[0]) if region in backends else None
    return statements(policy.policy_doc) if policy else []


def _about(caller: Caller, policy: Statements, *, account_counts: bool) -> Statements:
    """The statements whose principal is the caller. To allow it, its account may not be enough."""
    names = {"*", caller.arn, caller.principal}
    account = {caller.account, f"arn:{caller.principal.split(':')[1]}:iam::{caller.account}:root"}
    return [
        statement
        for statement in policy
        if (names | account if account_counts or statement["Effect"] == "Deny" else names)
        & set(principals(statement, "AWS"))
    ]
