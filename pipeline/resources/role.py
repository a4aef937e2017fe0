"""The IAM role of a Lambda function and its policies: describe, create or update, delete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from . import change
from .change import OWNER_TAG, Change, Diff, UserError

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

# AWS's defaults. A parameter that `desired` omits is compared with its default, so that removing an option resets it.
DEFAULTS: dict[str, Any] = {
    "Description": "",
    "ManagedPolicyArns": [],
    "MaxSessionDuration": 3600,
    "Path": "/",
    "PermissionsBoundary": "",
    "Tags": [],
}
PARAMETERS = {*DEFAULTS, "RoleName", "AssumeRolePolicyDocument"}
# The tag that lists the inline policies that a pipeline put.
POLICIES_TAG = "pipeline:policies"
_IMMUTABLE = {"Path": "Choose another role name, or delete the role and create it again"}


def describe(iam: IAMClient, name: str) -> dict[str, Any] | None:
    """Return the role under the names of CreateRole's parameters, or None if it does not exist.

    Adds Arn and ManagedPolicyArns. `Tags` maps names to values, and documents are parsed.
    IAM API reference: GetRole, ListAttachedRolePolicies.
    """
    try:
        role: Mapping[str, Any] = iam.get_role(RoleName=name)["Role"]
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        attached = [policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]]
    except iam.exceptions.NoSuchEntityException:
        return None
    return {
        **{setting: role.get(setting, default) for setting, default in DEFAULTS.items()},
        "RoleName": role["RoleName"],
        "Arn": role["Arn"],
        # boto3 decodes and parses it.
        "AssumeRolePolicyDocument": normalize_trust(role["AssumeRolePolicyDocument"], iam.meta.partition),
        "PermissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""),
        "ManagedPolicyArns": sorted(attached),
        "Tags": change.tag_map(role.get("Tags", ())),
    }


def ensure(iam: IAMClient, desired: Mapping[str, Any], *, adopt: bool = False) -> Change:
    """Create the role, or update what differs.

    `desired` holds CreateRole's parameters, with AssumeRolePolicyDocument as a mapping, and ManagedPolicyArns, which
    are attached in addition to those of others. Omitted parameters get AWS's defaults. The role's tags record the
    policies attached here (`change.record`), so `ensure` can detach them later. Raises UserError if the role belongs to
    another pipeline (unless `adopt`), or if Path differs. IAM API reference: CreateRole, UpdateRole,
    UpdateAssumeRolePolicy, AttachRolePolicy, PutRolePermissionsBoundary, TagRole.
    """
    name = desired["RoleName"]
    resource = f"role {name}"
    change.reject_unsupported(resource, desired, PARAMETERS)
    normalized = {**DEFAULTS, **desired}
    normalized["ManagedPolicyArns"] = sorted(normalized["ManagedPolicyArns"])
    normalized["Tags"] = change.tag_map(normalized["Tags"])
    trust = normalize_trust(normalized["AssumeRolePolicyDocument"], iam.meta.partition)
    normalized["AssumeRolePolicyDocument"] = trust
    current = describe(iam, name)
    if current is None:
        return _create(iam, desired, normalized)
    created = {**normalized, "ManagedPolicyArns": current["ManagedPolicyArns"]}
    current = current if adopt else change.wait_for_tags(current, created, lambda: describe(iam, name))
    change.check_owner(resource, current["Tags"], normalized["Tags"].get(OWNER_TAG, ""), adopt=adopt)
    tags, policies = current["Tags"], normalized["ManagedPolicyArns"]
    attached = [arn for arn in current["ManagedPolicyArns"] if arn in policies or change.is_recorded(arn, tags)]
    # Without what others added.
    ours = {**current, "Tags": change.own_tags(tags, normalized["Tags"]), "ManagedPolicyArns": attached}
    if not (diffs := change.diff(ours, normalized)):
        return Change(resource, "unchanged", attributes=current)
    change.reject_immutable(resource, diffs, _IMMUTABLE)
    _update(iam, ours, normalized, {each.setting for each in diffs})
    return Change(resource, "updated", diffs, attributes={**current, **normalized})


def normalize_trust(document: Mapping[str, Any], partition: str) -> dict[str, Any]:
    """Return a trust policy as IAM stores it, with sorted lists. A list of one text becomes the text."""

    def values(entry: Any) -> Any:
        if isinstance(entry, list):
            entries = sorted(map(values, entry), key=str)
            return entries[0] if len(entries) == 1 and isinstance(entries[0], str) else entries
        return {name: values(each) for name, each in entry.items()} if isinstance(entry, dict) else entry

    document = expand_accounts(document, partition)
    return {**document, "Statement": values(document["Statement"])} if "Statement" in document else {**document}


def expand_accounts(entry: Any, partition: str, account: str = "0" * 12, *, principal: bool = False) -> Any:
    """Return a trust policy as IAM stores it: a principal that is an account ID becomes the ARN of its root user.

    `account` is a placeholder of an account ID. IAM user guide: "AWS JSON policy elements: Principal".
    """
    if isinstance(entry, str) and principal:
        return re.sub(rf"^(\d{{12}}|{re.escape(account)})$", rf"arn:{partition}:iam::\1:root", entry)
    expand = partial(expand_accounts, partition=partition, account=account)
    if isinstance(entry, list):
        return [expand(each, principal=principal) for each in entry]
    if isinstance(entry, dict):
        within = ("Principal", "NotPrincipal")
        return {name: expand(each, principal=principal or name in within) for name, each in entry.items()}
    return entry


def delete(iam: IAMClient, name: str, policy_names: Collection[str] = (), arns: Collection[str] = (),
           *, owner: str = "", adopt: bool = False) -> Change:  # fmt: skip
    """Delete the role and its policies. Keep it, with a note, if it has `foreign_policies`, unless `adopt` is true.

    Raises UserError if it belongs to another pipeline or is in an instance profile. IAM API reference: DeleteRole.
    """
    resource = f"role {name}"
    current = describe(iam, name)
    if current is None:
        return Change(resource, "absent")
    change.check_owner(resource, current["Tags"], owner, adopt=adopt or None)
    if profiles := iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]:
        profile = profiles[0]["InstanceProfileName"]
        raise UserError(f"{resource} is in the instance profile {profile}; remove it there and run the step again")
    foreign = foreign_policies(iam, name, policy_names, arns)
    if foreign and owner and not adopt:
        note = f"kept because someone else added {', '.join(foreign)}; to delete it, pass --adopt"
        return Change(resource, "unchanged", attributes=current, note=note)
    for policy in inline_policy_names(iam, name):
        _ignore_missing(iam, partial(iam.delete_role_policy, RoleName=name, PolicyName=policy))
    for arn in current["ManagedPolicyArns"]:
        _ignore_missing(iam, partial(iam.detach_role_policy, RoleName=name, PolicyArn=arn))
    _ignore_missing(iam, partial(iam.delete_role, RoleName=name))
    return Change(resource, "deleted", attributes=current)


def foreign_policies(iam: IAMClient, name: str, policy_names: Collection[str], arns: Collection[str]) -> list[str]:
    """Return the role's policies that others added, each with its kind; [] if the role does not exist.

    Those are neither in `policy_names`, nor in `arns` (of managed policies), nor recorded in the role's tags.
    IAM API reference: GetRole, ListAttachedRolePolicies, ListRolePolicies.
    """
    current = describe(iam, name)
    if current is None:
        return []
    inline, tags = sorted({*inline_policy_names(iam, name)} - {*policy_names}), current["Tags"]
    managed = sorted({*current["ManagedPolicyArns"]} - {*arns})
    foreign = [f"inline policy {each}" for each in inline if not change.is_recorded(each, tags, POLICIES_TAG)]
    return foreign + [f"managed policy {each}" for each in managed if not change.is_recorded(each, tags)]


def _ignore_missing(iam: IAMClient, delete: Callable[[], Any]) -> None:
    """Delete a policy or the role. Ignores that it is gone, because a response was lost or a list was stale."""
    with suppress(iam.exceptions.NoSuchEntityException):
        delete()


def ensure_policies(
    iam: IAMClient, role_name: str, documents: Mapping[str, Mapping[str, Any]], *, owner: str = "", adopt: bool = False
) -> Iterator[Change]:
    """Put the role's inline policies. Delete policies from an earlier call that `documents` no longer contains.

    `documents` maps names to documents. Policies that others put stay. The role's tags list the names, as inline
    policies have no tags. Raises UserError if the role belongs to another pipeline (unless `adopt`).
    IAM API reference: ListRolePolicies, GetRolePolicy, PutRolePolicy, DeleteRolePolicy, TagRole.
    """
    existing = inline_policy_names(iam, role_name)
    current = {name: describe_policy(iam, role_name, name) if name in existing else None for name in documents}
    unlisted = [name for name in existing if name not in documents]
    stale = []
    if unlisted or current != documents:
        role = describe(iam, role_name)  # None in a dry run in which the role is only planned
        if role and current != documents:
            if not adopt:
                role = change.wait_for_tags({"Tags": role["Tags"]}, {"Tags": owner}, lambda: describe(iam, role_name))
            change.check_owner(f"role {role_name}", role["Tags"], owner, adopt=adopt)
        tags = role["Tags"] if role else {}
        stale = [name for name in unlisted if change.is_recorded(name, tags, POLICIES_TAG)]
        # Before the first put, so that an interruption leaves no unrecorded policy.
        _record_policies(iam, role_name, [*documents, *stale], tags)
    for name, document in documents.items():
        resource = f"policy {name} of role {role_name}"
        attributes = {"RoleName": role_name, "PolicyName": name, "PolicyDocument": document}
        if current[name] == document:
            yield Change(resource, "unchanged", attributes=attributes)
            continue
        put = partial(iam.put_role_policy, RoleName=role_name, PolicyName=name, PolicyDocument=json.dumps(document))
        change.retry(put)
        diffs = (Diff("PolicyDocument", current[name], document),)
        yield Change(resource, "updated" if current[name] else "created", diffs, attributes=attributes)
    for name in stale:
        _ignore_missing(iam, partial(iam.delete_role_policy, RoleName=role_name, PolicyName=name))
        yield Change(f"policy {name} of role {role_name}", "deleted")
    if stale:
        _record_policies(iam, role_name, documents, {})


def _record_policies(iam: IAMClient, role_name: str, names: Iterable[str], tags: Mapping[str, str]) -> None:
    """Write the names to the role's tags, unless `tags` contains them."""
    for key, value in change.record(names, POLICIES_TAG).items():
        if tags.get(key) != value:
            change.retry(partial(iam.tag_role, RoleName=role_name, Tags=[{"Key": key, "Value": value}]))


