"""What a deploy and a clean on a real account ask, keep and refuse; the embedded AWS stands for the account."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.session import is_read
from tests.forks import forking
from tests.fault_proxy import in_front_of
from tests.project import bare_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.forks import Ended, Forks

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}
NO_TERMINAL = "there is no terminal to ask on; say --yes. Nothing was done."


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forking(tmp_path_factory.mktemp("safety") / "project") as started:
        yield started


@pytest.fixture
def account(forks: Forks) -> Iterator[dict[str, Any]]:
    """The settings of a real account; it is empty before and after."""
    yield {"TARGET": "aws", "AWS_ENDPOINT_URL": forks.endpoint, **KEYS}
    if not forks.holds_nothing():
        forks.invoke("clean", "--delete-data").expect(0)
        assert forks.holds_nothing()


def put(forks: Forks, name: str = "an order") -> None:
    forks.invoke("put-item", "--item", f'{{"name": "{name}"}}').expect(0)


def tables(forks: Forks) -> list[str]:
    return list(forks.client("dynamodb").list_tables()["TableNames"])


def writes(ended: Ended) -> list[str]:
    return [operation for operation in ended.calls if not is_read(operation)]


def typed(forks: Forks, words: list[str], answer: str, settings: dict[str, str]) -> tuple[int, str]:
    """Run `invoke` on a terminal where a person types `answer`; exit code, and what the terminal showed."""
    person, terminal = pty.openpty()
    command = [sys.executable, "-m", "invoke", *words]
    environment = {**bare_environment(), "LOCAL_PORT": "0", **settings}
    process = subprocess.Popen(
        command, cwd=forks.folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    shown, asked = b"", False
    try:
        while chunk := os.read(person, 4096):
            shown += chunk
            if not asked and b" to do this: " in shown:
                os.write(person, f"{answer}\n".encode())
                asked = True
    except OSError:
        pass  # how Linux says that nobody has the terminal any more
    os.close(person)
    return process.wait(timeout=60), shown.decode()


def test_deploy_asks_on_a_real_account(forks: Forks, account: dict[str, Any]) -> None:
    code, shown = typed(forks, ["deploy"], "y", account)
    assert code == 0, shown
    assert "account 000000000000, region us-east-1, as arn:aws:sts::000000000000:" in shown
    assert re.search(r"\+ deploy +table stream-demo.*Type y to do this: .*\+ create-table +table", shown, re.DOTALL)


def test_deploy_does_nothing_when_not_told_yes(forks: Forks, account: dict[str, Any]) -> None:
    code, shown = typed(forks, ["deploy"], "", account)
    assert (code, tables(forks)) == (1, [])
    assert "deploy: y was not typed. Nothing was done." in shown


def test_deploy_without_a_terminal_needs_yes(forks: Forks, account: dict[str, Any]) -> None:
    refused = forks.invoke("deploy", **account).expect(1)
    assert NO_TERMINAL in refused.stderr
    assert writes(refused) == []
    forks.invoke("deploy", "--yes", **account).expect(0)


def test_a_deploy_that_changes_nothing_does_not_ask(forks: Forks, account: dict[str, Any]) -> None:
    forks.invoke("deploy", "--yes", **account).expect(0)
    forks.invoke("deploy", **account).expect(0)


def test_clean_asks_for_the_pipelines_name_on_a_real_account(forks: Forks, account: dict[str, Any]) -> None:
    forks.invoke("deploy", "--yes", **account).expect(0)
    code, shown = typed(forks, ["clean"], "stream-demo", account)
    assert code == 0, shown
    assert re.search(r"- clean +table stream-demo.*Type stream-demo to do this: .*nothing is left", shown, re.DOTALL)


@pytest.mark.parametrize("answer", ["y", "stream-dem"])
def test_clean_does_nothing_for_another_word(forks: Forks, account: dict[str, Any], answer: str) -> None:
    forks.invoke("deploy", "--yes", **account).expect(0)
    before = forks.state()
    code, shown = typed(forks, ["clean"], answer, account)
    assert (code, forks.state()) == (1, before)
    assert "clean: stream-demo was not typed. Nothing was done." in shown


def test_clean_without_a_terminal_needs_yes(forks: Forks, account: dict[str, Any]) -> None:
    forks.invoke("deploy", "--yes", **account).expect(0)
    refused = forks.invoke("clean", **account).expect(1)
    assert NO_TERMINAL in refused.stderr
    assert writes(refused) == []
    forks.invoke("clean", "--yes", **account).expect(0)


@pytest.mark.usefixtures("account")
def test_clean_keeps_a_table_that_holds_items(forks: Forks) -> None:
    forks.invoke("deploy").expect(0)
    put(forks)
    cleaned = forks.invoke("clean").expect(0)
    assert re.search(r"^= clean +table stream-demo  kept, as it holds items", cleaned.stdout, re.MULTILINE)
    assert "nothing is left but table stream-demo" in cleaned.stdout
    assert forks.client("dynamodb").scan(TableName="stream-demo")["Count"] == 1


@pytest.mark.usefixtures("account")
def test_a_kept_table_is_taken_up_by_the_next_deploy(forks: Forks) -> None:
    forks.invoke("deploy").expect(0)
    put(forks)
    forks.invoke("clean").expect(0)
    forks.invoke("deploy").expect(0)
    forks.invoke("smoke").expect(0)


@pytest.mark.usefixtures("account")
def test_clean_deletes_the_items_when_told_so(forks: Forks) -> None:
    forks.invoke("create-table").expect(0)
    put(forks)
    forks.invoke("clean", "--delete-data").expect(0)
    assert tables(forks) == []


@pytest.mark.usefixtures("account")
def test_an_item_left_by_a_killed_smoke_is_no_reason_to_keep_the_table(forks: Forks) -> None:
    forks.invoke("deploy").expect(0)
    forks.stop(("before", 1, "DeleteItem"), "smoke").expect(-9)
    assert forks.client("dynamodb").scan(TableName="stream-demo")["Count"] == 1
    forks.invoke("clean").expect(0)
    assert tables(forks) == []


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    "attributes",
    [
        {"smoke": {"S": "detected"}, "smoke_attempt": {"N": "1"}},
        {"smoke": {"S": "smoke" + "0" * 32}},
        {"smoke": {"BOOL": True}},
    ],
)
def test_an_item_that_only_looks_like_smokes_keeps_the_table(forks: Forks, attributes: dict[str, Any]) -> None:
    forks.invoke("create-table").expect(0)
    forks.client("dynamodb").put_item(TableName="stream-demo", Item={"name": {"S": "alarm"}, **attributes})
    forks.invoke("clean").expect(0)
    assert tables(forks) == ["stream-demo"]


@pytest.mark.usefixtures("account")
def test_one_item_among_many_of_smokes_keeps_the_table(forks: Forks) -> None:
    forks.invoke("create-table").expect(0)
    dynamodb = forks.client("dynamodb")
    markers = [f"smoke{number:032x}" for number in range(110)]
    smokes = [{"name": {"S": each}, "smoke": {"S": each}, "smoke_attempt": {"N": "1"}} for each in markers]
    while smokes:
        puts = [{"PutRequest": {"Item": smokes.pop()}} for _ in smokes[:25]]
        dynamodb.batch_write_item(RequestItems={"stream-demo": puts})
    put(forks)
    forks.invoke("clean").expect(0)
    assert tables(forks) == ["stream-demo"]


@pytest.mark.usefixtures("account")
def test_backup_is_made_and_available_before_anything_goes(forks: Forks) -> None:
    forks.invoke("deploy").expect(0)
    put(forks)
    cleaned = forks.invoke("clean", "--delete-data", "--backup").expect(0)
    dynamodb = forks.client("dynamodb")
    (backup,) = dynamodb.list_backups(TableName="stream-demo")["BackupSummaries"]
    assert backup["BackupStatus"] == "AVAILABLE"
    assert writes(cleaned)[0] == "CreateBackup"
    assert cleaned.calls.index("DescribeBackup") < cleaned.calls.index("DeleteEventSourceMapping")
    dynamodb.restore_table_from_backup(TargetTableName="restored", BackupArn=backup["BackupArn"])
    assert dynamodb.scan(TableName="restored")["Items"] == [{"name": {"S": "an order"}}]
    dynamodb.delete_table(TableName="restored")
    dynamodb.delete_backup(BackupArn=backup["BackupArn"])


@pytest.mark.usefixtures("account")
def test_a_table_protected_from_deletion_stops_clean_before_anything_goes(forks: Forks) -> None:
    forks.invoke("deploy", TABLE_DELETION_PROTECTION_ENABLED="true").expect(0)
    before = forks.state()
    refused = forks.invoke("clean", "--delete-data").expect(1)
    assert "table stream-demo is protected from deletion" in refused.stderr
    assert forks.state() == before
    forks.invoke("deploy").expect(0)  # the protection is off by default


@pytest.mark.usefixtures("account")
def test_keep_logs_keeps_the_log_group_and_nothing_else(forks: Forks) -> None:
    forks.invoke("deploy").expect(0)
    cleaned = forks.invoke("clean", "--keep-logs").expect(0)
    assert "nothing is left but log group /aws/lambda/stream-demo" in cleaned.stdout
    held = forks.state()
    assert [kind for kind, each in held.items() if each] == ["log groups", "tags of log groups"]


@pytest.mark.parametrize("command", ["deploy", "clean", "create-table"])
def test_another_account_than_the_settings_say_is_not_written_to(
    forks: Forks, account: dict[str, Any], command: str
) -> None:
    refused = forks.invoke(command, AWS_ACCOUNT_ID="123456789012", **account).expect(1)
    assert "AWS_ACCOUNT_ID: 123456789012 is wanted, but the credentials are of 000000000000" in refused.stderr
    assert refused.calls == ["GetCallerIdentity"]


def test_the_account_of_the_settings_is_written_to(forks: Forks, account: dict[str, Any]) -> None:
    forks.invoke("deploy", "--yes", AWS_ACCOUNT_ID="000000000000", **account).expect(0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials\n  try: log in"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "Partial credentials found in env"),
        ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found\n  try: log in"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS cannot be reached: Could not connect to the endpoint URL"),
        ({"AWS_ENDPOINT_URL": "http://sts.nowhere.invalid"}, "\n  try: check AWS_REGION, AWS_ENDPOINT_URL and the"),
    ],
    ids=["no credentials", "half of the credentials", "no such profile", "no network", "no such host"],
)
def test_an_account_that_cannot_be_asked_is_told_with_what_to_do(
    forks: Forks, account: dict[str, Any], settings: dict[str, Any], told: str
) -> None:
    chosen = {name: value for name, value in {**account, **settings}.items() if value}
    nobodys = {"HOME": str(forks.folder)}
    refused = forks.invoke("deploy", "--yes", **{**chosen, **nobodys}).expect(1)
    assert refused.stderr.startswith("deploy: ")
    assert told in refused.stderr
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
def test_credentials_that_aws_refuses_are_told_with_what_to_do(
    forks: Forks, account: dict[str, Any], code: str, message: str
) -> None:
    with in_front_of(forks.endpoint, rate=0) as faults:
        faults.always["GetCallerIdentity"] = (403, code, message)
        refused = forks.invoke("deploy", "--yes", **{**account, "AWS_ENDPOINT_URL": faults.url}).expect(1)
    said = f"deploy: GetCallerIdentity failed\n  AWS said: {code}: {message}\n  try: log in (aws sso login)"
    assert refused.stderr.startswith(said)
    assert refused.calls == ["GetCallerIdentity"]
