"""Settings: their sources, which source takes precedence, and the errors for invalid ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import Settings, SettingsError, declarations, find_env_file, load, parse_overrides

ROOT = Path(__file__).resolve().parents[2]
ARTICLE = ROOT / "tests" / "article.env"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:discarded"


def from_file(path: Path, text: str, **environment: str) -> Settings:
    path.write_text(text, encoding="utf-8")
    return load(path, environment, {})


def problems(environment: dict[str, str], overrides: dict[str, str] | None = None) -> list[str]:
    """Load the settings, assert that they are invalid, and return the lines of the error."""
    with pytest.raises(SettingsError) as raised:
        load(None, environment, overrides or {})
    return str(raised.value).splitlines()


def test_every_setting_has_a_default() -> None:
    settings = load(None, {}, {})
    assert settings.table_name == "stream-demo"
    assert settings.target == "local"


def test_resource_names_derive_from_the_name_of_the_pipeline() -> None:
    settings = load(None, {"PIPELINE_NAME": "nightly"}, {})
    names = (settings.table_name, settings.function_name, settings.role_name, settings.policy_name)
    assert names == ("nightly", "nightly", "nightly-role", "nightly-policy")


def test_each_name_can_be_set_alone() -> None:
    settings = load(None, {"PIPELINE_NAME": "nightly", "TABLE_NAME": "batches"}, {})
    assert (settings.table_name, settings.function_name) == ("batches", "nightly")


def test_the_shell_takes_precedence_over_the_file(tmp_path: Path) -> None:
    settings = from_file(tmp_path / ".env", "BATCH_SIZE=5\nFUNCTION_TIMEOUT=7\n", BATCH_SIZE="6")
    assert (settings.batch_size, settings.function_timeout) == (6, 7)


def test_overrides_take_precedence_over_the_shell_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("BATCH_SIZE=5\n")
    assert load(file, {"BATCH_SIZE": "6"}, {"BATCH_SIZE": "7"}).batch_size == 7


def test_an_empty_value_in_the_file_sets_the_default(tmp_path: Path) -> None:
    settings = from_file(tmp_path / ".env", "TABLE_NAME=\nBATCH_SIZE=\n")
    assert (settings.table_name, settings.batch_size) == ("stream-demo", 100)


def test_an_empty_value_in_the_shell_sets_the_default_over_the_file(tmp_path: Path) -> None:
    text = f"TABLE_NAME=orders\nBATCH_SIZE=5\nON_FAILURE={QUEUE}\n"
    settings = from_file(tmp_path / ".env", text, TABLE_NAME="", BATCH_SIZE="", ON_FAILURE="")
    assert (settings.table_name, settings.batch_size, settings.on_failure) == ("stream-demo", 100, "")


def test_an_empty_override_sets_the_default_over_the_shell_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("BATCH_SIZE=5\n")
    assert load(file, {"BATCH_SIZE": "6"}, {"BATCH_SIZE": ""}).batch_size == 100


def test_overrides_are_parsed_at_the_first_equals_sign_and_the_last_one_counts() -> None:
    words = ["BATCH_SIZE=1", 'FUNCTION_ENVIRONMENT={"Q": "a=b"}', "BATCH_SIZE=2", "TABLE_NAME="]
    assert parse_overrides(words) == {"BATCH_SIZE": "2", "FUNCTION_ENVIRONMENT": '{"Q": "a=b"}', "TABLE_NAME": ""}


def test_an_override_without_an_equals_sign_is_an_error() -> None:
    with pytest.raises(SettingsError, match="--set: 'BATCH_SIZE' is not allowed; allowed: NAME=VALUE"):
        parse_overrides(["BATCH_SIZE"])


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("TABEL_NAME", "did you mean TABLE_NAME?"),
        ("batch_size", "did you mean BATCH_SIZE?"),
        ("COLOR", "see .env.example for all names"),
    ],
)
def test_an_unknown_override_is_an_error_with_a_suggestion(name: str, suggestion: str) -> None:
    assert problems({}, {name: "x"}) == [f"--set: {name} is not a setting; {suggestion}"]


def test_unknown_names_in_the_shell_are_ignored() -> None:
    assert load(None, {"TABEL_NAME": "x"}, {}) == load(None, {}, {})


def test_env_file_selects_another_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BATCH_SIZE=1\n")
    (tmp_path / ".env.prod").write_text("BATCH_SIZE=2\n")
    assert find_env_file(tmp_path, {"ENV_FILE": ".env.prod"}) == tmp_path / ".env.prod"


def test_the_default_file_is_dot_env_in_the_project_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")
    assert find_env_file(tmp_path, {}) == tmp_path / ".env"


def test_the_default_file_is_optional(tmp_path: Path) -> None:
    assert find_env_file(tmp_path, {}) is None


def test_an_env_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ENV_FILE: '\.env\.typo' is not a file"):
        find_env_file(tmp_path, {"ENV_FILE": ".env.typo"})


def test_one_error_lists_every_problem_in_the_order_of_the_settings() -> None:
    lines = problems({"BATCH_SIZE": "0", "FUNCTION_MEMORY_SIZE": "64", "TARGET": "moon"}, {"COLOR": "red"})
    assert [line.split(":")[0] for line in lines] == ["--set", "TARGET", "FUNCTION_MEMORY_SIZE", "BATCH_SIZE"]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PIPELINE_NAME", "a b", "3 to 50 letters"),
        ("PIPELINE_NAME", "ab", "3 to 50 letters"),
        ("TARGET", "azure", "local or aws"),
        ("AWS_REGION", "Tokyo", "a region code"),
        ("AWS_ACCOUNT_ID", "123", "12 digits"),
        ("AWS_ENDPOINT_URL", "localhost:1", "http://HOST:PORT"),
        ("TAGS", "stage=test", "a JSON object"),
        ("TAGS", '{"aws:x": "y"}', "not starting with aws:"),
        ("TAGS", '{"pipeline": "y"}', "not 'pipeline'"),
        ("TABLE_NAME", "ab", "3 to 255"),
        ("TABLE_NAME", "a/b/c", "3 to 255"),
        ("TABLE_KEY", "name", "NAME:TYPE"),
        ("TABLE_KEY", "name:X", "NAME:TYPE"),
        ("TABLE_SORT_KEY", ":S", "NAME:TYPE"),
        ("TABLE_SORT_KEY", "name:N", "an attribute other than TABLE_KEY's"),
        ("TABLE_BILLING_MODE", "FREE", "PROVISIONED or PAY_PER_REQUEST"),
        ("TABLE_READ_CAPACITY_UNITS", "0", "a whole number from 1"),
        ("STREAM_VIEW_TYPE", "ALL", "KEYS_ONLY"),
        ("ROLE_NAME", "a role", "1 to 64"),
        ("ROLE_PERMISSIONS_BOUNDARY", "admin", "arn:PARTITION:iam::ACCOUNT:policy/NAME"),
        (
            "ROLE_MANAGED_POLICY_ARNS",
            "arn:aws:iam::aws:policy/A, B",
            "a comma-separated list of arn:PARTITION:iam::ACCOUNT:policy/NAME",
        ),
        ("POLICY_NAME", "x" * 129, "1 to 128"),
        ("FUNCTION_NAME", "x" * 65, "1 to 64"),
        ("FUNCTION_RUNTIME", "nodejs20.x", "a Python runtime"),
        ("FUNCTION_HANDLER", "example", "MODULE.FUNCTION"),
        ("FUNCTION_MEMORY_SIZE", "127", "a whole number from 128"),
        ("FUNCTION_TIMEOUT", "soon", "a whole number from 1"),
        ("FUNCTION_ARCHITECTURE", "arm", "x86_64 or arm64"),
        ("FUNCTION_ENVIRONMENT", '{"AWS_REGION": "x"}', "variable names that Lambda does not reserve"),
        ("FUNCTION_ENVIRONMENT", '{"1A": "x"}', "start with a letter"),
        ("FUNCTION_ENVIRONMENT", '{"A": 1}', "a JSON object of strings"),
        ("FUNCTION_ENVIRONMENT", '{"AB": "' + "x" * 4096 + '"}', "at most 4096 bytes"),
        ("LOG_RETENTION_IN_DAYS", "2", "one of 0, 1, 3"),
        ("STARTING_POSITION", "AT_TIMESTAMP", "TRIM_HORIZON or LATEST"),
        ("MAXIMUM_RECORD_AGE_IN_SECONDS", "59", "-1, or a whole number from 60"),
        ("BISECT_BATCH_ON_FUNCTION_ERROR", "yes", "true or false"),
        ("FUNCTION_RESPONSE_TYPES", "Report", "ReportBatchItemFailures"),
        ("FILTER_CRITERIA", "[]", "a JSON object"),
        ("ON_FAILURE", "my-queue", "the ARN of a standard SQS queue"),
        ("ON_FAILURE", "arn:aws:sqs:us-east-1:000000000000:x.fifo", "the ARN of a standard SQS queue"),
        ("ALARM_TOPIC_ARN", "arn:aws:sns:us-east-1:000000000000:x.fifo", "the ARN of a standard SNS topic"),
        ("ALARM_ITERATOR_AGE", "86400001", "a whole number from 1 to 86400000"),
        ("ALARM_ERRORS", "0", "a whole number from 1"),
        ("ALARM_THROTTLES", "many", "a whole number from 1"),
        ("ALARM_NOTES", "0", "a whole number from 1"),
        ("SMOKE_TIMEOUT", "0", "from 1 to 3600"),
        ("LOCAL_PORT", "65536", "from 0 to 65535"),
        ("LOCAL_PORT", "٤٥٦٦", "from 0 to 65535"),
        ("LOCAL_IDLE_HOURS", "0", "a number from"),
        ("LOCAL_DEBUG_PORT", "65536", "from 0 to 65535"),
        ("LOCAL_AWS_DELAYS", "maybe", "off, on, or a number from"),
    ],
)
def test_the_error_for_an_invalid_value_names_the_setting_the_value_and_what_is_allowed(
    name: str, value: str, allowed: str
) -> None:
    shown = "(not shown)" if name == "FUNCTION_ENVIRONMENT" else repr(value)
    for (line,) in (problems({name: value}), problems({}, {name: value})):
        assert line.startswith(f"{name}: {shown} is not allowed; allowed: ")
        assert allowed in line


def test_the_error_for_an_invalid_environment_does_not_show_its_values() -> None:
    (line,) = problems({"FUNCTION_ENVIRONMENT": '{"PASSWORD": "hunter2", "1": ""}'})
    assert "hunter2" not in line


def test_a_misspelled_name_in_the_file_is_an_error_that_suggests_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.env line 2: TABEL_NAME is not a setting; did you mean TABLE_NAME\?"):
        from_file(tmp_path / ".env", "# mine\nTABEL_NAME=x\n")


@pytest.mark.parametrize("line", ["just words", "='x'", "BATCH_SIZE"])
def test_a_line_that_is_not_an_assignment_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match=r"\.env line 2: cannot be parsed; allowed: NAME=value"):
        from_file(tmp_path / ".env", "\n" + line + "\n")


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"\.env: cannot be read"):
        load(file, {}, {})


def test_a_dollar_sign_in_the_file_has_no_special_meaning(tmp_path: Path) -> None:
    settings = from_file(tmp_path / ".env", 'FUNCTION_ENVIRONMENT=\'{"PRICE": "${5}"}\'\n')
    assert settings.function_environment == {"PRICE": "${5}"}


def test_credentials_in_the_file_are_passed_on_and_never_shown(tmp_path: Path) -> None:
    settings = from_file(tmp_path / ".env", "AWS_SECRET_ACCESS_KEY=hunter2\n")
    assert settings.aws_environment == {"AWS_SECRET_ACCESS_KEY": "hunter2"}
    assert "hunter2" not in repr(settings)


# --- .env.example -----------------------------------------------------------------------------------------------------


def example() -> str:
    return (ROOT / ".env.example").read_text(encoding="utf-8")


def test_the_example_file_has_every_setting_in_the_order_of_the_code() -> None:
    assert re.findall(r"^([A-Z_]+)=", example(), re.MULTILINE) == [setting.name for setting in declarations()]


def test_the_example_file_explains_each_setting_in_a_comment() -> None:
    for setting in declarations():
        assert re.search(rf"\n\n(# .+\n)+{setting.name}=.*(\n|\Z)", example()), setting.name
    assert max(map(len, example().splitlines())) <= 120


def test_the_example_file_shows_each_default() -> None:
    values = dict(re.findall(r"^([A-Z_]+)=(.*)", example(), re.MULTILINE))
    for setting in declarations():
        if setting.default in ("", (), None):
            assert values[setting.name] == ""
        else:
            assert setting.parse(values[setting.name]) == setting.default


def test_loading_the_example_file_equals_the_defaults() -> None:
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
def test_the_article_can_be_written_as_a_file(setting: str, value: Any) -> None:
    assert getattr(load(ARTICLE, {}, {}), setting) == value


# --- TABLE_ARN --------------------------------------------------------------------------------------------------------

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"


def test_the_name_of_the_table_and_the_region_come_from_its_arn() -> None:
    settings = load(None, {}, {"TABLE_ARN": ARN})
    assert (settings.table_name, settings.aws_region, settings.stream_view_type) == ("orders", "eu-west-1", "")


@pytest.mark.parametrize("arn", ["orders", f"{ARN}/stream/2026-01-01T00:00:00.000", ARN.replace("dynamodb", "sqs")])
def test_a_table_arn_of_something_else_is_an_error(arn: str) -> None:
    (line,) = problems({"TABLE_ARN": arn})
    assert line.startswith(
        f"TABLE_ARN: '{arn}' is not allowed; allowed: arn:PARTITION:dynamodb:REGION:ACCOUNT:table/NAME"
    )


def test_parallel_batches_in_a_tumbling_window_are_an_error() -> None:
    settings = {"TUMBLING_WINDOW_IN_SECONDS": "60", "PARALLELIZATION_FACTOR": "2"}

    allowed = "allowed: 1 with TUMBLING_WINDOW_IN_SECONDS"
    assert problems(settings) == [f"PARALLELIZATION_FACTOR: 2 is not allowed; {allowed}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TABLE_NAME", "orders"),
        ("TABLE_KEY", "name:S"),
        ("TABLE_SORT_KEY", "at:N"),
        ("TABLE_BILLING_MODE", "PROVISIONED"),
        ("TABLE_READ_CAPACITY_UNITS", "2"),
        ("TABLE_DELETION_PROTECTION_ENABLED", "true"),
        ("TABLE_POINT_IN_TIME_RECOVERY_ENABLED", "false"),
        ("TABLE_OPTIONS", '{"TableClass": "STANDARD"}'),
    ],
)
def test_a_setting_that_shapes_the_table_beside_table_arn_is_an_error_that_names_both(name: str, value: str) -> None:
    (line,) = problems({"TABLE_ARN": ARN, name: value})
    assert line.startswith(f"{name}: {value!r} is not allowed with TABLE_ARN")


def test_a_copy_of_the_example_file_with_a_table_arn_is_allowed(tmp_path: Path) -> None:
    text = example().replace("\nTABLE_ARN=\n", f"\nTABLE_ARN={ARN}\n")
    assert from_file(tmp_path / ".env", text).table_arn == ARN


def test_a_shaping_setting_in_the_file_beside_table_arn_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TABLE_KEY: 'id:S' is not allowed with TABLE_ARN"):
        from_file(tmp_path / ".env", f"TABLE_ARN={ARN}\nTABLE_KEY=id:S\n")


def test_another_region_than_that_of_the_table_is_an_error() -> None:
    (line,) = problems({"TABLE_ARN": ARN, "AWS_REGION": "us-east-1"})
    assert line.startswith("AWS_REGION: 'us-east-1' is not allowed; allowed: eu-west-1, the region of TABLE_ARN")
