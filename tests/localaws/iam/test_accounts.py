"""Two accounts: their data are apart, and a resource-based policy lets one use a table or stream of the other.

Sources: IAM user guide "Cross-account policy evaluation logic"; DynamoDB developer guide "Using resource-based policies
for DynamoDB"; Lambda developer guide "Creating a cross-account event source mapping".
"""

from __future__ import annotations

import json
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import REGION
from tests.localaws.deployed import allow, policy
from tests.localaws.pipe import Pipe, build, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Clients = Callable[[str], Any]

OWNER, READER = "111111111111", "222222222222"
STREAM_ACTIONS = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
NEW_IMAGE = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
SESSION: Any = boto3.Session("local", "local", region_name=REGION)


@pytest.fixture(scope="module")
def account(endpoint: str) -> Callable[[str], Clients]:
    """The clients of an account: `account(OWNER)("dynamodb")`."""

    def clients(key: str, secret: str = "local", token: str | None = None) -> Clients:  # noqa: S107
        return cache(
            lambda service: SESSION.client(
                service,
                endpoint_url=endpoint,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                aws_session_token=token,
            )
        )

    return clients


@pytest.fixture
def owned(account: Callable[[str], Clients], tmp_path: Path) -> Pipe:
    """A table with a stream in the account OWNER."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    account(OWNER)("dynamodb").create_table(**definition(name), StreamSpecification=NEW_IMAGE)
    return Pipe(account(OWNER), name, "", "", tmp_path)


@pytest.fixture(scope="module")
def reader(account: Callable[[str], Clients], tmp_path_factory: pytest.TempPathFactory) -> Pipe:
    """A function with a role in the account READER."""
    return build(account(READER), tmp_path_factory.mktemp("reader"))


def definition(name: str) -> dict[str, Any]:
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }


def arn_of(pipe: Pipe) -> str:
    return pipe.stream_arn.partition("/stream/")[0]


def grant(pipe: Pipe, resource: str, actions: list[str], principal: str) -> None:
    statement = {**allow(actions), "Principal": {"AWS": principal}}
    pipe.client("dynamodb").put_resource_policy(ResourceArn=resource, Policy=policy(statement))


def role_arn(pipe: Pipe) -> str:
    return f"arn:aws:iam::{READER}:role/{pipe.role}"


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Message"])


def test_an_access_key_of_twelve_digits_belongs_to_the_account_of_that_id(account: Callable[[str], Clients]) -> None:
    assert account(OWNER)("sts").get_caller_identity()["Account"] == OWNER


def test_an_account_does_not_list_what_belongs_to_another(account: Callable[[str], Clients], reader: Pipe) -> None:
    other = account(OWNER)
    assert reader.table not in other("dynamodb").list_tables()["TableNames"]
    streams = other("dynamodbstreams").list_streams()["Streams"]
    assert reader.stream_arn not in [stream["StreamArn"] for stream in streams]
    assert reader.role not in [role["RoleName"] for role in other("iam").list_roles()["Roles"]]
    assert reader.function not in [each["FunctionName"] for each in other("lambda").list_functions()["Functions"]]


def test_accounts_may_use_the_same_names(account: Callable[[str], Clients], owned: Pipe) -> None:
    dynamodb = account(READER)("dynamodb")
    dynamodb.create_table(**definition(owned.table))
    owned.put("a")
    assert dynamodb.scan(TableName=owned.table)["Count"] == 0


def test_a_table_of_another_account_is_refused(account: Callable[[str], Clients], owned: Pipe) -> None:
    table = arn_of(owned)
    assert refusal(lambda: account(READER)("dynamodb").describe_table(TableName=table)) == (
        f"User: arn:aws:iam::{READER}:root is not authorized to perform: dynamodb:DescribeTable on resource: {table} "
        "because no resource-based policy allows the dynamodb:DescribeTable action"
    )


@pytest.mark.parametrize("principal", [READER, f"arn:aws:iam::{READER}:root", "*"])
def test_the_policy_of_a_table_allows_another_account(
    account: Callable[[str], Clients], owned: Pipe, principal: str
) -> None:
    grant(owned, arn_of(owned), ["dynamodb:DescribeTable"], principal)
    described = account(READER)("dynamodb").describe_table(TableName=arn_of(owned))["Table"]
    assert described["LatestStreamArn"] == owned.stream_arn
    assert "PutItem" in refusal(
        lambda: account(READER)("dynamodb").put_item(TableName=arn_of(owned), Item={"name": {"S": "a"}})
    )


def test_an_item_can_be_put_into_a_table_of_another_account(account: Callable[[str], Clients], owned: Pipe) -> None:
    grant(owned, arn_of(owned), ["dynamodb:PutItem"], READER)
    account(READER)("dynamodb").put_item(TableName=arn_of(owned), Item={"name": {"S": "a"}})
    assert owned.client("dynamodb").scan(TableName=owned.table)["Items"] == [{"name": {"S": "a"}}]


def test_the_policy_of_a_table_cannot_allow_what_has_no_cross_account_support(
    account: Callable[[str], Clients], owned: Pipe
) -> None:
    grant(owned, arn_of(owned), ["dynamodb:*"], READER)
    dynamodb = account(READER)("dynamodb")
    assert "no resource-based policy" in refusal(lambda: dynamodb.get_resource_policy(ResourceArn=arn_of(owned)))


def test_the_identity_has_to_allow_a_call_to_another_account_too(account: Callable[..., Clients], owned: Pipe) -> None:
    grant(owned, arn_of(owned), ["dynamodb:DescribeTable"], READER)
    iam = account(READER)("iam")
    iam.create_user(UserName=owned.table)
    key = iam.create_access_key(UserName=owned.table)["AccessKey"]
    user = account(key["AccessKeyId"], key["SecretAccessKey"])("dynamodb")
    assert "no identity-based policy" in refusal(lambda: user.describe_table(TableName=arn_of(owned)))
    document = policy(allow(["dynamodb:DescribeTable"], arn_of(owned)))
    iam.put_user_policy(UserName=owned.table, PolicyName="p", PolicyDocument=document)
    user.describe_table(TableName=arn_of(owned))


def test_within_an_account_the_policy_of_a_table_is_enough(account: Callable[..., Clients], owned: Pipe) -> None:
    iam = owned.client("iam")
    iam.create_user(UserName=owned.table)
    key = iam.create_access_key(UserName=owned.table)["AccessKey"]
    user = account(key["AccessKeyId"], key["SecretAccessKey"])("dynamodb")
    assert "no identity-based policy" in refusal(lambda: user.describe_table(TableName=owned.table))
    grant(owned, arn_of(owned), ["dynamodb:DescribeTable"], f"arn:aws:iam::{OWNER}:user/{owned.table}")
    user.describe_table(TableName=owned.table)


def test_a_policy_is_kept_for_a_table_and_its_stream_each(owned: Pipe) -> None:
    dynamodb = owned.client("dynamodb")
    for resource in (arn_of(owned), owned.stream_arn):
        document = policy({**allow(["dynamodb:*"], resource), "Principal": "*"})
        revision = dynamodb.put_resource_policy(ResourceArn=resource, Policy=document)["RevisionId"]
        stored = dynamodb.get_resource_policy(ResourceArn=resource)
        assert (json.loads(stored["Policy"]), stored["RevisionId"]) == (json.loads(document), revision)
        assert dynamodb.put_resource_policy(ResourceArn=resource, Policy=document)["RevisionId"] == revision
        for _ in range(2):
            dynamodb.delete_resource_policy(ResourceArn=resource)
        with pytest.raises(dynamodb.exceptions.PolicyNotFoundException):
            dynamodb.get_resource_policy(ResourceArn=resource)


def test_a_policy_is_replaced_only_if_its_revision_is_expected(owned: Pipe) -> None:
    dynamodb, resource = owned.client("dynamodb"), owned.stream_arn
    document = policy({**allow(["dynamodb:GetRecords"]), "Principal": "*"})
    put = {"ResourceArn": resource, "Policy": document}
    revision = dynamodb.put_resource_policy(**put, ExpectedRevisionId="NO_POLICY")["RevisionId"]
    for expected in ("NO_POLICY", "1"):
        with pytest.raises(dynamodb.exceptions.PolicyNotFoundException):
            dynamodb.put_resource_policy(**put, ExpectedRevisionId=expected)
    dynamodb.put_resource_policy(**put, ExpectedRevisionId=revision)


@pytest.mark.parametrize("document", ["x", "{}", policy(allow(["dynamodb:*"])), "[]"])
def test_a_policy_without_principal_or_statement_is_refused(owned: Pipe, document: str) -> None:
    put = owned.client("dynamodb").put_resource_policy
    assert "Invalid policy document" in refusal(lambda: put(ResourceArn=owned.stream_arn, Policy=document))


@pytest.mark.parametrize("suffix", ["", "/stream/2026-01-01T00:00:00.000"])
def test_an_unknown_resource_has_no_policy(account: Callable[[str], Clients], suffix: str) -> None:
    dynamodb, arn = account(OWNER)("dynamodb"), f"arn:aws:dynamodb:{REGION}:{OWNER}:table/absent{suffix}"
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.get_resource_policy(ResourceArn=arn)


def test_a_function_gets_the_records_of_another_accounts_stream(owned: Pipe, reader: Pipe) -> None:
    grant(owned, owned.stream_arn, STREAM_ACTIONS, role_arn(reader))
    mapping = reader.map(EventSourceArn=owned.stream_arn)
    assert mapping["EventSourceMappingArn"].startswith(f"arn:aws:lambda:{REGION}:{READER}:event-source-mapping:")
    owned.put(owned.table)
    reader.wait_for(owned.table)
    assert reader.events()[-1]["Records"][0]["eventSourceARN"] == owned.stream_arn


@pytest.mark.parametrize("missing", STREAM_ACTIONS)
def test_a_mapping_needs_each_action_of_the_streams_policy(owned: Pipe, reader: Pipe, missing: str) -> None:
    grant(owned, owned.stream_arn, [each for each in STREAM_ACTIONS if each != missing], role_arn(reader))
    assert refusal(lambda: reader.map(EventSourceArn=owned.stream_arn)) == (
        f"Cannot access stream {owned.stream_arn}. Please ensure the role can perform the GetRecords, "
        "GetShardIterator, DescribeStream, and ListStreams Actions on your stream in IAM."
    )


def test_a_mapping_needs_the_permission_of_its_role_too(
    account: Callable[[str], Clients], owned: Pipe, tmp_path: Path
) -> None:
    reader = build(account(READER), tmp_path)
    grant(owned, owned.stream_arn, STREAM_ACTIONS, role_arn(reader))
    document = policy(allow(["dynamodb:*"], f"arn:aws:dynamodb:{REGION}:{READER}:table/*"))
    reader.client("iam").put_role_policy(RoleName=reader.role, PolicyName="allowed", PolicyDocument=document)
    assert "Cannot access stream" in refusal(lambda: reader.map(EventSourceArn=owned.stream_arn))


def test_a_policy_for_the_table_does_not_open_its_stream(owned: Pipe, reader: Pipe) -> None:
    grant(owned, arn_of(owned), ["dynamodb:*"], role_arn(reader))
    assert "Cannot access stream" in refusal(lambda: reader.map(EventSourceArn=owned.stream_arn))


def test_a_mapping_stops_when_the_streams_policy_is_deleted(owned: Pipe, reader: Pipe) -> None:
    grant(owned, owned.stream_arn, STREAM_ACTIONS, role_arn(reader))
    mapping = reader.map(EventSourceArn=owned.stream_arn)
    owned.client("dynamodb").delete_resource_policy(ResourceArn=owned.stream_arn)
    owned.put(owned.table)
    problem = until(
        lambda: (result := reader.mapping(mapping["UUID"])["LastProcessingResult"])[:7] == "PROBLEM" and result
    )
    assert "Cannot access stream" in problem
    assert [owned.table] not in reader.batches()


def test_a_mapping_belongs_to_the_account_of_its_function(
    account: Callable[[str], Clients], owned: Pipe, reader: Pipe
) -> None:
    grant(owned, owned.stream_arn, STREAM_ACTIONS, role_arn(reader))
    mapping = reader.map(EventSourceArn=owned.stream_arn)
    lambda_ = account(OWNER)("lambda")
    assert lambda_.list_event_source_mappings(EventSourceArn=owned.stream_arn)["EventSourceMappings"] == []
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException):
        lambda_.get_event_source_mapping(UUID=mapping["UUID"])


def test_the_role_of_a_function_acts_in_its_own_account(account: Callable[[str], Clients], reader: Pipe) -> None:
    group = f"/aws/lambda/{reader.function}"
    reader.client("lambda").invoke(FunctionName=reader.function, Payload=json.dumps({"Records": []}))
    assert account(READER)("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert account(OWNER)("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []


def test_a_function_of_another_account_cannot_be_invoked(account: Callable[[str], Clients], reader: Pipe) -> None:
    arn = f"arn:aws:lambda:{REGION}:{READER}:function:{reader.function}"
    assert "no resource-based policy" in refusal(lambda: account(OWNER)("lambda").invoke(FunctionName=arn))
