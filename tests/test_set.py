"""`--set NAME=VALUE`: a setting for one run, on every task that reads settings."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

import tasks
from pipeline.settings import declarations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.forked import ForkedProject, Outcome

# These tasks read no settings.
WITHOUT_SETTINGS = {"local.stop", "local.status", "dev.check", "dev.coverage", "dev.bench", "dev.soak"}
READERS = sorted(set(tasks.namespace.task_names) - WITHOUT_SETTINGS)
STEPS = ("create-table", "create-role", "put-policy", "create-function", "map-stream")


@pytest.fixture
def env_file(project: ForkedProject) -> Iterator[str]:
    """The `.env` of a pipeline "from-env" with BATCH_SIZE=5. Returns the name of the pipeline."""
    path = project.folder / ".env"
    path.write_text("PIPELINE_NAME=from-env\nBATCH_SIZE=5\n")
    yield "from-env"
    path.unlink()


def invoke(project: ForkedProject, name: str, *words: str, **settings: str) -> Outcome:
    """Run a task with these words, and with an item if it needs one. Assert that it exits 1."""
    item = ("--item", '{"name": "x"}') if name == "put-item" else ()
    return project.invoke(name, *item, *words, **settings).expect(1)


def batch_size(project: ForkedProject, function: str) -> int:
    mappings = project.client("lambda").list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    return int(mappings[0]["BatchSize"])


@pytest.mark.parametrize("name", READERS)
def test_every_task_that_reads_settings_has_set_and_no_flag_for_a_single_setting(name: str) -> None:
    task = tasks.namespace[name]
    parameters = set(task.argspec(task.body).parameters)
    assert "set" in parameters
    assert parameters & {setting.name.lower() for setting in declarations()} == set()


@pytest.mark.parametrize("name", READERS)
def test_an_unknown_name_is_an_error_that_suggests_the_right_one(project: ForkedProject, name: str) -> None:
    ended = invoke(project, name, "--set", "BATCH_SIZ=5")
    assert ended.stderr == f"{name}: --set: BATCH_SIZ is not a setting; did you mean BATCH_SIZE?\n"
    assert ended.calls == []


@pytest.mark.parametrize("name", READERS)
def test_an_invalid_value_is_the_same_error_as_in_the_file(project: ForkedProject, name: str) -> None:
    env_file = project.folder / ".env.invalid"
    env_file.write_text("BATCH_SIZE=0\n")
    ended = invoke(project, name, "--set", "BATCH_SIZE=0")
    assert ended.stderr.startswith(f"{name}: BATCH_SIZE: '0' is not allowed; allowed: a whole number from 1 to ")
    assert ended.stderr == invoke(project, name, ENV_FILE=env_file.name).stderr
    assert ended.calls == []


@pytest.mark.parametrize("name", READERS)
def test_a_word_without_an_equals_sign_is_an_error(project: ForkedProject, name: str) -> None:
    ended = invoke(project, name, "--set", "BATCH_SIZE")
    assert "--set: 'BATCH_SIZE' is not allowed; allowed: NAME=VALUE, such as BATCH_SIZE=50" in ended.stderr
    assert ended.calls == []


@pytest.mark.parametrize("step", STEPS)
def test_set_is_the_same_as_the_shell(project: ForkedProject, step: str) -> None:
    project.run("deploy", PIPELINE_NAME="same")
    ended = project.invoke(step, "--set", "PIPELINE_NAME=same").expect(0)
    assert re.match("= .* /?[a-z/]*same", ended.stdout)
    assert ended.writes == []


def test_set_takes_precedence_over_the_shell_and_the_file(project: ForkedProject, env_file: str) -> None:
    project.run("deploy", "--set", "BATCH_SIZE=7", BATCH_SIZE="6")
    assert batch_size(project, env_file) == 7


def test_the_shell_takes_precedence_over_the_file(project: ForkedProject, env_file: str) -> None:
    project.run("deploy", BATCH_SIZE="6")
    assert batch_size(project, env_file) == 6


def test_the_last_value_of_a_name_counts(project: ForkedProject, env_file: str) -> None:
    project.run("deploy", "--set", "BATCH_SIZE=8", "--set", "BATCH_SIZE=9")
    assert batch_size(project, env_file) == 9


def test_an_empty_value_in_the_shell_sets_the_default_over_the_file(project: ForkedProject, env_file: str) -> None:
    project.run("deploy", BATCH_SIZE="")
    assert batch_size(project, env_file) == 100


def test_an_empty_value_of_set_sets_the_default_over_the_shell(project: ForkedProject, env_file: str) -> None:
    project.run("deploy", "--set", "BATCH_SIZE=", BATCH_SIZE="6")
    assert batch_size(project, env_file) == 100


def test_a_value_may_contain_equals_signs(project: ForkedProject) -> None:
    project.run("deploy", "--set", 'FUNCTION_ENVIRONMENT={"QUERY": "a=b=c"}', PIPELINE_NAME="equals")
    configuration = project.client("lambda").get_function_configuration(FunctionName="equals")
    assert configuration["Environment"]["Variables"] == {"QUERY": "a=b=c"}


def test_set_on_a_step_and_the_same_setting_in_the_file_build_one_pipeline(project: ForkedProject) -> None:
    project.run("create-table", "--set", "TABLE_NAME=one-table", "--set", "TABLE_KEY=id:N", PIPELINE_NAME="one")
    (project.folder / ".env.one").write_text("PIPELINE_NAME=one\nTABLE_NAME=one-table\nTABLE_KEY=id:N\n")
    output = project.run("deploy", "smoke", ENV_FILE=".env.one")
    assert re.search("^= create-table     table one-table  ", output, re.MULTILINE)
    assert "one" not in project.client("dynamodb").list_tables()["TableNames"]


def test_set_applies_only_to_the_task_that_it_follows(project: ForkedProject) -> None:
    output = project.run("create-table", "--set", "TABLE_NAME=first-task", "create-table", PIPELINE_NAME="second-task")
    assert re.findall(r"table (\S+)", output) == ["first-task", "second-task"]


def test_set_shapes_the_table(project: ForkedProject) -> None:
    words = [f"--set={setting}" for setting in ("TABLE_NAME=by-set", "TABLE_KEY=id:N", "TABLE_SORT_KEY=at:S")]
    project.run("create-table", *words)
    table = project.client("dynamodb").describe_table(TableName="by-set")["Table"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["id", "at"]


# --- *_OPTIONS: every mistake is one error, before anything is written ------------------------------------------------

OPTIONS = {
    "TABLE_OPTIONS": ("create-table", "deploy", "status"),
    "ROLE_OPTIONS": ("create-role", "deploy", "status"),
    "FUNCTION_OPTIONS": ("create-function", "put-policy", "fetch-logs", "deploy", "smoke", "status", "clean"),
    "MAPPING_OPTIONS": ("map-stream", "deploy", "status"),
    "FILTER_CRITERIA": ("map-stream", "deploy", "status"),
}
MISTAKES = [
    ("TABLE_OPTIONS", {"TabelClass": "STANDARD"}, "TabelClass is not a parameter of CreateTable"),
    ("TABLE_OPTIONS", {"TableClass": 5}, "TableClass: Invalid type"),
    ("TABLE_OPTIONS", {"BillingMode": "PROVISIONED"}, "BillingMode has a dedicated setting"),
    ("TABLE_OPTIONS", {"AttributeDefinitions": 5}, "AttributeDefinitions"),
    ("ROLE_OPTIONS", {"MaxSession": 3600}, "MaxSession is not a parameter of CreateRole"),
    ("ROLE_OPTIONS", {"MaxSessionDuration": "long"}, "MaxSessionDuration: Invalid type"),
    ("ROLE_OPTIONS", {"RoleName": "x"}, "RoleName has a dedicated setting"),
    ("FUNCTION_OPTIONS", {"Memory": 256}, "Memory is not a parameter of CreateFunction"),
    ("FUNCTION_OPTIONS", {"VpcConfig": []}, "VpcConfig: Invalid type"),
    ("FUNCTION_OPTIONS", {"VpcConfig": {"Subnets": []}}, "VpcConfig: Unknown parameter"),
    ("FUNCTION_OPTIONS", {"Timeout": 5}, "Timeout has a dedicated setting"),
    ("FUNCTION_OPTIONS", {"LoggingConfig": 5}, "LoggingConfig"),
    ("FUNCTION_OPTIONS", {"LoggingConfig": {"LogGroup": 5}}, "LoggingConfig"),
    ("FUNCTION_OPTIONS", {"LoggingConfig": {"LogFormat": "JSON"}}, "LogFormat has a dedicated setting"),
    ("MAPPING_OPTIONS", {"Batch": 1}, "Batch is not a parameter of CreateEventSourceMapping"),
    ("MAPPING_OPTIONS", {"MetricsConfig": "all"}, "MetricsConfig: Invalid type"),
    ("MAPPING_OPTIONS", {"BatchSize": 1}, "BatchSize has a dedicated setting"),
    ("FILTER_CRITERIA", {"Filter": []}, "Filter"),
    ("FILTER_CRITERIA", {"Filters": "x"}, "Filters"),
    ("FILTER_CRITERIA", {"Filters": [{"Pattern": {"eventName": ["INSERT"]}}]}, "Pattern"),
]


@pytest.mark.parametrize(
    ("task", "setting", "value", "error"),
    [(task, setting, value, error) for setting, value, error in MISTAKES for task in OPTIONS[setting]],
    ids=lambda each: json.dumps(each) if isinstance(each, dict) else str(each)[:20],
)
def test_a_mistake_in_options_is_one_error_before_anything_is_written(
    project: ForkedProject, task: str, setting: str, value: dict[str, object], error: str
) -> None:
    ended = project.invoke(task, "--set", f"{setting}={json.dumps(value)}", PIPELINE_NAME="mistaken").expect(1)
    assert ended.stderr.startswith(f"{task}: {setting}: ")
    assert error in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert ended.writes == []
