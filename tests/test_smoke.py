"""smoke: it finds the item for any key, or reports the likely cause."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.harness.project import function_code

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject


def test_smoke_prints_the_time_the_record_and_the_request_id(project: ForkedProject) -> None:
    output = project.run("deploy", "smoke", PIPELINE_NAME="shown")
    assert re.search(r"^smoke: item reached /aws/lambda/shown \d+ ms after the put$", output, re.MULTILINE)
    assert re.search(r'^  record      \{.*"eventName": "INSERT".*"smoke[0-9a-f]{32}"', output, re.MULTILINE)
    request_id = re.search(r"^  request ID  ([0-9a-f-]{36})$", output, re.MULTILINE)
    assert request_id
    assert '"eventName": "INSERT"' in project.run("fetch-logs", "--request-id", request_id[1], PIPELINE_NAME="shown")


@pytest.mark.parametrize("key", ["id:S", "id:N", "id:B"])
@pytest.mark.parametrize("sort_key", ["", pytest.param("at:N", marks=pytest.mark.proof), "at:B"])
def test_smoke_works_with_any_key(project: ForkedProject, key: str, sort_key: str) -> None:
    name = "key-" + re.sub(r"\W", "-", key + sort_key)
    settings = {"PIPELINE_NAME": name, "TABLE_KEY": key, "TABLE_SORT_KEY": sort_key}
    project.run("deploy", "smoke", **settings)


def test_smoke_works_with_a_stream_of_keys_only(project: ForkedProject) -> None:
    project.run("deploy", "smoke", PIPELINE_NAME="keysonly", STREAM_VIEW_TYPE="KEYS_ONLY")


def test_smoke_works_with_a_mapping_that_starts_at_latest(project: ForkedProject) -> None:
    project.run("deploy", "smoke", PIPELINE_NAME="latest", STARTING_POSITION="LATEST")


def test_smoke_works_with_a_log_group_of_its_own(project: ForkedProject) -> None:
    options = '{"LoggingConfig": {"LogGroup": "/jobs/nightly"}}'
    output = project.run("deploy", "smoke", PIPELINE_NAME="grouped", FUNCTION_OPTIONS=options)
    assert "smoke: item reached /jobs/nightly " in output


def test_smoke_item_gets_what_the_filter_asks_for(project: ForkedProject) -> None:
    pattern = '{"Filters": [{"Pattern": "{\\"dynamodb\\": {\\"NewImage\\": {\\"done\\": {\\"BOOL\\": [true]}}}}"}]}'
    settings = {"PIPELINE_NAME": "filtered", "FILTER_CRITERIA": pattern}
    project.run("deploy", **settings)
    project.run("smoke", SMOKE_ITEM='{"done": true}', **settings)


def test_smoke_deletes_its_item_and_no_other(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="others")
    project.run("put-item", "--item", '{"name": "mine"}', PIPELINE_NAME="others")
    project.run("smoke", PIPELINE_NAME="others")
    items = project.client("dynamodb").scan(TableName="others")["Items"]
    assert items == [{"name": {"S": "mine"}}]


def test_smoke_deletes_its_item_also_when_it_fails(project: ForkedProject) -> None:
    with function_code(project, "def lambda_handler(event, context):\n    return None\n"):
        project.run("deploy", PIPELINE_NAME="silent")
        error = project.refusal("smoke", PIPELINE_NAME="silent", SMOKE_TIMEOUT="1")
    assert "record not logged: the function ran, but did not log the record" in error
    assert project.client("dynamodb").scan(TableName="silent")["Items"] == []


@pytest.mark.parametrize("log_format", ["Text", pytest.param("JSON", marks=pytest.mark.proof)])
def test_smoke_ignores_errors_that_the_function_itself_logs(project: ForkedProject, log_format: str) -> None:
    code = """
import logging, time

def lambda_handler(event, context):
    for _ in range(3):
        logging.getLogger().error("an order without a price")
    time.sleep(1.2)
    print(event)
"""
    with function_code(project, code):
        project.run("deploy", "smoke", PIPELINE_NAME="grumbling", FUNCTION_LOG_FORMAT=log_format)


def test_smoke_shows_the_traceback_of_a_failing_function(project: ForkedProject) -> None:
    with function_code(project, "def lambda_handler(event, context):\n    raise KeyError('no such order')\n"):
        project.run("deploy", PIPELINE_NAME="failing")
        error = project.refusal("smoke", PIPELINE_NAME="failing", SMOKE_TIMEOUT="20")
    assert "[ERROR] KeyError: 'no such order'" in error
    assert "Traceback (most recent call last):" in error


def test_smoke_generates_the_partition_key_itself(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="keyed")
    ended = project.invoke("smoke", PIPELINE_NAME="keyed", SMOKE_ITEM='{"name": "x"}').expect(1)
    assert "SMOKE_ITEM: 'name' is the partition key, which smoke generates; remove it" in ended.stderr
    assert ended.writes == []


PRINT = "import json\n\ndef lambda_handler(event, context):\n    print(json.dumps(event))\n"
REPORT_ALL = """
    ids = [{"itemIdentifier": each["dynamodb"]["SequenceNumber"]} for each in event["Records"]]
    return {"batchItemFailures": ids}