def inline_policy_names(iam: IAMClient, role_name: str) -> list[str]:
    """Return the names of the role's inline policies, [] if there is no role. IAM API reference: ListRolePolicies."""
    try:
        pages = iam.get_paginator("list_role_policies").paginate(RoleName=role_name)
        return [name for page in pages for name in page["PolicyNames"]]
    except iam.exceptions.NoSuchEntityException:
        return []


def describe_policy(iam: IAMClient, role_name: str, policy_name: str) -> Mapping[str, Any] | None:
    """Return the document of an inline policy, or None if it does not exist. IAM API reference: GetRolePolicy."""
    try:
        document: Any = iam.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
        return dict(document)  # boto3 decodes and parses it
    except iam.exceptions.NoSuchEntityException:
        return None


def _create(iam: IAMClient, desired: Mapping[str, Any], normalized: Mapping[str, Any]) -> Change:
    name = desired["RoleName"]
    parameters = {setting: value for setting, value in desired.items() if value and setting != "ManagedPolicyArns"}
    parameters["AssumeRolePolicyDocument"] = json.dumps(desired["AssumeRolePolicyDocument"])
    role = iam.create_role(**parameters)["Role"]
    for arn in normalized["ManagedPolicyArns"]:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    diffs = change.diff({}, {setting: normalized[setting] for setting in desired})
    return Change(f"role {name}", "created", diffs, attributes={**normalized, "Arn": role["Arn"]})


