"""A log group in CloudWatch Logs: describe, create or update, wait, delete."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from . import change
from .change import OWNER_TAG, Change, UserError

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient

# AWS's defaults. A parameter that `desired` omits is compared with its default, so that removing an option resets it.
DEFAULTS: dict[str, Any] = {"retentionInDays": None, "tags": {}}
PARAMETERS = {*DEFAULTS, "logGroupName"}


def describe(logs: CloudWatchLogsClient, name: str, *, tags: bool = True) -> dict[str, Any] | None:
    """Return the log group under the names of CreateLogGroup's parameters, or None if it does not exist.

    Adds arn, deletionProtectionEnabled, retentionInDays (None: never) and retentionPolicyName ("": no account policy).
    CloudWatch Logs API reference: DescribeLogGroups, ListTagsForResource.
    """
    # AWS sorts by name, so the shortest name with this prefix comes first.
    groups = logs.describe_log_groups(logGroupNamePrefix=name, limit=1)["logGroups"]
    if not groups or groups[0].get("logGroupName") != name:
        return None
    arn = groups[0]["arn"].removesuffix(":*")
    optional = {"deletionProtectionEnabled": False, "retentionInDays": None, "retentionPolicyName": ""}
    current = {"logGroupName": name, "arn": arn, **{each: groups[0].get(each, optional[each]) for each in optional}}
    try:
        return {**current, "tags": _tags(logs, arn) if tags else {}}
    except logs.exceptions.ResourceNotFoundException:
        return None  # it was just deleted, but AWS still lists it


def ensure(logs: CloudWatchLogsClient, desired: Mapping[str, Any], *, adopt: bool = False, tags: bool = True) -> Change:
    """Create the log group, or update what differs.

    `desired` holds CreateLogGroup's logGroupName and tags, and retentionInDays as in PutRetentionPolicy (None: never).
    Other parameters stay as they are. Without `tags`, reads the tags only if something else differs.
    Raises UserError if the log group belongs to another pipeline (unless `adopt`).
    CloudWatch Logs API reference: CreateLogGroup, PutRetentionPolicy, TagResource.
    """
    name = desired["logGroupName"]
    resource = f"log group {name}"
    change.reject_unsupported(resource, desired, PARAMETERS)
    normalized = {**DEFAULTS, **desired}
    current = describe(logs, name, tags=tags)
    if current is None:
        return _create(logs, desired, normalized)
    if current["retentionPolicyName"]:
        # The account-level policy takes precedence over the log group's own retention, which AWS does not show.
        normalized["retentionInDays"] = current["retentionInDays"]
    if not tags:
        if not change.diff(current, {**normalized, "tags": {}}):
            return Change(resource, "unchanged", attributes=current)
        current["tags"] = _tags(logs, current["arn"])
    created = {**normalized, "retentionInDays": current["retentionInDays"]}
    current = current if adopt else change.wait_for_tags(current, created, lambda: describe(logs, name), tags="tags")
    change.check_owner(resource, current["tags"], normalized["tags"].get(OWNER_TAG, ""), adopt=adopt)
    diffs = change.diff({**current, "tags": change.own_tags(current["tags"], normalized["tags"])}, normalized)
    if not diffs:
        return Change(resource, "unchanged", attributes=current)
    _update(logs, current, normalized)
    return Change(resource, "updated", diffs, attributes={**current, **normalized})


def wait(logs: CloudWatchLogsClient, name: str, timeout: float) -> None:
    """Wait until the log group exists. Raises UserError after `timeout` seconds."""
    for pause in chain([0.0], change.backoff(timeout)):
        time.sleep(pause)
        if describe(logs, name, tags=False):
            return
    raise UserError(f"log group {name} does not exist after {timeout:g} s; create it with: invoke create-function")


def delete(logs: CloudWatchLogsClient, name: str, *, owner: str = "", adopt: bool = False) -> Change:
    """Delete the log group. Raises UserError if it is not ours or is protected. API reference: DeleteLogGroup."""
    resource = f"log group {name}"
    current = describe(logs, name)
    if current is None:
        return Change(resource, "absent")
    change.check_owner(resource, current["tags"], owner, adopt=adopt or None)
    if current["deletionProtectionEnabled"]:
        command = f"aws logs put-log-group-deletion-protection --log-group-identifier {name}"
        raise UserError(f"{resource} is protected from deletion; try: {command} --no-deletion-protection-enabled")
    logs.delete_log_group(logGroupName=name)
    return Change(resource, "deleted", attributes=current)


def _tags(logs: CloudWatchLogsClient, arn: str) -> dict[str, str]:
    tags = logs.list_tags_for_resource(resourceArn=arn)["tags"]
    return {tag: value for tag, value in tags.items() if not tag.startswith("aws:")}


def _create(logs: CloudWatchLogsClient, desired: Mapping[str, Any], normalized: Mapping[str, Any]) -> Change:
    name = desired["logGroupName"]
    logs.create_log_group(**{key: value for key, value in desired.items() if value and key != "retentionInDays"})
    if normalized["retentionInDays"]:
        logs.put_retention_policy(logGroupName=name, retentionInDays=normalized["retentionInDays"])
    return Change(f"log group {name}", "created", change.diff({}, desired), attributes=normalized)


def _update(logs: CloudWatchLogsClient, current: Mapping[str, Any], desired: Mapping[str, Any]) -> None:
    name, days = current["logGroupName"], desired["retentionInDays"]
    if days and days != current["retentionInDays"]:
        logs.put_retention_policy(logGroupName=name, retentionInDays=days)
    elif days != current["retentionInDays"]:
        logs.delete_retention_policy(logGroupName=name)
    removed, put = change.tag_changes(change.own_tags(current["tags"], desired["tags"]), desired["tags"])
    if removed:
        logs.untag_resource(resourceArn=current["arn"], tagKeys=removed)
    if put:
        logs.tag_resource(resourceArn=current["arn"], tags=put)
