"""smoke: the proof for any key, and the likely cause when there is none."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.project import Project


@contextmanager
def function_code(project: Project, text: str) -> Iterator[None]:
    """The project's function replaced for a while."""
    source = project.folder / "lambda_src" / "example.py"
    before = source.read_text()
    source.write_text(text)
    try:
        yield
    finally:
        source.write_text(before)


def test_smoke_shows_the_record_its_request_id_and_the_time(project: Project) -> None:
    output = project.run("deploy", "smoke", PIPELINE_NAME="shown")
    assert re.search(r"^= smoke .* shows the item \d+ ms after the put", output, re.MULTILINE)
    assert re.search(r'^  record      \{.*"eventName": "INSERT".*"smoke[0-9a-f]{32}"', output, re.MULTILINE)
    assert re.search(r"^  request id  [0-9a-f-]{36}$", output, re.MULTILINE)


@pytest.mark.parametrize("key", ["id:S", "id:N", "id:B"])
@pytest.mark.parametrize("sort_key", ["", "at:N", "at:B"])
def test_smoke_proves_a_table_of_any_key(project: Project, key: str, sort_key: str) -> None:
    name = "key-" + re.sub(r"\W", "-", key + sort_key)
    settings = {"PIPELINE_NAME": name, "TABLE_KEY": key, "TABLE_SORT_KEY": sort_key}
    project.run("deploy", "smoke", **settings)


def test_smoke_proves_a_stream_that_shows_keys_only(project: Project) -> None:
    project.run("deploy", "smoke", PIPELINE_NAME="keysonly", STREAM_VIEW_TYPE="KEYS_ONLY")


def test_smoke_proves_a_mapping_that_begins_at_the_latest(project: Project) -> None:
    project.run("deploy", "smoke", PIPELINE_NAME="latest", STARTING_POSITION="LATEST")


def test_smoke_proves_a_filtered_mapping_with_an_item_that_the_filter_wants(project: Project) -> None:
    pattern = '{"Filters": [{"Pattern": "{\\"dynamodb\\": {\\"NewImage\\": {\\"done\\": {\\"BOOL\\": [true]}}}}"}]}'
    settings = {"PIPELINE_NAME": "filtered", "FILTER_CRITERIA": pattern}
    project.run("deploy", **settings)
    project.run("smoke", SMOKE_ITEM='{"done": true}', **settings)
    told = project.refusal("smoke", SMOKE_TIMEOUT="1", **settings)
    assert "FILTER_CRITERIA may not match smoke's item" in told


def test_smoke_removes_its_item_and_leaves_others(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="others")
    project.run("put-item", "--item", '{"name": "mine"}', PIPELINE_NAME="others")
    project.run("smoke", PIPELINE_NAME="others")
    items = project.client("dynamodb").scan(TableName="others")["Items"]
    assert items == [{"name": {"S": "mine"}}]


def test_smoke_removes_its_item_also_when_it_fails(project: Project) -> None:
    with function_code(project, "def lambda_handler(event, context):\n    return None\n"):
        project.run("deploy", PIPELINE_NAME="silent")
        told = project.refusal("smoke", PIPELINE_NAME="silent", SMOKE_TIMEOUT="1")
    assert "The function ran, but it does not log what it was given" in told
    assert project.client("dynamodb").scan(TableName="silent")["Items"] == []


def test_smoke_is_not_put_off_by_what_a_function_logs_as_an_error(project: Project) -> None:
    code = """
import logging, time

def lambda_handler(event, context):
    for _ in range(3):
        logging.getLogger().error("an order without a price")
    time.sleep(2)
    print(event)
"""
    with function_code(project, code):
        project.run("deploy", "smoke", PIPELINE_NAME="grumbling")
        project.run("deploy", "smoke", PIPELINE_NAME="grumbling", FUNCTION_LOG_FORMAT="JSON")


def test_smoke_tells_a_failing_functions_traceback(project: Project) -> None:
    with function_code(project, "def lambda_handler(event, context):\n    raise KeyError('no such order')\n"):
        project.run("deploy", PIPELINE_NAME="failing")
        told = project.refusal("smoke", PIPELINE_NAME="failing", SMOKE_TIMEOUT="20")
    assert "[ERROR] KeyError: 'no such order'" in told
    assert "Traceback (most recent call last):" in told


def test_smoke_tells_a_function_that_cannot_be_imported(project: Project) -> None:
    with function_code(project, "import nowhere\nlambda_handler = None\n"):
        project.run("deploy", PIPELINE_NAME="unimportable")
        told = project.refusal("smoke", PIPELINE_NAME="unimportable", SMOKE_TIMEOUT="20")
    assert "Unable to import module 'example': No module named 'nowhere'" in told


def test_smoke_tells_a_disabled_mapping(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="disabled")
    lambda_ = project.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName="disabled")["EventSourceMappings"]
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    told = project.refusal("smoke", PIPELINE_NAME="disabled", SMOKE_TIMEOUT="1")
    assert re.search(r"mapping [0-9a-f-]{36} is Disabl(ed|ing)", told)


def test_smoke_tells_a_mapping_that_is_gone(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="unmapped")
    lambda_ = project.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName="unmapped")["EventSourceMappings"]
    lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
    assert "make it with: invoke map-stream" in project.refusal("smoke", PIPELINE_NAME="unmapped")


def test_smoke_tells_a_role_that_may_not_write_logs(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="lacking")
    stream_only = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}]}'
    )
    project.client("iam").put_role_policy(
        RoleName="lacking-role", PolicyName="lacking-policy", PolicyDocument=stream_only
    )
    told = project.refusal("smoke", PIPELINE_NAME="lacking", SMOKE_TIMEOUT="2")
    assert "the role may lack logs:CreateLogStream and logs:PutLogEvents, try: invoke put-policy" in told


def test_smoke_does_not_take_a_partition_key_from_the_settings(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="keyed")
    told = project.refusal("smoke", PIPELINE_NAME="keyed", SMOKE_ITEM='{"name": "x"}')
    assert "SMOKE_ITEM: 'name' is the partition key" in told
