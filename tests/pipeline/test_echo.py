"""A printed command makes the API call it was printed for: proved with a real shell and the AWS CLI itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from awscli.clidriver import create_clidriver
from botocore.waiter import WaiterModel, create_waiter_with_client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline import echo, session
from pipeline.echo import quote
from pipeline.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botocore.model import OperationModel

    Aws = Callable[..., Any]
    Cli = Callable[[list[str], Path], tuple[str, str, dict[str, Any]]]

# Every call that the project makes, and other calls with unusual parameters.
OPERATIONS = {
    "dynamodb": "CreateTable DescribeTable UpdateTable DeleteTable TagResource UntagResource ListTagsOfResource "
    "UpdateContinuousBackups PutItem DeleteItem BatchWriteItem Scan CreateBackup Query",
    "iam": "CreateRole GetRole UpdateRole UpdateAssumeRolePolicy PutRolePolicy GetRolePolicy DeleteRolePolicy TagRole "
    "UntagRole AttachRolePolicy DetachRolePolicy PutRolePermissionsBoundary DeleteRole ListRolePolicies",
    "lambda": "CreateFunction GetFunction UpdateFunctionCode UpdateFunctionConfiguration PutFunctionConcurrency "
    "CreateEventSourceMapping UpdateEventSourceMapping DeleteEventSourceMapping ListEventSourceMappings TagResource "
    "UntagResource PublishVersion",
    "logs": "CreateLogGroup DescribeLogGroups PutRetentionPolicy DeleteLogGroup TagResource UntagResource "
    "ListTagsForResource FilterLogEvents GetLogEvents PutLogGroupDeletionProtection PutLogEvents",
    "sqs": "CreateQueue SendMessage ReceiveMessage GetQueueAttributes",
    "sns": "CreateTopic Publish",
    "s3": "CreateBucket PutObject HeadObject",
    "sts": "GetCallerIdentity AssumeRole",
    "cloudwatch": "PutMetricAlarm",
    "secretsmanager": "CreateSecret",
    "kms": "Encrypt",
}
MADE_OFTEN = ("dynamodb", "iam", "lambda", "logs")
# The AWS CLI takes only a zip as code: two zips.
ZIPS = [b"PK\5\6" + bytes(16) + bytes([number, 0]) + bytes(number) for number in (0, 5)]
SESSION = botocore.session.Session()
MODELS = {service: SESSION.get_service_model(service) for service in OPERATIONS}
CALLS = [MODELS[service].operation_model(name) for service, names in OPERATIONS.items() for name in names.split()]


class CallMade(Exception):  # noqa: N818 - not an error: ends a command once its call is known
    """Raised in place of the AWS CLI's call."""


@pytest.fixture(scope="module")
def cli() -> Cli:
    """The AWS CLI in this process: from its arguments to the service, operation and parameters of its call."""
    patch = pytest.MonkeyPatch()
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_CONFIG_FILE", os.devnull)):
        patch.setenv(name, value)
    driver = create_clidriver()
    calls: list[tuple[str, str, dict[str, Any]]] = []

    def record(params: dict[str, Any], model: OperationModel, **_: Any) -> None:
        calls.append((str(model.service_model.service_name), model.name, _read(params)))
        raise CallMade

    driver.session.register("provide-client-params", record)

    def call(words: list[str], folder: Path) -> tuple[str, str, dict[str, Any]]:
        calls.clear()
        with pytest.MonkeyPatch.context() as in_folder:
            in_folder.chdir(folder)
            driver.main(words)
        return calls[0]

    patch.undo()
    return call


