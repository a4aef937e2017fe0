"""clean: its order, its plan, and what it reports as remaining."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from pipeline import teardown
from pipeline.deployment import Deployment
from pipeline.events import Changed, changes
from pipeline.resources import function
from pipeline.resources.change import UserError
from pipeline.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable

TRUST = '{"Version": "2012-10-17", "Statement": []}'


@pytest.fixture
def deployment(aws: Callable[[str], Any], dry_run: Callable[[str], Any]) -> Deployment:
    """A pipeline that consists only of its role."""

    def client(service: str, **options: bool) -> Any:
        return (dry_run if options.get("dry_run") else aws)(service)

    tags = [{"Key": "pipeline", "Value": "stream-demo"}]
    aws("iam").create_role(RoleName="stream-demo-role", AssumeRolePolicyDocument=TRUST, Tags=tags)
    return Deployment(load(None, {}, {}), client, Path())


def test_clean_deletes_what_exists_and_reports_that_nothing_remains(deployment: Deployment) -> None:
    deleted = changes(teardown.clean(deployment))
    assert [(change.resource, change.action, change.note) for change in deleted] == [
        ("role stream-demo-role", "deleted", ""),
        ("pipeline stream-demo", "absent", "nothing remains"),
    ]
    assert teardown.remaining(deployment) == []


def test_the_plan_of_clean_deletes_nothing(deployment: Deployment) -> None:
    (change,) = changes(teardown.clean(deployment.as_dry_run()))
    assert (change.resource, change.action) == ("role stream-demo-role", "deleted")
    assert teardown.remaining(deployment) == ["role stream-demo-role"]


def test_clean_refuses_a_role_of_another_pipeline(deployment: Deployment, aws: Callable[[str], Any]) -> None:
    aws("iam").tag_role(RoleName="stream-demo-role", Tags=[{"Key": "pipeline", "Value": "another"}])
    with pytest.raises(UserError, match="role stream-demo-role already exists and belongs to pipeline 'another'"):
        changes(teardown.clean(deployment.as_dry_run()))


def test_a_resource_that_disappears_after_a_moment_does_not_remain(
    deployment: Deployment, aws: Callable[[str], Any]
) -> None:
    later = threading.Timer(0.5, aws("iam").delete_role, kwargs={"RoleName": "stream-demo-role"})
    later.start()
    assert teardown.wait_until_gone(deployment, ()) == []
    later.join()


def test_an_alarm_that_aws_lists_for_a_moment_after_its_deletion_does_not_remain(
    deployment: Deployment, aws: Callable[[str], Any]
) -> None:
    topic = "arn:aws:sns:us-east-1:000000000000:on-call"
    d = replace(deployment, settings=load(None, {}, {"ALARM_TOPIC_ARN": topic}))
    deleted = {"AlarmName": "gone", "AlarmArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:gone"}
    with Stubber(aws("cloudwatch")) as stub:
        stub.add_response("describe_alarms", {"MetricAlarms": [deleted]})
        stub.add_client_error("list_tags_for_resource", "ResourceNotFoundException")
        for _ in range(3):
            stub.add_response("describe_alarms", {"MetricAlarms": []})
        assert teardown.remaining(d) == ["role stream-demo-role"]


def test_a_resource_that_still_exists_after_the_deadline_remains(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teardown, "_STALE_READS_SECONDS", 0)
    assert teardown.wait_until_gone(deployment, ()) == ["role stream-demo-role"]


def test_a_resource_that_was_kept_does_not_count_as_remaining(deployment: Deployment) -> None:
    assert teardown.wait_until_gone(deployment, {"role stream-demo-role"}) == []


def test_the_message_after_an_interrupt_or_error_lists_what_exists(deployment: Deployment) -> None:
    message = teardown.summarize_remaining(deployment)
    existing = "Existing resources: role stream-demo-role"
    assert message == f"{existing}. Continue with invoke deploy, or delete them with invoke clean"


def test_an_item_that_is_written_while_clean_runs_keeps_the_table(
    deployment: Deployment, aws: Callable[[str], Any]
) -> None:
    schema = [{"AttributeName": "name", "KeyType": "HASH"}]
    attributes = [{"AttributeName": "name", "AttributeType": "S"}]
    tags = [{"Key": "pipeline", "Value": "stream-demo"}]
    aws("dynamodb").create_table(
        TableName="stream-demo",
        KeySchema=schema,
        AttributeDefinitions=attributes,
        BillingMode="PAY_PER_REQUEST",
        Tags=tags,
    )
    for event in teardown.clean(deployment):
        if isinstance(event, Changed) and event.change.resource.startswith("role "):
            aws("dynamodb").put_item(TableName="stream-demo", Item={"name": {"S": "an order"}})
    assert aws("dynamodb").scan(TableName="stream-demo")["Count"] == 1


def test_the_message_after_an_interrupt_survives_tags_that_may_not_be_read(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UserError("its tags cannot be read")

    monkeypatch.setattr(function, "describe", refuse)
    assert teardown.summarize_remaining(deployment) == "AWS did not answer; run invoke status to see what exists"
