"""Each step alone: in any valid order, twice, and without its prerequisites."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

import tasks

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

STEPS = ("zip-code", "create-table", "create-role", "put-policy", "create-function", "map-stream")


def test_the_steps_in_order_build_a_working_pipeline(project: ForkedProject) -> None:
    for step in STEPS:
        project.run(step, PIPELINE_NAME="by-hand")
    project.run("smoke", PIPELINE_NAME="by-hand")


def test_the_steps_in_another_valid_order_build_a_working_pipeline(project: ForkedProject) -> None:
    for step in ("create-role", "put-policy", "create-function", "create-table", "map-stream", "zip-code"):
        project.run(step, PIPELINE_NAME="other-order")
    project.run("smoke", PIPELINE_NAME="other-order")


@pytest.mark.parametrize("step", STEPS)
def test_a_second_run_of_a_step_changes_nothing(project: ForkedProject, step: str) -> None:
    project.run("deploy", PIPELINE_NAME="again")
    second = project.invoke(step, PIPELINE_NAME="again").expect(0)
    assert re.match("= ", second.stdout)
    assert second.writes == []


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("put-policy", "role nothing-role does not exist; create it with: invoke create-role"),
        ("create-function", "role nothing-role does not exist; create it with: invoke create-role"),
        ("map-stream", "table nothing does not exist; create it with: invoke create-table"),
    ],
)
def test_a_step_without_its_prerequisite_names_the_task_that_creates_it(
    project: ForkedProject, step: str, error: str
) -> None:
    assert project.refusal(step, PIPELINE_NAME="nothing").strip() == f"{step}: {error}"


def test_put_item_without_a_table_names_the_task_that_creates_it(project: ForkedProject) -> None:
    error = project.refusal("put-item", "--item", '{"name": "x"}', PIPELINE_NAME="nothing")
    assert "create it with: invoke create-table" in error


def test_map_stream_without_a_function_names_the_task_that_creates_it(project: ForkedProject) -> None:
    project.run("create-table", PIPELINE_NAME="tableonly")
    assert "create it with: invoke create-function" in project.refusal("map-stream", PIPELINE_NAME="tableonly")


def test_a_step_prints_a_changed_setting_with_its_old_and_new_value(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="resized")
    output = project.run("create-function", "--set", "FUNCTION_MEMORY_SIZE=256", PIPELINE_NAME="resized")
    assert re.search(r"^~ create-function  function resized  MemorySize: 128 -> 256(;|  )", output, re.MULTILINE)


@pytest.mark.parametrize("words", [("zip-code",), ("create-table",), ("fetch-logs",), ("local.start",)])
def test_invalid_settings_end_a_step_before_any_call(project: ForkedProject, words: tuple[str, ...]) -> None:
    ended = project.invoke(*words, BATCH_SIZE="0", FUNCTION_TIMEOUT="0").expect(1)
    assert "BATCH_SIZE: '0' is not allowed; allowed: a whole number from 1 to 10000" in ended.stderr
    assert "FUNCTION_TIMEOUT: '0' is not allowed" in ended.stderr
    assert ended.calls == []


def test_a_handler_that_the_zip_lacks_is_an_error_before_the_function_is_created(project: ForkedProject) -> None:
    project.run("create-role", PIPELINE_NAME="handless")
    ended = project.invoke("create-function", PIPELINE_NAME="handless", FUNCTION_HANDLER="example.nobody").expect(1)
    assert "example.py does not define nobody" in ended.stderr
    assert ended.writes == []
    functions = project.client("lambda").list_functions()["Functions"]
    assert "handless" not in [function["FunctionName"] for function in functions]


def test_build_policies_contains_the_documents_that_iam_stores(project: ForkedProject) -> None:
    project.run("create-role", "put-policy", PIPELINE_NAME="rendered")
    sent = json.loads((project.folder / "build" / "policies" / "execution-policy.json").read_text())
    stored = project.client("iam").get_role_policy(RoleName="rendered-role", PolicyName="rendered-policy")
    assert sent == stored["PolicyDocument"]
    assert "arn:aws:dynamodb:us-east-1:000000000000:table/rendered/stream/*" in json.dumps(sent)


@pytest.mark.parametrize("name", sorted(tasks.namespace.task_names))
def test_help_explains_every_parameter(name: str) -> None:
    task = tasks.namespace[name]
    assert set(task.help) == {parameter.rstrip("_") for parameter in task.argspec(task.body).parameters}
    assert task.__doc__


def test_help_prints_the_settings_that_a_step_reads(project: ForkedProject) -> None:
    assert "Settings: PIPELINE_NAME, TABLE_ARN, TABLE_NAME, TABLE_KEY," in project.run("--help", "create-table")


def test_put_item_accepts_plain_json(project: ForkedProject) -> None:
    project.run("create-table", PIPELINE_NAME="puts")
    project.run("put-item", "--item", '{"name": "plain", "n": 1.5}', PIPELINE_NAME="puts")
    stored = project.client("dynamodb").get_item(TableName="puts", Key={"name": {"S": "plain"}})["Item"]
    assert stored == {"name": {"S": "plain"}, "n": {"N": "1.5"}}


def test_put_item_reads_one_item_per_line_from_a_file(project: ForkedProject) -> None:
    project.run("create-table", PIPELINE_NAME="filed")
    lines = [json.dumps({"name": f"item {number}"}) for number in range(30)]
    (project.folder / "items.jsonl").write_text("\n".join(lines) + "\n")
    output = project.run("put-item", "--file", "items.jsonl", PIPELINE_NAME="filed")
    assert "30 items in table filed" in output
    assert project.client("dynamodb").scan(TableName="filed", Select="COUNT")["Count"] == 30


def test_put_item_reads_one_item_per_line_from_standard_input(project: ForkedProject) -> None:
    project.run("create-table", PIPELINE_NAME="piped")
    project.invoke("put-item", PIPELINE_NAME="piped", stdin='{"name": "a"}\n\n{"name": {"S": "b"}}\n').expect(0)
    assert project.client("dynamodb").scan(TableName="piped", Select="COUNT")["Count"] == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--item", "{name: 1}"), "--item is not JSON"),
        (("--item", '{"nome": "x"}'), "--item has no attribute 'name'; the key of rejected must be name of type S"),
        (("--file", "nowhere.jsonl"), "'nowhere.jsonl' cannot be read"),
        (("--item", "{}", "--file", "x"), "not both"),
        (("--file", "-"), "standard input contains no items"),
        ((), "standard input contains no items"),
    ],
)
def test_an_invalid_item_is_an_error_before_anything_is_written(
    project: ForkedProject, words: tuple[str, ...], error: str
) -> None:
    project.run("create-table", PIPELINE_NAME="rejected")
    assert error in project.refusal("put-item", *words, PIPELINE_NAME="rejected")
    assert project.client("dynamodb").scan(TableName="rejected", Select="COUNT")["Count"] == 0


def test_an_invalid_line_of_a_file_is_an_error_before_any_line_is_written(project: ForkedProject) -> None:
    project.run("create-table", PIPELINE_NAME="lined")
    (project.folder / "bad.jsonl").write_text('{"name": "a"}\n{"name": 1}\n')
    error = project.refusal("put-item", "--file", "bad.jsonl", PIPELINE_NAME="lined")
    assert "bad.jsonl line 2: 'name' is of type N" in error
    assert project.client("dynamodb").scan(TableName="lined", Select="COUNT")["Count"] == 0
