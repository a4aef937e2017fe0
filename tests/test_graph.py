"""graph: the deployed pipeline as a drawing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

QUEUE = {"PIPELINE_NAME": "drawn", "ON_FAILURE": "arn:aws:sqs:us-east-1:000000000000:notes"}


@pytest.fixture(scope="module", autouse=True)
def deployed(project: ForkedProject) -> None:
    """Deploy a pipeline with a queue for its notes, which holds one message."""
    sqs = project.client("sqs")
    sqs.send_message(QueueUrl=sqs.create_queue(QueueName="notes")["QueueUrl"], MessageBody="{}")
    project.run("deploy", **QUEUE)


def test_the_drawing_leads_from_the_table_to_the_log(project: ForkedProject) -> None:
    lines = project.run("graph", **QUEUE).splitlines()
    titles = [line for line in lines if not line.startswith("  ")]
    assert [title.split()[0] for title in titles] == ["table", "event", "function", "log"]
    assert titles[0].endswith("ACTIVE, items: 0")
    assert "  |-- on failure --> sqs notes  messages: about 1" in lines


def test_the_mermaid_flowchart_has_the_same_nodes_and_edges(project: ForkedProject) -> None:
    lines = project.run("graph", "--format", "mermaid", **QUEUE).splitlines()
    assert lines[0] == "flowchart LR"
    assert '  table -->|"stream, NEW_AND_OLD_IMAGES"| mapping' in lines
    assert '  mapping -.->|"on failure"| failed' in lines


def test_the_document_has_nodes_and_edges(project: ForkedProject) -> None:
    result = json.loads(project.run("graph", "--json", **QUEUE))["result"]
    assert [node["name"] for node in result["nodes"]] == ["table", "mapping", "failed", "function", "logs"]
    assert {"from": "function", "to": "logs", "text": ""} in result["edges"]


def test_the_alias_and_the_alarms_are_drawn(project: ForkedProject) -> None:
    topic = project.client("sns").create_topic(Name="operators")["TopicArn"]
    settings = {"PIPELINE_NAME": "watched", "FUNCTION_ALIAS": "live", "ALARM_TOPIC_ARN": topic}
    project.run("deploy", **settings)
    output = project.run("graph", **settings)
    assert "alias live at version 1" in output
    assert "  |-- watched by --> alarm watched-errors  INSUFFICIENT_DATA\n" in output


def test_missing_resources_are_drawn_as_missing(project: ForkedProject) -> None:
    ended = project.invoke("graph", PIPELINE_NAME="nowhere").expect(0)
    assert ended.stdout.count("missing") == 4
    assert ended.writes == []


def test_an_unknown_format_is_refused(project: ForkedProject) -> None:
    assert "--format: 'dot' is not allowed; allowed: text or mermaid" in project.refusal("graph", "--format", "dot")
