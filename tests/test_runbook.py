"""`invoke runbook`, and its script and page as an operator uses them: with the AWS CLI, in dash and in bash."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.script import Script
from tests.test_table_arn import create_table, writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.forked import ForkedProject
    from tests.harness.project import Project

pytestmark = pytest.mark.proof

# Values that careless quoting would break.
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
    "ON_FAILURE": "arn:aws:sqs:us-east-1:000000000000:given-up",
    "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:on-call",
    "LOG_RETENTION_IN_DAYS": "7",
}
VARIABLES = json.loads(SETTINGS["FUNCTION_ENVIRONMENT"])
PARTS = ("deploy", "deploy again", "smoke", "clean", "clean again")


@pytest.fixture(scope="module")
def script(project: ForkedProject, tmp_path_factory: pytest.TempPathFactory) -> Script:
    return written(project, tmp_path_factory.mktemp("operator"), **SETTINGS)


def written(project: ForkedProject, folder: Path, **settings: str) -> Script:
    path = folder / "runbook.sh"
    path.write_text(project.run("runbook", **settings))
    return Script(path, project.endpoint)


@dataclass(frozen=True)
class Life:
    """The account after `invoke deploy`, and the script's output and the account after each part."""

    invoked: dict[str, Any]
    printed: dict[str, str]
    account: dict[str, Any]


@pytest.fixture(scope="module", params=["dash", "bash"])
def life(request: pytest.FixtureRequest, project: ForkedProject, script: Script) -> Life:
    """Run every part in a shell, after `invoke deploy` and `invoke clean`."""
    project.run("deploy", **SETTINGS)
    invoked = project.snapshot()
    project.run("clean", **SETTINGS)
    printed, account = {}, {}
    for part in PARTS:
        printed[part] = script.run(request.param, part.split()[0], **VARIABLES)
        account[part] = project.snapshot()
    return Life(invoked, printed, account)


def test_deploy_creates_what_invoke_deploy_creates(life: Life) -> None:
    assert life.account["deploy"] == life.invoked


def test_a_second_deploy_changes_nothing(life: Life) -> None:
    assert life.account["deploy again"] == life.account["deploy"]


def test_smoke_shows_the_item_in_the_log(life: Life) -> None:
    assert re.search(r'"eventName": "INSERT".*smoke[0-9a-f]{32}', life.printed["smoke"])


def test_clean_deletes_everything(life: Life) -> None:
    assert not any(life.account["clean"].values())


def test_a_second_clean_finds_nothing_to_delete(life: Life) -> None:
    assert life.printed["clean again"] == life.printed["clean"]


def test_the_function_gets_its_variables_from_the_shell(life: Life, script: Script) -> None:
    configuration = life.account["deploy"]["functions"][0]["Configuration"]
    assert configuration["Environment"]["Variables"] == VARIABLES
    assert "next" not in re.findall(r"SECRET.*", script.path.read_text())


def test_deploy_without_a_variable_of_the_function_names_it(project: ForkedProject, script: Script) -> None:
    finished = script("sh", "deploy", SECRET="")
    assert finished.returncode != 0
    assert "STAGE: set this variable of the function" in finished.stderr
    script.run("sh", "clean")
    assert project.is_empty()


def test_without_a_part_the_script_prints_its_usage(script: Script) -> None:
    finished = script("sh")
    assert (finished.returncode, finished.stderr[:6]) == (1, "usage:")


def test_resources_without_the_tag_are_neither_changed_nor_deleted(project: ForkedProject, script: Script) -> None:
    project.run("deploy", **SETTINGS)
    iam = project.client("iam")
    iam.untag_role(RoleName=SETTINGS["ROLE_NAME"], TagKeys=["pipeline"])
    before = project.snapshot()
    for part in ("deploy", "clean"):
        finished = script("sh", part, **VARIABLES)
        assert finished.returncode == 1
        assert "role r+=,.@-_ already exists without the tag pipeline=run-book" in finished.stderr
        assert project.snapshot() == before
    iam.tag_role(RoleName=SETTINGS["ROLE_NAME"], Tags=[{"Key": "pipeline", "Value": "run-book"}])
    project.run("clean", **SETTINGS)