def _read(value: Any) -> Any:
    """Parameters in one form: bodies that the CLI opened as files are read, and times are texts."""
    if isinstance(value, dict):
        return {name: _read(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_read(each) for each in value]
    if hasattr(value, "read"):
        return value.read()
    return value.isoformat() if isinstance(value, datetime) else value


def typed(line: str, folder: Path, **variables: str) -> list[str]:
    """The arguments of the command when the line is typed into a shell."""
    shown = "aws() { for each; do printf '%s\\0' \"$each\"; done; }\n"
    environment = {"PATH": os.environ["PATH"], **variables}
    finished = subprocess.run(
        ["sh", "-euc", shown + line], cwd=folder, env=environment, capture_output=True, check=True
    )
    return finished.stdout.decode().split("\0")[:-1]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufdd0\ufdd1"), max_size=12)
ODD = st.sampled_from(
    ["", "-x", "--yes", "--", "it's", '"', "$HOME", "`id`", "a\nb\n", "\\", "file://x", "https://x", "é ü", "!", "~"]
)


def parameters(shape: Any, seen: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """Any value of the shape. Bytes only at the top level, since version 1 of the AWS CLI takes none below.

    Without MaxItems, which the project leaves to paginators: --max-items is the AWS CLI's own option.
    """
    within = (*seen, shape.name)
    if shape.type_name == "structure":
        known = {
            name: st.sampled_from(ZIPS) if name == "ZipFile" else parameters(member, within)
            for name, member in shape.members.items()
            if name == "ZipFile"
            or (name != "MaxItems" and not (seen and member.type_name == "blob") and not _again(member, within))
        }
        if getattr(shape, "is_tagged_union", False) or shape.name == "AttributeValue":
            return st.sampled_from(sorted(known)).flatmap(lambda name: st.fixed_dictionaries({name: known[name]}))
        required = {name: known.pop(name) for name in shape.required_members if name in known}
        return st.fixed_dictionaries(required, optional=known)
    if shape.type_name == "list":
        return st.lists(parameters(shape.member, within), max_size=2)
    if shape.type_name == "map":
        names = st.from_regex(r"V_[A-Z0-9_]{1,4}", fullmatch=True)
        return st.dictionaries(names, parameters(shape.value, within), max_size=2)
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": st.sampled_from(shape.enum) if getattr(shape, "enum", None) else ODD | TEXTS,
        "boolean": st.booleans(),
        "integer": st.integers(-1, 2**31 - 1),
        "long": st.integers(-1, 2**53),
        "float": st.floats(0, 1, width=16),
        "double": st.floats(0, 1, width=16),
        "blob": st.binary(max_size=8),
        "timestamp": st.just(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
    }
    return kinds[shape.type_name]


def _again(shape: Any, seen: tuple[str, ...]) -> bool:
    """Whether the shape contains itself, or is a list or map of bytes, which is left out too."""
    inner = shape.member if shape.type_name == "list" else shape.value if shape.type_name == "map" else None
    return shape.name in seen or (inner is not None and (inner.type_name == "blob" or _again(inner, seen)))


@pytest.mark.parametrize(
    "model",
    [
        each if each.service_model.service_name in MADE_OFTEN else pytest.param(each, marks=pytest.mark.proof)
        for each in CALLS
    ],
    ids=lambda model: f"{model.service_model.service_name} {model.name}",
)
@pytest.mark.proof
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking values of AWS's models takes many minutes
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_the_aws_cli_makes_the_call_that_was_printed(
    cli: Cli, tmp_path: Path, model: OperationModel, data: st.DataObject
) -> None:
    sent = data.draw(parameters(model.input_shape) if model.input_shape else st.just({}))
    printed: list[str] = []
    echo.printer(tmp_path / "build", printed.append)(echo.Call(model, sent, "eu-west-1"))
    assert cli(typed(printed[0], tmp_path, **_variables(sent)), tmp_path) == (
        model.service_model.service_name, model.name, _read(sent),
    )  # fmt: skip


def _variables(value: Any) -> dict[str, str]:
    """The shell variables for the secrets in the parameters: each value under its own name."""
    if isinstance(value, list):
        return {name: text for each in value for name, text in _variables(each).items()}
    if not isinstance(value, dict):
        return {}
    texts = {name: each for name, each in value.items() if isinstance(each, str)}
    return {**{name: text for each in value.values() for name, text in _variables(each).items()}, **texts}


@pytest.fixture
def printed(aws: Aws) -> list[str]:  # noqa: ARG001 - moto answers
    """The lines printed so far."""
    return []


@pytest.fixture
def connected(printed: list[str], tmp_path: Path) -> Aws:
    """Clients that print their calls, as those of `invoke --echo` do: `connected("dynamodb", dry_run=True)`."""
    chosen = load(None, {"TARGET": "aws", "AWS_REGION": "eu-west-1"}, {})
    callback = echo.printer(tmp_path / "build", printed.append)
    return lambda service, **how: session.connect(chosen, None, echo=callback, **how)(service)


def test_a_read_is_printed_before_the_call(connected: Aws, printed: list[str]) -> None:
    with pytest.raises(Exception, match="ResourceNotFoundException"):
        connected("dynamodb").describe_table(TableName="test")
    assert printed == ["aws dynamodb describe-table --table-name test --region eu-west-1\n"]


def test_a_write_of_a_dry_run_is_printed_and_not_made(connected: Aws, printed: list[str]) -> None:
    planning = connected("dynamodb", dry_run=True)
    planning.delete_table(TableName="test")
    assert printed == ["aws dynamodb delete-table --table-name test --region eu-west-1\n"]


def test_the_zip_and_the_policies_are_their_files_in_the_build_folder(
    connected: Aws, printed: list[str], tmp_path: Path
) -> None:
    document = {"Version": "2012-10-17", "Statement": []}
    (tmp_path / "build" / "policies").mkdir(parents=True)
    (tmp_path / "build" / "policies" / "some.json").write_text(json.dumps(document, indent=2))
    (tmp_path / "build" / "function.zip").write_bytes(ZIPS[0])
    connected("lambda", dry_run=True).update_function_code(FunctionName="f", ZipFile=ZIPS[0])
    connected("iam", dry_run=True).put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=json.dumps(document))
    assert " --zip-file fileb://build/function.zip " in printed[0]
    assert " --policy-document file://build/policies/some.json " in printed[1]


def test_other_bytes_are_written_to_the_build_folder(connected: Aws, printed: list[str], tmp_path: Path) -> None:
    connected("lambda", dry_run=True).update_function_code(FunctionName="f", ZipFile=ZIPS[1])
    path = re.search(r"--zip-file fileb://(\S+)", printed[0])
    assert path
    assert (tmp_path / path[1]).read_bytes() == ZIPS[1]


def test_a_secret_is_printed_as_a_shell_variable(connected: Aws, printed: list[str]) -> None:
    secrets = {"PLAIN": "hunter-two", "ODD": 'hunter"two\\\nline'}
    connected("lambda", dry_run=True).update_function_configuration(
        FunctionName="f", Environment={"Variables": secrets}
    )
    assert '"PLAIN": "\'"$PLAIN"\'"' in printed[0]
    assert "hunter" not in printed[0]


def test_a_paginator_prints_one_line_for_all_pages(connected: Aws, printed: list[str]) -> None:
    client = connected("logs")
    for number in range(60):
        client.create_log_group(logGroupName=f"group-{number}")
    printed.clear()
    found = client.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 25}).build_full_result()
    assert len(found["logGroups"]) == 60
    assert printed == ["aws logs describe-log-groups --page-size 25 --region eu-west-1\n"]


