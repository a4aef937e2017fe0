"""Each step alone: in any order that makes sense, twice, and with what it says when something is missing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

import tasks

if TYPE_CHECKING:
    from tests.project import Project

STEPS = ("zip-code", "create-table", "create-role", "put-policy", "create-function", "map-stream")


def test_the_steps_one_by_one_build_what_smoke_proves(project: Project) -> None:
    for step in STEPS:
        project.run(step, PIPELINE_NAME="by-hand")
    project.run("smoke", PIPELINE_NAME="by-hand")


def test_the_steps_can_be_run_in_another_order(project: Project) -> None:
    for step in ("create-role", "put-policy", "create-function", "create-table", "map-stream", "zip-code"):
        project.run(step, PIPELINE_NAME="other-order")
    project.run("smoke", PIPELINE_NAME="other-order")


@pytest.mark.parametrize("step", STEPS)
def test_a_step_run_twice_changes_nothing_the_second_time(project: Project, step: str) -> None:
    project.run("deploy", PIPELINE_NAME="again")
    assert re.match("= ", project.run(step, PIPELINE_NAME="again"))


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("put-policy", "role nothing-role does not exist; make it with: invoke create-role"),
        ("create-function", "role nothing-role does not exist; make it with: invoke create-role"),
        ("map-stream", "table nothing does not exist; make it with: invoke create-table"),
        ("smoke", "function nothing does not exist; make it with: invoke create-function"),
    ],
)
def test_a_step_whose_prerequisite_is_missing_says_which_task_makes_it(project: Project, step: str, told: str) -> None:
    assert project.refusal(step, PIPELINE_NAME="nothing").strip() == f"{step}: {told}"


def test_put_item_without_a_table_says_which_task_makes_it(project: Project) -> None:
    told = project.refusal("put-item", "--item", '{"name": "x"}', PIPELINE_NAME="nothing")
    assert "make it with: invoke create-table" in told


def test_map_stream_without_a_function_says_which_task_makes_it(project: Project) -> None:
    project.run("create-table", PIPELINE_NAME="tableonly")
    assert "make it with: invoke create-function" in project.refusal("map-stream", PIPELINE_NAME="tableonly")


def test_a_parameter_wins_over_the_settings(project: Project) -> None:
    project.run("create-table", "--table-name", "by-parameter", "--table-key", "id:N", "--table-sort-key", "at:S")
    table = project.client("dynamodb").describe_table(TableName="by-parameter")["Table"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["id", "at"]


def test_a_changed_setting_is_told_from_what_to_what(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="resized")
    output = project.run("create-function", "--function-memory-size", "256", PIPELINE_NAME="resized")
    assert re.search(r"^~ create-function  function resized  MemorySize: 128 -> 256  ", output, re.MULTILINE)


@pytest.mark.parametrize("words", [("zip-code",), ("create-table",), ("fetch-logs",), ("local.start",)])
def test_wrong_settings_end_a_step_before_anything_is_asked(project: Project, words: tuple[str, ...]) -> None:
    told = project.refusal(*words, BATCH_SIZE="0", FUNCTION_TIMEOUT="901")
    assert "BATCH_SIZE: '0' is not allowed; allowed: a whole number from 1 to 10000" in told
    assert "FUNCTION_TIMEOUT: '901' is not allowed" in told


def test_a_handler_that_is_not_in_the_zip_ends_before_aws_is_asked(project: Project) -> None:
    project.run("create-role", PIPELINE_NAME="handless")
    told = project.refusal("create-function", PIPELINE_NAME="handless", FUNCTION_HANDLER="example.nobody")
    assert "example.py defines no nobody" in told
    assert project.client("lambda").list_functions()["Functions"] == [
        each for each in project.client("lambda").list_functions()["Functions"] if each["FunctionName"] != "handless"
    ]


def test_what_is_sent_to_iam_lies_in_build_policies(project: Project) -> None:
    project.run("create-role", "put-policy", PIPELINE_NAME="rendered")
    sent = json.loads((project.folder / "build" / "policies" / "execution-policy.json").read_text())
    stored = project.client("iam").get_role_policy(RoleName="rendered-role", PolicyName="rendered-policy")
    assert sent == stored["PolicyDocument"]
    assert "arn:aws:dynamodb:us-east-1:000000000000:table/rendered/stream/*" in json.dumps(sent)


@pytest.mark.parametrize("name", sorted(tasks.namespace.task_names))
def test_help_explains_every_parameter(name: str) -> None:
    told = tasks.namespace[name]
    assert set(told.help) == set(told.argspec(told.body).parameters)
    assert told.__doc__


def test_put_item_takes_plain_json(project: Project) -> None:
    project.run("create-table", PIPELINE_NAME="puts")
    project.run("put-item", "--item", '{"name": "plain", "n": 1.5}', PIPELINE_NAME="puts")
    stored = project.client("dynamodb").get_item(TableName="puts", Key={"name": {"S": "plain"}})["Item"]
    assert stored == {"name": {"S": "plain"}, "n": {"N": "1.5"}}


def test_put_item_takes_one_item_a_line_from_a_file(project: Project) -> None:
    project.run("create-table", PIPELINE_NAME="filed")
    lines = [json.dumps({"name": f"item {number}"}) for number in range(30)]
    (project.folder / "items.jsonl").write_text("\n".join(lines) + "\n")
    output = project.run("put-item", "--file", "items.jsonl", PIPELINE_NAME="filed")
    assert "30 items in table filed" in output
    assert project.client("dynamodb").scan(TableName="filed", Select="COUNT")["Count"] == 30


def test_put_item_takes_one_item_a_line_from_standard_input(project: Project) -> None:
    project.run("create-table", PIPELINE_NAME="piped")
    finished = project.invoke("put-item", PIPELINE_NAME="piped", stdin='{"name": "a"}\n\n{"name": {"S": "b"}}\n')
    assert finished.returncode == 0, finished.stderr
    assert project.client("dynamodb").scan(TableName="piped", Select="COUNT")["Count"] == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--item", "{name: 1}"), "--item is not JSON"),
        (("--item", '{"nome": "x"}'), "--item has no attribute 'name'; the key of refused is name of type S"),
        (("--file", "nowhere.jsonl"), "'nowhere.jsonl' cannot be read"),
        (("--item", "{}", "--file", "x"), "give one of them"),
        (("--file", "-"), "standard input holds no item"),
        ((), "standard input holds no item"),
    ],
)
def test_a_wrong_item_is_told_and_nothing_is_written(project: Project, words: tuple[str, ...], told: str) -> None:
    project.run("create-table", PIPELINE_NAME="refused")
    assert told in project.refusal("put-item", *words, PIPELINE_NAME="refused")
    assert project.client("dynamodb").scan(TableName="refused", Select="COUNT")["Count"] == 0


def test_a_wrong_line_of_a_file_is_named_before_any_line_is_written(project: Project) -> None:
    project.run("create-table", PIPELINE_NAME="lined")
    (project.folder / "bad.jsonl").write_text('{"name": "a"}\n{"name": 1}\n')
    assert "bad.jsonl line 2: 'name' is of type N" in project.refusal(
        "put-item", "--file", "bad.jsonl", PIPELINE_NAME="lined"
    )
    assert project.client("dynamodb").scan(TableName="lined", Select="COUNT")["Count"] == 0
