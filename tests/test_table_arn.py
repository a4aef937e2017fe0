"""TABLE_ARN: a pipeline on a table of others, which no command changes, and several pipelines on one stream."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.project import function_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

NEW_AND_OLD = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


def create_table(
    project: ForkedProject, name: str, stream: dict[str, Any] = NEW_AND_OLD, kind: str = "S", **parameters: Any
) -> str:
    """Create a table of somebody else with an item, and return its ARN."""
    dynamodb = project.client("dynamodb")
    table = dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": kind}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification=stream,
        Tags=[{"Key": "team", "Value": "orders"}],
        **parameters,
    )
    dynamodb.put_item(TableName=name, Item={"id": {kind: "1"}})
    return str(table["TableDescription"]["TableArn"])


def described(project: ForkedProject, name: str) -> list[Any]:
    """Return all that AWS says about a table, and its items."""
    dynamodb = project.client("dynamodb")
    table = dynamodb.describe_table(TableName=name)["Table"]
    return [
        table,
        dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"],
        dynamodb.scan(TableName=name)["Items"],
        dynamodb.list_backups(TableName=name)["BackupSummaries"],
    ]


@contextmanager
def writing(project: ForkedProject, name: str, kind: str = "S") -> Iterator[list[str]]:
    """Put items into the table within the block, and list their keys."""
    done, keys = threading.Event(), ["1000"]

    def write() -> None:
        while not done.wait(0.1):
            project.client("dynamodb").put_item(TableName=name, Item={"id": {kind: keys[-1]}})
            keys.append(str(int(keys[-1]) + 1))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield keys
    finally:
        done.set()
        writer.join()


@pytest.fixture(scope="module")
def theirs(project: ForkedProject) -> dict[str, str]:
    """The settings of a pipeline that is deployed on the table `theirs`."""
    settings = {"PIPELINE_NAME": "guest", "TABLE_ARN": create_table(project, "theirs")}
    project.run("deploy", **settings)
    return settings


def test_deploy_checks_the_table_and_creates_the_rest(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "rest", "TABLE_ARN": create_table(project, "theirs-rest")}
    before = described(project, "theirs-rest")
    planned = project.run("--dry", "deploy", **settings).splitlines()
    assert planned[0].startswith("= create-table     table theirs-rest  exists; TABLE_ARN is read-only")
    output = project.run("deploy", **settings)
    assert re.findall(r"^\+ (\S+)", output.replace("+ zip-code", ""), re.MULTILINE) == [
        "create-role",
        "put-policy",
        "create-function",
        "create-function",
        "map-stream",
    ]
    assert described(project, "theirs-rest") == before


def test_deploy_stops_before_it_creates_anything_if_the_stream_is_off(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "off", "TABLE_ARN": create_table(project, "theirs-off", {"StreamEnabled": False})}
    (project.folder / "build" / "function.zip").unlink(missing_ok=True)
    ended = project.invoke("deploy", **settings).expect(1)
    assert ended.writes == []
    assert not (project.folder / "build" / "function.zip").exists()
    command = (
        """aws dynamodb update-table --table-name theirs-off --stream-specification '{"StreamEnabled": true, """
        """"StreamViewType": "NEW_AND_OLD_IMAGES"}' --region us-east-1\n"""
    )
    assert "table theirs-off has no stream. Tasks only read this table (TABLE_ARN); nothing was created" in ended.stderr
    assert f"Its owner can run:\n  {command}" in ended.stderr


def test_a_plan_names_a_stream_without_the_images_that_the_settings_need(project: ForkedProject) -> None:
    stream = {"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"}
    settings = {"PIPELINE_NAME": "old", "TABLE_ARN": create_table(project, "theirs-old", stream)}
    error = project.refusal("--dry", "deploy", STREAM_VIEW_TYPE="NEW_IMAGE", **settings)
    assert (
        "table theirs-old has a stream with view type OLD_IMAGE; STREAM_VIEW_TYPE is NEW_IMAGE. Tasks only read"
        in error
    )
    off, on = re.findall(r"^  aws .*--stream-specification '(.*)' --region", error, re.MULTILINE)
    assert (json.loads(off), json.loads(on)) == ({"StreamEnabled": False}, NEW_AND_OLD)


