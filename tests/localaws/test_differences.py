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


def test_mapping_may_have_ten_filters(client: Clients, tmp_path: Path) -> None:
    """Lambda guide, "Control which events Lambda sends to your function": five by default."""
    filters = [{"Pattern": f'{{"eventID": ["{number}"]}}'} for number in range(10)]
    assert build(client, tmp_path).map(FilterCriteria={"Filters": filters})["FilterCriteria"] == {"Filters": filters}


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


def test_missing_role_can_be_assumed_and_allows_nothing(endpoint: str, client: Clients) -> None:
    """STS API reference, AssumeRole: AccessDenied."""
    arn = "arn:aws:iam::000000000000:role/missing"
    key = client("sts").assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    assert error(of(endpoint, key), "dynamodb", "list_tables")[0] == "AccessDeniedException"


def test_trust_policy_may_name_an_unknown_service(client: Clients) -> None:
    """IAM: MalformedPolicyDocument, "Invalid principal in policy"."""
    unknown = policy({**TRUST, "Principal": {"Service": "lamda.amazonaws.com"}})
    client("iam").create_role(RoleName=f"role-{uuid.uuid4().hex[:12]}", AssumeRolePolicyDocument=unknown)


def test_inline_policies_of_a_role_may_exceed_their_limit(client: Clients) -> None:
    """IAM user guide, "IAM and AWS STS quotas": 10,240 characters together."""
    role = f"role-{uuid.uuid4().hex[:12]}"
    client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=policy(TRUST))
    large = policy(*[allow(["s3:GetObject"], f"arn:aws:s3:::{'x' * 60}/{number}") for number in range(150)])
    client("iam").put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=large)


def test_lists_of_policies_have_one_page(client: Clients) -> None:
    role = f"role-{uuid.uuid4().hex[:12]}"
    client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=policy(TRUST))
    for name in ("a", "b"):
        client("iam").put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=policy(allow(["s3:GetObject"])))
    assert client("iam").list_role_policies(RoleName=role, MaxItems=1)["PolicyNames"] == ["a", "b"]


def test_permission_can_be_added_twice(client: Clients) -> None:
    """Lambda: ResourceConflictException, "The statement id (...) provided already exists"."""
    function = deploy(client)
    statement = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "someone"}
    for _ in range(2):
        client("lambda").add_permission(FunctionName=function.name, **statement)


def test_what_a_function_uses_need_not_exist(client: Clients) -> None:
    """Lambda API reference, CreateFunction, "VpcConfig" and "DeadLetterConfig"."""
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    statements = (allow(["ec2:CreateNetworkInterface", "sqs:SendMessage"]),)
    deploy(
        client,
        statements=statements,
        VpcConfig=vpc,
        DeadLetterConfig={"TargetArn": f"arn:aws:sqs:{REGION}:000000000000:missing"},
    )


def test_function_and_log_group_have_any_tags(client: Clients, group: str) -> None:
    """Lambda guide, "Using tags on Lambda functions"; CloudWatch Logs API reference, TagResource: at most 50 tags."""
    tags = {"aws:reserved": "", **{f"tag{number}": "" for number in range(60)}}
    function = deploy(client, Tags=tags)
    assert client("lambda").list_tags(Resource=function.arn)["Tags"] == tags
    client("logs").create_log_group(logGroupName=f"{group}-tagged", tags={"aws:reserved": "a"})


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


def test_log_events_of_a_call_may_span_more_than_a_day(client: Clients, group: str) -> None:
    """CloudWatch Logs API reference, PutLogEvents: a batch cannot span more than 24 hours."""
    now = int(time.time() * 1000)
    events = [{"timestamp": now - age * 3_600_000, "message": "m"} for age in (30, 0)]
    client("logs").put_log_events(logGroupName=group, logStreamName="stream", logEvents=events)
    assert len(client("logs").filter_log_events(logGroupName=group)["events"]) == 2


def test_log_group_has_any_retention(client: Clients, group: str) -> None:
    """CloudWatch Logs API reference, PutRetentionPolicy, "retentionInDays": 1, 3, 5, 7, ..."""
    client("logs").put_retention_policy(logGroupName=group, retentionInDays=2)


def test_alarm_has_any_period(client: Clients) -> None:
    """CloudWatch API reference, PutMetricAlarm, "Period" and "EvaluationPeriods"."""
    alarm = {"AlarmName": "any", "Namespace": "AWS/Lambda", "MetricName": "Errors", "Statistic": "Sum", "Threshold": 1}
    more = {"ComparisonOperator": "GreaterThanThreshold", "Period": 61, "EvaluationPeriods": 99_999}
    client("cloudwatch").put_metric_alarm(**alarm, **more, TreatMissingData="other")


def test_throughput_is_not_limited(client: Clients, table: str) -> None:
    """Fifty items of 10 KB take 500 write capacity units; the table has one a second, and a burst of 300."""
    for number in range(50):
        item = {"name": {"S": str(number)}, "text": {"S": "x" * 10_000}}
        client("dynamodb").put_item(TableName=table, Item=item)


def test_transaction_may_exceed_four_megabytes(client: Clients, table: str) -> None:
    """DynamoDB API reference, TransactWriteItems: the aggregate size of the items cannot exceed 4 MB."""
    items = [{"name": {"S": str(number)}, "text": {"S": "x" * 399_000}} for number in range(11)]
    puts = [{"Put": {"TableName": table, "Item": item}} for item in items]
    client("dynamodb").transact_write_items(TransactItems=puts)
    assert client("dynamodb").scan(TableName=table, Select="COUNT")["Count"] > 0


def test_capacity_does_not_depend_on_sizes(client: Clients, table: str) -> None:
    item = {"name": {"S": "a"}, "text": {"S": "x" * 10_000}}
    answer = client("dynamodb").put_item(TableName=table, Item=item, ReturnConsumedCapacity="TOTAL")
    assert answer["ConsumedCapacity"]["CapacityUnits"] == 1


def test_items_of_a_table_are_counted_at_once_and_not_measured(client: Clients, table: str) -> None:
    client("dynamodb").put_item(TableName=table, Item={"name": {"S": "a"}})
    described = client("dynamodb").describe_table(TableName=table)["Table"]
    assert (described["ItemCount"], described["TableSizeBytes"]) == (1, 0)


def test_index_has_only_what_it_projects(client: Clients) -> None:
    """DynamoDB: ValidationException for attributes that a global index does not project."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    keys_only = {"IndexName": "index", "KeySchema": HASH, "Projection": {"ProjectionType": "KEYS_ONLY"}}
    client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=STRING,
        KeySchema=HASH,
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[keys_only],
    )
    client("dynamodb").put_item(TableName=name, Item={"name": {"S": "a"}, "kind": {"S": "b"}})
    assert client("dynamodb").scan(TableName=name, IndexName="index", ProjectionExpression="kind")["Items"] == [{}]


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
