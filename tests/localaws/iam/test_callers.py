"""Whoever uses credentials that the local AWS issued has the permissions of their owner, and no others.

Sources: IAM user guide "Policy evaluation logic", "Troubleshoot access denied errors"; Service Authorization Reference.
"""

from __future__ import annotations

import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import REGION
from tests.localaws.deployed import TRUST, allow, deploy, policy

if TYPE_CHECKING:
    from collections.abc import Callable

    Clients = Callable[[str], Any]

ACCOUNT = "000000000000"
TABLES = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
MAPPING = "12345678-1234-1234-1234-123456789012"
MAPPING_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{MAPPING}"
GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/g"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
ALARM = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:a"
IAM = f"arn:aws:iam::{ACCOUNT}"
STREAM = f"{TABLES}/t/stream/2026-01-01T00:00:00.000"
BACKUP = f"{TABLES}/t/backup/01234567890123-abcdefab"
ROLE = f"{IAM}:role/service/r"
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:1"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
TAG = [{"Key": "a", "Value": "b"}]
TABLE_DEFINITION = {
    "TableName": "t",
    "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
ALARM_DEFINITION = {"AlarmName": "a", "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold"}
FUNCTION_DEFINITION = {"FunctionName": "f", "Role": ROLE, "Code": {"ZipFile": b"x"}}


SESSION: Any = boto3.Session("local", "local", region_name=REGION)


def of(endpoint: str, credentials: dict[str, Any]) -> Clients:
    """The clients of whoever has these credentials."""
    return cache(
        lambda service: SESSION.client(
            service,
            endpoint_url=endpoint,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials.get("SecretAccessKey", "x"),
            aws_session_token=credentials.get("SessionToken"),
        )
    )


def make_user(client: Clients, *statements: dict[str, Any], **options: Any) -> tuple[str, dict[str, Any]]:
    """Create a user with an access key and an inline policy; return the user's name and the key."""
    iam, name = client("iam"), f"user-{uuid.uuid4().hex[:12]}"
    iam.create_user(UserName=name, **options)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    return name, iam.create_access_key(UserName=name)["AccessKey"]


def make_policy(client: Clients, *statements: dict[str, Any]) -> str:
    name = f"policy-{uuid.uuid4().hex[:12]}"
    arn: str = client("iam").create_policy(PolicyName=name, PolicyDocument=policy(*statements))["Policy"]["Arn"]
    return arn


def error(client: Clients, service: str, call: str, **parameters: Any) -> tuple[str, str]:
    """The code and message of the error of a call, or of its first item with one; empty if there is none."""
    try:
        items = getattr(client(service), call)(**parameters).get("Errors")
    except ClientError as failure:
        return failure.response["Error"]["Code"], failure.response["Error"]["Message"]
    return (items[0].get("Code") or items[0]["ErrorCode"], items[0]["Message"]) if items else ("", "")


LIST = allow(["dynamodb:ListTables"])


def lists_tables(client: Clients) -> bool:
    return not error(client, "dynamodb", "list_tables")[0]


def test_a_user_without_policies_may_do_nothing(endpoint: str, client: Clients) -> None:
    name, key = make_user(client)
    assert error(of(endpoint, key), "dynamodb", "put_item", TableName="t", Item={"name": {"S": "a"}}) == (
        "AccessDeniedException",
        (
            f"User: {IAM}:user/{name} is not authorized to perform: dynamodb:PutItem on resource: {TABLES}/t because "
            "no identity-based policy allows the dynamodb:PutItem action"
        ),
    )


def test_an_inline_policy_of_a_user_applies(endpoint: str, client: Clients) -> None:
    assert lists_tables(of(endpoint, make_user(client, LIST)[1]))


def test_an_attached_policy_of_a_user_applies(endpoint: str, client: Clients) -> None:
    name, key = make_user(client)
    client("iam").attach_user_policy(UserName=name, PolicyArn=make_policy(client, LIST))
    assert lists_tables(of(endpoint, key))


@pytest.mark.parametrize("attached", [True, False])
def test_the_policies_of_a_users_group_apply(endpoint: str, client: Clients, attached: bool) -> None:
    iam, (name, key), group = client("iam"), make_user(client), f"group-{uuid.uuid4().hex[:12]}"
    iam.create_group(GroupName=group)
    if attached:
        iam.attach_group_policy(GroupName=group, PolicyArn=make_policy(client, LIST))
    else:
        iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=policy(LIST))
    assert not lists_tables(of(endpoint, key))
    iam.add_user_to_group(GroupName=group, UserName=name)
    assert lists_tables(of(endpoint, key))


