"""The article's AWS CLI commands, run against the local AWS with a current runtime, to the last line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.project import own_files
from tests.harness.snapshot import take, without_ours

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # each command starts the AWS CLI

# Differences from the article: the runtime (python3.7 is retired), and `--query` instead of jq.
ARTICLE = """
aws dynamodb create-table \
  --attribute-definitions AttributeName=name,AttributeType=S \
  --table-name test \
  --key-schema AttributeName=name,KeyType=HASH \
  --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES \
  --provisioned-throughput ReadCapacityUnits=1,WriteCapacityUnits=1

aws iam create-role \
  --role-name lambda_invoke_by_dynamodb \
  --assume-role-policy-document '{"Version": "2012-10-17", "Statement":[{"Action": "sts:AssumeRole","Effect": "Allow","Principal": {"Service": "lambda.amazonaws.com"}}]}'

aws iam put-role-policy \
  --role-name lambda_invoke_by_dynamodb \
  --policy-name dynamodb-access-by-lambda \
  --policy-document '{"Version": "2012-10-17","Statement": [{"Effect": "Allow","Action": ["dynamodb:GetRecords","dynamodb:GetShardIterator","dynamodb:DescribeStream","dynamodb:ListStreams","logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"],"Resource": "*"}]}'

aws iam get-role-policy --role-name lambda_invoke_by_dynamodb --policy-name dynamodb-access-by-lambda

echo "import json
print('Loading function')
def lambda_handler(event, context):
    for key in event.keys():
        print(event[key])
    return 'Successfully processed.'
" > example.py
$PYTHON -m zipfile -c HelloWorld.zip example.py

aws lambda create-function \
  --function-name test \
  --runtime python3.13 \
  --role $(aws iam get-role --role-name lambda_invoke_by_dynamodb --query Role.Arn --output text) \
  --handler example.lambda_handler \
  --zip-file fileb://HelloWorld.zip \
  --region ap-northeast-1

aws lambda create-event-source-mapping \
  --event-source-arn $(aws dynamodb describe-table --table-name test --query Table.LatestStreamArn --output text) \
  --function-name test \
  --enabled \
  --starting-position LATEST
"""  # noqa: E501 - as in the article

PUT = """
aws dynamodb put-item --table-name test --item '{"name":{"S":"test3"}}'
"""

NAMES = """# The names in the article.
AWS_REGION=ap-northeast-1
TABLE_NAME=test
FUNCTION_NAME=test
ROLE_NAME=lambda_invoke_by_dynamodb
"""

LOGS = """
aws logs get-log-events \
  --log-group-name /aws/lambda/test \
  --log-stream-name "$(aws logs describe-log-streams --log-group-name /aws/lambda/test --query 'reverse(sort_by(logStreams, &creationTime))[0].logStreamName' --output text)"
"""  # noqa: E501


def shell(project: ForkedProject, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run the commands in a shell that stops at the first failure."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": project.endpoint,
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        "AWS_PAGER": "",
    }
    return subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def messages(project: ForkedProject, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run the article, and return the messages that its last command prints."""
    project.run("local.start")
    folder = tmp_path_factory.mktemp("article")
    finished = shell(project, folder, ARTICLE + PUT)
    assert finished.returncode == 0, finished.stderr
    mapping = json.loads(finished.stdout[finished.stdout.index('{\n    "UUID"') :])
    assert (mapping["State"], mapping["BatchSize"]) == ("Creating", 100)
    deadline = time.monotonic() + 30
    while True:
        read = shell(project, folder, LOGS)
        events = json.loads(read.stdout)["events"] if read.returncode == 0 else []
        if any(event["message"].startswith("REPORT") for event in events):
            return [event["message"] for event in events]
        assert time.monotonic() < deadline, read.stdout + read.stderr
        # With LATEST, the first item may be missed.
        shell(project, folder, 'aws dynamodb put-item --table-name test --item \'{"name":{"S":"test4"}}\'')


def test_the_log_begins_and_ends_as_in_the_article(messages: list[str]) -> None:
    start = next(number for number, message in enumerate(messages) if message.startswith("START RequestId: "))
    assert messages[start].endswith(" Version: $LATEST\n")
    assert messages[start + 2].startswith("END RequestId: ")
    assert messages[start + 3].startswith("REPORT RequestId: ")


def test_the_log_contains_the_record_as_in_the_article(messages: list[str]) -> None:
    record = next(message for message in messages if message.startswith("[{'eventID': "))
    parts = (
        "'eventName': 'INSERT'",
        "'eventVersion': '1.1'",
        "'eventSource': 'aws:dynamodb'",
        "'awsRegion': 'ap-northeast-1'",
        "'SizeBytes': 18, 'StreamViewType': 'NEW_AND_OLD_IMAGES'",
    )
    for part in parts:
        assert part in record
    assert "'Keys': {'name': {'S': 'test3'}}, 'NewImage': {'name': {'S': 'test3'}}" in record


def test_the_log_contains_what_the_module_prints_at_import(messages: list[str]) -> None:
    assert "Loading function\n" in messages


def test_two_commands_adopt_the_pipeline_unchanged_and_lose_no_record(
    project: ForkedProject, messages: list[str]
) -> None:
    assert messages  # the mapping reads the stream
    region = "ap-northeast-1"
    before = without_ours(take(lambda service: project.client(service, region)))
    dynamodb, logs = project.client("dynamodb", region), project.client("logs", region)
    with own_files(project):
        (project.folder / ".env").write_text(NAMES)
        for key, words in {"first": ("adopt", "--write"), "second": ("deploy",), "third": ("deploy",)}.items():
            dynamodb.put_item(TableName="test", Item={"name": {"S": key}})
            ended = project.invoke(*words).expect(0)
    assert ended.writes == []
    assert without_ours(take(lambda service: project.client(service, region))) == before
    missing, deadline = {"first", "second", "third"}, time.monotonic() + 30
    while missing:
        assert time.monotonic() < deadline, f"not in the log: {missing}"
        events = logs.filter_log_events(logGroupName="/aws/lambda/test")["events"]
        missing = {key for key in missing if not any(key in event["message"] for event in events)}
