"""The IAM role of a Lambda function, and its policies: look, compare, create or update, delete.

To use it elsewhere, copy this file and `change.py` into one folder and import it from there
(`from steps import role`). It needs boto3 and nothing else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .change import (
    OWNER_TAG,
    Change,
    Diff,
    UserError,
    added,
    check_owner,
    diff,
    reject_unsupported,
    tag_changes,
    tag_map,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from types_boto3_iam import IAMClient

# What AWS takes for what is left out: compared like the rest, so that an option taken away is set back.
_DEFAULTS: dict[str, Any] = {
    "Description": "",
    "ManagedPolicyArns": [],
    "MaxSessionDuration": 3600,
    "Path": "/",
    "PermissionsBoundary": "",
    "Tags": [],
}
_KNOWN = {*_DEFAULTS, "RoleName", "AssumeRolePolicyDocument"}


def describe(iam: IAMClient, name: str) -> dict[str, Any] | None:
    """What AWS has of the role under the names of CreateRole's parameters, or None.

    Adds Arn, `Tags` as name to value, and ManagedPolicyArns; documents are parsed.
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
        "Tags": tag_map(role.get("Tags", ())),
    }


def ensure(iam: IAMClient, wanted: Mapping[str, Any], *, adopt: bool = False) -> Change:
    """Make the role as wanted.

    `wanted` are CreateRole's parameters, AssumeRolePolicyDocument as a mapping, and ManagedPolicyArns: exactly these
    managed policies are attached. What is left out is put to AWS's default.

    Raises UserError for a role of another pipeline (unless `adopt`) and for another Path, which AWS cannot change.
    IAM API reference: CreateRole, UpdateRole, UpdateAssumeRolePolicy, AttachRolePolicy,
    PutRolePermissionsBoundary, TagRole.
    """
    name = wanted["RoleName"]
    resource = f"role {name}"
    reject_unsupported(resource, wanted, _KNOWN)
    complete = {**_DEFAULTS, **wanted}
    complete["ManagedPolicyArns"] = sorted(complete["ManagedPolicyArns"])
    complete["Tags"] = tag_map(complete["Tags"])
    found = describe(iam, name)
    if found is None:
        return _create(iam, wanted, complete)
    check_owner(resource, found["Tags"], complete["Tags"].get(OWNER_TAG, ""), adopt=adopt)
    changed = diff(found, complete)
    if not changed:
        return Change(resource, "unchanged", attributes=found)
    settings = {difference.setting for difference in changed}
    if "Path" in settings:
        raise UserError(
            f"{resource} has Path {found['Path']}, wanted is {complete['Path']}; AWS cannot change it. "
            f"Choose another role name, or delete the role and create it anew."
        )
    _update(iam, found, complete, settings)
    return Change(resource, "updated", changed, attributes={**found, **complete})


