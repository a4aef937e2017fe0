"""A log group in CloudWatch Logs: look, compare, create or update, delete.

To use it elsewhere, copy this file and `change.py` into one folder and import it from there
(`from steps import log_group`). It needs boto3 and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import WaiterError
from botocore.waiter import WaiterModel, create_waiter_with_client

from .change import OWNER_TAG, Change, UserError, added, check_owner, diff, reject_unsupported, tag_changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_logs import CloudWatchLogsClient

# What AWS takes for what is left out: compared like the rest, so that an option taken away is set back.
_DEFAULTS: dict[str, Any] = {
    "deletionProtectionEnabled": False,
    "kmsKeyId": "",
    "logGroupClass": "STANDARD",
    "retentionInDays": None,
    "tags": {},
}


def describe(logs: CloudWatchLogsClient, name: str, *, tags: bool = True) -> dict[str, Any] | None:
    """What AWS has of the log group under the names of CreateLogGroup's parameters, or None.

    Adds arn, storedBytes and retentionInDays (None: kept for ever); its `tags` take a call of their own.
    CloudWatch Logs API reference: DescribeLogGroups, ListTagsForResource.
    """
    # The shortest name with the prefix comes first, so one is enough.
    groups = logs.describe_log_groups(logGroupNamePrefix=name, limit=1)["logGroups"]
    if not groups or groups[0].get("logGroupName") != name:
        return None
    arn = groups[0]["arn"].removesuffix(":*")
    found: dict[str, Any] = {
        **_DEFAULTS,
        **{key: value for key, value in groups[0].items() if key in _DEFAULTS},
        "logGroupName": name,
        "arn": arn,
        "storedBytes": groups[0].get("storedBytes", 0),
    }
    if tags:
        found["tags"] = _tags(logs, arn)
    return found


def ensure(
    logs: CloudWatchLogsClient, wanted: Mapping[str, Any], *, adopt: bool = False, tags: bool = True
) -> Change:
    """Make the log group as wanted.

    `wanted` are CreateLogGroup's parameters, and retentionInDays as PutRetentionPolicy has it (None: kept for ever).
    What is left out is put to AWS's default. Without `tags`, these are looked at only when something else has changed.

    Raises UserError for a log group of another pipeline (unless `adopt`) and for another logGroupClass. CloudWatch Logs
    API reference: CreateLogGroup, PutRetentionPolicy, AssociateKmsKey, PutLogGroupDeletionProtection, TagResource.
    """
    name = wanted["logGroupName"]
    resource = f"log group {name}"
    reject_unsupported(resource, wanted, {*_DEFAULTS, "logGroupName"})
    complete = {**_DEFAULTS, **wanted}
    found = describe(logs, name, tags=tags)
    if found is None:
        return _create(logs, wanted, complete)
    if not tags:
        if not diff(found, {**complete, "tags": found["tags"]}):
            return Change(resource, "unchanged", attributes=found)
        found["tags"] = _tags(logs, found["arn"])
    check_owner(resource, found["tags"], complete["tags"].get(OWNER_TAG, ""), adopt=adopt)
    changed = diff(found, complete)
    if not changed:
        return Change(resource, "unchanged", attributes=found)
    if found["logGroupClass"] != complete["logGroupClass"]:
        raise UserError(
            f"{resource} has logGroupClass {found['logGroupClass']}, wanted is {complete['logGroupClass']}; AWS cannot "
            f"change it. Delete the log group, with its logs, and create it anew."
        )
    _update(logs, found, complete, {difference.setting for difference in changed})
    return Change(resource, "updated", changed, attributes={**found, **complete})


def delete(logs: CloudWatchLogsClient, name: str, *, owner: str = "") -> Change:
    """Delete the log group with its logs; UserError when it is of another pipeline, or protected from deletion.

    CloudWatch Logs API reference: DeleteLogGroup.
    """
    resource = f"log group {name}"
    found = describe(logs, name)
    if found is None:
        return Change(resource, "absent")
    check_owner(resource, found["tags"], owner)
    if found["deletionProtectionEnabled"]:
        raise UserError(
            f"{resource} is protected from deletion (deletionProtectionEnabled is true). To delete it, turn that off: "
            f"aws logs put-log-group-deletion-protection --log-group-identifier {name} --no-deletion-protection-enabled"
        )
    logs.delete_log_group(logGroupName=name)
    return Change(resource, "deleted", attributes=found)


def _tags(logs: CloudWatchLogsClient, arn: str) -> dict[str, str]:
    tags = logs.list_tags_for_resource(resourceArn=arn)["tags"]
    return {tag: value for tag, value in tags.items() if not tag.startswith("aws:")}


def wait(logs: CloudWatchLogsClient, name: str, timeout: float) -> None:
    """Wait until the log group exists, `timeout` seconds at most; raises UserError after them."""
    delay = 0.5
    model = WaiterModel(
        {
            "version": 2,
            "waiters": {
                "Exists": {
                    "operation": "DescribeLogGroups",
                    "delay": delay,
                    "maxAttempts": int(timeout / delay) + 1,
                    "acceptors": [
                        {
                            "state": "success",
                            "matcher": "pathAny",
                            "argument": "logGroups[].logGroupName",
                            "expected": name,
                        }
                    ],
                }
            },
        }
    )
    try:
        create_waiter_with_client("Exists", model, logs).wait(logGroupNamePrefix=name)
    except WaiterError as error:
        if "Error" in error.last_response:
            raise  # Denied, for one: that is not a matter of time.
        raise UserError(
            f"log group {name} is not there after {timeout:g} s; make it with: invoke create-function"
        ) from error


def _create(logs: CloudWatchLogsClient, wanted: Mapping[str, Any], complete: Mapping[str, Any]) -> Change:
    name = wanted["logGroupName"]
    logs.create_log_group(**{key: value for key, value in wanted.items() if value and key != "retentionInDays"})
    if complete["retentionInDays"]:
        logs.put_retention_policy(logGroupName=name, retentionInDays=complete["retentionInDays"])
    return Change(f"log group {name}", "created", added(wanted), attributes=complete)


def _update(
    logs: CloudWatchLogsClient, found: Mapping[str, Any], wanted: Mapping[str, Any], settings: set[str]
) -> None:
    name = found["logGroupName"]
    if "retentionInDays" in settings and wanted["retentionInDays"]:
        logs.put_retention_policy(logGroupName=name, retentionInDays=wanted["retentionInDays"])
    elif "retentionInDays" in settings:
        logs.delete_retention_policy(logGroupName=name)
    if "kmsKeyId" in settings and wanted["kmsKeyId"]:
        logs.associate_kms_key(logGroupName=name, kmsKeyId=wanted["kmsKeyId"])
    elif "kmsKeyId" in settings:
        logs.disassociate_kms_key(logGroupName=name)
    if "deletionProtectionEnabled" in settings:
        logs.put_log_group_deletion_protection(
            logGroupIdentifier=name, deletionProtectionEnabled=wanted["deletionProtectionEnabled"]
        )
    gone, put = tag_changes(found["tags"], wanted["tags"])
    if gone:
        logs.untag_resource(resourceArn=found["arn"], tagKeys=gone)
    if put:
        logs.tag_resource(resourceArn=found["arn"], tags=put)
