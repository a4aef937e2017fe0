"""deploy, smoke and clean, run as a person runs them, on the embedded AWS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.snapshot import everything

if TYPE_CHECKING:
    from tests.project import Project

ARTICLE = Path(__file__).parent / "article.env"


def signs(output: str) -> list[tuple[str, str]]:
    """Each line's sign and step."""
    return re.findall(r"^([-+~!=]) (\S+)", output, re.MULTILINE)


def test_deploy_smoke_clean_leaves_nothing(project: Project) -> None:
    project.run("deploy", "smoke", "clean")
    assert not any(everything(project.client).values())
    assert not project.client("iam").list_policies(Scope="Local")["Policies"]


def test_deploy_tells_each_step_with_its_sign_and_time(project: Project) -> None:
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


def test_a_second_deploy_changes_nothing(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="twice")
    assert {sign for sign, _ in signs(project.run("deploy", PIPELINE_NAME="twice"))} == {"="}


def test_a_second_clean_says_so(project: Project) -> None:
    project.run("deploy", "clean", PIPELINE_NAME="cleaned")
    assert signs(project.run("clean", PIPELINE_NAME="cleaned")) == [("=", "clean")]


def test_clean_removes_in_the_order_in_which_nothing_dangles(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="ordered")
    removed = re.findall(r"^- clean\s+(\w+)", project.run("clean", PIPELINE_NAME="ordered"), re.MULTILINE)
    assert removed == ["mapping", "function", "log", "role", "table"]


def test_clean_removes_what_half_a_deploy_has_left(project: Project) -> None:
    project.run("create-role", "create-table", PIPELINE_NAME="half")
    project.run("clean", PIPELINE_NAME="half")
    assert "half" not in str(everything(project.client))


def test_two_pipelines_leave_each_other_alone(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="one-of-two")
    project.run("deploy", "clean", PIPELINE_NAME="two-of-two")
    project.run("smoke", PIPELINE_NAME="one-of-two")


def test_a_foreign_table_of_the_same_name_is_not_touched(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="its-owner")
    told = project.refusal("clean", PIPELINE_NAME="a-stranger", TABLE_NAME="its-owner")
    assert "table its-owner exists and belongs to pipeline 'its-owner'" in told
    assert "its-owner" in project.client("dynamodb").list_tables()["TableNames"]


def test_changed_code_is_deployed_and_seen(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="recoded")
    source = project.folder / "lambda_src" / "example.py"
    before = source.read_text()
    try:
        source.write_text(before.replace("print(json.dumps(record", "print('second version', json.dumps(record"))
        assert ("~", "create-function") in signs(project.run("deploy", PIPELINE_NAME="recoded"))
        assert "record      second version {" in project.run("smoke", PIPELINE_NAME="recoded")
    finally:
        source.write_text(before)


def test_a_dry_deploy_of_an_empty_account_writes_nothing(project: Project) -> None:
    before = everything(project.client)
    output = project.run("--dry", "deploy", PIPELINE_NAME="planned")
    assert ("+", "map-stream") in signs(output)
    assert everything(project.client) == before


def test_a_dry_clean_removes_nothing(project: Project) -> None:
    project.run("deploy", PIPELINE_NAME="kept")
    assert ("-", "clean") in signs(project.run("--dry", "clean", PIPELINE_NAME="kept"))
    project.run("smoke", PIPELINE_NAME="kept")


def test_verbose_tells_every_call_on_stderr(project: Project) -> None:
    finished = project.invoke("create-table", "--verbose", PIPELINE_NAME="verbose")
    assert re.search(r"^    dynamodb CreateTable  \d+ ms$", finished.stderr, re.MULTILINE)
    assert "CreateTable" not in finished.stdout


@pytest.fixture
def article(project: Project) -> str:
    """The article's settings, deployed; its region is used by nothing else."""
    (project.folder / ".env.article").write_text(ARTICLE.read_text())
    return project.run("deploy", ENV_FILE=".env.article")


@pytest.mark.usefixtures("article")
def test_the_articles_settings_reproduce_the_article(project: Project) -> None:
    region = "ap-northeast-1"
    table = project.client("dynamodb", region).describe_table(TableName="test")["Table"]
    function = project.client("lambda", region).get_function_configuration(FunctionName="test")
    (mapping,) = project.client("lambda", region).list_event_source_mappings(FunctionName="test")["EventSourceMappings"]
    iam = project.client("iam", region)
    allowed = iam.get_role_policy(RoleName="lambda_invoke_by_dynamodb", PolicyName="dynamodb-access-by-lambda")
    read = {"dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams"}
    assert table["KeySchema"] == [{"AttributeName": "name", "KeyType": "HASH"}]
    assert table["AttributeDefinitions"] == [{"AttributeName": "name", "AttributeType": "S"}]
    assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert (
        table["ProvisionedThroughput"]["ReadCapacityUnits"] == table["ProvisionedThroughput"]["WriteCapacityUnits"] == 1
    )
    assert function["Handler"] == "example.lambda_handler"
    assert function["Role"].endswith(":role/lambda_invoke_by_dynamodb")
    assert (function["MemorySize"], function["Timeout"]) == (128, 3)
    assert mapping["EventSourceArn"] == table["LatestStreamArn"]
    assert (mapping["StartingPosition"], mapping["BatchSize"], mapping["State"]) == ("LATEST", 100, "Enabled")
    assert read <= set(allowed["PolicyDocument"]["Statement"][0]["Action"])


@pytest.mark.usefixtures("article")
def test_the_articles_item_shows_in_the_log_as_the_article_shows_it(project: Project) -> None:
    project.run("put-item", "--item", '{"name":{"S":"test3"}}', ENV_FILE=".env.article")
    project.run("smoke", ENV_FILE=".env.article")
    output = project.run("fetch-logs", ENV_FILE=".env.article")
    assert '"Keys": {"name": {"S": "test3"}}, "NewImage": {"name": {"S": "test3"}}' in output
    assert '"SizeBytes": 18, "StreamViewType": "NEW_AND_OLD_IMAGES"' in output
    assert re.search(r"^START RequestId: [0-9a-f-]{36} Version: \$LATEST$", output, re.MULTILINE)
    assert re.search(r"^REPORT RequestId: .*Memory Size: 128 MB", output, re.MULTILINE)
