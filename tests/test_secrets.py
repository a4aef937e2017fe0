"""No credential, no value of the function's environment, no content of `.env` anywhere but where it belongs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.project import copy_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from tests.project import Project

# Planted in the function's environment, in `.env` and in the shell; none of them looks like anything else.
OF_THE_FUNCTION, OF_THE_FILE, OF_THE_SHELL = "pl4nted-function", "pl4nted-file", "pl4nted-shell"
ENV_FILE = f"""
FUNCTION_ENVIRONMENT='{{"API_TOKEN": "{OF_THE_FUNCTION}"}}'
AWS_ACCESS_KEY_ID={OF_THE_FILE}
AWS_SECRET_ACCESS_KEY={OF_THE_FILE}
"""
SHOWS_ENVIRONMENT = """
import json, os

def lambda_handler(event, context):
    print(json.dumps(dict(os.environ)))
    print(event)
"""
# Lambda guide, "Defined runtime environment variables"; LC_CTYPE is what Python itself sets.
LAMBDAS = r"AWS_|_HANDLER$|_X_AMZN_|LAMBDA_|_LAMBDA_|(PATH|LANG|TZ|PYTHONPATH|LD_LIBRARY_PATH)$|LC_CTYPE$"
SHELL = {"AWS_SESSION_TOKEN": OF_THE_SHELL, "API_TOKEN_OF_THE_HOST": OF_THE_SHELL}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with secrets, whose embedded AWS is started by a shell that has some of its own."""
    folder = tmp_path_factory.mktemp("secret") / "project"
    folder.mkdir()
    made = copy_project(folder)
    (folder / ".env").write_text(ENV_FILE)
    made.run("local.start", **SHELL)
    yield made
    made.run("local.stop")


def shown(finished: CompletedProcess[str]) -> str:
    return finished.stdout + finished.stderr


@pytest.mark.proof
def test_no_command_shows_a_secret(project: Project) -> None:
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
    ran = {command: project.invoke(*command.split(), **SHELL) for command in commands}
    assert {command for command, finished in ran.items() if finished.returncode} == set()
    assert [command for command, finished in ran.items() if "pl4nted" in shown(finished)] == []


def test_a_change_of_a_secret_is_told_by_its_name_alone(project: Project) -> None:
    project.run("deploy")
    changed = json.dumps({"API_TOKEN": "pl4nted-other", "NEW_TOKEN": "pl4nted-new"})
    planned = project.invoke("--dry", "deploy", FUNCTION_ENVIRONMENT=changed)
    assert "API_TOKEN (changed)" in planned.stdout
    assert "NEW_TOKEN" in planned.stdout
    assert "pl4nted" not in shown(planned)


@pytest.mark.parametrize(
    "value",
    [
        '{"API_TOKEN": "pl4nted',
        '{"API_TOKEN": ["pl4nted"]}',
        '{"API-TOKEN": "pl4nted"}',
        '{"AWS_REGION": "pl4nted"}',
        json.dumps({"API_TOKEN": "pl4nted" * 1000}),
    ],
)
def test_a_secret_that_is_refused_is_not_shown(project: Project, value: str) -> None:
    assert "pl4nted" not in project.refusal("deploy", FUNCTION_ENVIRONMENT=value)


def test_a_line_of_env_that_is_not_understood_is_not_shown(project: Project) -> None:
    (project.folder / ".env.wrong").write_text("AWS_SECRET_ACCESS_KEY pl4nted\nTOKEN=pl4nted\nBATCH_SIZE='pl4nted\n")
    told = project.refusal("deploy", ENV_FILE=".env.wrong")
    assert ".env.wrong line 1: not understood" in told
    assert "pl4nted" not in told


def test_no_file_holds_a_secret_but_env_itself(project: Project) -> None:
    project.run("deploy", "smoke", **SHELL)
    files = [path for path in project.folder.rglob("*") if path.is_file() and not path.name.startswith(".env")]
    assert {"server.log", "function.zip", "execution-policy.json"} <= {path.name for path in files}
    assert [path for path in files if b"pl4nted" in path.read_bytes()] == []


def test_nothing_of_the_hosts_environment_reaches_the_function(project: Project) -> None:
    source = project.folder / "lambda_src" / "example.py"
    before = source.read_text()
    source.write_text(SHOWS_ENVIRONMENT)
    project.run("deploy", "smoke", **SHELL)
    logged = project.run("fetch-logs", "--last", "1")
    source.write_text(before)
    environment = json.loads(next(line for line in logged.splitlines() if line.startswith('{"')))
    assert environment["API_TOKEN"] == OF_THE_FUNCTION
    assert OF_THE_SHELL not in str(environment)
    assert OF_THE_FILE not in str(environment)
    assert [name for name in environment if not re.match(LAMBDAS, name)] == ["API_TOKEN"]