def test_deploy_reverts_changes_by_hand(project: ForkedProject, script: Script) -> None:
    project.run("deploy", **SETTINGS)
    deployed = project.snapshot()
    name, lambda_ = SETTINGS["FUNCTION_NAME"], project.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    lambda_.update_function_configuration(FunctionName=name, MemorySize=1024, Environment={"Variables": {}})
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=1, Enabled=False)
    project.client("iam").update_role(RoleName=SETTINGS["ROLE_NAME"], MaxSessionDuration=3600)
    project.client("logs").put_retention_policy(logGroupName=f"/aws/lambda/{name}", retentionInDays=1)
    script.run("sh", "deploy", **VARIABLES)
    assert project.snapshot() == deployed
    project.run("clean", **SETTINGS)


def test_a_failed_update_of_the_function_ends_the_step(project: ForkedProject, tmp_path: Path) -> None:
    key = project.client("kms").create_key()["KeyMetadata"]
    project.client("kms").disable_key(KeyId=key["KeyId"])
    project.run("deploy", PIPELINE_NAME="failing")
    script = written(project, tmp_path, PIPELINE_NAME="failing", FUNCTION_OPTIONS=json.dumps({"KMSKeyArn": key["Arn"]}))

    finished = script("sh", "--step", "create-function")

    assert (finished.returncode, "create-function: done" in finished.stdout) == (1, False)
    assert "function failing failed: " in finished.stderr
    assert "DisabledKMSKey" in finished.stderr
    project.run("clean", PIPELINE_NAME="failing")


def test_check_exits_with_2_and_names_what_differs(project: ForkedProject, tmp_path: Path) -> None:
    script = written(project, tmp_path, PIPELINE_NAME="checked")
    missing = script("sh", "--check")
    assert (missing.returncode, missing.stdout.count(": missing\n")) == (2, 8)
    project.run("deploy", PIPELINE_NAME="checked")
    before = project.snapshot()
    assert ": no differences\n" in script.run("sh", "--check")
    project.client("lambda").update_function_configuration(FunctionName="checked", Timeout=99, MemorySize=999)
    finished = script("sh", "--check")
    assert (finished.returncode, finished.stdout.count("differs")) == (2, 1)
    assert "function checked: differs in MemorySize Timeout\n" in finished.stdout
    assert "function checked: no differences\n" in script.run("sh", "--step", "create-function")
    assert project.snapshot() == before
    project.run("clean", PIPELINE_NAME="checked")


def test_check_accepts_an_account_id_in_the_trust_policy(project: ForkedProject, tmp_path: Path) -> None:
    """IAM stores the ARN of the account's root user."""
    path = project.folder / "policies" / "trust-policy.json"
    before = path.read_text()
    document = json.loads(before)
    for account in ("${AWS::AccountId}", "123456789012"):
        document["Statement"].append({"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"})
    path.write_text(json.dumps(document))
    try:
        script = written(project, tmp_path, PIPELINE_NAME="trusting")
        project.run("deploy", PIPELINE_NAME="trusting")
    finally:
        path.write_text(before)

    assert "trust policy of role trusting-role: no differences\n" in script.run("sh", "--check")
    project.run("clean", PIPELINE_NAME="trusting")


def test_check_exits_with_2_for_a_resource_of_others(project: ForkedProject, tmp_path: Path) -> None:
    project.run("create-role", PIPELINE_NAME="theirs", ROLE_NAME="ours-role")
    finished = written(project, tmp_path, PIPELINE_NAME="ours")("sh", "--check")
    project.run("clean", PIPELINE_NAME="theirs", ROLE_NAME="ours-role")
    assert finished.returncode == 2
    assert "role ours-role already exists without the tag pipeline=ours" in finished.stderr


def test_pause_and_resume_change_the_state_of_the_mapping(project: ForkedProject, tmp_path: Path) -> None:
    script = written(project, tmp_path, PIPELINE_NAME="paused")
    project.run("deploy", PIPELINE_NAME="paused")
    before = project.snapshot()
    assert "DynamoDB trims records 24 hours after the write" in script.run("sh", "pause")
    (mapping,) = project.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["State"] == "Disabled"
    script.run("sh", "resume")
    assert project.snapshot() == before
    project.run("clean", PIPELINE_NAME="paused")