def delete(
    iam: IAMClient,
    name: str,
    *,
    owner: str = "",
    policy_names: Collection[str] = (),
    managed_policy_arns: Collection[str] = (),
) -> Change:
    """Delete the role with the inline policies and attachments named here, which are ours.

    Raises UserError, before anything is deleted, for a role of another pipeline and for one that has more than these.
    IAM API reference: DeleteRole, which takes only a role that has no policies any more.
    """
    resource = f"role {name}"
    found = describe(iam, name)
    if found is None:
        return Change(resource, "absent")
    check_owner(resource, found["Tags"], owner)
    inline = inline_policy_names(iam, name)
    profiles = iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]
    foreign = [
        *(f"inline policy {policy}" for policy in inline if policy not in policy_names),
        *(f"managed policy {arn}" for arn in found["ManagedPolicyArns"] if arn not in managed_policy_arns),
        *(f"instance profile {profile['InstanceProfileName']}" for profile in profiles),
    ]
    if foreign:
        raise UserError(
            f"{resource} has what this pipeline did not give it: {', '.join(foreign)}. "
            f"It is not deleted; take that away first, if nobody else needs it."
        )
    for policy in inline:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for arn in found["ManagedPolicyArns"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role(RoleName=name)
    return Change(resource, "deleted", attributes=found)


def ensure_policy(
    iam: IAMClient,
    role_name: str,
    policy_name: str,
    document: Mapping[str, Any],
    *,
    owner: str = "",
    adopt: bool = False,
) -> Change:
    """Make the role's inline policy this document.

    Raises UserError when the role is of another pipeline (unless `adopt`).
    IAM API reference: GetRolePolicy, PutRolePolicy.
    """
    resource = f"policy {policy_name} of role {role_name}"
    answer = {"RoleName": role_name, "PolicyName": policy_name, "PolicyDocument": document}
    found = _inline(iam, role_name, policy_name)
    if found == document:
        return Change(resource, "unchanged", attributes=answer)
    _check_owner_of_role(iam, role_name, owner, adopt=adopt)
    iam.put_role_policy(RoleName=role_name, PolicyName=policy_name, PolicyDocument=json.dumps(document))
    if found is None:
        return Change(resource, "created", added({"PolicyDocument": document}), attributes=answer)
    return Change(resource, "updated", (Diff("PolicyDocument", found, document),), attributes=answer)


def inline_policy_names(iam: IAMClient, role_name: str) -> list[str]:
    """The names of the role's inline policies; none when there is no role. IAM API reference: ListRolePolicies."""
    try:
        pages = iam.get_paginator("list_role_policies").paginate(RoleName=role_name)
        return [name for page in pages for name in page["PolicyNames"]]
    except iam.exceptions.NoSuchEntityException:
        return []


def delete_policy(iam: IAMClient, role_name: str, policy_name: str, *, owner: str = "") -> Change:
    """Delete the role's inline policy; UserError when the role is of another pipeline."""
    resource = f"policy {policy_name} of role {role_name}"
    if _inline(iam, role_name, policy_name) is None:
        return Change(resource, "absent")
    _check_owner_of_role(iam, role_name, owner)
    iam.delete_role_policy(RoleName=role_name, PolicyName=policy_name)
    return Change(resource, "deleted")


def _inline(iam: IAMClient, role_name: str, policy_name: str) -> Mapping[str, Any] | None:
    try:
        # boto3 has undone the URL encoding and parsed the document.
        document: Any = iam.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return dict(document)


def _check_owner_of_role(iam: IAMClient, role_name: str, owner: str, *, adopt: bool = False) -> None:
    """Inline policies carry no tags: they belong to their role. Asked only when something is about to be written."""
    if not owner:
        return
    try:
        tags = iam.get_role(RoleName=role_name)["Role"].get("Tags", ())
    except iam.exceptions.NoSuchEntityException:
        return  # Planned, and not there yet; or missing, which the writing call says.
    check_owner(f"role {role_name}", tag_map(tags), owner, adopt=adopt)


def _create(iam: IAMClient, wanted: Mapping[str, Any], complete: Mapping[str, Any]) -> Change:
    name = wanted["RoleName"]
    parameters = {setting: value for setting, value in wanted.items() if setting != "ManagedPolicyArns"}
    parameters["AssumeRolePolicyDocument"] = json.dumps(wanted["AssumeRolePolicyDocument"])
    if not parameters.get("PermissionsBoundary"):
        parameters.pop("PermissionsBoundary", None)
    role = iam.create_role(**parameters)["Role"]
    for arn in complete["ManagedPolicyArns"]:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    new = added({setting: complete[setting] for setting in wanted})
    return Change(f"role {name}", "created", new, attributes={**complete, "Arn": role["Arn"]})


def _update(iam: IAMClient, found: Mapping[str, Any], wanted: Mapping[str, Any], settings: set[str]) -> None:
    name = found["RoleName"]
    if "AssumeRolePolicyDocument" in settings:
        document = json.dumps(wanted["AssumeRolePolicyDocument"])
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=document)
    if settings & {"Description", "MaxSessionDuration"}:
        # Both, as AWS puts a duration that is left out back to one hour.
        iam.update_role(
            RoleName=name, Description=wanted["Description"], MaxSessionDuration=wanted["MaxSessionDuration"]
        )
    if "PermissionsBoundary" in settings and wanted["PermissionsBoundary"]:
        iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=wanted["PermissionsBoundary"])
    elif "PermissionsBoundary" in settings:
        iam.delete_role_permissions_boundary(RoleName=name)
    for arn in sorted(set(wanted["ManagedPolicyArns"]) - set(found["ManagedPolicyArns"])):
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for arn in sorted(set(found["ManagedPolicyArns"]) - set(wanted["ManagedPolicyArns"])):
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    if "Tags" in settings:
        _update_tags(iam, name, found["Tags"], wanted["Tags"])


def _update_tags(iam: IAMClient, name: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    gone, put = tag_changes(old, new)
    if gone:
        iam.untag_role(RoleName=name, TagKeys=gone)
    if put:
        iam.tag_role(RoleName=name, Tags=[{"Key": tag, "Value": value} for tag, value in put.items()])
