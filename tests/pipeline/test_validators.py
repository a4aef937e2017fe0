"""Validators: AWS's limits as in botocore's models, and the rules that the models lack."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any

import botocore.session
import pytest

from pipeline import validators
from pipeline.resources.change import UserError
from pipeline.settings import Declaration, SettingsError, declarations, load


@cache
def shape(path: str) -> Any:
    """Return the shape of a parameter in AWS's model, such as "lambda CreateFunction Timeout"."""
    service, operation, members = path.split(" ")
    model: Any = botocore.session.get_session().get_service_model(service)
    found = model.operation_model(operation).input_shape
    for member in members.split("."):
        found = found.members[member]
    return found


def path_of(setting: Declaration) -> str:
    """Return the path that a setting passes to `aws_parameter`, or ""."""
    parse = setting.parse
    return str(parse.args[0]) if isinstance(parse, partial) and parse.func is validators.aws_parameter else ""


MODELED = {each.name: shape(path_of(each)) for each in declarations() if path_of(each)}
NUMBERS = {name: each.metadata for name, each in MODELED.items() if each.type_name in ("integer", "long")}
ENUMS = {name: each.enum for name, each in MODELED.items() if getattr(each, "enum", None)}
TEXTS = {name: each.metadata for name, each in MODELED.items() if each.type_name == "string" and name not in ENUMS}


def accepts(name: str, value: object) -> bool:
    """Return whether a setting accepts a value."""
    try:
        settings = load(None, {}, {name: str(value)})
    except SettingsError:
        return False
    assert getattr(settings, name.lower()) == value
    return True


def test_most_of_the_limits_come_from_aws() -> None:
    assert {"FUNCTION_TIMEOUT", "FUNCTION_MEMORY_SIZE", "FUNCTION_EPHEMERAL_STORAGE", "BATCH_SIZE"} <= NUMBERS.keys()
    assert {"TABLE_BILLING_MODE", "STREAM_VIEW_TYPE", "FUNCTION_TRACING", "FUNCTION_LOG_FORMAT"} <= ENUMS.keys()
    assert {"ROLE_NAME", "POLICY_NAME"} == TEXTS.keys()


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_accepted_within_the_range_of_the_model_and_refused_outside(name: str) -> None:
    low, high = NUMBERS[name]["min"], NUMBERS[name].get("max")
    assert accepts(name, low)
    assert not accepts(name, low - 1)
    assert accepts(name, high or 10**9)
    assert high is None or not accepts(name, high + 1)


@pytest.mark.parametrize("name", NUMBERS)
def test_the_error_for_a_number_shows_the_range_of_the_model(name: str) -> None:
    low, high = NUMBERS[name]["min"], NUMBERS[name].get("max")
    allowed = f"a whole number from {low} to {high}" if high else f"a whole number from {low}"
    with pytest.raises(SettingsError) as raised:
        load(None, {}, {name: "many"})
    assert str(raised.value) == f"{name}: 'many' is not allowed; allowed: {allowed}"


@pytest.mark.parametrize("value", ["1.5", "1e2", " 1", "+1", "٣", "0x10", "1_000", ""])
def test_only_plain_digits_are_a_number(value: str) -> None:
    with pytest.raises(ValueError, match="a whole number from 1 to 10000"):
        validators.aws_parameter("lambda CreateEventSourceMapping BatchSize", value)


@pytest.mark.parametrize("name", ENUMS)
def test_every_value_of_an_enum_is_accepted_and_no_other(name: str) -> None:
    assert all(accepts(name, value) for value in ENUMS[name])
    assert not accepts(name, "SOMETHING_ELSE")
    assert not accepts(name, f" {ENUMS[name][0]}")


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_accepted_within_the_length_and_pattern_of_the_model_and_refused_outside(name: str) -> None:
    assert accepts(name, "a" * TEXTS[name]["max"])
    assert not accepts(name, "a" * (TEXTS[name]["max"] + 1))
    assert not accepts(name, "a b")
    assert not accepts(name, "a\n")


