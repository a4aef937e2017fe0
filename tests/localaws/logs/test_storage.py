"""The events of log streams, which moto keeps in lists and the local AWS in a database."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

NO_STREAM = ("ResourceNotFoundException", "The specified log stream does not exist.")


@pytest.fixture(scope="module")
def group(client: Callable[[str], Any]) -> str:
    """A log group with an event in each of the streams a/1, a/2 and b/1."""
    logs, name = client("logs"), f"group-{uuid.uuid4().hex[:12]}"
    logs.create_log_group(logGroupName=name)
    for stream in ("a/1", "a/2", "b/1"):
        logs.create_log_stream(logGroupName=name, logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": stream}]
        logs.put_log_events(logGroupName=name, logStreamName=stream, logEvents=events)
    return name


def arn_of(client: Callable[[str], Any], group: str) -> str:
    arn: str = client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["logGroupArn"]
    return arn


def test_a_new_log_stream_has_none_of_the_events_of_a_deleted_one(client: Callable[[str], Any]) -> None:
    logs, group = client("logs"), f"group-{uuid.uuid4().hex[:12]}"
    logs.create_log_group(logGroupName=group)
    stream = {"logGroupName": group, "logStreamName": "stream"}
    logs.create_log_stream(**stream)
    logs.put_log_events(**stream, logEvents=[{"timestamp": int(time.time() * 1000), "message": "old"}])
    logs.delete_log_stream(**stream)
    logs.create_log_stream(**stream)
    assert logs.get_log_events(**stream)["events"] == []
    assert logs.filter_log_events(logGroupName=group)["events"] == []


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("get_log_events", {"logStreamName": "c"}),
        ("delete_log_stream", {"logStreamName": "c"}),
        ("filter_log_events", {"logStreamNames": ["a/1", "c"]}),
    ],
)
def test_a_missing_log_stream_is_an_error(
    client: Callable[[str], Any], group: str, call: str, parameters: dict[str, Any]
) -> None:
    """Recorded: LocalStack, tests/aws/services/logs/test_logs_events.snapshot.json, and in issues."""
    with pytest.raises(ClientError) as refused:
        getattr(client("logs"), call)(logGroupName=group, **parameters)
    assert (refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]) == NO_STREAM


def test_filter_log_events_reads_the_streams_of_a_prefix(client: Callable[[str], Any], group: str) -> None:
    """CloudWatch Logs API reference, FilterLogEvents, "logStreamNamePrefix"."""
    events = client("logs").filter_log_events(logGroupName=group, logStreamNamePrefix="a/")["events"]
    assert [event["logStreamName"] for event in events] == ["a/1", "a/2"]


def test_filter_log_events_finds_a_log_group_by_its_arn(client: Callable[[str], Any], group: str) -> None:
    """CloudWatch Logs API reference, FilterLogEvents, "logGroupIdentifier"."""
    events = client("logs").filter_log_events(logGroupIdentifier=arn_of(client, group))["events"]
    assert [event["message"] for event in events] == ["a/1", "a/2", "b/1"]


def test_describe_log_groups_finds_a_part_of_the_name(client: Callable[[str], Any], group: str) -> None:
    """CloudWatch Logs API reference, DescribeLogGroups, "logGroupNamePattern": a case-sensitive substring."""
    pages = [
        client("logs").describe_log_groups(logGroupNamePattern=part)["logGroups"]
        for part in (group[3:], group[3:].upper())
    ]
    assert [[each["logGroupName"] for each in page] for page in pages] == [[group], []]
