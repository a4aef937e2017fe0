from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import alarm, change
from pipeline.resources.change import UserError, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]

NAME = "demo-errors"
ARN = f"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{NAME}"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:on-call"
DESIRED: dict[str, Any] = {
    "AlarmName": NAME,
    "AlarmActions": [TOPIC],
    "Namespace": "AWS/Lambda",
    "MetricName": "Errors",
    "Dimensions": [{"Name": "FunctionName", "Value": "demo"}],
    "Statistic": "Sum",
    "Period": 300,
    "EvaluationPeriods": 1,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "Threshold": 1,
    "Tags": [{"Key": "pipeline", "Value": "demo"}],
}
# A second value for each parameter.
DRIFTS: dict[str, Any] = {
    "ActionsEnabled": False,
    "AlarmActions": [],
    "AlarmDescription": "other",
    "ComparisonOperator": "GreaterThanThreshold",
    "DatapointsToAlarm": 1,
    "Dimensions": [],
    "EvaluationPeriods": 2,
    "InsufficientDataActions": [TOPIC],
    "MetricName": "Throttles",
    "Namespace": "AWS/Other",
    "OKActions": [TOPIC],
    "Period": 60,
    "Statistic": "Maximum",
    "Threshold": 2.5,
    "TreatMissingData": "breaching",
    "Unit": "Count",
}


@pytest.fixture
def cloudwatch(aws: Aws) -> Any:
    return aws("cloudwatch")


def described(cloudwatch: Any) -> dict[str, Any]:
    current = alarm.describe(cloudwatch, NAME)
    assert current
    return current


def test_creates_an_alarm_that_does_not_exist(cloudwatch: Any) -> None:
    result = alarm.ensure(cloudwatch, DESIRED)

    assert (result.resource, result.action) == (f"alarm {NAME}", "created")
    current = described(cloudwatch)
    assert {name: current[name] for name in DESIRED} == {**DESIRED, "Tags": {"pipeline": "demo"}}


def test_an_unchanged_alarm_takes_two_reads(cloudwatch: Any, calls: Calls) -> None:
    alarm.ensure(cloudwatch, DESIRED)
    calls.clear()

    assert alarm.ensure(cloudwatch, DESIRED).action == "unchanged"

    assert calls.operations == ["DescribeAlarms", "ListTagsForResource"]


def test_the_cases_below_cover_every_parameter() -> None:
    assert {*DRIFTS} == alarm.PARAMETERS - {"AlarmName", "Tags"}


@pytest.mark.parametrize("setting", DRIFTS)
def test_updates_a_parameter_that_differs(cloudwatch: Any, setting: str) -> None:
    alarm.ensure(cloudwatch, DESIRED)

    result = alarm.ensure(cloudwatch, {**DESIRED, setting: DRIFTS[setting]})

    assert [each.setting for each in result.diffs] == [setting]
    assert described(cloudwatch)[setting] == DRIFTS[setting]


@pytest.mark.parametrize("setting", sorted(alarm.DEFAULTS.keys() - {"Tags"}))
def test_removing_an_option_resets_it_to_the_default(cloudwatch: Any, setting: str) -> None:
    alarm.ensure(cloudwatch, {**DESIRED, setting: DRIFTS[setting]})

    alarm.ensure(cloudwatch, {name: value for name, value in DESIRED.items() if name != setting})

    assert described(cloudwatch)[setting] == alarm.DEFAULTS[setting]


def test_removes_a_tag_that_it_added_and_keeps_a_tag_of_others(cloudwatch: Any) -> None:
    ours = {"pipeline": "demo", "old": "1", **record(["old"])}
    alarm.ensure(cloudwatch, {**DESIRED, "Tags": [{"Key": name, "Value": value} for name, value in ours.items()]})
    cloudwatch.tag_resource(ResourceARN=ARN, Tags=[{"Key": "cost-center", "Value": "42"}])

    assert [each.setting for each in alarm.ensure(cloudwatch, DESIRED).diffs] == ["Tags"]

    assert described(cloudwatch)["Tags"] == {"pipeline": "demo", "cost-center": "42"}


def test_a_dry_run_predicts_every_call(cloudwatch: Any, dry_run: Aws, calls: Calls) -> None:
    alarm.ensure(cloudwatch, DESIRED)
    other = {**DESIRED, "Threshold": 2, "Tags": [*DESIRED["Tags"], {"Key": "stage", "Value": "test"}]}
    calls.clear()

    planned = alarm.ensure(dry_run("cloudwatch"), other)
    planned_calls = list(calls)
    calls.clear()

    assert planned == alarm.ensure(cloudwatch, other)
    assert planned_calls == calls


def test_a_dry_run_creates_nothing(cloudwatch: Any, dry_run: Aws) -> None:
    assert alarm.ensure(dry_run("cloudwatch"), DESIRED).action == "created"

    assert alarm.describe(cloudwatch, NAME) is None


def test_rejects_an_untagged_alarm(cloudwatch: Any, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "TAGS_TIMEOUT", 0.1)
    alarm.ensure(cloudwatch, {**DESIRED, "Tags": []})
    calls.clear()

    with pytest.raises(UserError, match="exists and has no pipeline tag"):
        alarm.ensure(cloudwatch, DESIRED)

    assert calls.writes == []


def test_adopt_takes_over_an_untagged_alarm(cloudwatch: Any) -> None:
    alarm.ensure(cloudwatch, {**DESIRED, "Tags": []})

    alarm.ensure(cloudwatch, DESIRED, adopt=True)

    assert alarm.ensure(cloudwatch, DESIRED).action == "unchanged"


def test_rejects_a_parameter_that_it_cannot_compare(cloudwatch: Any) -> None:
    with pytest.raises(UserError, match="Metrics not supported"):
        alarm.ensure(cloudwatch, {**DESIRED, "Metrics": []})


def test_raises_access_denied_as_aws_reports_it(cloudwatch: Any) -> None:
    with Stubber(cloudwatch) as stub:
        stub.add_client_error("describe_alarms", "AccessDenied", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            alarm.ensure(cloudwatch, DESIRED)


def test_deletes_an_alarm(cloudwatch: Any) -> None:
    alarm.ensure(cloudwatch, DESIRED)

    assert alarm.delete(cloudwatch, NAME, owner="demo").action == "deleted"

    assert alarm.describe(cloudwatch, NAME) is None


def test_delete_reports_absent_if_there_is_no_alarm(cloudwatch: Any) -> None:
    assert alarm.delete(cloudwatch, NAME, owner="demo").action == "absent"


def test_delete_rejects_an_alarm_of_another_pipeline(cloudwatch: Any) -> None:
    alarm.ensure(cloudwatch, DESIRED)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        alarm.delete(cloudwatch, NAME, owner="mine")