def test_a_users_boundary_limits_what_policies_allow(endpoint: str, client: Clients) -> None:
    boundary = make_policy(client, allow(["s3:*"]))
    name, key = make_user(client, allow(["*"]), PermissionsBoundary=boundary)
    _, message = error(of(endpoint, key), "dynamodb", "list_tables")
    assert message.endswith("because no permissions boundary allows the dynamodb:ListTables action")
    client("iam").delete_user_permissions_boundary(UserName=name)
    assert lists_tables(of(endpoint, key))
    client("iam").put_user_permissions_boundary(UserName=name, PermissionsBoundary=boundary)
    assert not lists_tables(of(endpoint, key))


def assume(client: Clients, *statements: dict[str, Any], **options: Any) -> tuple[str, dict[str, Any]]:
    iam, name = client("iam"), f"role-{uuid.uuid4().hex[:12]}"
    arn = iam.create_role(RoleName=name, Path="/ops/", AssumeRolePolicyDocument=policy(TRUST))["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
    return name, client("sts").assume_role(RoleArn=arn, RoleSessionName="me", **options)["Credentials"]


def test_a_session_of_a_role_has_its_permissions(endpoint: str, client: Clients) -> None:
    role, credentials = assume(client, LIST)
    assert lists_tables(of(endpoint, credentials))
    assert error(of(endpoint, credentials), "dynamodb", "describe_table", TableName="t")[1].startswith(
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{role}/me is not authorized to perform: dynamodb:DescribeTable"
    )


def test_a_session_policy_limits_what_the_role_allows(endpoint: str, client: Clients) -> None:
    _, credentials = assume(client, allow(["*"]), Policy=policy(allow(["s3:*"])))
    _, message = error(of(endpoint, credentials), "dynamodb", "list_tables")
    assert message.endswith("because no session policy allows the dynamodb:ListTables action")


def test_caller_identity_is_the_session_of_the_role(endpoint: str, client: Clients) -> None:
    role, credentials = assume(client)
    identity = of(endpoint, credentials)("sts").get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/me"


def test_made_up_credentials_are_those_of_the_root_user(client: Clients) -> None:
    """IAM user guide, "Variables and tags": the ID of the root user is that of its account."""
    identity = client("sts").get_caller_identity()
    assert (identity["Arn"], identity["UserId"]) == (f"{IAM}:root", ACCOUNT)


def test_a_session_token_has_the_permissions_of_its_user(endpoint: str, client: Clients) -> None:
    name, key = make_user(client, LIST)
    session = of(endpoint, of(endpoint, key)("sts").get_session_token()["Credentials"])
    assert lists_tables(session)
    assert error(session, "dynamodb", "describe_table", TableName="t")[0] == "AccessDeniedException"
    assert session("sts").get_caller_identity()["Arn"] == f"{IAM}:user/{name}"


@pytest.mark.parametrize(("session_policy", "listed"), [(policy(LIST), True), (policy(allow(["s3:*"])), False)])
def test_a_federated_session_is_limited_by_its_policy(
    endpoint: str, client: Clients, session_policy: str, listed: bool
) -> None:
    _, key = make_user(client, LIST, allow(["sts:GetFederationToken"]))
    answer = of(endpoint, key)("sts").get_federation_token(Name="guest", Policy=session_policy)
    session = of(endpoint, answer["Credentials"])
    assert lists_tables(session) == listed
    assert session("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:federated-user/guest"


@pytest.mark.parametrize("key", ["local", "AKIAIOSFODNN7EXAMPLE", "222222222222"])
def test_made_up_credentials_may_do_everything(endpoint: str, key: str) -> None:
    assert lists_tables(of(endpoint, {"AccessKeyId": key}))


# Each call, and what a caller without permissions is told that it needs first.
CALLS: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("dynamodb", "create_table", TABLE_DEFINITION, "dynamodb:CreateTable", f"{TABLES}/t"),
    ("dynamodb", "describe_table", {"TableName": f"{TABLES}/t"}, "dynamodb:DescribeTable", f"{TABLES}/t"),
    ("dynamodb", "create_backup", {"TableName": "t", "BackupName": "abc"}, "dynamodb:CreateBackup", f"{TABLES}/t"),
    ("dynamodb", "delete_backup", {"BackupArn": BACKUP}, "dynamodb:DeleteBackup", BACKUP),
    ("dynamodb", "list_backups", {"TableName": "t"}, "dynamodb:ListBackups", "*"),
    ("dynamodb", "tag_resource", {"ResourceArn": f"{TABLES}/t", "Tags": TAG}, "dynamodb:TagResource", f"{TABLES}/t"),
    ("dynamodb", "put_resource_policy", {"ResourceArn": STREAM, "Policy": "{}"}, "dynamodb:PutResourcePolicy", STREAM),
    ("dynamodbstreams", "list_streams", {}, "dynamodb:ListStreams", "*"),
    ("dynamodbstreams", "describe_stream", {"StreamArn": STREAM}, "dynamodb:DescribeStream", STREAM),
    ("dynamodbstreams", "get_records", {"ShardIterator": f"{STREAM}|1|MQ=="}, "dynamodb:GetRecords", STREAM),
    ("iam", "get_role", {"RoleName": "made"}, "iam:GetRole", f"{IAM}:role/service/made"),
    ("iam", "get_role", {"RoleName": "absent"}, "iam:GetRole", f"{IAM}:role/absent"),
    (
        "iam",
        "create_role",
        {"RoleName": "r", "Path": "/x/", "AssumeRolePolicyDocument": "{}"},
        "iam:CreateRole",
        f"{IAM}:role/x/r",
    ),
    (
        "iam",
        "attach_role_policy",
        {"RoleName": "made", "PolicyArn": f"{IAM}:policy/p"},
        "iam:AttachRolePolicy",
        f"{IAM}:role/service/made",
    ),
    ("iam", "get_policy", {"PolicyArn": f"{IAM}:policy/p"}, "iam:GetPolicy", f"{IAM}:policy/p"),
    (
        "iam",
        "simulate_principal_policy",
        {"PolicySourceArn": ROLE, "ActionNames": ["s3:GetObject"]},
        "iam:SimulatePrincipalPolicy",
        ROLE,
    ),
    ("iam", "list_roles", {}, "iam:ListRoles", "*"),
    ("lambda", "create_function", FUNCTION_DEFINITION, "lambda:CreateFunction", FUNCTION),
    ("lambda", "get_function", {"FunctionName": FUNCTION}, "lambda:GetFunction", FUNCTION),
    ("lambda", "get_function", {"FunctionName": f"{ACCOUNT}:function:f"}, "lambda:GetFunction", FUNCTION),
    ("lambda", "publish_version", {"FunctionName": "f"}, "lambda:PublishVersion", FUNCTION),
    ("lambda", "update_alias", {"FunctionName": "f", "Name": "live"}, "lambda:UpdateAlias", FUNCTION),
    ("lambda", "invoke", {"FunctionName": "f"}, "lambda:InvokeFunction", FUNCTION),
    ("lambda", "invoke", {"FunctionName": "f", "Qualifier": "live"}, "lambda:InvokeFunction", f"{FUNCTION}:live"),
    ("lambda", "get_layer_version_by_arn", {"Arn": LAYER}, "lambda:GetLayerVersion", LAYER),
    ("lambda", "get_layer_version", {"LayerName": "l", "VersionNumber": 1}, "lambda:GetLayerVersion", LAYER),
    ("lambda", "list_tags", {"Resource": FUNCTION}, "lambda:ListTags", FUNCTION),
    ("lambda", "list_tags", {"Resource": MAPPING_ARN}, "lambda:ListTags", MAPPING_ARN),
    (
        "lambda",
        "create_event_source_mapping",
        {"FunctionName": "f", "EventSourceArn": STREAM, "StartingPosition": "LATEST"},
        "lambda:CreateEventSourceMapping",
        "*",
    ),
    ("lambda", "update_event_source_mapping", {"UUID": MAPPING}, "lambda:UpdateEventSourceMapping", MAPPING_ARN),
    ("lambda", "list_event_source_mappings", {"FunctionName": "f"}, "lambda:ListEventSourceMappings", "*"),
    ("logs", "create_log_group", {"logGroupName": "/g"}, "logs:CreateLogGroup", f"{GROUP}:log-stream:"),
    (
        "logs",
        "get_log_events",
        {"logGroupName": "/g", "logStreamName": "s"},
        "logs:GetLogEvents",
        f"{GROUP}:log-stream:s",
    ),
    ("logs", "filter_log_events", {"logGroupIdentifier": GROUP}, "logs:FilterLogEvents", f"{GROUP}:log-stream:"),
    (
        "logs",
        "describe_log_groups",
        {"logGroupNamePrefix": "/g"},
        "logs:DescribeLogGroups",
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group::log-stream:",
    ),
    ("logs", "list_tags_for_resource", {"resourceArn": GROUP}, "logs:ListTagsForResource", GROUP),
    ("s3", "list_objects_v2", {"Bucket": "b"}, "s3:ListBucket", "arn:aws:s3:::b"),
    ("s3", "list_object_versions", {"Bucket": "b"}, "s3:ListBucketVersions", "arn:aws:s3:::b"),
    ("s3", "get_bucket_versioning", {"Bucket": "b"}, "s3:GetBucketVersioning", "arn:aws:s3:::b"),
    ("s3", "get_object", {"Bucket": "b", "Key": "k/1"}, "s3:GetObject", "arn:aws:s3:::b/k/1"),
    ("s3", "get_object_tagging", {"Bucket": "b", "Key": "k"}, "s3:GetObjectTagging", "arn:aws:s3:::b/k"),
    (
        "s3",
        "delete_object",
        {"Bucket": "b", "Key": "k", "VersionId": "1"},
        "s3:DeleteObjectVersion",
        "arn:aws:s3:::b/k",
    ),
    ("sqs", "get_queue_url", {"QueueName": "q"}, "sqs:GetQueueUrl", QUEUE),
    (
        "sqs",
        "receive_message",
        {"QueueUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/q"},
        "sqs:ReceiveMessage",
        QUEUE,
    ),
    (
        "sqs",
        "delete_message_batch",
        {"QueueUrl": f"http://x/{ACCOUNT}/q", "Entries": [{"Id": "1", "ReceiptHandle": "1"}]},
        "sqs:DeleteMessage",
        QUEUE,
    ),
    ("sns", "publish", {"TopicArn": TOPIC, "Message": "m"}, "sns:Publish", TOPIC),
    ("sns", "create_topic", {"Name": "t"}, "sns:CreateTopic", TOPIC),
    ("cloudwatch", "put_metric_alarm", ALARM_DEFINITION, "cloudwatch:PutMetricAlarm", ALARM),
    ("cloudwatch", "delete_alarms", {"AlarmNames": ["a"]}, "cloudwatch:DeleteAlarms", ALARM),
    ("cloudwatch", "describe_alarms", {"AlarmNames": ["a"]}, "cloudwatch:DescribeAlarms", ALARM),
    ("cloudwatch", "list_tags_for_resource", {"ResourceARN": ALARM}, "cloudwatch:ListTagsForResource", ALARM),
    ("cloudwatch", "list_metrics", {}, "cloudwatch:ListMetrics", "*"),
    ("kms", "describe_key", {"KeyId": KEY}, "kms:DescribeKey", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY}"),
    ("sts", "assume_role", {"RoleArn": ROLE, "RoleSessionName": "me"}, "sts:AssumeRole", ROLE),
]


@pytest.fixture(scope="module")
def nobody(endpoint: str, client: Clients) -> Clients:
    """Clients of a user without permissions, in an account that has the role /service/made."""
    client("iam").create_role(RoleName="made", Path="/service/", AssumeRolePolicyDocument=policy(TRUST))
    return of(endpoint, make_user(client)[1])


@pytest.mark.parametrize(
    ("service", "call", "parameters", "action", "resource"), CALLS, ids=[f"{call[1]}-{call[4]}" for call in CALLS]
)
def test_a_denial_names_the_action_and_its_resource(
    nobody: Clients, service: str, call: str, parameters: dict[str, Any], action: str, resource: str
) -> None:
    code, message = error(nobody, service, call, **parameters)
    assert f" is not authorized to perform: {action} on resource: {resource} because " in message
    assert code in ("AccessDenied", "AccessDeniedException", "AuthorizationError")


# What a call needs besides the permission of its name.
FURTHER: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("dynamodb", "create_table", {**TABLE_DEFINITION, "Tags": TAG}, "dynamodb:TagResource", f"{TABLES}/t"),
    (
        "iam",
        "create_role",
        {"RoleName": "r", "AssumeRolePolicyDocument": policy(TRUST), "Tags": TAG},
        "iam:TagRole",
        f"{IAM}:role/r",
    ),
    ("lambda", "create_function", FUNCTION_DEFINITION, "iam:PassRole", ROLE),
    ("lambda", "update_function_configuration", {"FunctionName": "f", "Role": ROLE}, "iam:PassRole", ROLE),
    (
        "lambda",
        "update_function_code",
        {"FunctionName": "f", "S3Bucket": "code", "S3Key": "k"},
        "s3:GetObject",
        "arn:aws:s3:::code/k",
    ),
    (
        "lambda",
        "update_function_configuration",
        {"FunctionName": "f", "Layers": [LAYER]},
        "lambda:GetLayerVersion",
        LAYER,
    ),
    (
        "lambda",
        "create_function",
        {**FUNCTION_DEFINITION, "Tags": {"a": "b"}},
        "lambda:TagResource",
        FUNCTION,
    ),
    (
        "lambda",
        "update_function_configuration",
        {"FunctionName": "f", "VpcConfig": {"SubnetIds": ["subnet-12345678"]}},
        "ec2:DescribeVpcs",
        "*",
    ),
    ("logs", "create_log_group", {"logGroupName": "/g", "tags": {"a": "b"}}, "logs:TagResource", GROUP),
    ("sqs", "create_queue", {"QueueName": "q", "tags": {"a": "b"}}, "sqs:TagQueue", QUEUE),
    ("sns", "create_topic", {"Name": "t", "Tags": TAG}, "sns:TagResource", TOPIC),
    ("cloudwatch", "put_metric_alarm", {**ALARM_DEFINITION, "Tags": TAG}, "cloudwatch:TagResource", ALARM),
]


