"""The IAM role of a Lambda function and its policies: describe, create or update, delete.

To reuse this module, copy it and `change.py` into one folder (`from steps import role`). It needs only boto3.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import change
from .change import OWNER_TAG, Change, Diff, UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from types_boto3_iam import IAMClient

# AWS's defaults. A parameter that `desired` omits is compared with its default, so that removing an option resets it.
_DEFAULTS: dict[str, Any] = {
    "Description": "",
    "ManagedPolicyArns": [],
    "MaxSessionDuration": 3600,
    "Path": "/",
    "PermissionsBoundary": "",
    "Tags": [],
}
PARAMETERS = {*_DEFAULTS, "RoleName", "AssumeRolePolicyDocument"}
_IMMUTABLE = {"Path": "Choose another role name, or delete the role and create it again"}


def describe(iam: IAMClient, name: str) -> dict[str, Any] | None:
    """Return the role under the names of CreateRole's parameters, or None if it does not exist.

    Adds Arn and ManagedPolicyArns. `Tags` maps names to values, and documents are parsed.
    IAM API reference: GetRole, ListAttachedRolePolicies.
    """
    try:
        role = iam.get_role(RoleName=name)["Role"]
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        attached = [policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]]
    except iam.exceptions.NoSuchEntityException:
        return None
    return {
        "RoleName": role["RoleName"],
        "Arn": role["Arn"],
        "Path": role["Path"],
        "AssumeRolePolicyDocument": role["AssumeRolePolicyDocument"],
        "Description": role.get("Description", ""),
        "MaxSessionDuration": role.get("MaxSessionDuration", 3600),
        "PermissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""),
        "ManagedPolicyArns": sorted(attached),
        "Tags": change.tag_map(role.get("Tags", ())),
    }


def ensure(iam: IAMClient, desired: Mapping[str, Any], *, adopt: bool = False) -> Change:
    """Create the role, or update what differs.

    `desired` holds CreateRole's parameters, with AssumeRolePolicyDocument as a mapping, and ManagedPolicyArns: the role
    gets exactly these managed policies. Omitted parameters get AWS's defaults.

    Raises UserError if the role belongs to another pipeline (unless `adopt`), or if Path differs. IAM API reference:
    CreateRole, UpdateRole, UpdateAssumeRolePolicy, AttachRolePolicy, PutRolePermissionsBoundary, TagRole.
    """
    name = desired["RoleName"]
    resource = f"role {name}"
    change.reject_unsupported(resource, desired, PARAMETERS)
    normalized = {**_DEFAULTS, **desired}
    normalized["ManagedPolicyArns"] = sorted(normalized["ManagedPolicyArns"])
    normalized["Tags"] = change.tag_map(normalized["Tags"])
    current = describe(iam, name)
    if current is None:
        return _create(iam, desired, normalized)
    change.check_owner(resource, current["Tags"], normalized["Tags"].get(OWNER_TAG, ""), adopt=adopt)
    diffs = change.diff(current, normalized)
    if not diffs:
        return Change(resource, "unchanged", attributes=current)
    change.reject_immutable(resource, diffs, _IMMUTABLE)
    _update(iam, current, normalized, {each.setting for each in diffs})
    return Change(resource, "updated", diffs, attributes={**current, **normalized})


def delete(
    iam: IAMClient,
    name: str,
    *,
    owner: str = "",
    policy_names: Collection[str] = (),
    managed_policy_arns: Collection[str] = (),
) -> Change:
    """Delete the role, after its inline policies and the attachments of its managed policies.

    Raises UserError, before it deletes anything, if the role belongs to another pipeline, is in an instance profile, or
    has policies that are not listed in `policy_names` and `managed_policy_arns`.
    IAM API reference: DeleteRole, which requires a role without policies.
    """
    resource = f"role {name}"
    current = describe(iam, name)
    if current is None:
        return Change(resource, "absent")
    change.check_owner(resource, current["Tags"], owner)
    inline = inline_policy_names(iam, name)
    profiles = iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]
    foreign = [
        *(f"inline policy {policy}" for policy in inline if policy not in policy_names),
        *(f"managed policy {arn}" for arn in current["ManagedPolicyArns"] if arn not in managed_policy_arns),
        *(f"instance profile {profile['InstanceProfileName']}" for profile in profiles),
    ]
    if foreign:
        raise UserError(
            f"{resource} is not deleted because this pipeline did not add its {', '.join(foreign)}. "
            f"If nothing else needs them, remove them from the role and run the step again."
        )
    for policy in inline:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for arn in current["ManagedPolicyArns"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role(RoleName=name)
    return Change(resource, "deleted", attributes=current)


def ensure_policy(
    iam: IAMClient,
    role_name: str,
    policy_name: str,
    document: Mapping[str, Any],
    *,
    owner: str = "",
    adopt: bool = False,
) -> Change:
    """Create or update the role's inline policy.

    Raises UserError if the role belongs to another pipeline (unless `adopt`).
    IAM API reference: GetRolePolicy, PutRolePolicy.
    """
    resource = f"policy {policy_name} of role {role_name}"
    attributes = {"RoleName": role_name, "PolicyName": policy_name, "PolicyDocument": document}
    current = _describe_policy(iam, role_name, policy_name)
    if current == document:
        return Change(resource, "unchanged", attributes=attributes)
    _check_owner_of_role(iam, role_name, owner, adopt=adopt)
    iam.put_role_policy(RoleName=role_name, PolicyName=policy_name, PolicyDocument=json.dumps(document))
    changed = (Diff("PolicyDocument", current, document),)
    return Change(resource, "created" if current is None else "updated", changed, attributes=attributes)


def inline_policy_names(iam: IAMClient, role_name: str) -> list[str]:
    """Return the names of the role's inline policies, [] if there is no role. IAM API reference: ListRolePolicies."""
    try:
        pages = iam.get_paginator("list_role_policies").paginate(RoleName=role_name)
        return [name for page in pages for name in page["PolicyNames"]]
    except iam.exceptions.NoSuchEntityException:
        return []