def test_each_step_adds_its_exit_status_to_the_log(project: ForkedProject, tmp_path: Path) -> None:
    script = written(project, tmp_path, PIPELINE_NAME="logged")
    log = tmp_path / "log"
    for part, code in (("status", 0), ("pause", 1), ("clean", 0)):
        assert script("sh", part, RUNBOOK_LOG=str(log)).returncode == code
    entry = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ arn:aws:\S+ "
    assert re.fullmatch(f"{entry}status 0\n{entry}pause 1\n{entry}clean 0\n", log.read_text())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["logs", "8x"], "logs: '8x' is not allowed; allowed: a number of minutes"),
        (["--step", "drop-table"], "Steps: create-role put-policy create-function create-table map-stream smoke"),
        (["--step"], "usage:"),
        (["--step", "put-policy"], "role run-book-role does not exist; first run: sh "),
    ],
)
def test_a_mistake_is_explained(project: ForkedProject, tmp_path: Path, words: list[str], expected: str) -> None:
    finished = written(project, tmp_path, PIPELINE_NAME="run-book")("sh", *words)
    assert finished.returncode == 1
    assert expected in finished.stderr


def test_a_log_file_that_cannot_be_written_is_named(project: ForkedProject, tmp_path: Path) -> None:
    finished = written(project, tmp_path)("sh", "status", RUNBOOK_LOG="/nowhere/log")
    assert (finished.returncode, "RUNBOOK_LOG: /nowhere/log cannot be written" in finished.stderr) == (1, True)


def test_check_of_a_file_says_whether_it_is_up_to_date(project: ForkedProject, tmp_path: Path) -> None:
    path = str(written(project, tmp_path).path)
    assert project.run("runbook", "--check", path) == f"{path} is up to date\n"
    refused = project.invoke("runbook", "--check", path, BATCH_SIZE="7").expect(1)
    assert f"{path} is out of date" in refused.stderr
    assert "--batch-size 7 " in refused.stderr
    assert "No such file" in project.refusal("runbook", "--check", "missing.sh")


def test_clean_keeps_a_table_with_items_unless_told_to_delete_data(project: ForkedProject, script: Script) -> None:
    project.run("deploy", **SETTINGS)
    key = SETTINGS["TABLE_KEY"].removesuffix(":S")
    project.client("dynamodb").put_item(TableName=SETTINGS["TABLE_NAME"], Item={key: {"S": "an order"}})
    kept = script("sh", "clean")
    assert (kept.returncode, project.client("dynamodb").list_tables()["TableNames"]) == (1, [SETTINGS["TABLE_NAME"]])
    assert "table Tab.le-1 has items and is kept; everything else is deleted" in kept.stderr
    script.run("sh", "clean", "--delete-data")
    assert project.is_empty()


def test_clean_deletes_nothing_while_the_table_is_protected(project: ForkedProject, tmp_path: Path) -> None:
    protected = written(project, tmp_path, PIPELINE_NAME="protected", TABLE_DELETION_PROTECTION_ENABLED="true")
    protected.run("sh", "deploy")
    before = project.snapshot()
    assert [table["DeletionProtectionEnabled"] for table in before["tables"]] == [True]
    finished = protected("sh", "clean", "--delete-data")
    assert (finished.returncode, project.snapshot()) == (1, before)
    assert "table protected is protected from deletion; nothing was deleted" in finished.stderr
    project.client("dynamodb").update_table(TableName="protected", DeletionProtectionEnabled=False)
    protected.run("sh", "clean")
    assert project.is_empty()


@pytest.mark.parametrize("key", ["id:B", "id:N"])
def test_smoke_finds_an_item_with_a_key_of_another_type(project: ForkedProject, tmp_path: Path, key: str) -> None:
    settings = {"PIPELINE_NAME": "typed", "TABLE_KEY": key, "TABLE_SORT_KEY": "sort:N"}
    project.run("deploy", **settings)
    assert '"eventName": "INSERT"' in written(project, tmp_path, **settings).run("sh", "smoke")
    project.run("clean", **settings)
    assert project.is_empty()


def test_the_commands_of_the_page_deploy_test_and_delete(project: ForkedProject, tmp_path: Path) -> None:
    page = project.run("runbook", "--format", "md", **SETTINGS)
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    pasted = Script(tmp_path / "pasted.sh", project.endpoint)
    pasted.path.write_text("".join(blocks))
    printed = pasted.run("sh", **VARIABLES)
    assert re.search(r'map-stream: done\n(.*\n)+\{.*"INSERT".*\n(.*\n)+clean: nothing remains\n', printed)
    assert project.is_empty()


