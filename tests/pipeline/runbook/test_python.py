"""What `invoke runbook --format py` writes for different settings."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from pipeline import archive, runbook
from pipeline.resources.change import OWNER_TAG, UserError
from pipeline.runbook import python
from pipeline.settings import load

ROOT = Path(__file__).resolve().parents[3]
STEPS = [
    "zip-code", "create-role", "put-policy", "create-function", "create-table", "map-stream", "put-item", "fetch-logs",
]  # fmt: skip
SETTINGS = {
    "defaults": {},
    "all parameters": {
        "TABLE_KEY": "id:B",
        "TABLE_SORT_KEY": 'it\'s "n":N',
        "TABLE_NAME": "t" * 255,
        "TABLE_BILLING_MODE": "PROVISIONED",
        "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": "true",
        "TAGS": '{"cost centre:ü": "= 50 @"}',
        "ROLE_PERMISSIONS_BOUNDARY": "arn:aws:iam::123456789012:policy/boundary",
        "ROLE_MANAGED_POLICY_ARNS": "arn:aws:iam::123456789012:policy/a,arn:aws:iam::123456789012:policy/b",
        "ROLE_OPTIONS": json.dumps({"Description": 'it\'s "`id`" {TABLE} \\ ' + "long " * 30}),
        "FUNCTION_ENVIRONMENT": '{"SECRET": "hunter-two", "STAGE": ""}',
        "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "0",
        "FUNCTION_LAYERS": "arn:aws:lambda:us-east-1:123456789012:layer:theirs:7",
        "FILTER_CRITERIA": json.dumps({"Filters": [{"Pattern": '{"eventName": ["INSERT", "it\'s"]}'}]}),
        "ON_FAILURE": "arn:aws:sqs:us-east-1:123456789012:notes",
        "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:on-call",
        "SMOKE_ITEM": '{"bytes": {"B": "aGVsbG8="}, "truth": {"BOOL": true}, "none": {"NULL": true}}',
    },
    "resources of others": {
        "TARGET": "aws",
        "AWS_REGION": "us-east-1",
        "AWS_ACCOUNT_ID": "123456789012",
        "TABLE_ARN": "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
        "ROLE_ARN": "arn:aws:iam::123456789012:role/service/x",
        "LOG_RETENTION_IN_DAYS": "0",
    },
    "a table of others": {"TABLE_ARN": "arn:aws:dynamodb:us-east-1:123456789012:table/orders"},
}


@cache
def tasks(task: str = "", **settings: str) -> str:
    return python.tasks(load(None, settings, {}), ROOT, task)


def checked(folder: Path, *command: str) -> str:
    """Run a checker of the development requirements, configured as in this project."""
    words = [sys.executable, "-m", *command]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tasks for each of the settings, and with each task alone."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    files = {f"settings_{number}": tasks(**each) for number, each in enumerate(SETTINGS.values())}
    files |= {f"only_{name.replace('-', '_')}": tasks(name) for name in (*STEPS, "deploy", "smoke", "clean")}
    for name, text in files.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
        (folder / name / "tasks.py").write_text(text)
    return folder


@pytest.mark.proof
def test_ruff_accepts_the_tasks(written: Path) -> None:
    assert checked(written, "ruff", "check", "--no-cache", ".") == "All checks passed!"


def test_the_tasks_are_formatted_as_ruff_formats_them(written: Path) -> None:
    assert checked(written, "ruff", "format", "--no-cache", "--diff", ".") == ""


@pytest.mark.proof  # reads boto3's types
def test_mypy_accepts_the_tasks(written: Path) -> None:
    assert checked(written, "mypy", "--no-incremental", ".").startswith("Success: no issues found")


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_each_step_fits_in_25_lines(settings: dict[str, str]) -> None:
    functions = [node for node in ast.walk(ast.parse(tasks(**settings))) if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > 25} == {}


def test_the_file_has_the_eight_steps_deploy_smoke_and_clean() -> None:
    tree = ast.parse(tasks())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    assert sorted(name.replace("_", "-") for name in names) == sorted([*STEPS, "deploy", "smoke", "clean"])


def test_with_a_topic_deploy_creates_the_alarms_last() -> None:
    text = tasks(ALARM_TOPIC_ARN="arn:aws:sns:us-east-1:123456789012:on-call")
    assert (
        "\n@task(zip_code, create_role, put_policy, create_function, create_table, map_stream, create_alarms)\n" in text
    )


def test_the_file_imports_boto3_invoke_and_the_standard_library_only() -> None:
    nodes = list(ast.walk(ast.parse(tasks())))
    imports = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in imports} - sys.stdlib_module_names
    assert packages == {"boto3", "botocore", "invoke"}


def test_one_task_comes_with_its_dictionary_and_no_other() -> None:
    text = tasks("create-table", TABLE_NAME="orders")
    assert 'TABLE_NAME = "orders"\n' in text
    assert '\n    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],\n' in text
    assert [word for word in ("FUNCTION", "MAPPING", "ROLE", "import json", "def clean") if word in text] == []


def test_names_and_region_are_variables_within_arns() -> None:
    text = tasks(PIPELINE_NAME="orders", AWS_REGION="cn-north-1")
    assert 'f"arn:aws-cn:dynamodb:{AWS_REGION}:<ACCOUNT_ID>:table/{TABLE_NAME}/stream/*"' in text
    assert text.count("orders") == len(["pipeline", "table", "role", "function", "policy"])


def test_a_value_of_the_functions_environment_is_never_written() -> None:
    text = tasks(**SETTINGS["all parameters"])
    assert "hunter" not in text
    assert '"SECRET",\n' in text


def test_no_task_writes_to_a_table_of_others_except_put_item_with_yes() -> None:
    text = tasks(**SETTINGS["a table of others"])
    calls = [call for call in ("create_table(**", "delete_table(", "delete_item(", "update_continuous") if call in text]
    assert calls == []
    assert text.count(".put_item(") == 1


def test_the_owner_tag_of_the_tasks_is_that_of_the_project() -> None:
    assert f'tags.get("{OWNER_TAG}")' in tasks()


def test_code_above_one_megabyte_is_a_file_beside_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runbook, "_EMBEDDED_BYTES", 100)
    text = python.tasks(load(None, {}, {}), ROOT)
    assert "UEsDB" not in text
    assert "copy the zip with the function's code there" in text


def test_code_above_50_mb_is_uploaded_to_the_bucket_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "DIRECT_UPLOAD_BYTES", 100)
    text = python.tasks(load(None, {"CODE_BUCKET": "code"}, {}), ROOT, "create-function")
    assert re.search(r'"S3Bucket": "code",\n    "S3Key": f"\{PIPELINE_NAME\}/[0-9a-f]{64}\.zip",\n', text)
    assert '.upload_file(str(FUNCTION_ZIP), CODE["S3Bucket"], CODE["S3Key"])' in text
    assert "ZipFile" not in text


def test_an_unknown_task_is_one_error_with_the_names_of_all() -> None:
    with pytest.raises(UserError, match="--task: 'table' is not allowed; allowed: zip-code, create-role, put-policy"):
        tasks("table")
