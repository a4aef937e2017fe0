"""Wrong input: exit code 1, one line that names the thing, its value and what is allowed, and no write."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.project import copy_project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.harness.forked import ForkedProject

RUNNING = f"python3.{sys.version_info.minor}"


@dataclass(frozen=True)
class Case:
    """A mistake in words, settings or files (None: the file is missing), and fragments of the expected error."""

    words: str
    error: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)
    hidden: str = "Traceback"  # does not appear in the error


def setting(value: str, *error: str, **settings: str) -> Case:
    """A setting (NAME=value) that is not allowed; the error shows its name, its value and what is allowed."""
    name, _, text = value.partition("=")
    return Case("deploy", (f"{name}: {text!r} is not allowed; allowed: ", *error), {name: text, **settings})


def secret(value: str, *error: str) -> Case:
    """The same for a setting whose value may be a secret: the error does not show it."""
    name, _, text = value.partition("=")
    return Case("deploy", (f"{name}: (not shown) is not allowed; allowed: ", *error), {name: text}, hidden="secret")


def env_file(text: str | bytes, *error: str) -> Case:
    return Case("deploy", error, {}, {".env": text})


def policy(name: str, document: Any, *error: str) -> Case:
    text = document if isinstance(document, str) else json.dumps(document)
    return Case("deploy", (name, *error), {}, {f"policies/{name}": text})


def code(files: Mapping[str, str | bytes | None], *error: str, **settings: str) -> Case:
    return Case("deploy", error, settings, {f"lambda_src/{name}": text for name, text in files.items()})


def item(text: str, *error: str) -> Case:
    return Case(f"put-item --item {text}", ("--item", *error))


def allow(action: str = "logs:PutLogEvents", **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "arn:aws:logs:*:*:*"}
    return {"Version": "2012-10-17", "Statement": [statement], **more}


# One mistake of each kind; tests/pipeline/test_settings.py and test_validators.py have the limits of every setting.
SETTINGS = [
    setting("PIPELINE_NAME=a b", "letters, digits, - and _"),
    setting("PIPELINE_NAME=" + "x" * 51, "3 to 50"),
    setting("TARGET=cloud", "local or aws"),
    setting("AWS_REGION=Tokyo", "such as us-east-1"),
    setting("AWS_ENDPOINT_URL=ftp://host", "http://HOST:PORT"),
    setting("TAGS=[]", "a JSON object"),
    setting('TAGS={"pipeline": "x"}', "not 'pipeline'"),
    setting('TAGS={"a": "' + "x" * 257 + '"}', "values of up to 256 characters: 'a' has 257"),
    setting("TABLE_KEY=name:BOOL", "S (string), N (number) or B (binary)"),
    setting("TABLE_SORT_KEY=name:N", "an attribute other than TABLE_KEY's"),
    setting("TABLE_BILLING_MODE=FREE", "PROVISIONED or PAY_PER_REQUEST"),
    setting("ROLE_NAME=a/b", "1 to 64"),
    setting("FUNCTION_NAME=a.b", "1 to 64"),
    setting("FUNCTION_HANDLER=example", "MODULE.FUNCTION"),
    setting("FUNCTION_MEMORY_SIZE=127", "a whole number from 128"),
    setting("LOG_RETENTION_IN_DAYS=2", "one of 0, 1, 3, 5"),
    setting("BATCH_SIZE=1.5", "a whole number"),
    setting("MAXIMUM_RECORD_AGE_IN_SECONDS=59", "-1, or a whole number from 60 to 604800"),
    setting("BISECT_BATCH_ON_FUNCTION_ERROR=yes", "true or false"),
    setting("FILTER_CRITERIA={", "a JSON object"),
    setting("SMOKE_TIMEOUT=0", "1 to 3600"),
    setting("LOCAL_IDLE_HOURS=0", "a number from 0.001"),
    setting("LOCAL_AWS_DELAYS=maybe", "0 to 100"),
    secret('FUNCTION_ENVIRONMENT={"AWS_REGION": "secret"}', "does not reserve, not AWS_REGION"),
    secret('FUNCTION_ENVIRONMENT={"1A": "secret"}', "start with a letter"),
    secret('FUNCTION_ENVIRONMENT={"A-B": "secret"}', "letters, digits, and _"),
    secret('FUNCTION_ENVIRONMENT={"A": ["secret"]}', "a JSON object of strings"),
    secret('FUNCTION_ENVIRONMENT={"A": "secret"', "a JSON object"),
    secret("FUNCTION_ENVIRONMENT=" + json.dumps({"LONG": "secret" * 1000}), "at most 4096 bytes"),
]
ENV_FILES = [
    env_file("BATCH_SIZ=1\n", ".env line 1: BATCH_SIZ is not a setting; did you mean BATCH_SIZE?"),
    env_file("# first\nCOLOUR=red\n", ".env line 2: COLOUR is not a setting; see .env.example for all names"),
    env_file("\nBATCH_SIZE 5\n", ".env line 2: cannot be parsed; allowed: NAME=value"),
    env_file("BATCH_SIZE\n", ".env line 1: cannot be parsed"),
    env_file("TAGS='{}\n", ".env line 1: cannot be parsed"),
    env_file(b"PIPELINE_NAME=\xff\xfe\n", ".env: cannot be read", "UTF-8"),
    env_file("BATCH_SIZE=0\n", "BATCH_SIZE: '0' is not allowed; allowed: a whole number"),
    Case("deploy", ("ENV_FILE: '.env.nowhere' is not a file; name an existing one",), {"ENV_FILE": ".env.nowhere"}),
    Case("deploy", ("ENV_FILE: 'policies' is not a file; name an existing one",), {"ENV_FILE": "policies"}),
]
POLICIES = [
    policy("execution-policy.json", "{", "is not JSON"),
    policy("execution-policy.json", "[]", "a policy must be a JSON object with a Statement"),
    policy("execution-policy.json", {"Version": "2012-10-17"}, "a policy must be a JSON object with a Statement"),
    policy("execution-policy.json", allow(Version="2012"), "'2012' is not allowed; allowed: \"2012-10-17\""),
    policy("execution-policy.json", allow("${Action}"), "${Action} is not a token; allowed: ${AWS::Partition}"),
    policy("execution-policy.json", allow("logs:" + "x" * 10240), "allowed for all inline policies of a role: 10240"),
    policy("trust-policy.json", allow("sts:AssumeRole"), "lambda.amazonaws.com is not allowed to assume the role"),
    policy("trust-policy.json", "", "is not JSON"),
    Case("deploy", ("execution-policy.json is missing",), {}, {"policies/execution-policy.json": None}),
    Case("deploy", ("trust-policy.json is missing",), {}, {"policies/trust-policy.json": None}),
    Case("deploy", ("trust-policy.json", "utf-8"), {}, {"policies/trust-policy.json": b"\xff"}),
]
HANDLERS = [
    code(
        {}, "'other.handler': the zip has no other.py; its Python files: example.py", FUNCTION_HANDLER="other.handler"
    ),
    code({}, "'example.other': example.py does not define other; it defines: ", FUNCTION_HANDLER="example.other"),
    code({"example.py": "def lambda_handler(:\n"}, "example.py line 1: ", FUNCTION_RUNTIME=RUNNING),
    code({"example.py": None}, "lambda_src contains no files"),
    code({"requirements.txt": "no such package===\n"}, "requirements.txt", "cannot be installed for python3.13"),
    Case("deploy", ("lambda_src is not a folder",), {}, {"lambda_src": None}),
]
ITEMS = [
    item("name", "is not JSON", '{"name": "test3"}'),
    item("[]", "is not a JSON object"),
    item("{}", "is not a JSON object"),
    item('{"nome": "x"}', "has no attribute 'name'; the key of stream-demo must be name of type S"),
    item('{"name": 1}', "'name' is of type N; the key of stream-demo must be name of type S"),
    item('{"name": ""}', "'name' has 0 bytes; allowed in this key: 1 to 2048"),
    item('{"name": "' + "x" * 2049 + '"}', "'name' has 2049 bytes; allowed in this key: 1 to 2048"),
    item('{"name": "x", "n": NaN}', "Infinity and NaN not supported"),
    item('{"name": {"S": "x"}, "n": {"N": "one"}}', "'one'", "numbers of up to 38 digits"),
    item('{"name": {"S": "x"}, "n": {"N": "' + "1" * 39 + '"}}', "38 digits"),
    item('{"name": {"S": "x"}, "n": {"N": "1e126"}}', "38 digits"),
    item('{"name": {"S": "x"}, "b": {"B": "no base 64"}}', "binary as base64"),
    item('{"name": {"S": "x"}, "s": {"SS": []}}', "SS takes a list of one or more distinct values"),
    item('{"name": {"S": "x"}, "s": {"SS": ["a", "a"]}}', "SS takes a list of one or more distinct values"),
    item('{"name": {"S": 1}}', "S takes a string, not 1"),
    item('{"name": "x", "text": "' + "y" * 410_000 + '"}', "allowed: 409600"),
    Case("put-item --file nowhere.jsonl", ("'nowhere.jsonl' cannot be read",)),
    Case("put-item --file bad.jsonl", ("bad.jsonl line 2 is not JSON",), {}, {"bad.jsonl": '{"name": "a"}\n{"name"'}),
    Case("put-item --file bad.jsonl", ("'bad.jsonl' cannot be read", "utf-8"), {}, {"bad.jsonl": b"\xff"}),
    Case("smoke --observe --write", ("pass either --observe or --write, not both",)),
    setting("TABLE_ARN=orders", "arn:PARTITION:dynamodb:REGION:ACCOUNT:table/NAME"),
    Case("put-item --file empty.jsonl", ("empty.jsonl contains no items",), {}, {"empty.jsonl": "\n"}),
    Case("put-item", ("standard input contains no items",)),
    Case("put-item --file x --item {}", ("pass either --item or --file, not both",)),
    Case("smoke", ("SMOKE_ITEM: 'name' is the partition key",), {"SMOKE_ITEM": '{"name": "x"}'}),
    Case("smoke", ("SMOKE_ITEM: 'smoke' is reserved for smoke",), {"SMOKE_ITEM": '{"smoke": "x"}'}),
    Case("smoke", ("SMOKE_ITEM", "is not allowed"), {"SMOKE_ITEM": '"x"'}),
]
OURS = {"PIPELINE_NAME": "stream-demo"}
GONE = {"ON_FAILURE": "arn:aws:sqs:us-east-1:000000000000:gone"}
FLAGS = [
    Case("fetch-logs --since yesterday", ("--since: 'yesterday' is not allowed; allowed: 90s, 15m",)),
    Case("fetch-logs --last few", ("--last: 'few' is not allowed; allowed: a whole number",)),
    Case("fetch-logs --timeout -1", ("--timeout: '-1' is not allowed; allowed: a whole number from 0 to 3600",)),
    Case(
        "records --since 2999-01-01",
        ("--since: '2999-01-01' is not allowed; allowed: a time that is not in the future",),
    ),
    Case("records --until tomorrow", ("--until: 'tomorrow' is not allowed; allowed: 90s, 15m",)),
    Case("records --since 1h --until 2h", ("--until: '2h' is before --since '1h'",)),
    Case("replay --last 0", ("--last: '0' is not allowed; allowed: a whole number from 1",)),
    Case(
        "records --filter [1]",
        ("--filter: '[1]' is not allowed; allowed: filter patterns as in FILTER_CRITERIA",),
        OURS,
    ),
    Case("records --key {", ("--key is not JSON",), OURS),
    Case(
        'records --key {"id":"x"}', ('--key: \'{"id":"x"}\' is not a key of table stream-demo', "name of type S"), OURS
    ),
    Case("replay --to aws", ("--to: 'aws' is not allowed; allowed: local",)),
    Case("replay", ("table wrong does not exist; create it with: invoke create-table",)),
    Case("redrive", ("ON_FAILURE is empty, so there are no notes; allowed: the ARN of an SQS queue or an S3 bucket",)),
    Case(
        "redrive --skip-superseded", ("ON_FAILURE: queue arn:aws:sqs:us-east-1:000000000000:gone does not exist",), GONE
    ),
    Case("pause", ("table wrong does not exist",)),
    Case("clean --backup", ("--backup requires --delete-data",)),
    Case("deploy --colour red", ("No idea what '--colour' is",)),
    Case("deploi", ("No idea what 'deploi' is! Did you mean deploy?",)),
    Case("deploy --jsno", ("No idea what '--jsno' is! Did you mean --json?",)),
    Case("--help stats", ("No idea what 'stats' is! Did you mean status?",)),
    Case("create-table --table-key id:S", ("No idea what '--table-key' is",)),
    Case("--dry smoke", ("smoke does not support --dry",)),
]
FOLDERS = [
    Case("zip-code", ("build",), {}, {"build": "a file"}),
    Case("create-role", ("build",), {}, {"build": "a file"}),
    Case("zip-code", ("function.zip",), {}, {"build": None, "build/function.zip/x": "a folder"}),
]
CASES = [*SETTINGS, *ENV_FILES, *POLICIES, *HANDLERS, *ITEMS, *FLAGS, *FOLDERS]


@pytest.fixture(scope="module")
def deployed(project: ForkedProject) -> ForkedProject:
    """A project with the pipeline stream-demo. Cases that could write use another name."""
    project.invoke("deploy").expect(0)
    return project


@contextmanager
def changed(folder: Path, files: Mapping[str, str | bytes | None]) -> Iterator[None]:
    """Change files of the project, and restore them afterwards."""
    original = folder.with_name("original")
    shutil.copytree(folder, original, ignore=shutil.ignore_patterns("command", ".local"))
    try:
        for name, content in files.items():
            path = folder / name
            if path.is_dir() and not name.endswith("/"):
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        yield
    finally:
        for name in files:
            root = name.split("/")[0]
            if (folder / root).is_dir():
                shutil.rmtree(folder / root)
            (folder / root).unlink(missing_ok=True)
            if (original / root).exists():
                (shutil.copytree if (original / root).is_dir() else shutil.copy)(original / root, folder / root)
        shutil.rmtree(original)


def test_there_are_at_least_eighty_cases() -> None:
    assert len(CASES) >= 80


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.words[:40]} {'/'.join(case.settings)} {case.error[0][:40]}"
)
def test_a_mistake_is_reported_in_one_line_before_the_first_write(deployed: ForkedProject, case: Case) -> None:
    words = case.words.split(" ", 2) if case.words.startswith("put-item --item ") else case.words.split()
    pipeline = {} if words[0] in ("put-item", "smoke", "fetch-logs") else {"PIPELINE_NAME": "wrong"}
    with changed(deployed.folder, case.files):
        settings: dict[str, Any] = {**pipeline, **case.settings}
        failed = deployed.invoke(*words, **settings).expect(1)
    for fragment in case.error:
        assert fragment in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert case.hidden not in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.writes == []


def test_a_local_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = copy_project(tmp_path / "project")
    (project.folder / ".local").write_text("")
    assert "/.local/server.json: Not a directory" in project.refusal("deploy")
