"""The runbook as an operator has it: written by `invoke runbook`, run with the real AWS CLI by a real shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.proofs import runbook as soak
from tests.snapshot import everything

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.project import Project

pytestmark = pytest.mark.proof

# Values that a careless quotation would break.
SETTINGS = {
    "PIPELINE_NAME": "run-book",
    "TABLE_NAME": "Tab.le-1",
    "ROLE_NAME": "r+=,.@-_",
    "POLICY_NAME": "p+=,.@-_",
    "FUNCTION_NAME": "func_tion-1",
    "TABLE_KEY": "näme 'of' \"it\":S",
    "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": "true",
    "TAGS": json.dumps({"cost centre:ü": "= 50 @ / -", "empty": ""}),
    "FUNCTION_ENVIRONMENT": json.dumps({"SECRET": 'it\'s "$HOME" \\ `ü`\n\tnext', "STAGE": ""}),
    "FUNCTION_OPTIONS": json.dumps({"Description": '-it\'s "$HOME" `id` \\\n  ü'}),
    "ROLE_OPTIONS": json.dumps({"Description": "https://example.org/$HOME it's", "MaxSessionDuration": 7200}),
    "FUNCTION_MEMORY_SIZE": "256",
    "FILTER_CRITERIA": json.dumps({"Filters": [{"Pattern": '{"eventName": ["INSERT", "it\'s"]}'}]}),
    "BATCH_SIZE": "7",
    "LOG_RETENTION_IN_DAYS": "7",
}
SHELLS = ("dash", "bash")
RUNS = ("deploy", "deploy again", "smoke", "clean", "clean again")


@dataclass(frozen=True)
class Script:
    """A runbook script, and the AWS that it is run against."""

    path: Path
    endpoint: str

    def __call__(self, shell: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.path.parent),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            **variables,
        }
        command = [shell, "-eu", str(self.path), *words]
        return subprocess.run(
            command, cwd=self.path.parent, env=environment, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture(scope="module")
def script(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Script:
    project.run("local.start")
    path = tmp_path_factory.mktemp("operator") / "runbook.sh"
    path.write_text(project.run("runbook", **SETTINGS))
    return Script(path, project.endpoint)


@dataclass(frozen=True)
class Life:
    """What the script printed, and what AWS had, after each run of it; `invoked`: what `invoke deploy` had made."""

    invoked: dict[str, Any]
    printed: dict[str, str]
    had: dict[str, Any]


@pytest.fixture(scope="module", params=SHELLS)
def life(request: pytest.FixtureRequest, project: Project, script: Script) -> Life:
    """The script's whole life in a shell, after `invoke deploy` and `invoke clean`."""
    project.run("deploy", **SETTINGS)
    invoked = everything(project.client)
    project.run("clean", **SETTINGS)
    printed, had = {}, {}
    variables = json.loads(SETTINGS["FUNCTION_ENVIRONMENT"])
    for run in RUNS:
        finished = script(request.param, run.split()[0], **variables)
        assert finished.returncode == 0, f"{run}: {finished.stdout}{finished.stderr}"
        printed[run] = finished.stdout
        had[run] = everything(project.client)
    return Life(invoked, printed, had)


def test_deploy_builds_what_invoke_deploy_builds(life: Life) -> None:
    assert life.had["deploy"] == life.invoked


def test_a_second_deploy_changes_nothing(life: Life) -> None:
    assert life.had["deploy again"] == life.had["deploy"]


def test_smoke_shows_the_item_in_the_log(life: Life) -> None:
    assert re.search(r'"eventName": "INSERT".*smoke[0-9a-f]{32}', life.printed["smoke"])


def test_clean_leaves_nothing(life: Life) -> None:
    assert not any(life.had["clean"].values())


def test_a_second_clean_is_harmless(life: Life) -> None:
    assert life.printed["clean again"] == life.printed["clean"]


def test_the_function_has_its_variables_though_the_script_holds_none_of_their_values(
    life: Life, script: Script
) -> None:
    variables = json.loads(SETTINGS["FUNCTION_ENVIRONMENT"])
    assert life.had["deploy"]["functions"][0]["Configuration"]["Environment"]["Variables"] == variables
    assert "next" not in re.findall(r"SECRET.*", script.path.read_text())


def test_without_a_word_the_script_says_its_usage(script: Script) -> None:
    finished = script("sh")
    assert (finished.returncode, finished.stderr[:6]) == (1, "usage:")


def test_what_is_not_of_the_pipeline_is_left_alone(project: Project, script: Script) -> None:
    iam = project.client("iam")
    iam.create_role(RoleName=SETTINGS["ROLE_NAME"], AssumeRolePolicyDocument="{}")
    finished = script("sh", "deploy", SECRET="", STAGE="")
    iam.delete_role(RoleName=SETTINGS["ROLE_NAME"])
    assert finished.returncode == 1
    assert "role r+=,.@-_ stands already and is not tagged pipeline=run-book" in finished.stderr