def _update(iam: IAMClient, current: Mapping[str, Any], desired: Mapping[str, Any], settings: set[str]) -> None:
    name = current["RoleName"]
    if "AssumeRolePolicyDocument" in settings:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(desired["AssumeRolePolicyDocument"]))
    if settings & {"Description", "MaxSessionDuration"}:
        # Both, because AWS resets an omitted duration to one hour.
        description, duration = desired["Description"], desired["MaxSessionDuration"]
        iam.update_role(RoleName=name, Description=description, MaxSessionDuration=duration)
    if "PermissionsBoundary" in settings and desired["PermissionsBoundary"]:
        iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=desired["PermissionsBoundary"])
    elif "PermissionsBoundary" in settings:
        iam.delete_role_permissions_boundary(RoleName=name)
    for arn in sorted(set(desired["ManagedPolicyArns"]) - set(current["ManagedPolicyArns"])):
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for arn in sorted(set(current["ManagedPolicyArns"]) - set(desired["ManagedPolicyArns"])):
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    removed, put = change.tag_changes(current["Tags"], desired["Tags"])
    if removed:
        iam.untag_role(RoleName=name, TagKeys=removed)
    if put:
        iam.tag_role(RoleName=name, Tags=[{"Key": tag, "Value": value} for tag, value in put.items()])