@pytest.mark.parametrize(
    ("service", "call", "parameters", "action", "resource"), FURTHER, ids=[f"{call[1]}-{call[3]}" for call in FURTHER]
)
def test_a_call_needs_the_permission_for_each_thing_that_it_does(
    endpoint: str, client: Clients, service: str, call: str, parameters: dict[str, Any], action: str, resource: str
) -> None:
    everything_else = {"Effect": "Allow", "NotAction": action, "Resource": "*"}
    _, message = error(of(endpoint, make_user(client, everything_else)[1]), service, call, **parameters)
    assert f" is not authorized to perform: {action} on resource: {resource} because " in message


def test_pass_role_can_be_limited_to_a_service(endpoint: str, client: Clients) -> None:
    to_ec2 = {**allow(["iam:PassRole"]), "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}}
    _, key = make_user(client, allow(["lambda:*"]), to_ec2)
    _, message = error(of(endpoint, key), "lambda", "create_function", **FUNCTION_DEFINITION)
    assert "iam:PassRole" in message


def test_attaching_policies_can_be_limited_to_a_policy(endpoint: str, client: Clients) -> None:
    attach = {"RoleName": "unknown", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}
    limit = {"StringEquals": {"iam:PolicyARN": attach["PolicyArn"]}}
    user = of(endpoint, make_user(client, {**allow(["iam:AttachRolePolicy"]), "Condition": limit})[1])
    assert error(user, "iam", "attach_role_policy", **attach)[0] == "NoSuchEntity"
    attach["PolicyArn"] = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert error(user, "iam", "attach_role_policy", **attach)[0] == "AccessDenied"


def test_creating_roles_can_be_limited_to_a_permissions_boundary(endpoint: str, client: Clients) -> None:
    boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    limit = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    user = of(endpoint, make_user(client, {**allow(["iam:CreateRole"]), "Condition": limit})[1])
    role = {"RoleName": f"role-{uuid.uuid4().hex[:12]}", "AssumeRolePolicyDocument": policy(TRUST)}
    assert error(user, "iam", "create_role", **role)[0] == "AccessDenied"
    assert error(user, "iam", "create_role", **role, PermissionsBoundary=boundary) == ("", "")


def test_creating_mappings_can_be_limited_to_a_function(endpoint: str, client: Clients) -> None:
    mine = {**allow(["lambda:CreateEventSourceMapping"]), "Condition": {"ArnEquals": {"lambda:FunctionArn": FUNCTION}}}
    user = of(endpoint, make_user(client, mine)[1])
    parameters = {"EventSourceArn": STREAM, "StartingPosition": "LATEST"}
    code, _ = error(user, "lambda", "create_event_source_mapping", FunctionName="g", **parameters)
    assert code == "AccessDeniedException"
    code, _ = error(user, "lambda", "create_event_source_mapping", FunctionName="f", **parameters)
    assert code == "InvalidParameterValueException"  # the function does not exist


def test_get_function_returns_an_error_in_place_of_tags_that_the_caller_may_not_list(
    endpoint: str, client: Clients
) -> None:
    function = deploy(client, Tags={"a": "b"})
    user = of(endpoint, make_user(client, allow(["lambda:GetFunction"]))[1])
    answer = user("lambda").get_function(FunctionName=function.name)
    assert "Tags" not in answer
    assert "lambda:ListTags" in answer["TagsError"]["Message"]
    assert client("lambda").get_function(FunctionName=function.name)["Tags"] == {"a": "b"}


def test_an_alias_of_a_key_is_judged_as_its_key(endpoint: str, client: Clients) -> None:
    key, alias = client("kms").create_key()["KeyMetadata"]["Arn"], f"alias/{uuid.uuid4().hex}"
    client("kms").create_alias(AliasName=alias, TargetKeyId=key)
    user = of(endpoint, make_user(client, allow(["kms:DescribeKey"], key))[1])
    assert error(user, "kms", "describe_key", KeyId=alias) == ("", "")


def test_reading_a_key_can_be_limited_to_an_alias(endpoint: str, client: Clients) -> None:
    key, alias = client("kms").create_key()["KeyMetadata"]["Arn"], f"alias/{uuid.uuid4().hex}"
    client("kms").create_alias(AliasName=alias, TargetKeyId=key)
    by_alias = {"StringEquals": {"kms:RequestAlias": alias}}
    user = of(endpoint, make_user(client, {**allow(["kms:DescribeKey"]), "Condition": by_alias})[1])
    assert error(user, "kms", "describe_key", KeyId=alias) == ("", "")
    assert error(user, "kms", "describe_key", KeyId=key)[0] == "AccessDeniedException"