"""
REPORTING = {"FUNCTION_RESPONSE_TYPES": "ReportBatchItemFailures"}


@pytest.mark.parametrize(
    ("name", "code", "settings", "error"),
    [
        (
            "raises",
            "    raise KeyError('price')\n",
            {},
            r"logged the item but then failed:\nhandler fails: \[ERROR\] KeyError: 'price'",
        ),
        pytest.param(
            "times-out",
            "    import time; time.sleep(9)\n",
            {"FUNCTION_TIMEOUT": "1"},
            r"logged the item but then failed:\ntimeout: .*Task timed out after 1.00 seconds",
            marks=pytest.mark.proof,
        ),
        (
            "returns-a-sentence",
            "    return 'Successfully processed.'\n",
            REPORTING,
            r'delivers the record again .*the function must return {"batchItemFailures": \[\]} or nothing',
        ),
        ("reports-a-failure", REPORT_ALL, REPORTING, r"delivers the record again"),
    ],
)
def test_smoke_fails_for_a_function_that_logs_the_item_and_then_fails(
    project: ForkedProject, name: str, code: str, settings: dict[str, str], error: str
) -> None:
    with function_code(project, PRINT + code):
        project.run("deploy", PIPELINE_NAME=name, MAXIMUM_RETRY_ATTEMPTS="2", **settings)
        ended = project.refusal("smoke", PIPELINE_NAME=name, MAXIMUM_RETRY_ATTEMPTS="2", **settings)
    assert re.search(error, ended)
    assert project.client("dynamodb").scan(TableName=name)["Items"] == []


@pytest.mark.parametrize(
    "code",
    [
        PRINT + "    return 'Successfully processed.'\n",
        PRINT + "    for record in event['Records']:\n        print(json.dumps(record))\n        print(record)\n",
        "def lambda_handler(event, context):\n    print(event)\n",
        PRINT + "    for number in range(1500):\n        print(number)\n",
    ],
    ids=["returns a sentence", "logs twice", "prints Python", "logs much"],
)
def test_smoke_passes_for_a_function_that_succeeds(project: ForkedProject, code: str) -> None:
    with function_code(project, code):
        project.run("deploy", "smoke", PIPELINE_NAME="successful")


@pytest.mark.proof
def test_smoke_ignores_failures_before_its_put(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "repaired", "MAXIMUM_RETRY_ATTEMPTS": "1"}
    with function_code(project, PRINT + "    raise KeyError('price')\n"):
        project.run("deploy", **settings)
        project.refusal("smoke", **settings)
    with function_code(project, "import time\n" + PRINT.replace("    print", "    time.sleep(1.5)\n    print")):
        project.run("deploy", "smoke", **settings)


@pytest.mark.parametrize("offset", ["-300", "300"])
@pytest.mark.parametrize("position", ["TRIM_HORIZON", "LATEST"])
def test_smoke_does_not_depend_on_the_local_clock(project: ForkedProject, offset: str, position: str) -> None:
    settings = {"PIPELINE_NAME": f"clock-{position.lower()}", "STARTING_POSITION": position}
    output = project.run("deploy", "smoke", CLOCK_OFFSET=offset, **settings)
    shown = re.search(r"^smoke: item reached \S+ (\d+) ms after the put$", output, re.MULTILINE)
    assert shown
    assert 0 <= int(shown[1]) < 10_000


def test_by_default_a_bad_record_is_isolated_and_the_others_are_handled(project: ForkedProject) -> None:
    code = """
import json

def lambda_handler(event, context):
    for record in event["Records"]:
        if record["dynamodb"]["Keys"]["name"]["S"] == "bad":
            raise ValueError("bad")
    print("handled", sorted(record["dynamodb"]["Keys"]["name"]["S"] for record in event["Records"]))
"""
    settings = {"PIPELINE_NAME": "bisected", "MAXIMUM_RETRY_ATTEMPTS": "1"}
    names = [*"abcdef", "bad", *"ghij"]
    with function_code(project, code):
        project.run("deploy", MAPPING_ENABLED="false", **settings)
        lines = "\n".join(f'{{"name": "{name}"}}' for name in names)
        project.invoke("put-item", "--file", "-", stdin=lines, **settings).expect(0)
        project.run("map-stream", **settings)
        deadline, log = time.monotonic() + 30, ""
        while time.monotonic() < deadline and not all(f"'{name}'" in log for name in "abcdefghij"):
            log = project.run("fetch-logs", "--last", "0", **settings)
    assert all(f"'{name}'" in log for name in "abcdefghij")
    assert "handled ['bad'" not in log