def test_the_layers_are_a_list_of_arns_with_a_version() -> None:
    layers = [f"arn:aws:lambda:us-east-1:123456789012:layer:numpy:{version}" for version in (1, 2)]
    assert load(None, {}, {"FUNCTION_LAYERS": ", ".join(layers)}).function_layers == tuple(layers)
    assert not accepts("FUNCTION_LAYERS", "numpy")


def test_limits_that_differ_between_accounts_are_left_to_aws() -> None:
    assert accepts("FUNCTION_TIMEOUT", 1000)
    assert accepts("FUNCTION_MEMORY_SIZE", 16384)


def test_the_age_of_a_record_is_in_the_range_of_the_model_except_for_0_to_59() -> None:
    """The API reference of CreateEventSourceMapping excludes these; the model does not."""
    limits = shape("lambda CreateEventSourceMapping MaximumRecordAgeInSeconds").metadata
    name = "MAXIMUM_RECORD_AGE_IN_SECONDS"
    assert [accepts(name, value) for value in (limits["min"], 60, limits["max"])] == [True, True, True]
    assert [accepts(name, value) for value in (limits["min"] - 1, 0, 59, limits["max"] + 1)] == [False] * 4


def test_the_days_of_retention_are_those_of_the_api_reference() -> None:
    assert all(accepts("LOG_RETENTION_IN_DAYS", days) for days in validators.RETENTION_DAYS)
    assert not accepts("LOG_RETENTION_IN_DAYS", 2)


def test_tags_are_within_the_limits_of_aws() -> None:
    longest = {"k" * 128: "v" * 256}
    assert validators.tags(json.dumps(longest)) == longest
    for wrong in ({"k" * 129: ""}, {"": "v"}, {"k": "v" * 257}, {"AWS:x": ""}, {"pipeline": "x"}):
        with pytest.raises(ValueError, match=r"names of 1 to 128|values of up to 256"):
            validators.tags(json.dumps(wrong))


@pytest.mark.parametrize(("text", "value"), [("off", 0), ("ON", 1), ("2.5", 2.5), ("0", 0), ("100", 100)])
def test_delays_are_off_on_or_a_multiplier(text: str, value: float) -> None:
    assert validators.delays(text) == value


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("90s", 1_000_000_000 - 90_000),
        ("15m", 1_000_000_000 - 900_000),
        ("1d", 1_000_000_000 - 86_400_000),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_a_timestamp_is_relative_to_now_or_absolute(text: str, milliseconds: int) -> None:
    assert validators.timestamp(text, now=1_000_000) == milliseconds


def check(options: dict[str, Any], operation: str = "lambda CreateFunction") -> None:
    validators.check_options("FUNCTION_OPTIONS", operation, options)


def test_options_that_the_model_accepts_pass() -> None:
    check({})
    check({"Description": "nightly", "VpcConfig": {"SubnetIds": ["subnet-1"]}})
    check({"TableClass": "STANDARD"}, "dynamodb CreateTable")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            {"Memory": 1},
            r"^FUNCTION_OPTIONS: Memory is not a parameter of CreateFunction; parameters: FunctionName, ",
        ),
        ({"VpcConfig": 5}, r"^FUNCTION_OPTIONS: VpcConfig: Invalid type .*value: 5, type: <class 'int'>"),
        ({"VpcConfig": {"SubnetIds": [5]}}, r"VpcConfig: Invalid type for parameter SubnetIds\[0\], value: 5"),
        (
            {"VpcConfig": {"Subnets": []}},
            r'VpcConfig: Unknown parameter in input: "Subnets", must be one of: SubnetIds',
        ),
        ({"FileSystemConfigs": [{}]}, r'FileSystemConfigs: Missing required parameter in \[0\]: "Arn"'),
    ],
)
def test_options_that_the_model_does_not_accept_are_one_line_of_error(options: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError, match=error) as raised:
        check(options)
    assert "\n" not in str(raised.value)
