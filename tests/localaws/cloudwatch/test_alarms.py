"""Alarms as AWS stores them. CloudWatch API reference: PutMetricAlarm, DeleteAlarms, ListTagsForResource."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = count()
DEFINITION: dict[str, Any] = {
    "Namespace": "AWS/Lambda",
    "MetricName": "Errors",
    "Statistic": "Sum",
    "Period": 300,
    "EvaluationPeriods": 1,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "Tags": [{"Key": "pipeline", "Value": "demo"}],
}


@pytest.fixture
def cloudwatch(client: Callable[[str], Any]) -> Any:
    return client("cloudwatch")


@pytest.fixture
def name(cloudwatch: Any) -> str:
    """The name of a new alarm."""
    name = f"alarm-{next(NUMBERS)}"
    cloudwatch.put_metric_alarm(AlarmName=name, **DEFINITION)
    return name


def described(cloudwatch: Any, name: str) -> dict[str, Any]:
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return dict(alarm)


def tags(cloudwatch: Any, arn: str) -> list[dict[str, str]]:
    return list(cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"])


def test_a_new_alarm_has_insufficient_data(cloudwatch: Any, name: str) -> None:
    assert described(cloudwatch, name)["StateValue"] == "INSUFFICIENT_DATA"


def test_an_updated_alarm_keeps_its_state(cloudwatch: Any, name: str) -> None:
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    cloudwatch.put_metric_alarm(AlarmName=name, **{**DEFINITION, "Threshold": 2})
    alarm = described(cloudwatch, name)
    assert (alarm["Threshold"], alarm["StateValue"], alarm["StateReason"]) == (2, "ALARM", "a test")


def test_an_update_ignores_tags(cloudwatch: Any, name: str) -> None:
    cloudwatch.put_metric_alarm(AlarmName=name, **{**DEFINITION, "Tags": [{"Key": "pipeline", "Value": "other"}]})
    assert tags(cloudwatch, described(cloudwatch, name)["AlarmArn"]) == DEFINITION["Tags"]


def test_the_tags_of_a_deleted_alarm_are_an_error(cloudwatch: Any, name: str) -> None:
    arn = described(cloudwatch, name)["AlarmArn"]
    cloudwatch.delete_alarms(AlarmNames=[name])
    with pytest.raises(ClientError, match="ResourceNotFound"):
        tags(cloudwatch, arn)


def test_an_alarm_of_a_deleted_ones_name_does_not_have_its_tags(cloudwatch: Any, name: str) -> None:
    cloudwatch.delete_alarms(AlarmNames=[name])
    cloudwatch.put_metric_alarm(AlarmName=name, **{**DEFINITION, "Tags": []})
    assert tags(cloudwatch, described(cloudwatch, name)["AlarmArn"]) == []
