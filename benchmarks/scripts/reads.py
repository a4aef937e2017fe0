"""The reads of a deploy without changes in as few lines of boto3 as possible, for comparison: `reads.py ENDPOINT`."""

from __future__ import annotations

import sys
from typing import Any

import boto3

NAME = "stream-demo"
session: Any = boto3.Session("local", "local", region_name="us-east-1")
dynamodb, iam, lambda_, logs = (
    session.client(service, endpoint_url=sys.argv[1]) for service in ("dynamodb", "iam", "lambda", "logs")
)
table = dynamodb.describe_table(TableName=NAME)["Table"]
dynamodb.describe_continuous_backups(TableName=NAME)
dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])
iam.get_role(RoleName=f"{NAME}-role")
iam.list_attached_role_policies(RoleName=f"{NAME}-role")
iam.get_role_policy(RoleName=f"{NAME}-role", PolicyName=f"{NAME}-policy")
iam.list_role_policies(RoleName=f"{NAME}-role")
lambda_.get_function(FunctionName=NAME)
logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{NAME}")
lambda_.list_event_source_mappings(FunctionName=NAME)
