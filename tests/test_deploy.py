"""deploy, smoke and clean against the local AWS."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

ARTICLE = Path(__file__).parent / "article.env"


def signs(output: str) -> list[tuple[str, str]]:
    """Return each line's sign and step."""
    return re.findall(r"^([-+~!=]) (\S+)", output, re.MULTILINE)


def test_deploy_smoke_clean_leaves_nothing(project: ForkedProject) -> None:
    project.run("deploy", "smoke", "clean")
    assert project.is_empty()
    assert not project.client("iam").list_policies(Scope="Local")["Policies"]


def test_deploy_prints_each_step_with_its_sign_and_time(project: ForkedProject) -> None:
    output = project.run("deploy", PIPELINE_NAME="lines")
    steps = [
        "zip-code",
        "create-role",
        "put-policy",
        "create-function",
        "create-function",
        "create-table",
        "map-stream",
    ]
    assert [step for _, step in signs(output)] == steps
    assert all(re.search(r"  \d+\.\d\d s$", line) for line in output.splitlines())


def test_a_second_deploy_changes_nothing(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="twice")
    second = project.invoke("deploy", PIPELINE_NAME="twice").expect(0)
    assert {sign for sign, _ in signs(second.stdout)} == {"="}
    assert second.writes == []


def test_a_second_clean_finds_nothing(project: ForkedProject) -> None:
    project.run("deploy", "clean", PIPELINE_NAME="cleaned")
    second = project.invoke("clean", PIPELINE_NAME="cleaned").expect(0)
    assert signs(second.stdout) == [("=", "clean")]
    assert second.writes == []


def test_clean_deletes_in_dependency_order(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="ordered")
    deleted = re.findall(r"^- clean\s+(\w+)", project.run("clean", PIPELINE_NAME="ordered"), re.MULTILINE)
    assert deleted == ["mapping", "function", "log", "role", "table"]


def test_clean_deletes_the_resources_of_an_incomplete_deploy(project: ForkedProject) -> None:
    project.run("create-role", "create-table", PIPELINE_NAME="half")
    project.run("clean", PIPELINE_NAME="half")
    assert "half" not in str(project.snapshot())


def test_two_pipelines_do_not_affect_each_other(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="one-of-two")
    project.run("deploy", "clean", PIPELINE_NAME="two-of-two")
    project.run("smoke", PIPELINE_NAME="one-of-two")


def test_clean_does_not_delete_a_table_of_another_pipeline(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="its-owner")
    ended = project.invoke("clean", PIPELINE_NAME="a-stranger", TABLE_NAME="its-owner").expect(1)
    assert "table its-owner already exists and belongs to pipeline 'its-owner'" in ended.stderr
    assert ended.writes == []
    assert "its-owner" in project.client("dynamodb").list_tables()["TableNames"]


def test_the_role_may_use_the_customer_managed_key_of_the_table(project: ForkedProject) -> None:
    """aws-cdk, issue 22796: without kms:Decrypt, the function cannot read the stream."""
    key = project.client("kms").create_key()["KeyMetadata"]["Arn"]
    for name in (key, key.rpartition("/")[2]):
        encryption = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": name}
        settings = {"PIPELINE_NAME": "keyed", "TABLE_OPTIONS": json.dumps({"SSESpecification": encryption})}
        project.run("deploy", **settings)
        get_policy = project.client("iam").get_role_policy
        document = get_policy(RoleName="keyed-role", PolicyName="keyed-table-key")["PolicyDocument"]
        assert document["Statement"] == [{"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": key}]
        assert project.invoke("put-policy", **settings).expect(0).writes == []
    assert "- put-policy       policy keyed-table-key" in project.run("deploy", PIPELINE_NAME="keyed")
    project.run("clean", PIPELINE_NAME="keyed")


def test_deploy_updates_changed_code(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="recoded")
    source = project.folder / "lambda_src" / "example.py"
    before = source.read_text()
    try:
        source.write_text(before.replace("print(json.dumps(record", "print('second version', json.dumps(record"))
        assert ("~", "create-function") in signs(project.run("deploy", PIPELINE_NAME="recoded"))
        assert "record      second version {" in project.run("smoke", PIPELINE_NAME="recoded")
    finally:
        source.write_text(before)


