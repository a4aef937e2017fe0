"""CloudWatch's alarms, where moto differs from AWS. They are stored, and never evaluated.

CloudWatch API reference: PutMetricAlarm, DeleteAlarms, ListTagsForResource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.cloudwatch.exceptions import ResourceNotFoundException

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.cloudwatch.models import Alarm, CloudWatchBackend


def put_alarm(put: Callable[..., Alarm], self: CloudWatchBackend, **parameters: Any) -> Alarm:
    """Wrap PutMetricAlarm: a new alarm has no data yet. An existing one keeps its state and its tags."""
    before = self.alarms.get(parameters["name"])
    if before:
        parameters["tags"] = None
    alarm = put(self, **parameters)
    alarm.state_value = before.state_value if before else "INSUFFICIENT_DATA"
    if before:
        alarm.state_reason, alarm.state_reason_data = before.state_reason, before.state_reason_data
        alarm.state_updated_timestamp, alarm.history = before.state_updated_timestamp, before.history
    return alarm


def delete_alarms(delete: Callable[..., None], self: CloudWatchBackend, alarm_names: list[str]) -> None:
    """Wrap DeleteAlarms: an alarm's tags end with it."""
    for alarm in [self.alarms[name] for name in alarm_names if name in self.alarms]:
        self.tagger.delete_all_tags_for_resource(alarm.alarm_arn)
    delete(self, alarm_names)


def list_tags(call: Callable[..., dict[str, str]], self: CloudWatchBackend, arn: str) -> dict[str, str]:
    """Wrap ListTagsForResource: an alarm that does not exist is an error."""
    _, is_alarm, name = arn.partition(":alarm:")
    if is_alarm and name not in self.alarms:
        raise ResourceNotFoundException
    return call(self, arn)
