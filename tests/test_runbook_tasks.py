"""`invoke runbook --format py`: the tasks, pasted into a folder of their own, and run there without the project."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.script import Script
from tests.test_runbook import SETTINGS, VARIABLES
from tests.test_table_arn import create_table, writing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof

STEPS = ("zip-code", "create-role", "put-policy", "create-function", "create-table", "map-stream")


def pasted(project: ForkedProject, folder: Path, *words: str, **settings: str) -> Script:
    path = folder / "tasks.py"
    path.write_text(project.run("runbook", "--format", "py", *words, **settings))
    return Script(path, project.endpoint)


@pytest.fixture(scope="module")
def tasks(project: ForkedProject, tmp_path_factory: pytest.TempPathFactory) -> Script:
    return pasted(project, tmp_path_factory.mktemp("operator"), **SETTINGS)


@dataclass(frozen=True)
class Life:
    """The account after `invoke deploy`, and the output and the account after each run of the tasks."""

    invoked: dict[str, Any]
    printed: dict[str, str]
    account: dict[str, Any]


@pytest.fixture(scope="module")
def life(project: ForkedProject, tasks: Script) -> Life:
    """Run every task, after `invoke deploy` and `invoke clean`."""
    project.run("deploy", **SETTINGS)
    invoked = project.snapshot()
    project.run("clean", **SETTINGS)
    runs = {"deploy": ("deploy",), "steps": STEPS, "smoke": ("smoke",), "clean": ("clean",), "clean again": ("clean",)}
    printed, account = {}, {}
    for name, words in runs.items():
        printed[name] = tasks.run("invoke", *words, **VARIABLES)
        account[name] = project.snapshot()
    return Life(invoked, printed, account)


def test_deploy_creates_what_invoke_deploy_creates(life: Life) -> None:
    assert life.account["deploy"] == life.invoked


def test_a_second_run_of_each_step_changes_nothing(life: Life) -> None:
    assert life.account["steps"] == life.invoked


def test_smoke_shows_the_item_in_the_log(life: Life) -> None:
    assert re.search(r'"eventName": "INSERT".*"smoke_attempt"', life.printed["smoke"])


def test_clean_deletes_everything(life: Life) -> None:
    assert not any(life.account["clean"].values())


def test_a_second_clean_finds_nothing_to_delete(life: Life) -> None:
    assert life.printed["clean again"] == "clean: done\n"


def test_each_step_runs_as_the_only_task_of_its_file(project: ForkedProject, tmp_path: Path) -> None:
    settings = {"PIPELINE_NAME": "alone"}
    project.run("deploy", **settings)
    deployed = project.snapshot()
    project.run("clean", **settings)
    for step in STEPS:
        assert f"{step}: done" in pasted(project, tmp_path, "--task", step, **settings).run("invoke", step)
    assert project.snapshot() == deployed
    assert "put-item: done" in pasted(project, tmp_path, "--task", "put-item", **settings).run("invoke", "put-item")
    smoke = pasted(project, tmp_path, "--task", "smoke", **settings)
    assert '"eventName": "INSERT"' in smoke.run("invoke", "smoke")
    logs = pasted(project, tmp_path, "--task", "fetch-logs", **settings).run("invoke", "fetch-logs")
    assert '{"name": {"S": "hello"}}' in logs
    clean = pasted(project, tmp_path, "--task", "clean", **settings)
    kept = clean("invoke", "clean")
    assert (kept.returncode, project.client("dynamodb").list_tables()["TableNames"]) == (1, ["alone"])
    assert "table alone has items; everything else is deleted" in kept.stderr
    clean.run("invoke", "clean", "--delete-data")
    assert project.is_empty()


def test_deploy_without_a_variable_of_the_function_names_it(project: ForkedProject, tasks: Script) -> None:
    finished = tasks("invoke", "deploy", SECRET="")
    assert finished.returncode == 1
    assert finished.stderr == "STAGE: set this variable of the function\n"
    tasks.run("invoke", "clean")
    assert project.is_empty()


def test_resources_without_the_tag_are_neither_changed_nor_deleted(project: ForkedProject, tasks: Script) -> None:
    project.run("deploy", **SETTINGS)
    iam = project.client("iam")
    iam.untag_role(RoleName=SETTINGS["ROLE_NAME"], TagKeys=["pipeline"])
    before = project.snapshot()
    for name in ("deploy", "clean"):
        finished = tasks("invoke", name, **VARIABLES)
        assert finished.returncode == 1
        assert "role r+=,.@-_ exists without the tag pipeline=run-book" in finished.stderr
        assert project.snapshot() == before
    iam.tag_role(RoleName=SETTINGS["ROLE_NAME"], Tags=[{"Key": "pipeline", "Value": "run-book"}])
    project.run("clean", **SETTINGS)


def test_clean_keeps_a_role_to_which_others_added_a_policy(project: ForkedProject, tasks: Script) -> None:
    project.run("deploy", **SETTINGS)
    iam, name = project.client("iam"), SETTINGS["ROLE_NAME"]
    document = project.snapshot()["policies"][0]["PolicyDocument"]
    iam.put_role_policy(RoleName=name, PolicyName="theirs", PolicyDocument=json.dumps(document))
    finished = tasks("invoke", "clean")
    assert (finished.returncode, len(iam.list_role_policies(RoleName=name)["PolicyNames"])) == (1, 3)
    assert finished.stderr == "role r+=,.@-_ is kept, because others added its policies theirs\n"
    iam.delete_role_policy(RoleName=name, PolicyName="theirs")
    tasks.run("invoke", "clean")
    assert project.is_empty()


def test_deploy_reverts_changes_by_hand(project: ForkedProject, tasks: Script) -> None:
    project.run("deploy", **SETTINGS)
    deployed = project.snapshot()
    name, lambda_ = SETTINGS["FUNCTION_NAME"], project.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    lambda_.update_function_configuration(FunctionName=name, MemorySize=1024, Environment={"Variables": {}})
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=1, Enabled=False)
    project.client("iam").update_role(RoleName=SETTINGS["ROLE_NAME"], MaxSessionDuration=3600)
    project.client("logs").put_retention_policy(logGroupName=f"/aws/lambda/{name}", retentionInDays=1)
    tasks.run("invoke", "deploy", **VARIABLES)
    assert project.snapshot() == deployed
    project.run("clean", **SETTINGS)


def test_clean_deletes_nothing_while_the_table_is_protected(project: ForkedProject, tmp_path: Path) -> None:
    protected = pasted(project, tmp_path, PIPELINE_NAME="protected", TABLE_DELETION_PROTECTION_ENABLED="true")
    protected.run("invoke", "deploy")
    before = project.snapshot()
    finished = protected("invoke", "clean", "--delete-data")
    assert (finished.returncode, project.snapshot()) == (1, before)
    assert "table protected is protected from deletion; nothing was deleted" in finished.stderr
    project.client("dynamodb").update_table(TableName="protected", DeletionProtectionEnabled=False)
    protected.run("invoke", "clean")
    assert project.is_empty()


def test_clean_keeps_a_table_whose_stream_others_read(project: ForkedProject, tmp_path: Path) -> None:
    guest = {"PIPELINE_NAME": "guest", "TABLE_ARN": "arn:aws:dynamodb:us-east-1:000000000000:table/host"}
    host = pasted(project, tmp_path, PIPELINE_NAME="host")
    project.run("deploy", PIPELINE_NAME="host")
    project.run("deploy", **guest)
    finished = host("invoke", "clean")
    assert (finished.returncode, project.client("dynamodb").list_tables()["TableNames"]) == (1, ["host"])
    assert "table host is kept, because other functions read its stream: arn:aws:lambda:" in finished.stderr
    project.run("clean", **guest)
    host.run("invoke", "clean")
    assert project.is_empty()


@pytest.mark.parametrize("key", ["id:B", "id:N"])
def test_smoke_finds_an_item_with_a_key_of_another_type(project: ForkedProject, tmp_path: Path, key: str) -> None:
    settings = {"PIPELINE_NAME": "typed", "TABLE_KEY": key, "TABLE_SORT_KEY": "sort:N"}
    project.run("deploy", **settings)
    assert '"eventName": "INSERT"' in pasted(project, tmp_path, **settings).run("invoke", "smoke")
    project.run("clean", **settings)
    assert project.is_empty()


def test_the_tasks_of_a_table_of_others_create_and_delete_all_but_the_table(
    project: ForkedProject, tmp_path: Path
) -> None:
    key = "arn:aws:kms:us-east-1:000000000000:key/0a1b2c3d"
    encryption = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    settings = {"PIPELINE_NAME": "guest", "TABLE_ARN": create_table(project, "theirs", SSESpecification=encryption)}
    before = project.snapshot()
    project.run("deploy", **settings)
    deployed = project.snapshot()
    project.run("clean", **settings)
    tasks = pasted(project, tmp_path, **settings)
    for _ in range(2):
        assert "create-table: the table exists; it is only read" in tasks.run("invoke", "deploy")
        assert project.snapshot() == deployed
    assert tasks("invoke", "put-item").stderr.startswith("table theirs belongs to another team")
    with writing(project, "theirs"):
        assert '"eventName": "INSERT"' in tasks.run("invoke", "smoke")
    tasks.run("invoke", "clean")
    after = project.snapshot()
    project.client("dynamodb").delete_table(TableName="theirs")
    assert {**after, "tables": []} == {**before, "tables": []}


def test_the_tasks_of_a_table_of_others_stop_first_if_the_stream_lacks_something(
    project: ForkedProject, tmp_path: Path
) -> None:
    arn = create_table(project, "theirs", {"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"})
    before = project.snapshot()
    finished = pasted(project, tmp_path, TABLE_ARN=arn, STREAM_VIEW_TYPE="NEW_IMAGE")("invoke", "deploy")
    assert (finished.returncode, project.snapshot()) == (1, before)
    project.client("dynamodb").delete_table(TableName="theirs")
    assert "table theirs has stream view type OLD_IMAGE; needed: NEW_IMAGE" in finished.stderr


@pytest.mark.parametrize(
    ("form", "file", "shell", "step"),
    [
        ("sh", "runbook.sh", "dash", ("--step", "create-function")),
        ("py", "tasks.py", "invoke", ("zip-code", "create-function")),
    ],
)
def test_the_runbook_of_an_alias_publishes_and_rolls_back(
    project: ForkedProject, tmp_path: Path, form: str, file: str, shell: str, step: tuple[str, ...]
) -> None:
    name = f"aliased-{form}"
    settings = {"PIPELINE_NAME": name, "FUNCTION_ALIAS": "li_ve-1", "FUNCTION_VERSIONS_KEPT": "2"}
    project.run("deploy", **settings)
    script = Script(tmp_path / file, project.endpoint)
    for timeout in ("8", "9"):
        script.path.write_text(project.run("runbook", "--format", form, **settings, FUNCTION_TIMEOUT=timeout))
        script.run(shell, *step)
    script.run(shell, "rollback")
    script(shell, *step)  # without a change, it stays; the script exits with 2
    project.run("status", "--check", **settings, FUNCTION_TIMEOUT="9")
    lambda_ = project.client("lambda")
    alias = lambda_.get_alias(FunctionName=name, Name="li_ve-1")
    versions = [each["Version"] for each in lambda_.list_versions_by_function(FunctionName=name)["Versions"]]
    assert (alias["FunctionVersion"], alias["Description"]) == ("2", f"pipeline={name}; rolled back from version 3")
    assert versions == ["$LATEST", "2", "3"]
    assert script(shell, "rollback").returncode == 1
    project.run("clean", **settings)


def test_the_tasks_check_the_account_first(project: ForkedProject, tmp_path: Path) -> None:
    settings = {"TARGET": "aws", "AWS_REGION": "us-east-1", "AWS_ACCOUNT_ID": "111111111111"}
    finished = pasted(project, tmp_path, **settings)("invoke", "deploy")
    assert finished.returncode == 1
    assert finished.stderr == "the credentials are for account 000000000000; expected: 111111111111\n"
    assert project.is_empty()
