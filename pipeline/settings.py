"""`.env` and shell -> one frozen, validated Settings. Every setting is declared here, once."""

from __future__ import annotations

import difflib
import io
import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from dotenv.parser import parse_stream

from . import validators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


class SettingsError(Exception):
    """Everything wrong with the settings: one line each, with name, value and what is allowed."""


_NAME = r"[A-Za-z0-9_-]"


def _setting(default: str, parse: Callable[[str], Any], told: str) -> Any:
    return field(metadata={"default": default, "parse": parse, "told": told})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the steps are to build, parsed and within AWS's limits. An empty value means the default."""

    pipeline_name: str = _setting(
        "stream-demo",
        validators.text(_NAME + "{3,50}", "3 to 50 letters, digits, - and _"),
        "The name from which table, function, role and policy get theirs, and the tag that marks what is ours.",
    )
    target: str = _setting("local", validators.choice("local", "aws"), "local: the embedded AWS. aws: a real account.")
    aws_region: str = _setting(
        "us-east-1",
        validators.text(r"[a-z]{2,4}(-[a-z]+){1,3}-\d{1,2}", "a region's code, such as us-east-1"),
        "The region of everything.",
    )
    aws_profile: str = _setting("", str, "With TARGET=aws: the profile in ~/.aws; empty: boto3's ordinary search.")
    aws_account_id: str = _setting(
        "",
        validators.text(r"\d{12}|", "12 digits"),
        "With TARGET=aws: the account that the credentials must be of; empty: any.",
    )
    aws_endpoint_url: str = _setting(
        "",
        validators.text(r"https?://[^\s/]+/?|", "http://HOST:PORT or https://HOST"),
        "With TARGET=aws: another endpoint.",
    )
    tags: Mapping[str, str] = _setting(
        "{}", validators.tags, "Tags of all resources, as JSON, beside our own tag 'pipeline'."
    )

    table_name: str = _setting(
        "",
        validators.text(r"[A-Za-z0-9_.-]{3,255}", "3 to 255 letters, digits, -, _ and ."),
        "The table; empty: PIPELINE_NAME.",
    )
    table_key: str = _setting("name:S", validators.key, "The partition key, NAME:TYPE, TYPE one of S, N, B.")
    table_sort_key: str = _setting(
        "", lambda value: value and validators.key(value), "The sort key, likewise; empty: none."
    )
    table_billing_mode: str = _setting(
        "PAY_PER_REQUEST", validators.choice("PAY_PER_REQUEST", "PROVISIONED"), "PAY_PER_REQUEST or PROVISIONED."
    )
    table_read_capacity_units: int = _setting(
        "1", validators.number(1, 40000), "With PROVISIONED: reads a second (4 KB each)."
    )
    table_write_capacity_units: int = _setting(
        "1", validators.number(1, 40000), "With PROVISIONED: writes a second (1 KB each)."
    )
    stream_view_type: str = _setting(
        "NEW_AND_OLD_IMAGES",
        validators.choice("NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"),
        "What a record shows: NEW_AND_OLD_IMAGES, NEW_IMAGE, OLD_IMAGE or KEYS_ONLY. Another one is another stream.",
    )
    table_deletion_protection_enabled: bool = _setting(
        "false", validators.switch, "true: AWS refuses to delete the table, and so does `clean`."
    )
    table_point_in_time_recovery_enabled: bool = _setting(
        "false", validators.switch, "true: the table can be put back to any second of the last 35 days; costs by size."
    )
    table_options: Mapping[str, Any] = _setting(
        "{}", validators.json_object, 'Whatever else CreateTable takes, in its words: {"TableClass": "..."}.'
    )

    role_name: str = _setting(
        "",
        validators.text(r"[A-Za-z0-9_+=,.@-]{1,64}", "1 to 64 letters, digits and _+=,.@-"),
        "The role; empty: PIPELINE_NAME-role.",
    )
    policy_name: str = _setting(
        "",
        validators.text(r"[A-Za-z0-9_+=,.@-]{1,128}", "1 to 128 letters, digits and _+=,.@-"),
        "The inline policy that policies/execution-policy.json becomes; empty: PIPELINE_NAME-policy.",
    )

    role_permissions_boundary: str = _setting(
        "",
        validators.text(r"(arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+)?", "the ARN of a policy"),
        "A boundary's ARN; empty: none.",
    )
    role_managed_policy_arns: tuple[str, ...] = _setting(
        "",
        validators.items(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+", "ARNs of policies"),
        "ARNs of managed policies that are attached too, comma-separated. Documents of your own go into policies/.",
    )
    role_options: Mapping[str, Any] = _setting(
        "{}", validators.json_object, 'Whatever else CreateRole takes, in its words: {"MaxSessionDuration": 7200}.'
    )

    function_name: str = _setting(
        "", validators.text(_NAME + "{1,64}", "1 to 64 letters, digits, - and _"), "The function; empty: PIPELINE_NAME."
    )
    function_runtime: str = _setting(
        "python3.13", validators.text(r"python3\.\d{1,2}", "a Python runtime, such as python3.13"), "Lambda's runtime."
    )
    function_handler: str = _setting(
        "example.lambda_handler",
        validators.text(r"[A-Za-z_][\w/.]*\.[A-Za-z_]\w*", "MODULE.FUNCTION, such as example.lambda_handler"),
        "MODULE.FUNCTION in lambda_src/.",
    )
    function_memory_size: int = _setting("128", validators.number(128, 10240), "MB; the share of a CPU grows with it.")
    function_timeout: int = _setting(
        "30", validators.number(1, 900), "Seconds for one batch; AWS's own default, 3, is short."
    )
    function_environment: Mapping[str, str] = _setting("{}", validators.environment, "The function's variables, as JSON.")
    function_architecture: str = _setting("x86_64", validators.choice("x86_64", "arm64"), "x86_64 or arm64.")

    function_ephemeral_storage: int = _setting("512", validators.number(512, 10240), "MB of /tmp.")
    function_layers: tuple[str, ...] = _setting(
        "",
        validators.items(r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:layer:[A-Za-z0-9_-]+:\d+", "ARNs of layer versions"),
        "ARNs of layer versions, comma-separated, at most 5.",
    )
    function_tracing: str = _setting(
        "PassThrough", validators.choice("PassThrough", "Active"), "Active: X-Ray traces, which the role must allow."
    )
    function_log_format: str = _setting(
        "Text", validators.choice("Text", "JSON"), "How Lambda writes log lines: Text or JSON."
    )
    function_log_level: str = _setting(
        "INFO",
        validators.choice("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"),
        "With JSON: the least level of the function's own lines that is kept.",
    )
    function_reserved_concurrent_executions: int | None = _setting(
        "",
        lambda value: int(validators.number(0, 1_000_000)(value)) if value else None,
        "Executions at once that are kept for this function, and its limit; empty: none.",
    )
    function_options: Mapping[str, Any] = _setting(
        "{}", validators.json_object, 'Whatever else CreateFunction takes, in its words: {"VpcConfig": {...}}.'
    )

    log_retention_in_days: int = _setting(
        "30",
        validators.one_of_numbers(*validators.RETENTION_DAYS),
        "Days until a log line goes; 0: never, AWS's own default.",
    )

    batch_size: int = _setting("100", validators.number(1, 10000), "Records a call, at most.")
    maximum_batching_window_in_seconds: int = _setting(
        "0", validators.number(0, 300), "How long a batch may wait to fill up."
    )
    starting_position: str = _setting(
        "TRIM_HORIZON",
        validators.choice("TRIM_HORIZON", "LATEST"),
        "TRIM_HORIZON: all that the stream holds. LATEST: what comes later; on AWS that can begin minutes after the "
        "mapping says Enabled, and what is written before is lost.",
    )
    maximum_retry_attempts: int = _setting(
        "10",
        validators.number(0, 10000, -1),
        "Retries of a failing batch; -1, AWS's own default, blocks the shard for a day.",
    )
    maximum_record_age_in_seconds: int = _setting(
        "-1", validators.number(60, 604800, -1), "Older records are given up; -1: none."
    )
    bisect_batch_on_function_error: bool = _setting(
        "true", validators.switch, "Halve a failing batch until the bad record is alone; AWS's own default: false."
    )
    function_response_types: str = _setting(
        "ReportBatchItemFailures",
        validators.choice("ReportBatchItemFailures", "none"),
        "ReportBatchItemFailures: the function may name the records that failed. none: AWS's own default.",
    )
    parallelization_factor: int = _setting(
        "1", validators.number(1, 10), "Batches at once per shard; order stays, per key."
    )
    filter_criteria: Mapping[str, Any] = _setting(
        "{}", validators.json_object, 'Which records reach the function: {"Filters": [{"Pattern": "..."}]}; {}: all.'
    )

    tumbling_window_in_seconds: int = _setting(
        "0", validators.number(0, 900), "Windows over which state is carried; 0: none."
    )
    on_failure: str = _setting(
        "",
        validators.text(r"(arn:aws[a-z-]*:(sqs|sns|s3):.*:.+)?", "the ARN of an SQS queue, an SNS topic or an S3 bucket"),
        "Where a note of given-up records goes: the ARN of a queue, topic or bucket, which the role is then allowed.",
    )
    mapping_enabled: bool = _setting("true", validators.switch, "false: the mapping stands still and keeps its place.")
    mapping_options: Mapping[str, Any] = _setting(
        "{}", validators.json_object, 'Whatever else CreateEventSourceMapping takes: {"MetricsConfig": {...}}.'
    )

    smoke_timeout: int = _setting("120", validators.number(1, 3600), "Seconds until `smoke` gives up.")
    smoke_item: Mapping[str, Any] = _setting(
        "{}", validators.json_object, "More attributes of smoke's item, as plain JSON, for a FILTER_CRITERIA to match."
    )

    local_port: int = _setting(
        "4566", validators.number(0, 65535), "The embedded AWS's port on 127.0.0.1; 0: any free one."
    )
    local_idle_hours: float = _setting(
        "8", validators.decimal(0.001, 8760), "The embedded AWS ends after so long unasked."
    )
    local_aws_delays: float = _setting(
        "off", validators.delays, "on: what AWS does late, the embedded AWS does late; a number: so many times as late."
    )

    # Other AWS_* lines of the file, such as credentials: for boto3, with TARGET=aws. Never shown.
    aws_environment: Mapping[str, str] = field(default_factory=dict, repr=False)


DERIVED: dict[str, Callable[[str], str]] = {
    "table_name": lambda pipeline: pipeline,
    "function_name": lambda pipeline: pipeline,
    "role_name": lambda pipeline: f"{pipeline}-role",
    "policy_name": lambda pipeline: f"{pipeline}-policy",
}


@dataclass(frozen=True)
class Declaration:
    """One setting as declared: its name in `.env`, its default there, and what it means."""

    name: str
    default: str
    told: str
    parse: Callable[[str], Any]

    @property
    def field(self) -> str:
        """The attribute of Settings, which is also the task parameter."""
        return self.name.lower()


def declarations() -> list[Declaration]:
    """All settings, in the order of the code, which is the order of `.env.example`."""
    return [
        Declaration(each.name.upper(), each.metadata["default"], each.metadata["told"], each.metadata["parse"])
        for each in fields(Settings)
        if "told" in each.metadata
    ]


def load(env_file: Path | None, environment: Mapping[str, str], parameters: Mapping[str, str | None]) -> Settings:
    """Settings from defaults, `env_file`, `environment` and task parameters; each wins over the one before.

    `parameters` are by field name; None and empty values count as not given. Raises SettingsError with every
    problem at once.
    """
    problems: list[str] = []
    in_file = dict(_read(env_file, problems)) if env_file else {}
    values: dict[str, Any] = {}
    for setting in declarations():
        given = parameters.get(setting.field) or environment.get(setting.name) or in_file.get(setting.name)
        text = given or setting.default
        if not given and setting.field in DERIVED:
            values[setting.field] = DERIVED[setting.field](values.get("pipeline_name", ""))
            continue
        try:
            values[setting.field] = setting.parse(text)
        except ValueError as error:
            shown = "(not shown)" if setting.name == "FUNCTION_ENVIRONMENT" else f"{text!r}"
            problems.append(f"{setting.name}: {shown} is not allowed; allowed: {error}")
    keys = [str(values.get(name)).rpartition(":")[0] for name in ("table_key", "table_sort_key")]
    if keys[0] == keys[1] != "":
        text = values["table_sort_key"]
        problems.append(f"TABLE_SORT_KEY: {text!r} is not allowed; allowed: another attribute than TABLE_KEY's")
    if problems:
        raise SettingsError("\n".join(problems))
    known = {setting.name for setting in declarations()}
    return Settings(**values, aws_environment={k: v for k, v in in_file.items() if k not in known})


def find_env_file(root: Path, environment: Mapping[str, str]) -> Path | None:
    """The file that ENV_FILE names, otherwise `.env` in the project's folder if there is one."""
    if named := environment.get("ENV_FILE"):
        chosen = root / os.path.expanduser(named)  # noqa: PTH111 - Path.expanduser raises for unknown users
        if not chosen.is_file():
            raise SettingsError(f"ENV_FILE: {named!r} is not a file; name one that is, or leave ENV_FILE unset")
        return chosen
    default = root / ".env"
    return default if default.is_file() else None


def _read(path: Path, problems: list[str]) -> Iterator[tuple[str, str]]:
    """The file's names and values; what is no NAME=value, or no name of a setting, is a problem."""
    known = [setting.name for setting in declarations()]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: cannot be read ({error}); it must be a text file in UTF-8")
        return
    for binding in parse_stream(io.StringIO(text)):
        text = binding.original.string  # with the empty lines before it
        where = f"{path.name} line {binding.original.line + text[: -len(text.lstrip())].count(chr(10))}"
        if binding.error or (binding.key and binding.value is None):
            problems.append(f"{where}: not understood; allowed: NAME=value, a comment, or an empty line")
        elif binding.key in known or (binding.key or "").startswith("AWS_"):
            yield str(binding.key), str(binding.value)
        elif binding.key:
            near = difflib.get_close_matches(binding.key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "all names are in .env.example"
            problems.append(f"{where}: {binding.key} is no setting; {hint}")
