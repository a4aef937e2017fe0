"""Settings: where they come from, which wins, and what is said of wrong ones."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import Settings, SettingsError, declarations, find_env_file, load

ROOT = Path(__file__).resolve().parents[2]
ARTICLE = ROOT / "tests" / "article.env"


def from_file(path: Path, text: str, **parameters: str) -> Settings:
    path.write_text(text, encoding="utf-8")
    return load(path, {}, parameters)


def problems(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        load(None, environment, {})
    return str(raised.value)


def test_every_setting_has_a_working_default() -> None:
    settings = load(None, {}, {})
    assert settings.table_name == "stream-demo"
    assert settings.target == "local"


def test_names_come_from_the_pipelines_name() -> None:
    settings = load(None, {"PIPELINE_NAME": "nightly"}, {})
    names = (settings.table_name, settings.function_name, settings.role_name, settings.policy_name)
    assert names == ("nightly", "nightly", "nightly-role", "nightly-policy")


def test_each_name_can_be_set_alone() -> None:
    settings = load(None, {"PIPELINE_NAME": "nightly", "TABLE_NAME": "batches"}, {})
    assert (settings.table_name, settings.function_name) == ("batches", "nightly")


def test_the_shell_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("BATCH_SIZE=5\nFUNCTION_TIMEOUT=7\n")
    settings = load(file, {"BATCH_SIZE": "6"}, {})
    assert (settings.batch_size, settings.function_timeout) == (6, 7)


def test_a_task_parameter_wins_over_the_shell(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("BATCH_SIZE=5\n")
    assert load(file, {"BATCH_SIZE": "6"}, {"batch_size": "7"}).batch_size == 7


def test_an_empty_value_means_the_default(tmp_path: Path) -> None:
    assert from_file(tmp_path / ".env", "TABLE_NAME=\nBATCH_SIZE=\n").batch_size == 100


def test_env_file_chooses_another_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BATCH_SIZE=1\n")
    (tmp_path / ".env.prod").write_text("BATCH_SIZE=2\n")
    assert find_env_file(tmp_path, {"ENV_FILE": ".env.prod"}) == tmp_path / ".env.prod"


def test_without_env_file_the_dot_env_of_the_project_counts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")
    assert find_env_file(tmp_path, {}) == tmp_path / ".env"


def test_no_dot_env_is_no_fault(tmp_path: Path) -> None:
    assert find_env_file(tmp_path, {}) is None


def test_an_env_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ENV_FILE: '\.env\.typo' is not a file"):
        find_env_file(tmp_path, {"ENV_FILE": ".env.typo"})


def test_everything_wrong_is_told_at_once() -> None:
    told = problems({"BATCH_SIZE": "0", "FUNCTION_MEMORY_SIZE": "64", "TARGET": "moon"}).splitlines()
    assert [line.split(":")[0] for line in told] == ["TARGET", "FUNCTION_MEMORY_SIZE", "BATCH_SIZE"]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PIPELINE_NAME", "a b", "3 to 50 letters"),
        ("PIPELINE_NAME", "ab", "3 to 50 letters"),
        ("TARGET", "azure", "local or aws"),
        ("AWS_REGION", "Tokyo", "a region's code"),
        ("AWS_ACCOUNT_ID", "123", "12 digits"),
        ("AWS_ENDPOINT_URL", "localhost:1", "http://HOST:PORT"),
        ("TAGS", "stage=test", "a JSON object"),
        ("TAGS", '{"aws:x": "y"}', "without aws:"),
        ("TAGS", '{"pipeline": "y"}', "not 'pipeline'"),
        ("TABLE_NAME", "ab", "3 to 255"),
        ("TABLE_NAME", "a/b/c", "3 to 255"),
        ("TABLE_KEY", "name", "NAME:TYPE"),
        ("TABLE_KEY", "name:X", "NAME:TYPE"),
        ("TABLE_SORT_KEY", ":S", "NAME:TYPE"),
        ("TABLE_BILLING_MODE", "FREE", "PAY_PER_REQUEST or PROVISIONED"),
        ("TABLE_READ_CAPACITY_UNITS", "0", "from 1 to 40000"),
        ("STREAM_VIEW_TYPE", "ALL", "KEYS_ONLY"),
        ("ROLE_NAME", "a role", "1 to 64"),
        ("POLICY_NAME", "x" * 129, "1 to 128"),
        ("FUNCTION_NAME", "x" * 65, "1 to 64"),
        ("FUNCTION_RUNTIME", "nodejs20.x", "a Python runtime"),
        ("FUNCTION_HANDLER", "example", "MODULE.FUNCTION"),
        ("FUNCTION_MEMORY_SIZE", "127", "from 128 to 10240"),
        ("FUNCTION_MEMORY_SIZE", "10241", "from 128 to 10240"),
        ("FUNCTION_TIMEOUT", "901", "from 1 to 900"),
        ("FUNCTION_TIMEOUT", "soon", "from 1 to 900"),
        ("FUNCTION_ARCHITECTURE", "arm", "x86_64 or arm64"),
        ("FUNCTION_ENVIRONMENT", '{"AWS_REGION": "x"}', "no variable that Lambda sets"),
        ("FUNCTION_ENVIRONMENT", '{"1A": "x"}', "starting with a letter"),
        ("FUNCTION_ENVIRONMENT", '{"A": 1}', "a JSON object of strings"),
        ("FUNCTION_ENVIRONMENT", '{"AB": "' + "x" * 4096 + '"}', "at most 4096 bytes"),
        ("LOG_RETENTION_IN_DAYS", "2", "one of 0, 1, 3"),
        ("BATCH_SIZE", "10001", "from 1 to 10000"),
        ("MAXIMUM_BATCHING_WINDOW_IN_SECONDS", "301", "from 0 to 300"),
        ("STARTING_POSITION", "AT_TIMESTAMP", "TRIM_HORIZON or LATEST"),
        ("MAXIMUM_RETRY_ATTEMPTS", "-2", "or -1"),
        ("MAXIMUM_RECORD_AGE_IN_SECONDS", "59", "from 60 to 604800, or -1"),
        ("BISECT_BATCH_ON_FUNCTION_ERROR", "yes", "true or false"),
        ("FUNCTION_RESPONSE_TYPES", "Report", "ReportBatchItemFailures"),
        ("PARALLELIZATION_FACTOR", "11", "from 1 to 10"),
        ("FILTER_CRITERIA", "[]", "a JSON object"),
        ("SMOKE_TIMEOUT", "0", "from 1 to 3600"),
        ("LOCAL_PORT", "65536", "from 0 to 65535"),
        ("LOCAL_PORT", "٤٥٦٦", "from 0 to 65535"),
        ("LOCAL_IDLE_HOURS", "0", "a number from"),
        ("LOCAL_AWS_DELAYS", "maybe", "a number from"),
    ],
)
def test_a_wrong_value_is_told_with_its_name_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    (told,) = problems({name: value}).splitlines()
    assert told.startswith(f"{name}: ")
    assert allowed in told


def test_a_wrong_environment_is_told_without_its_value() -> None:
    assert "hunter2" not in problems({"FUNCTION_ENVIRONMENT": '{"PASSWORD": "hunter2", "1": ""}'})


def test_a_misspelt_name_in_the_file_is_told_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.env line 2: TABEL_NAME is no setting; did you mean TABLE_NAME\?"):
        from_file(tmp_path / ".env", "# mine\nTABEL_NAME=x\n")


@pytest.mark.parametrize("line", ["just words", "='x'", "BATCH_SIZE"])
def test_a_line_that_is_no_assignment_is_told_by_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match=r"\.env line 1: "):
        from_file(tmp_path / ".env", line + "\n")


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"\.env: cannot be read"):
        load(file, {}, {})


def test_a_dollar_sign_in_the_file_stays_as_it_is(tmp_path: Path) -> None:
    settings = from_file(tmp_path / ".env", 'FUNCTION_ENVIRONMENT=\'{"PRICE": "${5}"}\'\n')
    assert settings.function_environment == {"PRICE": "${5}"}


def test_credentials_in_the_file_are_kept_for_boto3_and_never_shown(tmp_path: Path) -> None:
    settings = from_file(tmp_path / ".env", "AWS_SECRET_ACCESS_KEY=hunter2\n")
    assert settings.aws_environment == {"AWS_SECRET_ACCESS_KEY": "hunter2"}
    assert "hunter2" not in repr(settings)


def test_the_example_file_has_every_setting_with_its_default_in_the_order_of_the_code() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == example()


def example() -> str:
    head = (
        "# Copy this file to .env and change what you need; what you leave out keeps the default that stands here.\n"
        "# .env, then the shell, then a task's parameters win. ENV_FILE=.env.prod chooses another file.\n"
        "# An empty value means the default. Quote JSON with '...'; $ has no meaning.\n"
    )
    lines = [head]
    for setting in declarations():
        told = textwrap.fill(setting.told, 112, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        lines.append(f"{told}\n{setting.name}={setting.default}\n")
    return "\n".join(lines)


def test_the_example_file_is_itself_a_valid_one() -> None:
    assert load(ROOT / ".env.example", {}, {}) == load(None, {}, {})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("table_name", "test"),
        ("table_key", "name:S"),
        ("stream_view_type", "NEW_AND_OLD_IMAGES"),
        ("table_billing_mode", "PROVISIONED"),
        ("table_read_capacity_units", 1),
        ("role_name", "lambda_invoke_by_dynamodb"),
        ("policy_name", "dynamodb-access-by-lambda"),
        ("function_name", "test"),
        ("function_handler", "example.lambda_handler"),
        ("starting_position", "LATEST"),
        ("batch_size", 100),
        ("aws_region", "ap-northeast-1"),
    ],
)
def test_the_articles_settings_can_be_written_as_a_file(setting: str, value: Any) -> None:
    assert getattr(load(ARTICLE, {}, {}), setting) == value
