"""What deploy and clean confirm, keep and refuse on a real account. The local AWS plays the account."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.fault_proxy import fault_proxy
from tests.harness.forked import KillPoint
from tests.harness.project import bare_environment, target_aws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.forked import ForkedProject

NO_TERMINAL = "stdin is not a terminal; pass --yes to continue without confirmation. Nothing was changed."


@pytest.fixture
def account(project: ForkedProject) -> Iterator[dict[str, Any]]:
    """The settings of a real account, which is empty before and after the test."""
    yield target_aws(project.endpoint)
    if not project.is_empty():
        project.invoke("clean", "--delete-data").expect(0)
        assert project.is_empty()


def put(project: ForkedProject, name: str = "an order") -> None:
    project.invoke("put-item", "--item", f'{{"name": "{name}"}}').expect(0)


def tables(project: ForkedProject) -> list[str]:
    return list(project.client("dynamodb").list_tables()["TableNames"])


def type_answer(project: ForkedProject, words: list[str], answer: str, settings: dict[str, str]) -> tuple[int, str]:
    """Run `invoke` in a terminal, and type `answer` when it asks; return the exit code and the terminal's content."""
    person, terminal = pty.openpty()
    command = [sys.executable, "-m", "invoke", *words]
    environment = {**bare_environment(), "LOCAL_PORT": "0", **settings}
    process = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    shown, asked = b"", False
    try:
        while chunk := os.read(person, 4096):
            shown += chunk
            if not asked and b" to continue: " in shown:
                os.write(person, f"{answer}\n".encode())
                asked = True
    except OSError:
        pass  # Linux reports a closed terminal as an error
    os.close(person)
    return process.wait(timeout=60), shown.decode()


def test_deploy_asks_for_confirmation_on_a_real_account(project: ForkedProject, account: dict[str, Any]) -> None:
    code, shown = type_answer(project, ["deploy"], "y", account)
    assert code == 0, shown
    where = f"account 000000000000, region us-east-1 at {project.endpoint}, as arn:aws:iam::000000000000:root"
    assert where in shown
    assert re.search(r"\+ deploy +table stream-demo.*Type y to continue: .*\+ create-table +table", shown, re.DOTALL)


def test_deploy_changes_nothing_without_confirmation(project: ForkedProject, account: dict[str, Any]) -> None:
    code, shown = type_answer(project, ["deploy"], "", account)
    assert (code, tables(project)) == (1, [])
    assert "deploy: aborted. Nothing was changed." in shown


def test_deploy_without_a_terminal_requires_yes(project: ForkedProject, account: dict[str, Any]) -> None:
    refused = project.invoke("deploy", **account).expect(1)
    assert NO_TERMINAL in refused.stderr
    assert refused.writes == []
    project.invoke("deploy", "--yes", **account).expect(0)


def test_a_deploy_that_changes_nothing_does_not_ask(project: ForkedProject, account: dict[str, Any]) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    project.invoke("deploy", **account).expect(0)


def test_clean_asks_for_the_pipelines_name_on_a_real_account(project: ForkedProject, account: dict[str, Any]) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    code, shown = type_answer(project, ["clean"], "stream-demo", account)
    assert code == 0, shown
    assert re.search(r"- clean +table stream-demo.*Type stream-demo to continue: .*nothing remains", shown, re.DOTALL)


@pytest.mark.parametrize("answer", [pytest.param("y", marks=pytest.mark.proof), "stream-dem"])
def test_clean_deletes_nothing_for_another_word(project: ForkedProject, account: dict[str, Any], answer: str) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    before = project.snapshot()
    code, shown = type_answer(project, ["clean"], answer, account)
    assert (code, project.snapshot()) == (1, before)
    assert "clean: aborted. Nothing was changed." in shown


def test_clean_without_a_terminal_requires_yes(project: ForkedProject, account: dict[str, Any]) -> None:
    project.invoke("deploy", "--yes", **account).expect(0)
    refused = project.invoke("clean", **account).expect(1)
    assert NO_TERMINAL in refused.stderr
    assert refused.writes == []
    project.invoke("clean", "--yes", **account).expect(0)


@pytest.mark.usefixtures("account")
def test_clean_keeps_a_table_that_holds_items(project: ForkedProject) -> None:
    project.invoke("deploy").expect(0)
    put(project)
    cleaned = project.invoke("clean").expect(0)
    assert re.search(r"^= clean +table stream-demo  kept because it holds items", cleaned.stdout, re.MULTILINE)
    assert "nothing remains except table stream-demo" in cleaned.stdout
    assert project.client("dynamodb").scan(TableName="stream-demo")["Count"] == 1


@pytest.mark.usefixtures("account")
def test_the_next_deploy_uses_a_kept_table(project: ForkedProject) -> None:
    project.invoke("deploy").expect(0)
    put(project)
    project.invoke("clean").expect(0)
    project.invoke("deploy").expect(0)
    project.invoke("smoke").expect(0)


@pytest.mark.usefixtures("account")
def test_clean_deletes_items_with_delete_data(project: ForkedProject) -> None:
    project.invoke("create-table").expect(0)
    put(project)
    project.invoke("clean", "--delete-data").expect(0)
    assert tables(project) == []


