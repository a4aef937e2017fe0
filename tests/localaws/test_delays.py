"""With delays on, the local AWS is as late as AWS, and refuses what AWS refuses meanwhile: here at a factor of 0.2."""

from __future__ import annotations

import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.localaws.conftest import clients, start
from tests.localaws.deployed import LOGS, TRUST, Deployed, allow, policy, zipped
from tests.localaws.pipe import build, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.proof  # what is late takes time, and is not shortened

LOG = allow(LOGS)
FUNCTION = {"Runtime": "python3.11", "Handler": "code.handler"}


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Clients of a local AWS with delays, which do not repeat calls."""
    process, url = start(tmp_path_factory.mktemp("late"), "--delays", "0.2")
    yield clients(url, config=Config(retries={"total_max_attempts": 1}))
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(scope="module")
def role(late: Any) -> str:
    """A role that Lambda can assume already, and whose policy is in effect."""
    name = create_role(late)
    put_policy = partial(late("iam").put_role_policy, RoleName=name, PolicyName="logs", PolicyDocument=policy(LOG))
    until(lambda: error_of(put_policy) == "")
    arn = f"arn:aws:iam::000000000000:role/{name}"
    until(lambda: error_of(lambda: create(late, arn)) == "")
    time.sleep(1)
    return arn


def create_role(late: Any) -> str:
    """Create a role and return its name."""
    name = f"role-{uuid.uuid4().hex[:12]}"
    late("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy(TRUST), Tags=[{"Key": "a", "Value": "1"}])
    return name


def create(late: Any, role: str) -> str:
    """Create a function that prints, and return its name."""
    name = f"function-{uuid.uuid4().hex[:12]}"
    code = {"ZipFile": zipped("def handler(event, context): print('printed')")}
    late("lambda").create_function(FunctionName=name, Role=role, Code=code, **FUNCTION)
    return name


def create_active(late: Any, role: str) -> str:
    """Create a function, wait until it is active, and return its name."""
    name = create(late, role)
    until(lambda: late("lambda").get_function_configuration(FunctionName=name)["State"] == "Active")
    return name


def create_table(late: Any) -> str:
    name = f"table-{uuid.uuid4().hex[:12]}"
    late("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": "a", "Value": "1"}],
    )
    return name


def arn_of(table: str) -> str:
    return f"arn:aws:dynamodb:eu-west-1:000000000000:table/{table}"


def error_of(call: Callable[[], Any]) -> str:
    """Code and message of the error that the call raises; "" if it succeeds."""
    try:
        call()
    except ClientError as error:
        return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
    return ""


def active_table(late: Any) -> str:
    """Create a table, wait until it is active, and return its name."""
    table = create_table(late)
    until(lambda: error_of(lambda: status(late, table)) == "" and status(late, table) == "ACTIVE")
    return table


def status(late: Any, table: str) -> str:
    found: str = late("dynamodb").describe_table(TableName=table)["Table"]["TableStatus"]
    return found


def test_table_is_not_found_then_creating_and_then_active(late: Any) -> None:
    table = create_table(late)
    assert error_of(lambda: status(late, table)).startswith("ResourceNotFoundException")
    until(lambda: error_of(lambda: status(late, table)) == "")
    assert status(late, table) == "CREATING"
    until(lambda: status(late, table) == "ACTIVE")


def test_creating_table_refuses_items(late: Any) -> None:
    table = create_table(late)
    put = error_of(lambda: late("dynamodb").put_item(TableName=table, Item={"name": {"S": "a"}}))
    assert put == "ResourceNotFoundException: Requested resource not found"


def test_creating_table_has_no_tags_yet(late: Any) -> None:
    """Recorded: ack-api-quirks, DDB-TABLE-101."""
    table = create_table(late)
    for call in (
        late("dynamodb").list_tags_of_resource,
        partial(late("dynamodb").tag_resource, Tags=[{"Key": "b", "Value": "2"}]),
    ):
        assert error_of(partial(call, ResourceArn=arn_of(table))).startswith("ResourceNotFoundException")


def test_creating_table_cannot_be_deleted(late: Any) -> None:
    table = create_table(late)
    deleted = error_of(lambda: late("dynamodb").delete_table(TableName=table))
    assert deleted.startswith("ResourceInUseException: Attempt to change a resource which is still in use: ")


def test_deleted_table_is_deleting_and_then_not_found(late: Any) -> None:
    table = active_table(late)
    late("dynamodb").delete_table(TableName=table)
    assert status(late, table) == "DELETING"
    until(lambda: error_of(lambda: status(late, table)).startswith("ResourceNotFoundException"))


def test_updating_table_shows_its_old_throughput_and_refuses_other_updates(late: Any) -> None:
    """Recorded: ack-api-quirks, DDB-TABLE-119 and 370."""
    dynamodb, table = late("dynamodb"), active_table(late)
    provisioned: Any = {
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2},
    }

    def shown() -> tuple[str, str, int]:
        found = dynamodb.describe_table(TableName=table)["Table"]
        mode = found["BillingModeSummary"]["BillingMode"]
        return found["TableStatus"], mode, found["ProvisionedThroughput"]["WriteCapacityUnits"]

    dynamodb.update_table(TableName=table, **provisioned)
    assert shown() == ("UPDATING", "PROVISIONED", 0)
    for call in (partial(dynamodb.update_table, **provisioned), dynamodb.delete_table):
        assert error_of(partial(call, TableName=table)).startswith("ResourceInUseException: Attempt to change")
    protect = partial(dynamodb.update_table, TableName=table, DeletionProtectionEnabled=True)
    assert error_of(protect) == ""
    until(lambda: shown() == ("ACTIVE", "PROVISIONED", 2))


def test_table_stays_active_while_it_is_encrypted_and_shows_its_key_later(late: Any) -> None:
    """Recorded: ack-api-quirks, DDB-TABLE-065 and 140."""
    dynamodb, table = late("dynamodb"), active_table(late)
    encrypt = partial(dynamodb.update_table, TableName=table, SSESpecification={"Enabled": True})

    def shown() -> tuple[str, Any]:
        found = dynamodb.describe_table(TableName=table)["Table"]
        return found["TableStatus"], found.get("SSEDescription")

    assert encrypt()["TableDescription"]["SSEDescription"] == {"Status": "UPDATING"}
    assert shown() == ("ACTIVE", {"Status": "UPDATING"})
    for call in (encrypt, partial(dynamodb.delete_table, TableName=table)):
        assert error_of(call).startswith("ResourceInUseException: Attempt to change")
    until(lambda: "KMSMasterKeyArn" in shown()[1])
    assert shown()[1]["Status"] == "UPDATING"
    until(lambda: shown()[1]["Status"] == "ENABLED")
    dynamodb.update_table(TableName=table, SSESpecification={"Enabled": False})
    until(lambda: shown() == ("ACTIVE", None))


def test_second_change_of_tags_is_refused_while_the_first_is_in_progress(late: Any) -> None:
    """Recorded: ack-api-quirks, DDB-TABLE-103 and 440."""
    dynamodb, table = late("dynamodb"), active_table(late)
    tag = partial(dynamodb.tag_resource, ResourceArn=arn_of(table))
    one, two = [[{"Key": name, "Value": "1"}] for name in ("one", "two")]
    untag = partial(dynamodb.untag_resource, ResourceArn=arn_of(table), TagKeys=["one"])
    tag(Tags=one)
    for call in (partial(tag, Tags=two), untag):
        assert error_of(call).startswith("LimitExceededException: Subscriber limit exceeded: Table tags are being")
    assert error_of(partial(tag, Tags=[*one, *two])) == ""
    assert error_of(partial(dynamodb.delete_table, TableName=table)).endswith(f"Table tags are being updated: {table}")
    until(lambda: error_of(untag) == "")


def test_new_role_cannot_be_assumed_yet(late: Any) -> None:
    arn = f"arn:aws:iam::000000000000:role/{create_role(late)}"
    assert error_of(lambda: create(late, arn)) == (
        "InvalidParameterValueException: The role defined for the function cannot be assumed by Lambda."
    )


def test_new_role_is_not_visible_to_iam_yet(late: Any) -> None:
    iam, name = late("iam"), create_role(late)
    document = policy(LOG)
    calls = (
        lambda: iam.get_role(RoleName=name),
        lambda: iam.list_role_policies(RoleName=name),
        lambda: iam.tag_role(RoleName=name, Tags=[]),
        lambda: iam.put_role_policy(RoleName=name, PolicyName="logs", PolicyDocument=document),
    )
    for call in calls:
        assert error_of(call) == f"NoSuchEntity: The role with name {name} cannot be found."
    assert name not in {role["RoleName"] for role in iam.list_roles(MaxItems=1000)["Roles"]}
    until(lambda: [error_of(call) for call in calls] == [""] * len(calls))


def test_policies_and_tags_of_a_role_are_visible_later(late: Any) -> None:
    iam, name = late("iam"), create_role(late)
    until(lambda: error_of(lambda: iam.get_role(RoleName=name)) == "")
    iam.tag_role(RoleName=name, Tags=[{"Key": "a", "Value": "2"}])
    iam.put_role_policy(RoleName=name, PolicyName="logs", PolicyDocument=policy(LOG))
    assert iam.get_role(RoleName=name)["Role"]["Tags"] == [{"Key": "a", "Value": "1"}]
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == []
    assert error_of(lambda: iam.get_role_policy(RoleName=name, PolicyName="logs")).startswith("NoSuchEntity")
    until(lambda: iam.list_role_policies(RoleName=name)["PolicyNames"] == ["logs"])
    assert iam.get_role(RoleName=name)["Role"]["Tags"] == [{"Key": "a", "Value": "2"}]


def test_role_is_deleted_once_the_deletion_of_its_policies_is_visible(late: Any) -> None:
    iam, name = late("iam"), create_role(late)
    delete = partial(iam.delete_role, RoleName=name)
    until(lambda: error_of(lambda: iam.get_role(RoleName=name)) == "")
    iam.put_role_policy(RoleName=name, PolicyName="logs", PolicyDocument=policy(LOG))
    until(lambda: iam.list_role_policies(RoleName=name)["PolicyNames"])
    iam.delete_role_policy(RoleName=name, PolicyName="logs")
    assert error_of(delete) == "DeleteConflict: Cannot delete entity, must delete policies first."
    until(lambda: error_of(delete) == "")
    assert error_of(lambda: create_again(late, name)) == f"EntityAlreadyExists: Role with name {name} already exists."
    until(lambda: error_of(lambda: create_again(late, name)) == "")


def create_again(late: Any, role: str) -> None:
    late("iam").create_role(RoleName=role, AssumeRolePolicyDocument=policy(TRUST))


def test_policy_takes_effect_later(late: Any, tmp_path: Path) -> None:
    pipe = build(late, tmp_path, actions=["logs:*"])
    until(lambda: error_of(lambda: pipe.stream_arn) == "")
    document = policy(allow(["dynamodb:*"]))
    late("iam").put_role_policy(RoleName=pipe.role, PolicyName="stream", PolicyDocument=document)
    assert "Cannot access stream" in error_of(pipe.map)
    until(lambda: error_of(pipe.map) == "")


def test_table_tags_are_visible_later(late: Any) -> None:
    dynamodb, table = late("dynamodb"), active_table(late)

    def tags() -> list[dict[str, str]]:
        found: list[dict[str, str]] = dynamodb.list_tags_of_resource(ResourceArn=arn_of(table))["Tags"]
        return found

    until(tags)
    dynamodb.tag_resource(ResourceArn=arn_of(table), Tags=[{"Key": "b", "Value": "2"}])
    assert tags() == [{"Key": "a", "Value": "1"}]
    until(lambda: {"Key": "b", "Value": "2"} in tags())


def test_new_and_deleted_tables_are_listed_later(late: Any) -> None:
    dynamodb, table = late("dynamodb"), create_table(late)
    assert table not in dynamodb.list_tables()["TableNames"]
    until(lambda: table in dynamodb.list_tables()["TableNames"])
    until(lambda: error_of(lambda: dynamodb.delete_table(TableName=table)) == "")
    until(lambda: error_of(lambda: dynamodb.describe_table(TableName=table)).startswith("ResourceNotFound"))
    assert table in dynamodb.list_tables()["TableNames"]
    until(lambda: table not in dynamodb.list_tables()["TableNames"])


def test_backups_are_unavailable_at_first_and_their_setting_is_described_late(late: Any) -> None:
    dynamodb, table = late("dynamodb"), active_table(late)
    setting = {"PointInTimeRecoveryEnabled": True}
    for call in (
        lambda: dynamodb.create_backup(TableName=table, BackupName="backup"),
        enable := partial(
            dynamodb.update_continuous_backups, TableName=table, PointInTimeRecoverySpecification=setting
        ),
    ):
        assert error_of(call).startswith("ContinuousBackupsUnavailableException: Backups are being enabled")
    until(lambda: error_of(enable) == "")

    def recovery() -> str:
        found = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        return str(found["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"])

    assert recovery() == "DISABLED"
    until(lambda: recovery() == "ENABLED")


def test_new_function_is_pending_and_then_active(late: Any, role: str) -> None:
    name = create(late, role)
    configuration = late("lambda").get_function_configuration
    assert configuration(FunctionName=name)["State"] == "Pending"
    until(lambda: configuration(FunctionName=name)["State"] == "Active")


def test_pending_function_can_neither_be_invoked_nor_updated(late: Any, role: str) -> None:
    name = create(late, role)
    for call in (
        lambda: late("lambda").invoke(FunctionName=name),
        lambda: late("lambda").update_function_configuration(FunctionName=name, Timeout=9),
    ):
        assert error_of(call) == (
            "ResourceConflictException: The operation cannot be performed at this time. "
            "The function is currently in the following state: Pending"
        )


def test_second_update_is_refused_while_the_first_is_in_progress(late: Any, role: str) -> None:
    name = create_active(late, role)
    client = late("lambda")
    arn = client.update_function_configuration(FunctionName=name, Timeout=9)["FunctionArn"]
    for call in (
        lambda: client.update_function_code(FunctionName=name, ZipFile=zipped("")),
        lambda: client.update_function_configuration(FunctionName=name, Timeout=8),
        lambda: client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1),
        lambda: client.delete_function_concurrency(FunctionName=arn),
        lambda: client.tag_resource(Resource=arn, Tags={"a": "1"}),
        lambda: client.untag_resource(Resource=arn, TagKeys=["a"]),
        lambda: client.publish_version(FunctionName=name),
    ):
        assert error_of(call) == (
            "ResourceConflictException: The operation cannot be performed at this time. "
            f"An update is in progress for resource: {arn}"
        )
    until(lambda: client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful")


def test_logs_become_visible_later_and_in_order(late: Any, role: str) -> None:
    function = Deployed(late, create_active(late, role), role)
    function.invoke()

    def find() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = late("logs").filter_log_events(logGroupName=f"/aws/lambda/{function.name}")[
            "events"
        ]
        return found

    until(lambda: any(line.startswith("REPORT") for line in function.lines()))
    until(lambda: any(event["message"].startswith("REPORT") for event in find()))
    events = find()
    assert [event["message"].split()[0] for event in events] == ["INIT_START", "START", "printed", "END", "REPORT"]
    assert min(event["ingestionTime"] - event["timestamp"] for event in events) >= 199


def test_log_groups_streams_and_events_are_found_later(late: Any, role: str) -> None:
    function, logs = Deployed(late, create_active(late, role), role), late("logs")
    group = f"/aws/lambda/{function.name}"
    search = partial(logs.filter_log_events, logGroupName=group)
    function.invoke()
    until(lambda: error_of(search) == "")
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []
    assert function.streams() == []
    assert search()["events"] == []
    until(lambda: logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"])
    until(lambda: search()["events"])
    until(function.streams)
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert "lastEventTimestamp" not in stream
    until(lambda: "lastEventTimestamp" in logs.describe_log_streams(logGroupName=group)["logStreams"][0])


def test_mapping_in_transition_is_in_use(late: Any, tmp_path: Path) -> None:
    pipe, lambda_ = build(late, tmp_path), late("lambda")
    until(lambda: error_of(pipe.map) == "")
    (mapping,) = until(lambda: lambda_.list_event_source_mappings(FunctionName=pipe.function)["EventSourceMappings"])
    update = partial(lambda_.update_event_source_mapping, UUID=mapping["UUID"], BatchSize=9)
    delete = partial(lambda_.delete_event_source_mapping, UUID=mapping["UUID"])

    def refused() -> set[str]:
        return {error_of(update), error_of(delete)}

    in_use = {
        f"ResourceInUseException: Cannot {call} the event source mapping because it is in use."
        for call in ("update", "delete")
    }
    assert refused() == in_use
    until(lambda: error_of(update) == "")
    assert refused() == in_use
    until(lambda: error_of(delete) == "")
    assert refused() == in_use
    until(lambda: error_of(delete).startswith("ResourceNotFoundException"))


def test_mapping_is_listed_later(late: Any, tmp_path: Path) -> None:
    pipe, lambda_ = build(late, tmp_path), late("lambda")
    listed = partial(lambda_.list_event_source_mappings, FunctionName=pipe.function)
    created: list[dict[str, Any]] = []
    until(lambda: error_of(lambda: created.append(pipe.map())) == "")
    assert listed()["EventSourceMappings"] == []
    until(lambda: listed()["EventSourceMappings"])
    until(lambda: error_of(lambda: lambda_.delete_event_source_mapping(UUID=created[0]["UUID"])) == "")
    until(lambda: error_of(lambda: pipe.mapping(created[0]["UUID"])).startswith("ResourceNotFoundException"))
    assert [each["State"] for each in listed()["EventSourceMappings"]] == ["Deleting"]
    until(lambda: not listed()["EventSourceMappings"])