def test_the_runbook_of_a_table_of_others_creates_and_deletes_all_but_the_table(
    project: ForkedProject, tmp_path: Path
) -> None:
    key = "arn:aws:kms:us-east-1:000000000000:key/0a1b2c3d"
    encryption = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    settings = {"PIPELINE_NAME": "guest", "TABLE_ARN": create_table(project, "theirs", SSESpecification=encryption)}
    before = project.snapshot()
    project.run("deploy", **settings)
    deployed = project.snapshot()
    assert "guest-table-key" in str(deployed["policies"])
    project.run("clean", **settings)
    script = written(project, tmp_path, **settings)
    for _ in range(2):
        assert "create-table: the table exists; it is only read" in script.run("sh", "deploy")
        assert project.snapshot() == deployed
    with writing(project, "theirs"):
        assert '\\"eventName\\": \\"INSERT\\"' in script.run("sh", "smoke")
    assert "clean: nothing remains except table theirs" in script.run("sh", "clean")
    after = project.snapshot()
    project.client("dynamodb").delete_table(TableName="theirs")
    assert {**after, "tables": []} == {**before, "tables": []}
    (table,), (table_before,) = after["tables"], before["tables"]
    sizes = {"ItemCount": 0, "TableSizeBytes": 0}
    assert {**table, **sizes} == {**table_before, **sizes}


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ({"StreamEnabled": False}, "table theirs has no stream"),
        ({"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"}, "has stream view type OLD_IMAGE; required: NEW_IMAGE"),
    ],
)
def test_the_runbook_of_a_table_of_others_stops_first_if_the_stream_lacks_something(
    project: ForkedProject, tmp_path: Path, stream: dict[str, object], expected: str
) -> None:
    arn = create_table(project, "theirs", stream)
    before = project.snapshot()
    finished = written(project, tmp_path, TABLE_ARN=arn, STREAM_VIEW_TYPE="NEW_IMAGE")("sh", "deploy")
    assert (finished.returncode, project.snapshot()) == (1, before)
    project.client("dynamodb").delete_table(TableName="theirs")
    assert expected in finished.stderr
    assert "aws dynamodb update-table --table-name theirs --stream-specification StreamEnabled=" in finished.stderr


def test_clean_keeps_a_table_whose_stream_others_read(project: ForkedProject, tmp_path: Path) -> None:
    guest = {"PIPELINE_NAME": "guest", "TABLE_ARN": "arn:aws:dynamodb:us-east-1:000000000000:table/host"}
    host = written(project, tmp_path, PIPELINE_NAME="host")
    project.run("deploy", PIPELINE_NAME="host")
    project.run("deploy", **guest)
    finished = host("sh", "clean")
    assert (finished.returncode, project.client("dynamodb").list_tables()["TableNames"]) == (1, ["host"])
    assert "table host is kept, because other functions read its stream: arn:aws:lambda:" in finished.stderr
    project.run("clean", **guest)
    host.run("sh", "clean")
    assert project.is_empty()


def test_runbook_does_not_contact_the_target(new_project: Callable[[], Project]) -> None:
    nobody = {
        "TARGET": "aws",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
    }
    assert new_project().run("runbook", **nobody).startswith("#!/bin/sh\n")


def test_another_format_is_refused(project: ForkedProject) -> None:
    assert "--format: 'html' is not allowed; allowed: sh, md or py" in project.refusal("runbook", "--format", "html")


def test_one_task_of_the_shell_script_is_refused(project: ForkedProject) -> None:
    refusal = project.refusal("runbook", "--task", "create-table")
    assert "--task: 'create-table' is not allowed with --format sh; pass it with --format py" in refusal


def test_echo_prints_commands_on_stderr_and_results_on_stdout(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "echoed"}
    planned = project.invoke("--echo", "--dry", "create-table", **settings)
    plain = project.invoke("--dry", "create-table", **settings)
    assert "aws dynamodb create-table --table-name echoed " in planned.stderr
    assert "aws " not in planned.stdout + plain.stderr
