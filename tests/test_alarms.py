"""CloudWatch alarms: created with ALARM_TOPIC_ARN, updated, owned, and deleted without it and by `clean`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.forked import KillPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

TOPIC = "arn:aws:sns:us-east-1:000000000000:on-call"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:given-up"
OWN = ("--set", "PIPELINE_NAME=own")  # for a pipeline that the test deletes itself
NAMES = ("iterator-age", "errors", "throttles", "notes")
ALL = {"ALARM_TOPIC_ARN": TOPIC, "ON_FAILURE": QUEUE}


@pytest.fixture(autouse=True, scope="module")
def deployed(project: ForkedProject) -> Iterator[None]:
    """Deploy the pipeline without alarms; at the end, delete it, and expect that nothing is left."""
    project.run("deploy")
    yield
    project.run("clean")
    assert project.is_empty()


@pytest.fixture(autouse=True)
def without_alarms(project: ForkedProject) -> Iterator[None]:
    """Delete the alarms after the test."""
    yield
    project.run("create-alarms")
    assert alarms(project) == {}


def alarms(project: ForkedProject) -> dict[str, dict[str, Any]]:
    """The alarms that exist, by the end of their name."""
    described = project.client("cloudwatch").describe_alarms()["MetricAlarms"]
    return {alarm["AlarmName"].removeprefix("stream-demo-"): alarm for alarm in described}


def test_each_alarm_watches_its_metric_and_notifies_the_topic(project: ForkedProject) -> None:
    project.invoke("deploy", **ALL).expect(0)
    watched = {
        name: (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"], alarm["Dimensions"][0]["Value"])
        for name, alarm in alarms(project).items()
    }
    assert watched == {
        "iterator-age": ("AWS/Lambda", "IteratorAge", "Maximum", "stream-demo"),
        "errors": ("AWS/Lambda", "Errors", "Sum", "stream-demo"),
        "throttles": ("AWS/Lambda", "Throttles", "Sum", "stream-demo"),
        "notes": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", "given-up"),
    }
    assert {tuple(alarm["AlarmActions"]) for alarm in alarms(project).values()} == {(TOPIC,)}


def test_a_second_deploy_changes_nothing(project: ForkedProject) -> None:
    project.invoke("deploy", **ALL).expect(0)
    assert project.invoke("deploy", **ALL).expect(0).writes == []


def test_each_threshold_is_a_setting(project: ForkedProject) -> None:
    project.invoke("create-alarms", **ALL).expect(0)
    changed = {"ALARM_ITERATOR_AGE": "60000", "ALARM_ERRORS": "5", "ALARM_THROTTLES": "6", "ALARM_NOTES": "7"}
    ended = project.invoke("create-alarms", **ALL, **changed).expect(0)
    assert ended.writes == ["PutMetricAlarm"] * 4
    assert [alarm["Threshold"] for alarm in alarms(project).values()] == [60000, 5, 6, 7]


def test_without_a_queue_the_alarm_on_notes_is_deleted_and_the_others_stay(project: ForkedProject) -> None:
    project.invoke("deploy", **ALL).expect(0)
    ended = project.invoke("deploy", ALARM_TOPIC_ARN=TOPIC, ON_FAILURE="arn:aws:s3:::given-up").expect(0)
    assert "no alarm on notes, because ON_FAILURE is not an SQS queue" in ended.stdout
    assert [*alarms(project)] == ["iterator-age", "errors", "throttles"]


def test_a_deploy_without_the_topic_deletes_the_alarms(project: ForkedProject) -> None:
    project.invoke("create-alarms", **ALL).expect(0)
    ended = project.invoke("deploy", ON_FAILURE=QUEUE).expect(0)
    assert re.findall(r"^- create-alarms    alarm stream-demo-(\S+)", ended.stdout, re.MULTILINE) == [*NAMES]
    assert alarms(project) == {}


def test_an_interrupted_deletion_goes_on(project: ForkedProject) -> None:
    project.invoke("create-alarms", **ALL).expect(0)
    project.kill_at(KillPoint("before", "DeleteAlarms", 2), "deploy")
    project.invoke("deploy").expect(0)
    assert alarms(project) == {}


def test_an_interrupted_creation_leaves_no_alarm_behind_that_clean_does_not_find(project: ForkedProject) -> None:
    project.kill_at(KillPoint("after", "PutMetricAlarm", 2), "deploy", *OWN, "--set", f"ALARM_TOPIC_ARN={TOPIC}")
    project.invoke("clean", *OWN).expect(0)
    assert alarms(project) == {}


def test_without_alarms_a_deploy_makes_at_most_ten_calls_and_none_of_cloudwatch(project: ForkedProject) -> None:
    calls = project.invoke("deploy").expect(0).calls
    assert len(calls) <= 10
    assert "DescribeAlarms" not in calls


def test_clean_without_alarms_makes_no_call_of_cloudwatch(project: ForkedProject) -> None:
    project.invoke("deploy", *OWN).expect(0)
    assert "DescribeAlarms" not in project.invoke("clean", *OWN).expect(0).calls


def test_clean_with_the_topic_deletes_alarms_whose_function_is_gone(project: ForkedProject) -> None:
    project.invoke("deploy", *OWN, **ALL).expect(0)
    project.client("lambda").delete_function(FunctionName="own")
    project.invoke("clean", *OWN, **ALL).expect(0)
    assert alarms(project) == {}


@pytest.mark.parametrize("words", [("deploy",), ("create-alarms",), ("clean",)])
def test_an_alarm_of_others_is_refused(project: ForkedProject, words: tuple[str, ...]) -> None:
    theirs = {"AlarmName": "stream-demo-errors", "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold"}
    project.client("cloudwatch").put_metric_alarm(**theirs, MetricName="m", Namespace="n", Period=60, Statistic="Sum")
    refused = project.invoke(*words, **ALL).expect(1)
    assert "alarm stream-demo-errors already exists and has no pipeline tag" in refused.stderr
    assert alarms(project)["errors"]["MetricName"] == "m"
    project.client("cloudwatch").delete_alarms(AlarmNames=["stream-demo-errors"])


def test_adopt_takes_over_an_alarm_of_others(project: ForkedProject) -> None:
    theirs = {"AlarmName": "stream-demo-errors", "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold"}
    project.client("cloudwatch").put_metric_alarm(**theirs, MetricName="m", Namespace="n", Period=60, Statistic="Sum")
    project.invoke("deploy", "--adopt", **ALL).expect(0)
    assert alarms(project)["errors"]["MetricName"] == "Errors"


def test_adopt_tags_an_alarm_of_others_and_changes_nothing_else(project: ForkedProject) -> None:
    theirs = {"AlarmName": "stream-demo-errors", "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold"}
    project.client("cloudwatch").put_metric_alarm(**theirs, MetricName="m", Namespace="n", Period=60, Statistic="Sum")
    output = project.run("adopt", "--write", **ALL)
    (project.folder / ".env").unlink()
    assert "~ adopt            alarm stream-demo-errors  Tags: {} -> " in output
    assert alarms(project)["errors"]["MetricName"] == "m"
    project.run("deploy", **ALL)


def test_a_plan_lists_the_alarms_and_writes_nothing(project: ForkedProject) -> None:
    ended = project.invoke("--dry", "deploy", **ALL).expect(0)
    assert len(re.findall(r"^\+ create-alarms    alarm ", ended.stdout, re.MULTILINE)) == 4
    assert ended.writes == []


def test_status_shows_the_state_of_each_alarm(project: ForkedProject) -> None:
    project.invoke("create-alarms", **ALL).expect(0)
    state = {"AlarmName": "stream-demo-errors", "StateValue": "ALARM", "StateReason": "a test"}
    project.client("cloudwatch").set_alarm_state(**state)
    status = json.loads(project.run("status", "--json", **ALL))["result"]
    states = {each["resource"]: each["state"] for each in status["resources"]}
    assert states["alarm stream-demo-errors"] == "ALARM"
    assert states["alarm stream-demo-notes"] == "INSUFFICIENT_DATA"
    assert status["facts"].get("foreign tags") is None


def test_status_shows_alarms_that_the_settings_no_longer_ask_for_as_obsolete(project: ForkedProject) -> None:
    project.invoke("create-alarms", **ALL).expect(0)
    output = project.run("status", ON_FAILURE=QUEUE)
    assert len(re.findall(r"^- alarm stream-demo-\S+ +obsolete ", output, re.MULTILINE)) == 4


def test_create_alarms_needs_the_function(project: ForkedProject) -> None:
    refused = project.invoke("create-alarms", *OWN, **ALL).expect(1)
    assert "function own does not exist; create it with: invoke create-function" in refused.stderr


def test_a_topic_of_another_region_is_refused_before_the_first_call(project: ForkedProject) -> None:
    refused = project.invoke("create-alarms", ALARM_TOPIC_ARN=TOPIC.replace("us-east-1", "eu-west-1")).expect(1)
    assert "eu-west-1:000000000000:on-call' is not allowed; allowed: a topic in us-east-1" in refused.stderr
    assert refused.calls == []
