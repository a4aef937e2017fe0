"""`.env` and shell -> one frozen, validated Settings. Every setting is declared here, once."""

import difflib
import io
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

# The parser of dotenv_values, which itself skips invalid lines and does not report line numbers.
from dotenv.parser import parse_stream

from . import validators
from .resources.change import UserError
from .validators import aws_parameter, boolean, choice, integer, json_object, string_list, text


class SettingsError(UserError):
    """All problems with the settings, one per line: the name, the value and the allowed values."""


_NAME = r"[A-Za-z0-9_-]"
_TABLE = r"[A-Za-z0-9_.-]{3,255}"
_KEY = r".{1,255}:[SNB]", "NAME:TYPE, with TYPE S (string), N (number) or B (binary), such as name:S"
_REGION = r"[a-z]{2,4}(-[a-z]+){1,3}-\d{1,2}"
_TABLE_ARN = rf"arn:aws[a-z-]*:dynamodb:{_REGION}:\d{{12}}:table/{_TABLE}"
_ROLE_ARN = r"arn:aws[a-z-]*:iam::\d{12}:role/([!-~]+/)?[\w+=,.@-]{1,64}"
_RUNTIME = r"python3\.\d{1,2}", "a Python runtime, such as python3.13"
_HANDLER = r"(?=\S{3,128}$)[^.].*\.[^.]+", "MODULE.FUNCTION, such as app.handler"
_ALIAS = rf"(?!\d+$){_NAME}{{1,128}}", "1 to 128 letters, digits, - and _, and not only digits"
# Lambda names no message group, which SQS and SNS need for a FIFO queue or topic.
_DESTINATION = (
    r"arn:aws[a-z-]*:(s3:.*:.+|(sqs|sns):.*:.+(?<!\.fifo))",
    "the ARN of a standard SQS queue, a standard SNS topic or an S3 bucket",
)
_TOPIC_ARN = rf"arn:aws[a-z-]*:sns:{_REGION}:\d{{12}}:{_NAME}{{1,256}}"
_POLICY_ARN = r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+", "arn:PARTITION:iam::ACCOUNT:policy/NAME"

# The call that creates each resource.
CREATE_CALLS = {
    "table": "dynamodb CreateTable",
    "role": "iam CreateRole",
    "function": "lambda CreateFunction",
    "mapping": "lambda CreateEventSourceMapping",
}


def _setting(default: Any, parse: Callable[..., Any], *limits: Any, aws: str = "") -> Any:
    """`parse` gets the limits and the text. `aws`: the resource and its parameter, "function EphemeralStorage.Size"."""
    return field(metadata={"default": default, "parse": partial(parse, *limits), "parameter": aws})