def test_deploy_puts_back_what_was_changed_by_hand(project: Project, script: Script) -> None:
    project.run("deploy", **SETTINGS)
    deployed = everything(project.client)
    name, lambda_ = SETTINGS["FUNCTION_NAME"], project.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    lambda_.update_function_configuration(FunctionName=name, MemorySize=1024, Environment={"Variables": {}})
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=1, Enabled=False)
    project.client("iam").update_role(RoleName=SETTINGS["ROLE_NAME"], MaxSessionDuration=3600)
    project.client("logs").put_retention_policy(logGroupName=f"/aws/lambda/{name}", retentionInDays=1)
    finished = script("sh", "deploy", **json.loads(SETTINGS["FUNCTION_ENVIRONMENT"]))
    assert (finished.returncode, everything(project.client)) == (0, deployed), finished.stderr
    project.run("clean", **SETTINGS)


def test_clean_keeps_a_table_that_holds_items_unless_told_to_delete_them(project: Project, script: Script) -> None:
    project.run("deploy", **SETTINGS)
    key = SETTINGS["TABLE_KEY"].removesuffix(":S")
    project.client("dynamodb").put_item(TableName=SETTINGS["TABLE_NAME"], Item={key: {"S": "an order"}})
    kept = script("sh", "clean")
    assert (kept.returncode, project.client("dynamodb").list_tables()["TableNames"]) == (1, [SETTINGS["TABLE_NAME"]])
    assert "table Tab.le-1 holds items and is kept, all else is removed; see --delete-data" in kept.stderr
    assert script("sh", "clean", "--delete-data").returncode == 0
    assert not any(everything(project.client).values())


def test_shellcheck_finds_nothing(script: Script) -> None:
    assert shellchecked(script.path) == ""


def test_shellcheck_finds_nothing_where_the_key_is_binary(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "runbook.sh"
    path.write_text(project.run("runbook", TABLE_KEY="id:B", TABLE_SORT_KEY="n:N", TABLE_BILLING_MODE="PROVISIONED"))
    assert shellchecked(path) == ""


def shellchecked(path: Path) -> str:
    command = [str(Path(sys.executable).with_name("shellcheck")), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_the_page_has_every_command_of_the_script(project: Project, script: Script) -> None:
    def commands(text: str) -> list[str]:
        joined = re.sub(r" \\\n *", " ", text)
        return [
            line.strip()
            for line in joined.splitlines()
            if " aws " in f" {line}" and "invoke" not in line and "`" not in line
        ]

    page = project.run("runbook", "--format", "md", **SETTINGS)
    assert sorted(commands(page)) == sorted(commands(script.path.read_text()))


def test_a_runbook_asks_the_target_nothing(new_project: Callable[[], Project]) -> None:
    nobody = {"TARGET": "aws", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x"}
    assert new_project().run("runbook", **nobody).startswith("#!/bin/sh\n")


def test_what_the_settings_name_need_not_exist_for_a_runbook(project: Project) -> None:
    named = {
        "FUNCTION_LAYERS": "arn:aws:lambda:us-east-1:123456789012:layer:theirs:7",
        "ROLE_PERMISSIONS_BOUNDARY": "arn:aws:iam::123456789012:policy/boundary",
        "ROLE_MANAGED_POLICY_ARNS": "arn:aws:iam::123456789012:policy/managed",
    }
    written = project.run("runbook", **named)
    assert [arn for arn in named.values() if arn not in written] == []


def test_another_format_is_refused(project: Project) -> None:
    assert "--format: 'html' is not allowed; allowed: sh or md" in project.refusal("runbook", "--format", "html")


def test_a_variable_that_the_script_uses_itself_is_refused(project: Project) -> None:
    assert "'answer' is a name" in project.refusal("runbook", FUNCTION_ENVIRONMENT='{"answer": "42"}')


def test_echo_prints_the_commands_on_stderr_and_leaves_stdout_to_the_results(project: Project) -> None:
    settings = {"PIPELINE_NAME": "echoed"}
    planned = project.invoke("--echo", "--dry", "create-table", **settings)
    plain = project.invoke("--dry", "create-table", **settings)
    assert "aws dynamodb create-table --table-name echoed " in planned.stderr
    assert "aws " not in planned.stdout + plain.stderr


def test_runbooks_of_settings_that_nobody_would_think_of_build_what_invoke_deploy_builds(tmp_path: Path) -> None:
    assert soak.prove(tmp_path, 2) == 2
