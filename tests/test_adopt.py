"""`invoke adopt`: resources made by hand become a pipeline of ours, unchanged. See also test_article_cli.py."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from pipeline.settings import load
from tests.harness.project import own_files, target_aws
from tests.harness.snapshot import without_ours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.forked import ForkedProject, Outcome

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs


@pytest.fixture
def empty(project: ForkedProject) -> Iterator[ForkedProject]:
    """The project without `.env`, with its own policies and an empty account, before and after the test."""
    with own_files(project):
        yield project
        project.invoke("clean", "--delete-data", "--adopt").expect(0)


def env(project: ForkedProject) -> str:
    return (project.folder / ".env").read_text()


KEEP = {
    "TABLE_KEY": "id:N",
    "TABLE_SORT_KEY": "at:S",
    "TABLE_BILLING_MODE": "PROVISIONED",
    "TABLE_READ_CAPACITY_UNITS": "3",
    "STREAM_VIEW_TYPE": "NEW_IMAGE",
    "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": "true",
    "TABLE_OPTIONS": '{"TableClass": "STANDARD_INFREQUENT_ACCESS"}',
    "ROLE_MANAGED_POLICY_ARNS": "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess",
    "ROLE_OPTIONS": '{"Path": "/x/", "Description": "it\'s ü"}',
    "FUNCTION_MEMORY_SIZE": "256",
    "FUNCTION_TIMEOUT": "7",
    "FUNCTION_ENVIRONMENT": '{"SECRET": "it\'s \\\\ \\"x\\" $HOME\\n#2"}',
    "FUNCTION_EPHEMERAL_STORAGE": "1024",
    "FUNCTION_TRACING": "Active",
    "FUNCTION_LOG_FORMAT": "JSON",
    "FUNCTION_LOG_LEVEL": "DEBUG",
    "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "0",
    "FUNCTION_OPTIONS": '{"Description": "a", "LoggingConfig": {"LogGroup": "/mine", "SystemLogLevel": "WARN"}}',
    "LOG_RETENTION_IN_DAYS": "7",
    "BATCH_SIZE": "7",
    "MAXIMUM_BATCHING_WINDOW_IN_SECONDS": "3",
    "STARTING_POSITION": "LATEST",
    "MAXIMUM_RETRY_ATTEMPTS": "2",
    "MAXIMUM_RECORD_AGE_IN_SECONDS": "60",
    "BISECT_BATCH_ON_FUNCTION_ERROR": "false",
    "FUNCTION_RESPONSE_TYPES": "ReportBatchItemFailures",
    "PARALLELIZATION_FACTOR": "2",
    "FILTER_CRITERIA": json.dumps({"Filters": [{"Pattern": '{"eventName": ["IN\\\\SERT", "it\'s"]}'}]}),
    "MAPPING_ENABLED": "false",
    "MAPPING_OPTIONS": '{"MetricsConfig": {"Metrics": ["EventCount"]}}',
}


def test_the_lines_keep_every_setting_that_a_deploy_would_change(empty: ForkedProject) -> None:
    empty.invoke("deploy", **KEEP).expect(0)
    shown = empty.invoke("--echo", "adopt", "--json").expect(0)
    settings = json.loads(shown.stdout)["result"]["settings"]
    assert {*settings} == {*KEEP}
    assert settings["FUNCTION_ENVIRONMENT"] == "(not shown)"
    written = empty.invoke("--echo", "adopt", "--write").expect(0)
    assert "$HOME" not in shown.stdout + shown.stderr + written.stdout + written.stderr
    assert empty.invoke("deploy").expect(0).writes == []
    assert load(empty.folder / ".env", {}, {}) == load(None, KEEP, {})


def by_hand(project: ForkedProject, *, role: str = "stream-demo-role", **tags: str) -> None:
    """Create a role and a table, as a person does in the console."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = {"Version": "2012-10-17", "Statement": [trust]}
    project.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(document))
    project.client("dynamodb").create_table(
        TableName="stream-demo",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": name, "Value": value} for name, value in tags.items()],
    )


def unchanged(project: ForkedProject, *words: str, **settings: str) -> Outcome:
    """Run a command and assert that it writes nothing, neither to AWS nor into files."""
    (project.folder / ".env").write_text("# mine\n")
    files = {path: path.read_text() for path in [project.folder / ".env", *(project.folder / "policies").iterdir()]}
    before = project.snapshot()
    ended = project.invoke(*words, **settings)
    assert ended.writes == []
    assert project.snapshot() == before
    assert {path: path.read_text() for path in files} == files
    return ended


def test_without_write_the_changes_of_a_deploy_are_shown_and_nothing_is_written(empty: ForkedProject) -> None:
    by_hand(empty)
    output = unchanged(empty, "adopt").expect(0).stdout
    assert re.search(r'^~ adopt +table stream-demo.*\n(    .*\n)*    Tags: {} -> {"pipeline"', output, re.MULTILINE)
    assert '    StreamSpecification: {"StreamEnabled": false} -> {"StreamEnabled": true' in output
    assert "+ adopt            function stream-demo" in output
    assert "\nTABLE_KEY=id:S\n" in output
    assert "plan: 4 created, 2 updated, 0 replaced, 0 deleted, 0 unchanged; nothing was written" in output


