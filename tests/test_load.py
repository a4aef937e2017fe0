"""load: writes many items, finds each in the function's log, and deletes them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.fault_proxy import fault_proxy
from tests.harness.project import function_code, target_aws

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

SPEED = 4  # the log is polled once a second


def result(project: ForkedProject, *words: str, **settings: str) -> dict[str, Any]:
    return dict(json.loads(project.invoke("load", *words, "--json", **settings).stdout)["result"])


@pytest.mark.parametrize("key", ["id:S", *(pytest.param(key) for key in ("id:N", "id:B"))])
def test_every_item_is_found_once_and_deleted(project: ForkedProject, key: str) -> None:
    settings = {"PIPELINE_NAME": f"load-{key[-1].lower()}", "TABLE_KEY": key, "TABLE_SORT_KEY": "at:N"}
    project.run("deploy", **settings)
    found = result(project, "--items", "120", "--connections", "4", **settings)
    counts = [found[name] for name in ("accepted", "delivered", "duplicated", "lost")]
    assert counts == [120, 120, 0, 0]
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"] <= found["latency_ms"]["max"]
    assert sum(found["histogram"].values()) == 120
    assert project.client("dynamodb").scan(TableName=settings["PIPELINE_NAME"])["Count"] == 0


def test_the_svg_file_is_well_formed_and_the_text_shows_the_same(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="drawn")
    output = project.run("load", "--items", "30", PIPELINE_NAME="drawn")
    assert "  delivered       30\n" in output
    assert "#" * 40 in output
    assert ET.parse(project.folder / "build" / "load.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_items_that_the_function_does_not_log_are_lost_and_deleted(project: ForkedProject) -> None:
    with function_code(project, "def lambda_handler(event, context):\n    return None\n"):
        project.run("deploy", PIPELINE_NAME="silent")
    settings = {"PIPELINE_NAME": "silent", "SMOKE_TIMEOUT": "2"}
    assert result(project, "--items", "10", **settings)["lost"] == 10
    assert project.client("dynamodb").scan(TableName="silent")["Count"] == 0


def test_an_item_whose_answers_were_lost_is_accepted_when_it_arrives(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="cut")
    with fault_proxy(project.endpoint, rate=0) as faults:
        faults.always["PutItem"] = "cut after"
        settings = {**target_aws(project.endpoint), "AWS_ENDPOINT_URL": faults.endpoint, "PIPELINE_NAME": "cut"}
        found = result(project, "--items", "1", "--yes", **settings)
    assert [found[name] for name in ("accepted", "delivered", "lost")] == [1, 1, 0]


def test_an_item_in_two_invocations_is_a_duplicate(project: ForkedProject) -> None:
    code = """
import json

def lambda_handler(event, context):
    print(json.dumps(event))
    global failed
    if not globals().get("failed"):
        failed = True
        raise RuntimeError("once")
"""
    with function_code(project, code):
        project.run("deploy", PIPELINE_NAME="repeating", BISECT_BATCH_ON_FUNCTION_ERROR="false")
    found = result(project, "--items", "20", PIPELINE_NAME="repeating")
    assert found["lost"] == 0
    assert found["duplicated"] > 0


def test_on_aws_load_says_what_it_uses_and_asks_first(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="asking")
    ended = project.invoke("load", "--items", "10", **target_aws(project.endpoint, PIPELINE_NAME="asking")).expect(1)
    assert "20 write request units" in ended.stderr
    assert "pass --yes to continue" in ended.stderr
    assert ended.writes == []


def test_a_dry_run_writes_nothing(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="dry")
    ended = project.invoke("--dry", "load", "--items", "10", PIPELINE_NAME="dry").expect(0)
    assert "load would write 10 items to table dry, and delete them" in ended.stdout
    assert ended.writes == []


def test_a_table_of_others_is_refused(project: ForkedProject) -> None:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/theirs"
    assert "load never writes to another team's table; unset TABLE_ARN" in project.refusal("load", TABLE_ARN=arn)
