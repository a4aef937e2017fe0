"""CloudWatch Logs Insights queries, and metrics in log lines."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

METRIC = {"Namespace": "EmbeddedMetrics", "Dimensions": [[]], "Metrics": [{"Name": "Size", "Unit": "Count"}]}


@pytest.fixture
def group(client: Callable[[str], Any]) -> str:
    """A log group with the messages "a", "b" and a line in embedded metric format."""
    logs, name, now = client("logs"), f"group-{uuid.uuid4().hex[:12]}", int(time.time() * 1000) - 60_000
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="stream")
    embedded = json.dumps({"_aws": {"Timestamp": now, "CloudWatchMetrics": [METRIC]}, "Size": 1})
    events = [{"timestamp": now + index, "message": text} for index, text in enumerate(["a", "b", embedded])]
    logs.put_log_events(logGroupName=name, logStreamName="stream", logEvents=events)
    return name


def query(client: Callable[[str], Any], group: str, text: str) -> list[dict[str, str]]:
    logs, period = client("logs"), {"startTime": int(time.time()) - 3600, "endTime": int(time.time()) + 60}
    started = logs.start_query(logGroupName=group, queryString=text, **period)
    results = logs.get_query_results(queryId=started["queryId"])["results"]
    return [{each["field"]: each["value"] for each in result} for result in results]


@pytest.mark.parametrize("text", ["fields @message | sort @timestamp asc | limit 2", "limit 2 | sort @timestamp asc"])
def test_query_returns_sorted_messages(client: Callable[[str], Any], group: str, text: str) -> None:
    assert [each["@message"] for each in query(client, group, text)] == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "filter @message like /a/",
        "fields @message | stats count(*)",
        "fields size",
        "sort @message",
        "limit 0",
        "parse",
    ],
)
def test_query_that_is_not_executed_is_refused(client: Callable[[str], Any], group: str, text: str) -> None:
    with pytest.raises(ClientError, match="MalformedQueryException"):
        query(client, group, text)


def test_unknown_query_is_not_found(client: Callable[[str], Any]) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client("logs").get_query_results(queryId="none")


def test_embedded_metric_stays_a_log_line(client: Callable[[str], Any], group: str) -> None:
    assert len(query(client, group, "fields @message")) == 3
    assert client("cloudwatch").list_metrics(Namespace="EmbeddedMetrics")["Metrics"] == []