@pytest.mark.usefixtures("account")
def test_an_item_left_by_a_killed_smoke_does_not_keep_the_table(project: ForkedProject) -> None:
    project.invoke("deploy").expect(0)
    project.kill_at(KillPoint("before", "DeleteItem"), "smoke").expect(-9)
    assert project.client("dynamodb").scan(TableName="stream-demo")["Count"] == 1
    project.invoke("clean").expect(0)
    assert tables(project) == []


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    "attributes",
    [
        {"smoke": {"S": "detected"}, "smoke_attempt": {"N": "1"}},
        {"smoke": {"S": "smoke" + "0" * 32}},
        {"smoke": {"BOOL": True}},
    ],
)
def test_an_item_that_only_resembles_an_item_of_smoke_keeps_the_table(
    project: ForkedProject, attributes: dict[str, Any]
) -> None:
    project.invoke("create-table").expect(0)
    project.client("dynamodb").put_item(TableName="stream-demo", Item={"name": {"S": "alarm"}, **attributes})
    project.invoke("clean").expect(0)
    assert tables(project) == ["stream-demo"]


@pytest.mark.usefixtures("account")
def test_one_other_item_among_many_of_smoke_keeps_the_table(project: ForkedProject) -> None:
    project.invoke("create-table").expect(0)
    dynamodb = project.client("dynamodb")
    markers = [f"smoke{number:032x}" for number in range(110)]
    smokes = [{"name": {"S": each}, "smoke": {"S": each}, "smoke_attempt": {"N": "1"}} for each in markers]
    while smokes:
        puts = [{"PutRequest": {"Item": smokes.pop()}} for _ in smokes[:25]]
        dynamodb.batch_write_item(RequestItems={"stream-demo": puts})
    put(project)
    project.invoke("clean").expect(0)
    assert tables(project) == ["stream-demo"]


@pytest.mark.usefixtures("account")
def test_the_backup_is_available_before_the_table_is_deleted(project: ForkedProject) -> None:
    project.invoke("deploy").expect(0)
    put(project)
    cleaned = project.invoke("clean", "--delete-data", "--backup").expect(0)
    dynamodb = project.client("dynamodb")
    (backup,) = dynamodb.list_backups(TableName="stream-demo")["BackupSummaries"]
    assert backup["BackupStatus"] == "AVAILABLE"
    assert cleaned.writes[-2:] == ["CreateBackup", "DeleteTable"]
    assert "DescribeBackup" in cleaned.calls[cleaned.calls.index("CreateBackup") :]
    dynamodb.restore_table_from_backup(TargetTableName="restored", BackupArn=backup["BackupArn"])
    assert dynamodb.scan(TableName="restored")["Items"] == [{"name": {"S": "an order"}}]
    dynamodb.delete_table(TableName="restored")
    dynamodb.delete_backup(BackupArn=backup["BackupArn"])


@pytest.mark.usefixtures("account")
def test_a_table_with_deletion_protection_stops_clean_before_the_first_deletion(project: ForkedProject) -> None:
    project.invoke("deploy", TABLE_DELETION_PROTECTION_ENABLED="true").expect(0)
    before = project.snapshot()
    refused = project.invoke("clean", "--delete-data").expect(1)
    assert "table stream-demo is protected from deletion" in refused.stderr
    assert project.snapshot() == before
    project.invoke("deploy").expect(0)  # the protection is off by default


@pytest.mark.usefixtures("account")
def test_keep_logs_keeps_only_the_log_group(project: ForkedProject) -> None:
    project.invoke("deploy").expect(0)
    cleaned = project.invoke("clean", "--keep-logs").expect(0)
    assert "nothing remains except log group /aws/lambda/stream-demo" in cleaned.stdout
    remaining = project.snapshot()
    assert [kind for kind, resources in remaining.items() if resources] == ["log groups", "tags of log groups"]


@pytest.mark.parametrize("command", ["deploy", "clean", "create-table"])
def test_a_command_stops_before_its_second_call_in_another_account_than_expected(
    project: ForkedProject, account: dict[str, Any], command: str
) -> None:
    refused = project.invoke(command, AWS_ACCOUNT_ID="123456789012", **account).expect(1)
    assert "AWS_ACCOUNT_ID is 123456789012, but the credentials belong to account 000000000000" in refused.stderr
    assert refused.calls == ["GetCallerIdentity"]


def test_deploy_continues_in_the_expected_account(project: ForkedProject, account: dict[str, Any]) -> None:
    project.invoke("deploy", "--yes", AWS_ACCOUNT_ID="000000000000", **account).expect(0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials\n  try: log in"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "Partial credentials found in env"),
        ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found\n  try: log in"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS cannot be reached: Could not connect to the endpoint URL"),
        ({"AWS_ENDPOINT_URL": "http://sts.nowhere.invalid"}, "\n  try: check AWS_REGION, AWS_ENDPOINT_URL, and the"),
    ],
    ids=["no credentials", "half of the credentials", "no such profile", "no network", "no such host"],
)
def test_an_error_before_the_first_answer_says_what_to_try(
    project: ForkedProject, account: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    chosen = {name: value for name, value in {**account, **settings}.items() if value}
    refused = project.invoke("deploy", "--yes", **{**chosen, "HOME": str(project.folder)}).expect(1)
    assert refused.stderr.startswith("deploy: ")
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "  try: " in refused.stderr


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ExpiredToken", "The security token included in the request is expired"),
        ("InvalidClientTokenId", "The security token included in the request is invalid"),
        ("SignatureDoesNotMatch", "The request signature we calculated does not match"),
    ],
)
def test_an_error_about_credentials_says_what_to_try(
    project: ForkedProject, account: dict[str, Any], code: str, message: str
) -> None:
    with fault_proxy(project.endpoint, rate=0) as faults:
        faults.always["GetCallerIdentity"] = (403, code, message)
        refused = project.invoke("deploy", "--yes", **{**account, "AWS_ENDPOINT_URL": faults.endpoint}).expect(1)
    error = f"deploy: GetCallerIdentity failed\n  AWS said: {code}: {message}\n  try: log in (aws sso login)"
    assert refused.stderr.startswith(error)
    assert refused.calls == ["GetCallerIdentity"]
