"""A function has the permissions of its role, and no others.

Sources: IAM user guide "Policy evaluation logic", "IAM JSON policy elements", "Troubleshoot access denied errors".
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import REGION
from tests.localaws.deployed import Deployed, allow, deploy, make_role, policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    Caller: TypeAlias = Callable[..., Deployed]

ACCOUNT = "000000000000"
TO_LAMBDA = {"Principal": {"Service": "lambda.amazonaws.com"}}
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/"
# Makes the API call in the event, and returns its error.
CALLER = """
import boto3
from botocore.exceptions import ClientError
clients = {}
def handler(event, context):
    service = event["service"]
    client = clients.setdefault(service, boto3.client(service))
    try:
        getattr(client, event["call"])(**event["parameters"])
    except ClientError as error:
        return {"code": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}
    return {"code": "", "message": ""}
"""


@pytest.fixture(scope="module")
def table(client: Callable[[str], Any]) -> str:
    name = f"table-{uuid.uuid4().hex[:12]}"
    client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def call(function: Deployed, service: str, name: str, **parameters: Any) -> tuple[str, str]:
    """Have the function make a call. Return the code and the message of its error, or ""."""
    answer = function.invoke({"service": service, "call": name, "parameters": parameters}).payload
    return answer["code"], answer["message"]


@pytest.fixture(scope="module")
def only_caller(client: Any) -> Deployed:
    """The function of all tests: importing boto3 in a process each would take most of their time."""
    return deploy(client, CALLER, statements=(), Timeout=10)


@pytest.fixture
def caller(client: Any, only_caller: Deployed) -> Iterator[Caller]:
    """A function whose role has these statements only."""
    iam, role = client("iam"), only_caller.role.rpartition("/")[2]

    def with_statements(*statements: dict[str, Any]) -> Deployed:
        if statements:
            iam.put_role_policy(RoleName=role, PolicyName="allowed", PolicyDocument=policy(*statements))
        return only_caller

    yield with_statements
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
    iam.delete_role_permissions_boundary(RoleName=role)


def put(function: Deployed, table: str) -> str:
    return call(function, "dynamodb", "put_item", TableName=table, Item={"name": {"S": "a"}})[0]


PUT = ["dynamodb:PutItem"]


@pytest.mark.parametrize(
    "statements",
    [
        [allow(PUT)],
        [allow(["*"])],
        [allow(["dynamodb:Put*"])],
        [allow(["DYNAMODB:putitem"])],
        [allow(["dynamodb:P?tItem"])],
        [allow(PUT, f"{TABLE}table-*")],
        [{"Effect": "Allow", "NotAction": "dynamodb:GetItem", "Resource": "*"}],
        [{"Effect": "Allow", "Action": "dynamodb:PutItem", "NotResource": f"{TABLE}other"}],
        [{**allow(PUT), "Condition": {"StringEquals": {"aws:RequestedRegion": REGION}}}],
        [{**allow(PUT), "Condition": {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/*"}}}],
        [{**allow(PUT), "Condition": {"Null": {"aws:TokenIssueTime": "true"}}}],
        [{**allow(PUT), "Condition": {"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}}],
        [{**allow(PUT), "Condition": {"StringEqualsIfExists": {"aws:Absent": "x"}}}],
    ],
    ids=str,
)
def test_allowed_call_succeeds(caller: Caller, table: str, statements: list[dict[str, Any]]) -> None:
    assert put(caller(*statements), table) == ""


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [allow(["dynamodb:GetItem"])],
        [allow(["dynamodb:Put"])],
        [allow(PUT, f"{TABLE}other")],
        [allow(["*"]), {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}],
        [{"Effect": "Allow", "NotAction": "dynamodb:*", "Resource": "*"}],
        [{"Effect": "Allow", "Action": "*", "NotResource": f"{TABLE}*"}],
        [{**allow(PUT), "Condition": {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}}],
        [{**allow(PUT), "Condition": {"StringEquals": {"aws:Absent": "x"}}}],
        [{**allow(PUT), "Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}],
    ],
    ids=str,
)
def test_other_call_is_denied(caller: Caller, table: str, statements: list[dict[str, Any]]) -> None:
    assert put(caller(*statements), table) == "AccessDeniedException"


def test_denial_names_caller_action_resource_and_reason(caller: Caller, table: str) -> None:
    function = caller()
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/{function.role.rpartition('/')[2]}/{function.name}"
    assert call(function, "dynamodb", "put_item", TableName=table, Item={"name": {"S": "a"}}) == (
        "AccessDeniedException",
        (
            f"User: {who} is not authorized to perform: dynamodb:PutItem on resource: {TABLE}{table} "
            "because no identity-based policy allows the dynamodb:PutItem action"
        ),
    )


def test_denial_names_an_explicit_deny(caller: Caller, table: str) -> None:
    function = caller(allow(["*"]), {"Effect": "Deny", "Action": PUT, "Resource": "*"})
    _, message = call(function, "dynamodb", "put_item", TableName=table, Item={"name": {"S": "a"}})
    assert message.endswith("with an explicit deny in an identity-based policy")


def test_attached_managed_policy_applies(client: Any, caller: Caller, table: str) -> None:
    function = caller()
    name = f"policy-{uuid.uuid4().hex[:12]}"
    made = client("iam").create_policy(PolicyName=name, PolicyDocument=policy(allow(PUT)))["Policy"]
    client("iam").attach_role_policy(RoleName=function.role.rpartition("/")[2], PolicyArn=made["Arn"])
    assert put(function, table) == ""


def test_aws_managed_policy_can_be_attached(client: Any) -> None:
    function = deploy(client, "def handler(event, context): print('printed')", statements=())
    arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    client("iam").attach_role_policy(RoleName=function.role.rpartition("/")[2], PolicyArn=arn)
    function.invoke()
    assert "printed\n" in function.lines()


def test_permissions_boundary_limits_what_policies_allow(client: Any, caller: Caller, table: str) -> None:
    function = caller(allow(["*"]))
    name = f"boundary-{uuid.uuid4().hex[:12]}"
    made = client("iam").create_policy(PolicyName=name, PolicyDocument=policy(allow(["s3:*"])))["Policy"]
    role = function.role.rpartition("/")[2]
    client("iam").put_role_permissions_boundary(RoleName=role, PermissionsBoundary=made["Arn"])
    assert put(function, table) == "AccessDeniedException"


def test_new_policy_applies_at_once(client: Any, caller: Caller, table: str) -> None:
    function = caller()
    before = put(function, table)
    role = function.role.rpartition("/")[2]
    client("iam").put_role_policy(RoleName=role, PolicyName="later", PolicyDocument=policy(allow(PUT)))
    assert (before, put(function, table)) == ("AccessDeniedException", "")


@pytest.mark.parametrize(
    ("service", "name", "parameters", "code", "wanted"),
    [
        ("sqs", "send_message", {"QueueUrl": "http://localhost/0/q", "MessageBody": "x"}, "AccessDenied", "sqs:"),
        ("sns", "publish", {"TopicArn": "arn:aws:sns:x:0:t", "Message": "x"}, "AuthorizationError", "sns:Publish"),
        ("s3", "put_object", {"Bucket": "b", "Key": "k/l", "Body": b"".decode()}, "AccessDenied", "s3:PutObject"),
        ("s3", "list_objects_v2", {"Bucket": "b"}, "AccessDenied", "s3:ListBucket on resource: arn:aws:s3:::b "),
        ("lambda", "invoke", {"FunctionName": "f"}, "AccessDeniedException", "lambda:InvokeFunction on resource: arn"),
        ("lambda", "list_functions", {}, "AccessDeniedException", "lambda:ListFunctions on resource: *"),
        ("logs", "create_log_group", {"logGroupName": "g"}, "AccessDeniedException", "log-group:g:log-stream:"),
        ("iam", "list_roles", {}, "AccessDenied", "iam:ListRoles"),
        ("dynamodb", "list_tables", {}, "AccessDeniedException", "dynamodb:ListTables on resource: *"),
        (
            "dynamodb",
            "transact_write_items",
            {"TransactItems": [{"Delete": {"TableName": "t", "Key": {"name": {"S": "a"}}}}]},
            "AccessDeniedException",
            "dynamodb:DeleteItem",
        ),
        (
            "dynamodb",
            "query",
            {"TableName": "orders", "IndexName": "by-day", "KeyConditionExpression": "a = b"},
            "AccessDeniedException",
            "table/orders/index/by-day",
        ),
        (
            "dynamodbstreams",
            "describe_stream",
            {"StreamArn": f"{TABLE}t/stream/2026-01-01T00:00:00.000"},
            "AccessDeniedException",
            "dynamodb:DescribeStream",
        ),
    ],
    ids=lambda value: str(value)[:24],
)
def test_denial_has_the_error_format_of_the_service(
    caller: Caller, service: str, name: str, parameters: dict[str, Any], code: str, wanted: str
) -> None:
    found, message = call(caller(), service, name, **parameters)
    assert (found, wanted in message) == (code, True), message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "This policy contains invalid Json"),
        (policy(allow(["s3:GetObject"]) | TO_LAMBDA), "AssumeRole policy may only specify STS AssumeRole actions."),
        (policy(allow(["sts:AssumeRole"]) | TO_LAMBDA), "Has prohibited field Resource"),
        (policy({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
    ],
)
@pytest.mark.parametrize("call", ["create_role", "update_assume_role_policy"])
def test_invalid_trust_policy_is_refused(client: Any, call: str, document: str, message: str) -> None:
    """Recorded: LocalStack, tests/aws/services/iam/test_iam_roles.snapshot.json."""
    existing = make_role(client).rpartition("/")[2]
    parameters = {
        "create_role": {"RoleName": "untrusted", "AssumeRolePolicyDocument": document},
        "update_assume_role_policy": {"RoleName": existing, "PolicyDocument": document},
    }
    with pytest.raises(ClientError) as refused:
        getattr(client("iam"), call)(**parameters[call])
    error = refused.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("MalformedPolicyDocument", message)


@pytest.mark.parametrize("call", ["create_role", "update_assume_role_policy"])
def test_account_id_in_a_trust_policy_becomes_the_arn_of_its_root_user(client: Any, call: str) -> None:
    """IAM user guide, "AWS JSON policy elements: Principal"."""
    principals = {"AWS": ["123456789012", "arn:aws:iam::000000000000:root"], "Service": "lambda.amazonaws.com"}
    condition = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    statement = {"Effect": "Allow", "Principal": principals, "Action": "sts:AssumeRole", "Condition": condition}
    name, document = f"by-{call}".replace("_", "-"), policy(statement)
    if call == "create_role":
        client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)
    else:
        client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy({**statement, "Sid": "old"}))
        client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=document)

    stored = client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    roots = ["arn:aws:iam::123456789012:root", "arn:aws:iam::000000000000:root"]
    assert stored == [{**statement, "Principal": {**principals, "AWS": roots}}]


def test_get_caller_identity_needs_no_permission(caller: Caller) -> None:
    assert call(caller(), "sts", "get_caller_identity") == ("", "")


def test_other_credentials_need_no_permission(client: Any, table: str) -> None:
    assert client("dynamodb").put_item(TableName=table, Item={"name": {"S": "a"}})
