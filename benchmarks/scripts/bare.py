"""The calls of `invoke deploy smoke` in as few lines of boto3 as possible, for comparison: `bare.py ENDPOINT`."""

from __future__ import annotations

import io
import json
import secrets
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

NAME = "stream-demo"
ROOT = Path(__file__).resolve().parents[2]
session: Any = boto3.Session("local", "local", region_name="us-east-1")
dynamodb, iam, lambda_, logs, sts = (
    session.client(service, endpoint_url=sys.argv[1]) for service in ("dynamodb", "iam", "lambda", "logs", "sts")
)


def absent(call: Any, **parameters: Any) -> None:
    try:
        call(**parameters)
    except ClientError:
        return
    raise SystemExit("the account is not empty")


absent(dynamodb.describe_table, TableName=NAME)
dynamodb.create_table(
    TableName=NAME,
    AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
    KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
    BillingMode="PAY_PER_REQUEST",
    StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    Tags=[{"Key": "pipeline", "Value": NAME}],
)
account = sts.get_caller_identity()["Account"]
absent(iam.get_role, RoleName=f"{NAME}-role")
trust = (ROOT / "policies" / "trust-policy.json").read_text()
role = iam.create_role(
    RoleName=f"{NAME}-role", AssumeRolePolicyDocument=trust, Tags=[{"Key": "pipeline", "Value": NAME}]
)["Role"]
absent(iam.get_role_policy, RoleName=f"{NAME}-role", PolicyName=f"{NAME}-policy")
iam.get_role(RoleName=f"{NAME}-role")
policy = (ROOT / "policies" / "execution-policy.json").read_text()
tokens = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": account, "TableAccountId": account}
for token, value in (tokens | {"TableName": NAME, "LogGroupName": f"/aws/lambda/{NAME}"}).items():
    policy = policy.replace(f"${{{token}}}", value)
iam.put_role_policy(RoleName=f"{NAME}-role", PolicyName=f"{NAME}-policy", PolicyDocument=policy)
logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{NAME}")
logs.create_log_group(logGroupName=f"/aws/lambda/{NAME}", tags={"pipeline": NAME})
logs.put_retention_policy(logGroupName=f"/aws/lambda/{NAME}", retentionInDays=30)
absent(lambda_.get_function, FunctionName=NAME)
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w") as archive:
    archive.write(ROOT / "lambda_src" / "example.py", "example.py")
lambda_.create_function(
    FunctionName=NAME,
    Role=role["Arn"],
    Runtime="python3.13",
    Handler="example.lambda_handler",
    Code={"ZipFile": buffer.getvalue()},
    Timeout=30,
    Tags={"pipeline": NAME},
)
lambda_.get_waiter("function_active_v2").wait(FunctionName=NAME)
dynamodb.get_waiter("table_exists").wait(TableName=NAME)
table = dynamodb.describe_table(TableName=NAME)["Table"]
dynamodb.describe_continuous_backups(TableName=NAME)
dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])
lambda_.list_event_source_mappings(FunctionName=NAME)
mapping = lambda_.create_event_source_mapping(
    FunctionName=NAME, EventSourceArn=table["LatestStreamArn"], StartingPosition="TRIM_HORIZON"
)
while lambda_.get_event_source_mapping(UUID=mapping["UUID"])["State"] != "Enabled":
    time.sleep(0.05)
lambda_.get_function(FunctionName=NAME)
dynamodb.describe_table(TableName=NAME)
dynamodb.describe_continuous_backups(TableName=NAME)
dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])
lambda_.list_event_source_mappings(FunctionName=NAME)
iam.get_role(RoleName=f"{NAME}-role")
iam.list_attached_role_policies(RoleName=f"{NAME}-role")
marker = secrets.token_hex(16)
began = int(time.time() * 1000)
dynamodb.put_item(TableName=NAME, Item={"name": {"S": marker}})
while not (
    found := logs.filter_log_events(logGroupName=f"/aws/lambda/{NAME}", startTime=began, filterPattern=f'"{marker}"')[
        "events"
    ]
):
    time.sleep(0.01)
dynamodb.delete_item(TableName=NAME, Key={"name": {"S": marker}})
logs.get_log_events(logGroupName=f"/aws/lambda/{NAME}", logStreamName=found[0]["logStreamName"])
print(json.dumps(found[0]["message"]))