def delete_policy(iam: IAMClient, role_name: str, policy_name: str, *, owner: str = "") -> Change:
    """Delete the role's inline policy. Raises UserError if the role belongs to another pipeline."""
    resource = f"policy {policy_name} of role {role_name}"
    if _describe_policy(iam, role_name, policy_name) is None:
        return Change(resource, "absent")
    _check_owner_of_role(iam, role_name, owner)
    iam.delete_role_policy(RoleName=role_name, PolicyName=policy_name)
    return Change(resource, "deleted")


def _describe_policy(iam: IAMClient, role_name: str, policy_name: str) -> Mapping[str, Any] | None:
    try:
        # boto3 decodes and parses the document.
        document: Any = iam.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return dict(document)


def _check_owner_of_role(iam: IAMClient, role_name: str, owner: str, *, adopt: bool = False) -> None:
    """Check the role's tags, as inline policies have none. Costs a call, so call it only before a write."""
    if not owner:
        return
    try:
        tags = iam.get_role(RoleName=role_name)["Role"].get("Tags", ())
    except iam.exceptions.NoSuchEntityException:
        return  # In a dry run, the role is only planned. Otherwise the write reports that it is missing.
    change.check_owner(f"role {role_name}", change.tag_map(tags), owner, adopt=adopt)


def _create(iam: IAMClient, desired: Mapping[str, Any], normalized: Mapping[str, Any]) -> Change:
    name = desired["RoleName"]
    parameters = {setting: value for setting, value in desired.items() if setting != "ManagedPolicyArns"}
    parameters["AssumeRolePolicyDocument"] = json.dumps(desired["AssumeRolePolicyDocument"])
    if not parameters.get("PermissionsBoundary"):
        parameters.pop("PermissionsBoundary", None)
    role = iam.create_role(**parameters)["Role"]
    for arn in normalized["ManagedPolicyArns"]:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    diffs = change.added({setting: normalized[setting] for setting in desired})
    return Change(f"role {name}", "created", diffs, attributes={**normalized, "Arn": role["Arn"]})


def _update(iam: IAMClient, current: Mapping[str, Any], desired: Mapping[str, Any], settings: set[str]) -> None:
    name = current["RoleName"]
    if "AssumeRolePolicyDocument" in settings:
        document = json.dumps(desired["AssumeRolePolicyDocument"])
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=document)
    if settings & {"Description", "MaxSessionDuration"}:
        # Both, as AWS resets an omitted duration to one hour.
        iam.update_role(
            RoleName=name, Description=desired["Description"], MaxSessionDuration=desired["MaxSessionDuration"]
        )
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
