"""What differs from AWS, as docs/local-aws.md says: the rows that no other test holds."""

from __future__ import annotations

import base64
import gzip
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.localaws.conftest import REGION, clients
from tests.localaws.deployed import TRUST, allow, deploy, policy
from tests.localaws.iam.test_callers import error, make_user, of
from tests.localaws.pipe import build, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Clients = Callable[[str], Any]

STRING = [{"AttributeName": "name", "AttributeType": "S"}]
HASH = [{"AttributeName": "name", "KeyType": "HASH"}]


@pytest.fixture
def table(client: Clients) -> str:
    """A table with a capacity of one write a second, and a stream."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=STRING,
        KeySchema=HASH,
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    )
    return name


@pytest.fixture
def group(client: Clients) -> str:
    """A log group with a stream."""
    name = f"group-{uuid.uuid4().hex[:12]}"
    client("logs").create_log_group(logGroupName=name)
    client("logs").create_log_stream(logGroupName=name, logStreamName="stream")
    return name


def put_events(client: Clients, group: str, *messages: str) -> None:
    events = [{"timestamp": int(time.time() * 1000), "message": message} for message in messages]
    client("logs").put_log_events(logGroupName=group, logStreamName="stream", logEvents=events)


@pytest.mark.proof  # a slow machine needs several attempts
def test_burst_becomes_one_batch(client: Clients, tmp_path: Path) -> None:
    one = build(client, tmp_path)
    one.map(BatchSize=100)

    def is_one_batch() -> bool:
        names = [uuid.uuid4().hex for _ in range(24)]
        for some in (names[:12], names[12:]):
            puts = [{"PutRequest": {"Item": {"name": {"S": name}}}} for name in some]
            client("dynamodb").batch_write_item(RequestItems={one.table: puts})
        one.wait_for(names[-1])
        return names in one.batches()

    until(is_one_batch)


def test_stream_has_one_shard_that_stays_open(client: Clients, table: str) -> None:
    arn = client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]
    (shard,) = client("dynamodbstreams").describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    assert "EndingSequenceNumber" not in shard["SequenceNumberRange"]


def test_state_of_a_window_may_exceed_a_megabyte(client: Clients, tmp_path: Path) -> None:
    one = build(client, tmp_path, 'return {"state": {"large": "x" * 1_100_000}}')
    one.map(TumblingWindowInSeconds=900, BatchSize=1)
    one.put("a", "b")
    one.wait_for("b")
    event = one.events()[-1]
    assert (len(event["state"]["large"]), event["isWindowTerminatedEarly"]) == (1_100_000, False)


def test_deleted_access_key_counts_as_made_up(endpoint: str, client: Clients) -> None:
    user, key = make_user(client)
    assert error(of(endpoint, key), "dynamodb", "list_tables")[0] == "AccessDeniedException"
    client("iam").delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    assert error(of(endpoint, key), "dynamodb", "list_tables") == ("", "")


def test_condition_on_an_unknown_key_does_not_hold(endpoint: str, client: Clients) -> None:
    from_here = {"Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}}}
    _, key = make_user(client, {**allow(["dynamodb:ListTables"]), **from_here})
    assert error(of(endpoint, key), "dynamodb", "list_tables")[0] == "AccessDeniedException"


def test_trust_policy_is_not_evaluated_for_assume_role(endpoint: str, client: Clients) -> None:
    name = f"role-{uuid.uuid4().hex[:12]}"
    role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy(TRUST))["Role"]["Arn"]
    _, key = make_user(client, allow(["sts:AssumeRole"]))
    assert error(of(endpoint, key), "sts", "assume_role", RoleArn=role, RoleSessionName="me") == ("", "")


def test_policy_that_names_a_role_applies_to_one_that_is_created_later(
    endpoint: str, table: str, client: Clients
) -> None:
    arn = client("dynamodb").describe_table(TableName=table)["Table"]["TableArn"]
    account, name = "222222222222", f"role-{uuid.uuid4().hex[:12]}"
    named = {"Principal": {"AWS": f"arn:aws:iam::{account}:role/{name}"}}
    document = policy({**allow(["dynamodb:Scan"], arn), **named})
    client("dynamodb").put_resource_policy(ResourceArn=arn, Policy=document)
    reader = of(endpoint, {"AccessKeyId": account})
    role = reader("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy(TRUST))["Role"]["Arn"]
    reader("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allow(["dynamodb:*"])))
    key = reader("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    assert error(of(endpoint, key), "dynamodb", "scan", TableName=arn) == ("", "")


def test_bucket_needs_no_permission_of_the_function(client: Clients) -> None:
    function = deploy(client, "def handler(event, context): print(event['Records'][0]['s3']['object']['key'])")
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    to_function = {"LambdaFunctionArn": function.arn, "Events": ["s3:ObjectCreated:*"]}
    client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [to_function]}
    )
    client("s3").put_object(Bucket=bucket, Key="key-7", Body=b"x")
    until(lambda: "key-7\n" in function.lines())


def test_log_subscription_needs_no_permission_of_the_function(client: Clients, group: str) -> None:
    """It gets the events that match its pattern, as on AWS."""
    code = "def handler(event, context): print('got', event['awslogs']['data'])"
    function = deploy(client, code)
    client("logs").put_subscription_filter(
        logGroupName=group, filterName="f", filterPattern="{ $.size > 1 }", destinationArn=function.arn
    )
    put_events(client, group, '{"size": 1}', '{"size": 2}')
    (line,) = until(lambda: [line for line in function.lines() if line.startswith("got ")])
    data = json.loads(gzip.decompress(base64.b64decode(line.split()[1])))
    assert [event["message"] for event in data["logEvents"]] == ['{"size": 2}']


def test_invalid_pattern_of_a_subscription_is_refused(client: Clients, group: str) -> None:
    arn = deploy(client).arn
    put: dict[str, Any] = {"logGroupName": group, "filterName": "f", "filterPattern": "{ $.a", "destinationArn": arn}
    with pytest.raises(ClientError, match="InvalidParameterException"):
        client("logs").put_subscription_filter(**put)


def test_live_tail_returns_what_is_stored_and_ends(endpoint: str, client: Clients, group: str) -> None:
    put_events(client, group, '{"size": 1}', '{"size": 2}')
    logs = clients(endpoint, config=Config(inject_host_prefix=False))("logs")
    arn = client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["arn"].removesuffix(":*")
    answer = logs.start_live_tail(logGroupIdentifiers=[arn], logEventFilterPattern="{ $.size > 1 }")
    _, update = answer["responseStream"]
    assert [event["message"] for event in update["sessionUpdate"]["sessionResults"]] == ['{"size": 2}']


def test_page_of_log_events_exceeds_a_megabyte(client: Clients, group: str) -> None:
    for _ in range(3):
        put_events(client, group, *["x" * 100_000] * 9)
    page = client("logs").filter_log_events(logGroupName=group)
    assert (len(page["events"]), "nextToken" in page) == (27, False)


def test_throughput_is_not_limited(client: Clients, table: str) -> None:
    """Fifty items of 10 KB take 500 write capacity units; the table has one a second, and a burst of 300."""
    for number in range(50):
        item = {"name": {"S": str(number)}, "text": {"S": "x" * 10_000}}
        client("dynamodb").put_item(TableName=table, Item=item)


def test_number_of_operators_is_not_limited(client: Clients, table: str) -> None:
    """DynamoDB developer guide, "Quotas": an expression has at most 300 operators."""
    condition = " OR ".join(["#n = :v"] * 200)
    names: dict[str, Any] = {
        "ExpressionAttributeNames": {"#n": "kind"},
        "ExpressionAttributeValues": {":v": {"S": "v"}},
    }
    client("dynamodb").scan(TableName=table, FilterExpression=condition, **names)


def test_update_may_grow_an_item_to_the_size_that_a_put_may_have(client: Clients, table: str) -> None:
    rest = 400 * 1024 - len("name" + "a" + "text")
    update = {"TableName": table, "Key": {"name": {"S": "a"}}, "UpdateExpression": "SET #t = :t"}
    client("dynamodb").update_item(
        **update, ExpressionAttributeNames={"#t": "text"}, ExpressionAttributeValues={":t": {"S": "x" * rest}}
    )
