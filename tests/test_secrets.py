"""No credential, value of the function's environment or line of `.env` appears in any output or file but `.env`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject, Outcome

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

# Planted in the function's environment, in `.env` and in the shell; no other text contains them.
FUNCTION_SECRET, FILE_SECRET, SHELL_SECRET = "pl4nted-function", "pl4nted-file", "pl4nted-shell"
ENV_FILE = f"""
FUNCTION_ENVIRONMENT='{{"API_TOKEN": "{FUNCTION_SECRET}"}}'
AWS_ACCESS_KEY_ID={FILE_SECRET}
AWS_SECRET_ACCESS_KEY={FILE_SECRET}
"""
SHOWS_ENVIRONMENT = """
import json, os

def lambda_handler(event, context):
    print(json.dumps(dict(os.environ)))
    print(event)
"""
# Lambda developer guide, "Defined runtime environment variables". Python itself sets LC_CTYPE.
LAMBDA_VARIABLES = r"AWS_|_HANDLER$|_X_AMZN_|LAMBDA_|_LAMBDA_|(PATH|LANG|TZ|PYTHONPATH|LD_LIBRARY_PATH)$|LC_CTYPE$"
SHELL = {"AWS_SESSION_TOKEN": SHELL_SECRET, "API_TOKEN_OF_THE_HOST": SHELL_SECRET}


@pytest.fixture(scope="module")
def project(project: ForkedProject) -> ForkedProject:
    """A project with secrets, whose local AWS is started by a shell with other secrets."""
    project.run("local.stop")
    (project.folder / ".env").write_text(ENV_FILE)
    project.run("local.start", **SHELL)
    return project


def output(finished: Outcome) -> str:
    return finished.stdout + finished.stderr


def test_no_command_shows_a_secret(project: ForkedProject) -> None:
    commands = [
        "--dry deploy",
        "--echo deploy --verbose",
        "deploy --json",
        "status --json",
        "smoke --json",
        "fetch-logs",
        "runbook",
        "runbook --format md",
    ]
    finished = {command: project.invoke(*command.split(), **SHELL) for command in commands}
    assert {command for command, each in finished.items() if each.returncode} == set()
    assert [command for command, each in finished.items() if "pl4nted" in output(each)] == []


def test_a_changed_secret_is_shown_by_name_only(project: ForkedProject) -> None:
    project.run("deploy")
    changed = json.dumps({"API_TOKEN": "pl4nted-other", "NEW_TOKEN": "pl4nted-new"})
    planned = project.invoke("--dry", "deploy", FUNCTION_ENVIRONMENT=changed)
    assert "API_TOKEN (changed)" in planned.stdout
    assert "NEW_TOKEN" in planned.stdout
    assert "pl4nted" not in output(planned)


def test_the_error_about_a_wrong_line_of_env_does_not_show_it(project: ForkedProject) -> None:
    (project.folder / ".env.wrong").write_text("AWS_SECRET_ACCESS_KEY pl4nted\nTOKEN=pl4nted\nBATCH_SIZE='pl4nted\n")
    error = project.refusal("deploy", ENV_FILE=".env.wrong")
    assert ".env.wrong line 1: cannot be parsed" in error
    assert "pl4nted" not in error


def test_no_file_but_env_contains_a_secret(project: ForkedProject) -> None:
    project.run("deploy", "smoke", **SHELL)
    files = [path for path in project.folder.rglob("*") if path.is_file() and not path.name.startswith(".env")]
    assert {"server.log", "function.zip", "execution-policy.json"} <= {path.name for path in files}
    assert [path for path in files if b"pl4nted" in path.read_bytes()] == []


def test_the_function_sees_nothing_of_the_hosts_environment(project: ForkedProject) -> None:
    source = project.folder / "lambda_src" / "example.py"
    before = source.read_text()
    source.write_text(SHOWS_ENVIRONMENT)
    project.run("deploy", "smoke", **SHELL)
    logged = project.run("fetch-logs", "--last", "1")
    source.write_text(before)
    environment = json.loads(next(line for line in logged.splitlines() if line.startswith('{"')))
    assert environment["API_TOKEN"] == FUNCTION_SECRET
    assert SHELL_SECRET not in str(environment)
    assert FILE_SECRET not in str(environment)
    assert [name for name in environment if not re.match(LAMBDA_VARIABLES, name)] == ["API_TOKEN"]
