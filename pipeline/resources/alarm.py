"""A CloudWatch alarm on one metric: describe, create or update, delete. No call requires a wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import change
from .change import OWNER_TAG, Change

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient

# AWS's defaults. PutMetricAlarm overwrites all parameters, so a parameter that `desired` omits gets its default.
DEFAULTS: dict[str, Any] = {
    "ActionsEnabled": True,
    "AlarmActions": [],
    "AlarmDescription": "",
    "DatapointsToAlarm": None,
    "Dimensions": [],
    "InsufficientDataActions": [],
    "OKActions": [],
    "Tags": {},
    "TreatMissingData": "missing",
    "Unit": None,
}
# Other kinds of alarms lack some of these parameters.
_REQUIRED = {"ComparisonOperator", "EvaluationPeriods", "MetricName", "Namespace", "Period", "Statistic", "Threshold"}
PARAMETERS = {*DEFAULTS, *_REQUIRED, "AlarmName"}


def describe(cloudwatch: CloudWatchClient, name: str) -> dict[str, Any] | None:
    """Return the alarm under the names of PutMetricAlarm's parameters, or None if it does not exist.

    Adds AlarmArn and StateValue. Tags is a mapping. CloudWatch API reference: DescribeAlarms, ListTagsForResource.
    """
    alarms = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not alarms:
        return None
    current: dict[str, Any] = {**DEFAULTS, **dict.fromkeys(_REQUIRED), **alarms[0]}
    tags = cloudwatch.list_tags_for_resource(ResourceARN=current["AlarmArn"])["Tags"]
    return {**{name: current[name] for name in (*PARAMETERS, "AlarmArn", "StateValue")}, "Tags": change.tag_map(tags)}


def ensure(cloudwatch: CloudWatchClient, desired: Mapping[str, Any], *, adopt: bool = False) -> Change:
    """Create the alarm, or update what differs.

    `desired` holds PutMetricAlarm's parameters for an alarm on one metric. Omitted parameters get AWS's defaults.

    Raises UserError if the alarm belongs to another pipeline (unless `adopt`).
    CloudWatch API reference: PutMetricAlarm, which ignores the tags of an existing alarm, TagResource, UntagResource.
    """
    name = desired["AlarmName"]
    resource = f"alarm {name}"
    change.reject_unsupported(resource, desired, PARAMETERS)
    normalized = {**DEFAULTS, **desired, "Tags": change.tag_map(desired.get("Tags", ()))}
    current = describe(cloudwatch, name)
    if current is None:
        cloudwatch.put_metric_alarm(**desired)
        return Change(resource, "created", change.diff({}, {**desired, "Tags": normalized["Tags"]}), normalized)
    if not adopt:
        current = change.wait_for_tags(current, normalized, lambda: describe(cloudwatch, name))
    change.check_owner(resource, current["Tags"], normalized["Tags"].get(OWNER_TAG, ""), adopt=adopt)
    ours = change.own_tags(current["Tags"], normalized["Tags"])
    diffs = change.diff({**current, "Tags": ours}, normalized)
    if not diffs:
        return Change(resource, "unchanged", attributes=current)
    if {each.setting for each in diffs} != {"Tags"}:
        cloudwatch.put_metric_alarm(**desired)
    removed, put = change.tag_changes(ours, normalized["Tags"])
    if removed:
        cloudwatch.untag_resource(ResourceARN=current["AlarmArn"], TagKeys=removed)
    if put:
        tags: Any = [{"Key": tag, "Value": value} for tag, value in put.items()]
        cloudwatch.tag_resource(ResourceARN=current["AlarmArn"], Tags=tags)
    return Change(resource, "updated", diffs, attributes={**current, **normalized})


def delete(cloudwatch: CloudWatchClient, name: str, *, owner: str = "", adopt: bool = False) -> Change:
    """Delete the alarm. Raises UserError if it belongs to another pipeline. CloudWatch API reference: DeleteAlarms."""
    resource = f"alarm {name}"
    current = describe(cloudwatch, name)
    if current is None:
        return Change(resource, "absent")
    change.check_owner(resource, current["Tags"], owner, adopt=adopt or None)
    cloudwatch.delete_alarms(AlarmNames=[name])
    return Change(resource, "deleted", attributes=current)
