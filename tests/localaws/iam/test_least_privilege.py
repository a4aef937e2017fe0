"""The least permissions that a call of a handler needs on AWS are enough here, and anything less is refused.

Source: Service Authorization Reference, "Actions, resources, and condition keys" of each service.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.localaws.conftest import REGION, clients
from tests.localaws.deployed import allow, deploy, make_role, policy
from tests.localaws.iam.test_callers import ACCOUNT, assume, error, make_policy, of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.localaws.iam.test_callers import Clients

pytestmark = pytest.mark.proof  # some fifty calls, each with several policies

NAME = f"handler-{uuid.uuid4().hex[:12]}"


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


TABLE = arn("dynamodb", f"table/{NAME}")
INDEX = f"{TABLE}/index/by-kind"
BUCKET = f"arn:aws:s3:::{NAME}"
QUEUE_URL = f"http://127.0.0.1/{ACCOUNT}/{NAME}"
MACHINE = arn("states", f"stateMachine:{NAME}")
SENDER = f"{NAME}@example.com"
MESSAGE = {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}
DESTINATION = {"ToAddresses": [SENDER]}
RAW = f"From: Sender <{SENDER}>\nTo: {SENDER}\n\ntext".encode()
KEY_ITEM = {"name": {"S": "a"}}
VALUES = {":v": {"S": "v"}}


@pytest.fixture(scope="module")
def made(client: Clients) -> dict[str, str]:
    """The resources that the calls name: what AWS generates of their names, by the placeholder in the table below."""
    key = client("kms").create_key()["KeyMetadata"]["Arn"]
    other_key = client("kms").create_key()["KeyMetadata"]["Arn"]
    client("kms").create_alias(AliasName=f"alias/{NAME}", TargetKeyId=key)
    client("ssm").put_parameter(Name=f"/{NAME}/a", Value="1", Type="String")
    client("ssm").put_parameter(Name=NAME, Value="1", Type="String")
    client("ssm").put_parameter(Name=f"/{NAME}/own/key", Value="1", Type="SecureString", KeyId=f"alias/{NAME}")
    client("ssm").put_parameter(Name=f"{NAME}-own-key", Value="1", Type="SecureString", KeyId=f"alias/{NAME}")
    own = client("secretsmanager").create_secret(Name=f"{NAME}-own-key", SecretString="s", KmsKeyId=f"alias/{NAME}")
    secret = client("secretsmanager").create_secret(Name=NAME, SecretString="s")["ARN"]
    client("kinesis").create_stream(StreamName=NAME, ShardCount=1)
    shard = client("kinesis").list_shards(StreamName=NAME)["Shards"][0]["ShardId"]
    iterator = client("kinesis").get_shard_iterator(StreamName=NAME, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    client("events").create_event_bus(Name=NAME)
    client("ses").verify_email_identity(EmailAddress=SENDER)
    client("ses").verify_domain_identity(Domain=f"{NAME}.com")
    client("s3").create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
    client("s3").put_object(Bucket=NAME, Key="b&c", Body=b"x")
    client("sqs").create_queue(QueueName=NAME)
    client("sns").create_topic(Name=NAME)
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    client("stepfunctions").create_state_machine(name=NAME, definition=definition, roleArn=make_role(client))
    client("dynamodb").create_table(
        TableName=NAME,
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("name", "kind")],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-kind",
                "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    function = deploy(client)
    client("lambda").publish_version(FunctionName=function.name)
    client("lambda").create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
    encrypted = client("kms").encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    return {
        "{secret}": secret,
        "{own-key-secret}": own["ARN"],
        "{key}": key,
        "{other-key}": other_key,
        "{encrypted}": encrypted,
        "{iterator}": iterator["ShardIterator"],
        "{function}": function.arn,
        "{table}": NAME,
    }


# A call, and the actions and resources that are enough for it.
CALLS: list[tuple[str, str, dict[str, Any], list[tuple[str, str]]]] = [
    ("ssm", "get_parameter", {"Name": f"/{NAME}/a"}, [("ssm:GetParameter", arn("ssm", f"parameter/{NAME}/a"))]),
    ("ssm", "get_parameter", {"Name": f"{NAME}:1"}, [("ssm:GetParameter", arn("ssm", f"parameter/{NAME}"))]),
    (
        "ssm",
        "get_parameters",
        {"Names": [f"/{NAME}/a", NAME]},
        [
            ("ssm:GetParameters", arn("ssm", f"parameter/{NAME}/a")),
            ("ssm:GetParameters", arn("ssm", f"parameter/{NAME}")),
        ],
    ),
    (
        "ssm",
        "get_parameters_by_path",
        {"Path": f"/{NAME}"},
        [("ssm:GetParametersByPath", arn("ssm", f"parameter/{NAME}"))],
    ),
    (
        "ssm",
        "get_parameters_by_path",
        {"Path": f"/{NAME}/own", "WithDecryption": True},
        [("ssm:GetParametersByPath", arn("ssm", f"parameter/{NAME}/own")), ("kms:Decrypt", "{key}")],
    ),
    (
        "ssm",
        "put_parameter",
        {"Name": f"/{NAME}/new", "Value": "1", "Type": "String", "Overwrite": True},
        [("ssm:PutParameter", arn("ssm", f"parameter/{NAME}/new"))],
    ),
    (
        "ssm",
        "get_parameter",
        {"Name": f"{NAME}-own-key", "WithDecryption": True},
        [("ssm:GetParameter", arn("ssm", f"parameter/{NAME}-own-key")), ("kms:Decrypt", "{key}")],
    ),
    (
        "secretsmanager",
        "get_secret_value",
        {"SecretId": f"{NAME}-own-key"},
        [("secretsmanager:GetSecretValue", "{own-key-secret}"), ("kms:Decrypt", "{key}")],
    ),
    ("ssm", "describe_parameters", {}, [("ssm:DescribeParameters", "*")]),
    ("secretsmanager", "get_secret_value", {"SecretId": NAME}, [("secretsmanager:GetSecretValue", "{secret}")]),
    (
        "secretsmanager",
        "get_secret_value",
        {"SecretId": NAME},
        [("secretsmanager:GetSecretValue", arn("secretsmanager", f"secret:{NAME}-??????"))],
    ),
    ("secretsmanager", "get_secret_value", {"SecretId": "{secret}"}, [("secretsmanager:GetSecretValue", "{secret}")]),
    (
        "secretsmanager",
        "batch_get_secret_value",
        {"SecretIdList": [NAME]},
        [("secretsmanager:BatchGetSecretValue", "*"), ("secretsmanager:GetSecretValue", "{secret}")],
    ),
    ("kms", "encrypt", {"KeyId": f"alias/{NAME}", "Plaintext": b"x"}, [("kms:Encrypt", "{key}")]),
    ("kms", "decrypt", {"CiphertextBlob": "{encrypted}"}, [("kms:Decrypt", "{key}")]),
    ("kms", "generate_data_key", {"KeyId": "{key}", "KeySpec": "AES_256"}, [("kms:GenerateDataKey", "{key}")]),
    (
        "kms",
        "re_encrypt",
        {"CiphertextBlob": "{encrypted}", "DestinationKeyId": "{other-key}"},
        [("kms:ReEncryptFrom", "{key}"), ("kms:ReEncryptTo", "{other-key}")],
    ),
    (
        "kinesis",
        "put_record",
        {"StreamName": NAME, "Data": b"x", "PartitionKey": "a"},
        [("kinesis:PutRecord", arn("kinesis", f"stream/{NAME}"))],
    ),
    (
        "kinesis",
        "put_records",
        {"StreamARN": arn("kinesis", f"stream/{NAME}"), "Records": [{"Data": b"x", "PartitionKey": "a"}]},
        [("kinesis:PutRecords", arn("kinesis", f"stream/{NAME}"))],
    ),
    (
        "kinesis",
        "get_records",
        {"ShardIterator": "{iterator}"},
        [("kinesis:GetRecords", arn("kinesis", f"stream/{NAME}"))],
    ),
    (
        "events",
        "put_events",
        {"Entries": [{"Source": "a", "DetailType": "b", "Detail": "{}"}]},
        [("events:PutEvents", arn("events", "event-bus/default"))],
    ),
    (
        "events",
        "put_events",
        {
            "Entries": [
                {"Source": "a", "DetailType": "b", "Detail": "{}", "EventBusName": bus}
                for bus in (NAME, arn("events", "event-bus/default"))
            ]
        },
        [
            ("events:PutEvents", arn("events", f"event-bus/{NAME}")),
            ("events:PutEvents", arn("events", "event-bus/default")),
        ],
    ),
    (
        "events",
        "put_rule",
        {"Name": "r", "EventBusName": NAME, "EventPattern": "{}"},
        [("events:PutRule", arn("events", f"rule/{NAME}/r"))],
    ),
    (
        "cloudwatch",
        "put_metric_data",
        {"Namespace": NAME, "MetricData": [{"MetricName": "m", "Value": 1}]},
        [("cloudwatch:PutMetricData", "*")],
    ),
    (
        "ses",
        "send_email",
        {"Source": SENDER, "Destination": DESTINATION, "Message": MESSAGE},
        [("ses:SendEmail", arn("ses", f"identity/{SENDER}"))],
    ),
    (
        "ses",
        "send_email",
        {"Source": f"a@{NAME}.com", "Destination": DESTINATION, "Message": MESSAGE},
        [("ses:SendEmail", arn("ses", f"identity/{NAME}.com"))],
    ),
    ("ses", "send_raw_email", {"RawMessage": {"Data": RAW}}, [("ses:SendRawEmail", arn("ses", f"identity/{SENDER}"))]),
    (
        "sesv2",
        "send_email",
        {"FromEmailAddress": f"S <{SENDER}>", "Destination": DESTINATION, "Content": {"Simple": MESSAGE}},
        [("ses:SendEmail", arn("ses", f"identity/{SENDER}"))],
    ),
    (
        "sesv2",
        "send_email",
        {"FromEmailAddress": SENDER, "Destination": DESTINATION, "Content": {"Raw": {"Data": RAW}}},
        [("ses:SendRawEmail", arn("ses", f"identity/{SENDER}"))],
    ),
    ("s3", "get_object", {"Bucket": NAME, "Key": "b&c"}, [("s3:GetObject", f"{BUCKET}/b&c")]),
    ("s3", "head_object", {"Bucket": NAME, "Key": "b&c"}, [("s3:GetObject", f"{BUCKET}/b&c")]),
    ("s3", "put_object", {"Bucket": NAME, "Key": "new", "Body": b"x"}, [("s3:PutObject", f"{BUCKET}/new")]),
    ("s3", "list_objects_v2", {"Bucket": NAME}, [("s3:ListBucket", BUCKET)]),
    (
        "s3",
        "copy_object",
        {"Bucket": NAME, "Key": "copy", "CopySource": {"Bucket": NAME, "Key": "b&c"}},
        [("s3:GetObject", f"{BUCKET}/b&c"), ("s3:PutObject", f"{BUCKET}/copy")],
    ),
    (
        "s3",
        "delete_objects",
        {"Bucket": NAME, "Delete": {"Objects": [{"Key": "x"}, {"Key": "y&z"}]}},
        [("s3:DeleteObject", f"{BUCKET}/x"), ("s3:DeleteObject", f"{BUCKET}/y&z")],
    ),
    (
        "s3",
        "delete_objects",
        {"Bucket": NAME, "Delete": {"Objects": [{"Key": "x", "VersionId": "1"}]}},
        [("s3:DeleteObjectVersion", f"{BUCKET}/x")],
    ),
    ("sqs", "send_message", {"QueueUrl": QUEUE_URL, "MessageBody": "m"}, [("sqs:SendMessage", arn("sqs", NAME))]),
    (
        "sqs",
        "send_message_batch",
        {"QueueUrl": QUEUE_URL, "Entries": [{"Id": "1", "MessageBody": "m"}]},
        [("sqs:SendMessage", arn("sqs", NAME))],
    ),
    ("sqs", "get_queue_url", {"QueueName": NAME}, [("sqs:GetQueueUrl", arn("sqs", NAME))]),
    ("sns", "publish", {"TopicArn": arn("sns", NAME), "Message": "m"}, [("sns:Publish", arn("sns", NAME))]),
    (
        "sns",
        "publish_batch",
        {"TopicArn": arn("sns", NAME), "PublishBatchRequestEntries": [{"Id": "1", "Message": "m"}]},
        [("sns:Publish", arn("sns", NAME))],
    ),
    (
        "stepfunctions",
        "start_execution",
        {"input": '"arn:aws:states:x"', "stateMachineArn": MACHINE},
        [("states:StartExecution", MACHINE)],
    ),
    ("stepfunctions", "list_executions", {"stateMachineArn": MACHINE}, [("states:ListExecutions", MACHINE)]),
    ("dynamodb", "put_item", {"TableName": NAME, "Item": KEY_ITEM}, [("dynamodb:PutItem", TABLE)]),
    (
        "dynamodb",
        "query",
        {
            "TableName": NAME,
            "IndexName": "by-kind",
            "KeyConditionExpression": "kind = :v",
            "ExpressionAttributeValues": VALUES,
        },
        [("dynamodb:Query", INDEX)],
    ),
    ("dynamodb", "scan", {"TableName": TABLE, "IndexName": "by-kind"}, [("dynamodb:Scan", INDEX)]),
    ("dynamodb", "batch_get_item", {"RequestItems": {NAME: {"Keys": [KEY_ITEM]}}}, [("dynamodb:BatchGetItem", TABLE)]),
    (
        "dynamodb",
        "transact_write_items",
        {
            "TransactItems": [
                {
                    "Update": {
                        "TableName": NAME,
                        "Key": KEY_ITEM,
                        "UpdateExpression": "SET v = :v",
                        "ExpressionAttributeValues": VALUES,
                    }
                }
            ]
        },
        [("dynamodb:UpdateItem", TABLE)],
    ),
    ("dynamodb", "execute_statement", {"Statement": 'SELECT * FROM "{table}"'}, [("dynamodb:PartiQLSelect", TABLE)]),
    (
        "dynamodb",
        "execute_statement",
        {"Statement": "UPDATE \"{table}\" SET v = 'it came from x' WHERE name = 'a'"},
        [("dynamodb:PartiQLUpdate", TABLE)],
    ),
    (
        "dynamodb",
        "batch_execute_statement",
        {
            "Statements": [
                {"Statement": "INSERT INTO \"{table}\" VALUE {'name': 'p'}"},
                {"Statement": "DELETE FROM \"{table}\" WHERE name = 'q'"},
            ]
        },
        [("dynamodb:PartiQLInsert", TABLE), ("dynamodb:PartiQLDelete", TABLE)],
    ),
    (
        "dynamodb",
        "execute_transaction",
        {"TransactStatements": [{"Statement": "UPDATE \"{table}\" SET v = 1 WHERE name = 'a'"}]},
        [("dynamodb:PartiQLUpdate", TABLE)],
    ),
    ("lambda", "invoke", {"FunctionName": "{function}"}, [("lambda:InvokeFunction", "{function}")]),
    ("lambda", "invoke", {"FunctionName": "{function}:live"}, [("lambda:InvokeFunction", "{function}:live")]),
    ("lambda", "invoke", {"FunctionName": "{function}", "Qualifier": "1"}, [("lambda:InvokeFunction", "{function}:1")]),
    (
        "lambda",
        "get_function_configuration",
        {"FunctionName": "{function}", "Qualifier": "live"},
        [("lambda:GetFunctionConfiguration", "{function}:live")],
    ),
]
IDS = [f"{call}-{'-'.join(action for action, _ in needed)}" for _, call, _, needed in CALLS]


def filled(value: Any, made: dict[str, str]) -> Any:
    """The value with the placeholders replaced."""
    if isinstance(value, dict):
        return {key: filled(each, made) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, made) for each in value]
    if value in made:
        return made[value]
    for name in ("{function}", "{table}"):
        value = value.replace(name, made[name]) if isinstance(value, str) else value
    return value


@pytest.fixture(scope="module")
def role(endpoint: str, client: Clients) -> tuple[str, Clients]:
    """The name of a role, and the clients of a session of it: each test gives the role its policy."""
    name, credentials = assume(client)
    return name, of(endpoint, credentials)


@pytest.fixture
def as_allowed(client: Clients, role: tuple[str, Clients]) -> Callable[..., Clients]:
    """Return the clients of a role that has just these permissions."""

    def allowed(*statements: dict[str, Any]) -> Clients:
        client("iam").put_role_policy(RoleName=role[0], PolicyName="p", PolicyDocument=policy(*statements))
        return role[1]

    return allowed


@pytest.mark.parametrize(("service", "call", "parameters", "needed"), CALLS, ids=IDS)
def test_the_least_permissions_are_enough(
    as_allowed: Callable[..., Clients], made: dict[str, str], service: str, call: str, parameters: Any, needed: Any
) -> None:
    statements = [allow([action], filled(resource, made)) for action, resource in needed]
    assert error(as_allowed(*statements), service, call, **filled(parameters, made)) == ("", "")


@pytest.mark.parametrize(("service", "call", "parameters", "needed"), CALLS, ids=IDS)
def test_each_permission_is_needed_on_its_very_resource(
    as_allowed: Callable[..., Clients], made: dict[str, str], service: str, call: str, parameters: Any, needed: Any
) -> None:
    for missing, (action, resource) in enumerate(needed):
        rest = [allow([name], filled(each, made)) for name, each in needed[:missing] + needed[missing + 1 :]]
        near = [] if resource == "*" else [allow([action], f"{filled(resource, made)}x")]
        near += [allow([f"{action}x"], filled(resource, made))]
        code, message = error(as_allowed(*rest, *near), service, call, **filled(parameters, made))
        # HEAD has no body, and so no message.
        assert code == "403" or f"is not authorized to perform: {action} on resource: " in message


def test_objects_that_the_caller_may_not_delete_remain_alone(
    client: Clients, as_allowed: Callable[..., Clients]
) -> None:
    for key in ("mine<1>", "theirs<1>", "theirs<2>"):
        client("s3").put_object(Bucket=NAME, Key=key, Body=b"x")
    user = as_allowed(allow(["s3:DeleteObject"], f"{BUCKET}/mine*"))
    objects = [{"Key": key} for key in ("theirs<1>", "mine<1>", "theirs<2>")]
    answer = user("s3").delete_objects(Bucket=NAME, Delete={"Objects": objects})
    assert [each["Key"] for each in answer["Deleted"]] == ["mine<1>"]
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [
        ("theirs<1>", "AccessDenied"),
        ("theirs<2>", "AccessDenied"),
    ]
    left = client("s3").list_objects_v2(Bucket=NAME, Prefix="theirs")["Contents"]
    assert [each["Key"] for each in left] == ["theirs<1>", "theirs<2>"]


def test_objects_are_deleted_for_an_sdk_that_names_the_content_type(endpoint: str, client: Clients) -> None:
    """As the SDK for JavaScript does; boto3 does not."""
    client("s3").put_object(Bucket=NAME, Key="typed", Body=b"x")
    s3 = clients(endpoint)("s3")
    s3.meta.events.register("before-sign", lambda request, **_: request.headers.add_header("Content-Type", "text/xml"))
    answer = s3.delete_objects(Bucket=NAME, Delete={"Objects": [{"Key": "typed"}]})
    assert [each["Key"] for each in answer["Deleted"]] == ["typed"]


def test_secrets_that_the_caller_may_not_read_have_errors_alone(
    as_allowed: Callable[..., Clients], made: dict[str, str]
) -> None:
    user = as_allowed(
        allow(["secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"]),
        allow(["secretsmanager:GetSecretValue"], made["{secret}"]),
    )
    own_key = f"{NAME}-own-key"
    for selection in ({"SecretIdList": [own_key, NAME]}, {"Filters": [{"Key": "name", "Values": [NAME]}]}):
        answer = user("secretsmanager").batch_get_secret_value(**selection)
        assert [each["Name"] for each in answer["SecretValues"]] == [NAME]
        assert [(each["SecretId"], each["ErrorCode"]) for each in answer["Errors"]] == [
            (own_key, "AccessDeniedException")
        ]


def test_metrics_can_be_limited_to_a_namespace(as_allowed: Callable[..., Clients]) -> None:
    mine = {"StringEquals": {"cloudwatch:namespace": "mine"}}
    user = as_allowed({**allow(["cloudwatch:PutMetricData"]), "Condition": mine})
    data = [{"MetricName": "m", "Value": 1}]
    assert error(user, "cloudwatch", "put_metric_data", Namespace="mine", MetricData=data) == ("", "")
    assert error(user, "cloudwatch", "put_metric_data", Namespace="other", MetricData=data)[0] == "AccessDenied"


def test_an_index_in_partiql_is_judged_as_the_index(as_allowed: Callable[..., Clients], made: dict[str, str]) -> None:
    """The statement fails afterwards: moto has no such statements."""
    statement = filled('SELECT name FROM "{table}"."by-kind" WHERE kind = \'a\'', made)
    codes = []
    for resource in (TABLE, INDEX):
        user = as_allowed(allow(["dynamodb:PartiQLSelect"], resource))
        codes.append(error(user, "dynamodb", "execute_statement", Statement=statement)[0])
    assert codes == ["AccessDeniedException", "ResourceNotFoundException"]


def test_the_name_of_a_secret_without_its_suffix_is_not_its_arn(
    as_allowed: Callable[..., Clients], made: dict[str, str]
) -> None:
    user = as_allowed(allow(["secretsmanager:GetSecretValue"], arn("secretsmanager", f"secret:{NAME}")))
    code, message = error(user, "secretsmanager", "get_secret_value", SecretId=NAME)
    assert code == "AccessDeniedException"
    assert made["{secret}"] in message


@pytest.mark.usefixtures("made")
def test_a_function_has_the_permissions_of_its_roles_managed_policies(client: Clients) -> None:
    role = make_role(client)
    for attached in (
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
        make_policy(client, allow(["ssm:GetParameter"], arn("ssm", f"parameter/{NAME}/*"))),
    ):
        client("iam").attach_role_policy(RoleName=role.rpartition("/")[2], PolicyArn=attached)
    code = """
        import boto3
        def handler(event, context):
            try:
                return boto3.client("ssm").get_parameter(Name=event)["Parameter"]["Value"]
            except Exception as error:
                return error.response["Error"]["Code"]
    """
    function = deploy(client, code, Role=role)
    assert function.invoke(f"/{NAME}/a").payload == "1"
    assert function.invoke(NAME).payload == "AccessDeniedException"
    assert function.lines()