def _limited_by_aws(default: Any, parameter: str) -> Any:
    """A setting with the limits of AWS's model of the create call."""
    resource, path = parameter.split(" ")
    return _setting(default, aws_parameter, f"{CREATE_CALLS[resource]} {path}", aws=parameter)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, parsed and within AWS's limits. `.env.example` says what each one means."""

    pipeline_name: str = _setting("stream-demo", text, _NAME + "{3,50}", "3 to 50 letters, digits, - and _")
    target: str = _setting("local", choice, ("local", "aws"))
    aws_region: str = _setting("", text, _REGION, "a region code, such as us-east-1")
    aws_profile: str = _setting("", str)
    aws_account_id: str = _setting("", text, r"\d{12}", "12 digits")
    aws_endpoint_url: str = _setting("", text, r"https?://[^\s/]+/?", "http://HOST:PORT or https://HOST")
    tags: Mapping[str, str] = _setting({}, validators.tags)

    table_arn: str = _setting("", text, _TABLE_ARN, "arn:PARTITION:dynamodb:REGION:ACCOUNT:table/NAME")
    table_name: str = _setting("", text, _TABLE, "3 to 255 letters, digits, -, _ and .")
    table_key: str = _setting("name:S", text, *_KEY)
    table_sort_key: str = _setting("", text, *_KEY)
    table_billing_mode: str = _limited_by_aws("PAY_PER_REQUEST", "table BillingMode")
    table_read_capacity_units: int = _limited_by_aws(1, "table ProvisionedThroughput.ReadCapacityUnits")
    table_write_capacity_units: int = _limited_by_aws(1, "table ProvisionedThroughput.WriteCapacityUnits")
    stream_view_type: str = _limited_by_aws("", "table StreamSpecification.StreamViewType")
    table_deletion_protection_enabled: bool = _setting(False, boolean, aws="table DeletionProtectionEnabled")
    table_point_in_time_recovery_enabled: bool = _setting(
        False, boolean, aws="table PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled"
    )
    table_options: Mapping[str, Any] = _setting({}, json_object)

    role_arn: str = _setting("", text, _ROLE_ARN, "the ARN of a role, such as arn:aws:iam::123456789012:role/service/x")
    role_name: str = _setting("", aws_parameter, "iam CreateRole RoleName")
    policy_name: str = _setting("", aws_parameter, "iam PutRolePolicy PolicyName")
    role_permissions_boundary: str = _setting("", text, *_POLICY_ARN, aws="role PermissionsBoundary")
    role_managed_policy_arns: tuple[str, ...] = _setting((), string_list, *_POLICY_ARN, aws="role ManagedPolicyArns")
    role_options: Mapping[str, Any] = _setting({}, json_object)

    function_name: str = _setting("", text, _NAME + "{1,64}", "1 to 64 letters, digits, - and _")
    function_runtime: str = _setting("python3.13", text, *_RUNTIME, aws="function Runtime")
    function_handler: str = _setting("example.lambda_handler", text, *_HANDLER, aws="function Handler")
    function_memory_size: int = _limited_by_aws(128, "function MemorySize")
    function_timeout: int = _limited_by_aws(30, "function Timeout")
    function_environment: Mapping[str, str] = _setting({}, validators.environment, aws="function Environment.Variables")
    function_architecture: str = _setting("x86_64", choice, ("x86_64", "arm64"), aws="function Architectures")
    function_ephemeral_storage: int = _limited_by_aws(512, "function EphemeralStorage.Size")
    function_layers: tuple[str, ...] = _limited_by_aws((), "function Layers")
    function_tracing: str = _limited_by_aws("PassThrough", "function TracingConfig.Mode")
    function_log_format: str = _limited_by_aws("Text", "function LoggingConfig.LogFormat")
    function_log_level: str = _limited_by_aws("INFO", "function LoggingConfig.ApplicationLogLevel")
    function_reserved_concurrent_executions: int | None = _setting(
        None, integer, 0, None, aws="function ReservedConcurrentExecutions"
    )
    function_options: Mapping[str, Any] = _setting({}, json_object)
    function_alias: str = _setting("", text, *_ALIAS)
    function_versions_kept: int = _setting(5, integer, 1, 1000)
    code_bucket: str = _setting("", text, r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of an S3 bucket")

    log_retention_in_days: int = _setting(30, validators.retention_days)

    batch_size: int = _limited_by_aws(100, "mapping BatchSize")
    maximum_batching_window_in_seconds: int = _limited_by_aws(0, "mapping MaximumBatchingWindowInSeconds")
    # DynamoDB streams do not support AT_TIMESTAMP.
    starting_position: str = _setting(
        "TRIM_HORIZON", choice, ("TRIM_HORIZON", "LATEST"), aws="mapping StartingPosition"
    )
    maximum_retry_attempts: int = _limited_by_aws(10, "mapping MaximumRetryAttempts")
    maximum_record_age_in_seconds: int = _setting(-1, validators.record_age, aws="mapping MaximumRecordAgeInSeconds")
    bisect_batch_on_function_error: bool = _setting(True, boolean, aws="mapping BisectBatchOnFunctionError")
    function_response_types: str = _setting(
        "none", choice, ("ReportBatchItemFailures", "none"), aws="mapping FunctionResponseTypes"
    )
    parallelization_factor: int = _limited_by_aws(1, "mapping ParallelizationFactor")
    filter_criteria: Mapping[str, Any] = _setting({}, json_object, aws="mapping FilterCriteria")
    tumbling_window_in_seconds: int = _limited_by_aws(0, "mapping TumblingWindowInSeconds")
    on_failure: str = _setting("", text, *_DESTINATION, aws="mapping DestinationConfig.OnFailure.Destination")
    mapping_enabled: bool = _setting(True, boolean, aws="mapping Enabled")
    mapping_options: Mapping[str, Any] = _setting({}, json_object)

    alarm_topic_arn: str = _setting("", text, _TOPIC_ARN, "the ARN of a standard SNS topic")
    alarm_iterator_age: int = _setting(3_600_000, integer, 1, 86_400_000)
    alarm_errors: int = _setting(1, integer, 1, None)
    alarm_throttles: int = _setting(10, integer, 1, None)
    alarm_notes: int = _setting(1, integer, 1, None)

    smoke_timeout: int = _setting(120, integer, 1, 3600)
    smoke_item: Mapping[str, Any] = _setting({}, json_object)

    local_port: int = _setting(4566, integer, 0, 65535)
    local_idle_hours: float = _setting(8.0, validators.decimal, 0.001, 8760)
    local_aws_delays: float = _setting(0.0, validators.delays)
    local_debug_port: int = _setting(0, integer, 0, 65535)
    local_debug_wait: bool = _setting(False, boolean)

    # Other AWS_* lines of the file, such as credentials. With TARGET=aws, boto3 reads them. No output shows them.
    aws_environment: Mapping[str, str] = field(default_factory=dict, repr=False)


# Defaults that are PIPELINE_NAME with an ending.
DERIVED = {"table_name": "", "function_name": "", "role_name": "-role", "policy_name": "-policy"}


class Declaration(NamedTuple):
    """One setting as declared: its name in `.env`, its default value, its parser, and its resource and parameter."""

    name: str
    default: Any
    parse: Callable[[str], Any]
    parameter: str


def declarations() -> list[Declaration]:
    """All settings, in the order of the code, which is the order of `.env.example`."""
    return [Declaration(each.name.upper(), **each.metadata) for each in fields(Settings) if each.metadata]


def parameters_of(resource: str) -> dict[str, str]:
    """The path of the parameter of each setting of a resource, by name: "EphemeralStorage.Size"."""
    paths = [(each.name, *each.parameter.split(" ")) for each in declarations() if each.parameter]
    return {name: path for name, owner, path in paths if owner == resource}


def load(env_file: Path | None, environment: Mapping[str, str], overrides: Mapping[str, str]) -> Settings:
    """Settings from defaults, `env_file`, `environment` and `overrides`; each takes precedence over the one before.

    Names are like "BATCH_SIZE". An empty value selects the default. Raises SettingsError with every problem.
    """
    problems: list[str] = []
    declared = declarations()
    known = [setting.name for setting in declared]
    in_file = dict(_read(env_file, known, problems)) if env_file else {}
    problems += [f"--set: {_unknown(name, known)}" for name in overrides if name not in known]
    texts = {**in_file, **environment, **overrides}
    values: dict[str, Any] = {}
    for name, default, parse, _ in declared:
        text, field_name = texts.get(name, ""), name.lower()
        try:
            values[field_name] = parse(text) if text else default
        except ValueError as error:
            shown = "(not shown)" if name == "FUNCTION_ENVIRONMENT" else f"{text!r}"
            problems.append(f"{name}: {shown} is not allowed; allowed: {error}")
        if not text and field_name in DERIVED:
            values[field_name] = values.get("pipeline_name", "") + DERIVED[field_name]
    if values.get("role_arn"):
        problems += _apply_arn("ROLE", values, texts, chosen=())
    if arn := values.get("table_arn"):
        problems += _apply_arn("TABLE", values, texts, chosen={**environment, **overrides})
        region = arn.split(":")[3]
        if (other := values.get("aws_region")) not in ("", None, region):
            problems.append(f"AWS_REGION: {other!r} is not allowed; allowed: {region}, the region of TABLE_ARN")
        values["aws_region"] = region
    elif not values.get("stream_view_type"):
        values["stream_view_type"] = "NEW_AND_OLD_IMAGES"
    keys = [str(values.get(name)).rpartition(":")[0] for name in ("table_key", "table_sort_key")]
    if keys[0] == keys[1] != "":
        sort_key = values["table_sort_key"]
        problems.append(f"TABLE_SORT_KEY: {sort_key!r} is not allowed; allowed: an attribute other than TABLE_KEY's")
    # Lambda refuses it: "Parallelization factor must be equal to 1 when tumbling window period is configured".
    if values.get("tumbling_window_in_seconds") and (factor := values.get("parallelization_factor") or 1) > 1:
        problems.append(f"PARALLELIZATION_FACTOR: {factor} is not allowed; allowed: 1 with TUMBLING_WINDOW_IN_SECONDS")
    if problems:
        raise SettingsError("\n".join(problems))
    if values["target"] == "local":
        values["aws_region"] = values["aws_region"] or "us-east-1"
    return Settings(**values, aws_environment={k: v for k, v in in_file.items() if k not in known})


def _apply_arn(kind: str, values: dict[str, Any], texts: Mapping[str, str], chosen: Container[str]) -> Iterator[str]:
    """Take the resource's name from TABLE_ARN or ROLE_ARN. Yields a problem for each setting that it excludes."""
    # A default in a file may come from .env.example. The names in `chosen` are rejected with any value.
    for name, default, *_ in declarations():
        shapes = (name.startswith(f"{kind}_") and name != f"{kind}_ARN") or (kind, name) == ("ROLE", "POLICY_NAME")
        if shapes and texts.get(name) and (name in chosen or values.get(name.lower()) != default):
            reason = f"is not allowed with {kind}_ARN, as tasks never change that {kind.lower()}; remove one of them"
            yield f"{name}: {texts[name]!r} {reason}"
    values[f"{kind.lower()}_name"] = values[f"{kind.lower()}_arn"].rpartition("/")[2]


def parse_overrides(words: Iterable[str]) -> dict[str, str]:
    """The values of `--set NAME=VALUE` by name. If a name repeats, the last value wins."""
    overrides = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            raise SettingsError(f"--set: {word!r} is not allowed; allowed: NAME=VALUE, such as BATCH_SIZE=50")
        overrides[name] = value
    return overrides


def find_env_file(root: Path, environment: Mapping[str, str]) -> Path | None:
    """The file that ENV_FILE names, otherwise `.env` in the project's folder, if it exists."""
    if named := environment.get("ENV_FILE"):
        chosen = root / os.path.expanduser(named)  # noqa: PTH111 - Path.expanduser raises for unknown users
        if not chosen.is_file():
            raise SettingsError(f"ENV_FILE: {named!r} is not a file; name an existing one, or unset ENV_FILE")
        return chosen
    default = root / ".env"
    return default if default.is_file() else None


def _read(path: Path, known: list[str], problems: list[str]) -> Iterator[tuple[str, str]]:
    """The file's names and values. A line that is not NAME=value, or names no setting, is a problem."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: cannot be read ({error}); it must be a text file in UTF-8")
        return
    for binding in parse_stream(io.StringIO(content)):
        line = binding.original.string  # includes the empty lines before it
        where = f"{path.name} line {binding.original.line + line[: -len(line.lstrip())].count(chr(10))}"
        if binding.error or (binding.key and binding.value is None):
            problems.append(f"{where}: cannot be parsed; allowed: NAME=value, a comment, or an empty line")
        elif binding.key in known or (binding.key or "").startswith("AWS_"):
            yield str(binding.key), str(binding.value)
        elif binding.key:
            problems.append(f"{where}: {_unknown(binding.key, known)}")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.upper(), known, n=1)
    return f"{name} is not a setting; " + (f"did you mean {near[0]}?" if near else "see .env.example for all names")