def test_a_table_that_does_not_exist_is_reported_with_the_account(project: ForkedProject) -> None:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/nowhere"
    error = project.refusal("status", TABLE_ARN=arn)
    assert f"TABLE_ARN: {arn} does not exist in account 000000000000" in error


def test_clean_leaves_the_table_whatever_its_flags_say(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "leaving", "TABLE_ARN": create_table(project, "theirs-left")}
    project.run("deploy", **settings)
    before = described(project, "theirs-left")
    output = project.run("clean", "--adopt", "--delete-data", "--backup", **settings)
    assert "= clean            table theirs-left  kept; TABLE_ARN is read-only" in output
    assert "pipeline leaving  nothing remains except table theirs-left" in output
    assert described(project, "theirs-left") == before
    assert all("leaving" not in str(each) for each in project.snapshot().values())


def test_adopt_does_not_take_the_table_over(project: ForkedProject, theirs: dict[str, str]) -> None:
    before = described(project, "theirs")
    project.run("create-table", "--adopt", TAGS='{"stage": "test"}', **theirs)
    assert described(project, "theirs") == before


def test_status_shows_the_table_as_read_only(project: ForkedProject, theirs: dict[str, str]) -> None:
    output = project.run("status", "--check", **theirs)
    assert re.search(r"^= table theirs +ACTIVE +arn:\S+  exists; TABLE_ARN is read-only$", output, re.MULTILINE)


@pytest.mark.parametrize("words", [("put-item", "--item", '{"id": "2"}'), ("smoke", "--write")])
def test_a_write_into_the_table_needs_an_answer_or_yes(
    project: ForkedProject, theirs: dict[str, str], words: tuple[str, ...]
) -> None:
    ended = project.invoke(*words, **theirs).expect(1)
    assert "pass --yes to continue without confirmation. Nothing was changed." in ended.stderr
    assert ended.writes == []
    assert project.invoke(*words, "--yes", **theirs).expect(0).writes


def test_smoke_writes_nothing_by_itself_and_names_both_ways(project: ForkedProject, theirs: dict[str, str]) -> None:
    ended = project.invoke("smoke", **theirs).expect(1)
    assert "table theirs belongs to another team (TABLE_ARN). Pass --observe to find" in ended.stderr
    assert "--write to put a test item" in ended.stderr
    assert ended.writes == []


def test_smoke_observes_the_next_record(project: ForkedProject, theirs: dict[str, str]) -> None:
    with writing(project, "theirs") as keys:
        ended = project.invoke("smoke", "--observe", "--json", **theirs).expect(0)
    assert ended.writes == []
    result = json.loads(ended.stdout)["result"]
    (key,) = re.findall(r'"Keys": {"id": {"S": "(\d+)"}}', result["line"])
    assert key in keys
    assert result["request_id"]


def test_smoke_observes_for_as_long_as_smoke_timeout_says(project: ForkedProject, theirs: dict[str, str]) -> None:
    error = project.refusal("smoke", "--observe", SMOKE_TIMEOUT="1", **theirs)
    assert "no one wrote to table theirs within 1 s" in error


def test_smoke_observes_only_what_the_filter_lets_through(project: ForkedProject) -> None:
    arn = create_table(project, "filtered")
    ends = {"dynamodb": {"Keys": {"id": {"S": [{"suffix": "7"}]}}}}
    criteria = json.dumps({"Filters": [{"Pattern": json.dumps(ends)}]})
    settings = {"PIPELINE_NAME": "picky", "TABLE_ARN": arn, "FILTER_CRITERIA": criteria}
    project.run("deploy", **settings)
    with writing(project, "filtered"):
        assert re.search(r'"id": {"S": "\d+7"}', project.run("smoke", "--observe", **settings))