def test_dry_write_writes_nothing(empty: ForkedProject) -> None:
    by_hand(empty)
    unchanged(empty, "--dry", "adopt", "--write").expect(0)


def test_the_rest_of_the_env_file_stays(empty: ForkedProject) -> None:
    by_hand(empty)
    (empty.folder / ".env").write_text("# mine\nBATCH_SIZE=7\nTABLE_KEY=name:S\nAWS_SECRET_ACCESS_KEY='a b'")
    empty.invoke("adopt", "--write").expect(0)
    assert env(empty) == "# mine\nBATCH_SIZE=7\nTABLE_KEY=id:S\nAWS_SECRET_ACCESS_KEY='a b'"


def test_names_that_are_set_for_this_run_are_written(empty: ForkedProject) -> None:
    by_hand(empty, role="own-role")
    empty.invoke("adopt", "--write", "--set", "ROLE_NAME=own-role", TABLE_NAME="stream-demo").expect(0)
    assert env(empty) == "ROLE_NAME=own-role\nTABLE_KEY=id:S\n"


def test_write_changes_nothing_but_tags(empty: ForkedProject) -> None:
    by_hand(empty, team="data")
    before = without_ours(empty.snapshot())
    ended = empty.invoke("adopt", "--write").expect(0)
    assert ended.writes == ["TagRole", "TagResource"]
    assert without_ours(empty.snapshot()) == before
    assert "Tags: {}" not in empty.invoke("adopt").expect(0).stdout


def test_the_role_of_the_function_is_given_by_its_arn_if_it_has_another_name(empty: ForkedProject) -> None:
    empty.invoke("deploy", ROLE_NAME="theirs").expect(0)
    arn = empty.client("iam").get_role(RoleName="theirs")["Role"]["Arn"]
    empty.invoke("adopt", "--write").expect(0)
    assert env(empty) == f"ROLE_ARN={arn}\n"
    assert empty.invoke("deploy").expect(0).writes == []
    empty.invoke("clean").expect(0)
    (empty.folder / ".env").write_text("ROLE_NAME=theirs\n")


def test_an_account_without_such_resources_is_an_error_that_names_the_settings(empty: ForkedProject) -> None:
    error = unchanged(empty, "adopt", "--write").expect(1).stderr
    assert "neither table stream-demo, role stream-demo-role nor function stream-demo exists; set TABLE_NAME" in error


def test_the_resources_of_another_pipeline_are_refused(empty: ForkedProject) -> None:
    by_hand(empty, pipeline="theirs")
    error = unchanged(empty, "adopt", "--write").expect(1).stderr
    assert "table stream-demo already exists and belongs to pipeline 'theirs'" in error


def test_on_a_real_account_write_asks(empty: ForkedProject) -> None:
    by_hand(empty)
    account = target_aws(empty.endpoint)
    assert "pass --yes to continue" in unchanged(empty, "adopt", "--write", **account).expect(1).stderr
    empty.invoke("adopt", "--write", "--yes", **account).expect(0)
    assert env(empty) == "# mine\nTABLE_KEY=id:S\n"


def test_what_no_setting_can_keep_is_named(empty: ForkedProject) -> None:
    empty.invoke("deploy", TABLE_POINT_IN_TIME_RECOVERY_ENABLED="true").expect(0)
    recovery = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}
    empty.client("dynamodb").update_continuous_backups(
        TableName="stream-demo", PointInTimeRecoverySpecification=recovery
    )
    output = empty.invoke("adopt").expect(0).stdout
    assert "# A deploy still changes PointInTimeRecoverySpecification of table stream-demo." in output


def test_the_code_in_lambda_src_does_not_have_to_fit_the_function(empty: ForkedProject) -> None:
    empty.invoke("deploy", FUNCTION_RUNTIME="python3.12").expect(0)
    empty.client("lambda").update_function_configuration(FunctionName="stream-demo", Handler="other.handler")
    empty.invoke("adopt", "--write").expect(0)
    assert env(empty) == "FUNCTION_RUNTIME=python3.12\nFUNCTION_HANDLER=other.handler\n"
    assert "the zip has no other.py" in empty.invoke("deploy").expect(1).stderr
    (empty.folder / ".env").unlink()


def test_a_table_of_others_is_not_adopted(empty: ForkedProject) -> None:
    empty.invoke("deploy").expect(0)
    table = empty.client("dynamodb").describe_table(TableName="stream-demo")["Table"]["TableArn"]
    own = {"PIPELINE_NAME": "second", "TABLE_ARN": table}
    empty.invoke("deploy", **own, BATCH_SIZE="7").expect(0)
    before = empty.snapshot()
    assert empty.invoke("adopt", "--write", **own).expect(0).writes == []
    assert env(empty) == f"PIPELINE_NAME=second\nTABLE_ARN={table}\nBATCH_SIZE=7\n"
    assert empty.snapshot() == before
    empty.invoke("clean").expect(0)
    (empty.folder / ".env").unlink()