def test_a_dry_deploy_of_an_empty_account_writes_nothing(project: ForkedProject) -> None:
    before = project.snapshot()
    ended = project.invoke("--dry", "deploy", PIPELINE_NAME="planned").expect(0)
    assert ("+", "map-stream") in signs(ended.stdout)
    assert ended.writes == []
    assert project.snapshot() == before


def test_a_dry_clean_deletes_nothing(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="kept")
    ended = project.invoke("--dry", "clean", PIPELINE_NAME="kept").expect(0)
    assert ("-", "clean") in signs(ended.stdout)
    assert ended.writes == []
    project.run("smoke", PIPELINE_NAME="kept")


def test_deploy_leaves_limits_that_differ_between_accounts_to_aws(project: ForkedProject) -> None:
    settings = {"FUNCTION_TIMEOUT": "1000", "FUNCTION_MEMORY_SIZE": "16384"}
    output = project.run("--dry", "deploy", PIPELINE_NAME="large", **settings)
    assert "    Timeout: 1000\n" in output
    assert "    MemorySize: 16384\n" in output


def test_verbose_logs_every_call_on_stderr(project: ForkedProject) -> None:
    finished = project.invoke("create-table", "--verbose", PIPELINE_NAME="verbose")
    assert re.search(r"^    dynamodb CreateTable  \d+ ms$", finished.stderr, re.MULTILINE)
    assert "CreateTable" not in finished.stdout


@pytest.fixture
def article(project: ForkedProject) -> str:
    """Deploy the article's settings, in a region that no other test uses."""
    (project.folder / ".env.article").write_text(ARTICLE.read_text())
    return project.run("deploy", ENV_FILE=".env.article")


@pytest.mark.usefixtures("article")
def test_the_settings_of_the_article_reproduce_its_pipeline(project: ForkedProject) -> None:
    region = "ap-northeast-1"
    table = project.client("dynamodb", region).describe_table(TableName="test")["Table"]
    function = project.client("lambda", region).get_function_configuration(FunctionName="test")
    (mapping,) = project.client("lambda", region).list_event_source_mappings(FunctionName="test")["EventSourceMappings"]
    iam = project.client("iam", region)
    policy = iam.get_role_policy(RoleName="lambda_invoke_by_dynamodb", PolicyName="dynamodb-access-by-lambda")
    reads = {"dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams"}
    assert table["KeySchema"] == [{"AttributeName": "name", "KeyType": "HASH"}]
    assert table["AttributeDefinitions"] == [{"AttributeName": "name", "AttributeType": "S"}]
    assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    units = table["ProvisionedThroughput"]
    assert (units["ReadCapacityUnits"], units["WriteCapacityUnits"]) == (1, 1)
    assert function["Handler"] == "example.lambda_handler"
    assert function["Role"].endswith(":role/lambda_invoke_by_dynamodb")
    assert (function["MemorySize"], function["Timeout"]) == (128, 3)
    assert mapping["EventSourceArn"] == table["LatestStreamArn"]
    assert (mapping["StartingPosition"], mapping["BatchSize"], mapping["State"]) == ("LATEST", 100, "Enabled")
    assert reads <= set(policy["PolicyDocument"]["Statement"][0]["Action"])


@pytest.mark.usefixtures("article")
def test_the_log_shows_the_item_as_in_the_article(project: ForkedProject) -> None:
    project.run("put-item", "--item", '{"name":{"S":"test3"}}', ENV_FILE=".env.article")
    project.run("smoke", ENV_FILE=".env.article")
    output = project.run("fetch-logs", ENV_FILE=".env.article")
    assert '"Keys": {"name": {"S": "test3"}}, "NewImage": {"name": {"S": "test3"}}' in output
    assert '"SizeBytes": 18, "StreamViewType": "NEW_AND_OLD_IMAGES"' in output
    assert re.search(r"^START RequestId: [0-9a-f-]{36} Version: \$LATEST$", output, re.MULTILINE)
    assert re.search(r"^REPORT RequestId: .*Memory Size: 128 MB", output, re.MULTILINE)