def test_smoke_observes_a_record_that_the_log_shows_only_by_its_key(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "by-key", "TABLE_ARN": create_table(project, "keyed", kind="N")}
    code = 'def lambda_handler(event, context):\n    for r in event["Records"]: print("order", r["dynamodb"]["Keys"])\n'
    with function_code(project, code):
        project.run("deploy", **settings)
    with writing(project, "keyed", "N"):
        output = project.run("smoke", "--observe", **settings)
    assert re.search(r"^  record      order {'id': {'N': '\d{4}'}}$", output, re.MULTILINE)


def test_smoke_reports_that_an_observed_record_is_delivered_again(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "again", "TABLE_ARN": create_table(project, "repeated")}
    reports = {"FUNCTION_RESPONSE_TYPES": "ReportBatchItemFailures", **settings}
    code = """
def lambda_handler(event, context):
    print(event)
    return {"batchItemFailures": [{"itemIdentifier": ""}]}
"""
    with function_code(project, code):
        project.run("deploy", MAXIMUM_RETRY_ATTEMPTS="1", **reports)
    with writing(project, "repeated"):
        error = project.refusal("smoke", "--observe", **reports)
    assert "the function logged the item, but Lambda delivers the record again" in error


def test_smoke_reports_the_failure_of_the_function_that_it_observes(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "breaking", "TABLE_ARN": create_table(project, "broken")}
    with function_code(project, "def lambda_handler(event, context):\n    raise ValueError('no such order')\n"):
        project.run("deploy", **settings)
    with writing(project, "broken"):
        error = project.refusal("smoke", "--observe", **settings)
    assert "[ERROR] ValueError: no such order" in error


def test_two_pipelines_on_one_table_are_deployed_and_removed_without_the_other_noticing(
    project: ForkedProject,
) -> None:
    first = {"PIPELINE_NAME": "first", "TABLE_NAME": "shared"}
    second = {"PIPELINE_NAME": "second", "TABLE_ARN": "arn:aws:dynamodb:us-east-1:000000000000:table/shared"}
    project.run("deploy", "smoke", **first)
    alone = project.snapshot()
    project.run("deploy", **second)
    assert project.invoke("deploy", **first).expect(0).writes == []
    project.run("clean", **second)
    assert project.snapshot() == alone
    project.run("deploy", **second)
    output = project.run("clean", **first)
    assert "table shared  kept because other functions read its stream: second" in output
    project.run("smoke", "--write", "--yes", **second)


def test_a_third_reader_of_a_stream_is_planned_and_deployed_with_a_note(project: ForkedProject) -> None:
    arn = create_table(project, "crowded")
    for name in ("one", "two"):
        assert "other readers" not in project.run("deploy", PIPELINE_NAME=f"reader-{name}", TABLE_ARN=arn)
    note = "the stream has other readers: reader-one, reader-two; AWS recommends at most two readers per shard"
    settings = {"PIPELINE_NAME": "reader-three", "TABLE_ARN": arn}
    assert f"mapping crowded -> reader-three  {note}" in project.run("--dry", "deploy", **settings)
    assert f"mapping crowded -> reader-three  {note}" in project.run("deploy", **settings)


def test_the_role_may_use_the_customer_managed_key_of_the_table(project: ForkedProject) -> None:
    key = "arn:aws:kms:us-east-1:000000000000:key/0a1b2c3d"
    encryption = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    settings = {"PIPELINE_NAME": "keyed", "TABLE_ARN": create_table(project, "sealed", SSESpecification=encryption)}
    project.run("deploy", **settings)
    get_policy = project.client("iam").get_role_policy
    document = get_policy(RoleName="keyed-role", PolicyName="keyed-table-key")["PolicyDocument"]
    assert document["Statement"] == [{"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": key}]
    assert project.invoke("put-policy", **settings).expect(0).writes == []
    assert "role keyed-role" in project.run("clean", **settings)