DESCRIBE = "aws dynamodb describe-table --table-name test --region eu-west-1"


@pytest.mark.parametrize(
    ("matcher", "argument", "expected", "query"),
    [
        ("path", "Table.TableStatus", "ACTIVE", "\"Table.TableStatus == 'ACTIVE'\""),
        ("path", "Table.ItemCount == `0`", True, "'Table.ItemCount == `0`'"),
        ("pathAny", "Table.KeySchema[].KeyType", "HASH", "\"contains(Table.KeySchema[].KeyType, 'HASH')\""),
    ],
)
def test_a_waiter_is_a_loop(
    connected: Aws, printed: list[str], matcher: str, argument: str, expected: object, query: str
) -> None:
    client = connected("dynamodb")
    key = {"AttributeName": "id", "AttributeType": "S"}
    schema = [{"AttributeName": "id", "KeyType": "HASH"}]
    client.create_table(TableName="test", AttributeDefinitions=[key], KeySchema=schema, BillingMode="PAY_PER_REQUEST")
    printed.clear()
    acceptor = {"state": "success", "matcher": matcher, "argument": argument, "expected": expected}
    waiter = {"operation": "DescribeTable", "delay": 1, "maxAttempts": 1, "acceptors": [acceptor]}
    model = WaiterModel({"version": 2, "waiters": {"There": waiter}})
    create_waiter_with_client("There", model, client).wait(TableName="test")
    assert printed == [f'until [ "$({DESCRIBE} --query {query} --output text)" = True ]; do sleep 1; done\n']


def test_a_waiter_for_an_error_is_a_loop_that_greps_for_it(connected: Aws, printed: list[str]) -> None:
    gone = {"state": "success", "matcher": "error", "expected": "ResourceNotFoundException"}
    waiter = {"operation": "DescribeTable", "delay": 1, "maxAttempts": 1, "acceptors": [gone]}
    model = WaiterModel({"version": 2, "waiters": {"Gone": waiter}})
    create_waiter_with_client("Gone", model, connected("dynamodb")).wait(TableName="test")
    assert printed == [f"until {DESCRIBE} 2>&1 | grep -q ResourceNotFoundException; do sleep 1; done\n"]


def test_a_streamed_response_goes_to_stdout(cli: Cli, tmp_path: Path) -> None:
    printed: list[str] = []
    call = echo.Call(MODELS["lambda"].operation_model("Invoke"), {"FunctionName": "f", "Payload": b"{}"}, "eu-west-1")
    echo.printer(tmp_path / "build", printed.append)(call)
    assert printed[0].endswith(" /dev/stdout\n")
    assert cli(typed(printed[0], tmp_path), tmp_path) == ("lambda", "Invoke", call.parameters)


def test_bytes_within_an_item_are_base64_with_the_option_that_says_so() -> None:
    model = MODELS["dynamodb"].operation_model("PutItem")
    call = echo.Call(model, {"TableName": "t", "Item": {"k": {"B": b"\xff"}}}, "")
    assert echo.command_line(call, lambda _: None) == (
        """aws dynamodb put-item --table-name t --item '{"k": {"B": "/w=="}}' --cli-binary-format base64"""
    )


@given(text=TEXTS | ODD)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_quoted_text_reaches_a_command_unchanged(text: str) -> None:
    shown = subprocess.run(["sh", "-c", f"printf %s {quote(text)}"], capture_output=True, check=True)
    assert shown.stdout.decode() == text
