"""With delays on, the local AWS is as late as AWS: here at a factor of 0.2."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import clients, start
from tests.localaws.deployed import LOGS, Deployed, allow, make_role, zipped
from tests.localaws.pipe import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FUNCTION = {"Runtime": "python3.11", "Handler": "code.handler"}


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Clients of a local AWS with delays."""
    process, url = start(tmp_path_factory.mktemp("late"), "--delays", "0.2")
    yield clients(url)
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(scope="module")
def role(late: Any) -> str:
    """A role that Lambda can assume already."""
    arn = make_role(late, allow(LOGS))
    until(lambda: error_of(lambda: create(late, arn)) == "")
    return arn


def create(late: Any, role: str) -> str:
    """Create a function that prints, and return its name."""
    name = f"function-{uuid.uuid4().hex[:12]}"
    code = {"ZipFile": zipped("def handler(event, context): print('printed')")}
    late("lambda").create_function(FunctionName=name, Role=role, Code=code, **FUNCTION)
    return name


def create_table(late: Any) -> str:
    name = f"table-{uuid.uuid4().hex[:12]}"
    late("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def error_of(call: Callable[[], Any]) -> str:
    """Code and message of the error that the call raises; "" if it succeeds."""
    try:
        call()
    except ClientError as error:
        return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
    return ""


def status(late: Any, table: str) -> str:
    found: str = late("dynamodb").describe_table(TableName=table)["Table"]["TableStatus"]
    return found


def test_table_is_creating_and_then_active(late: Any) -> None:
    table = create_table(late)
    assert status(late, table) == "CREATING"
    until(lambda: status(late, table) == "ACTIVE")


def test_creating_table_refuses_items(late: Any) -> None:
    table = create_table(late)
    put = error_of(lambda: late("dynamodb").put_item(TableName=table, Item={"name": {"S": "a"}}))
    assert put == "ResourceNotFoundException: Requested resource not found"


def test_creating_table_cannot_be_deleted(late: Any) -> None:
    table = create_table(late)
    deleted = error_of(lambda: late("dynamodb").delete_table(TableName=table))
    assert deleted.startswith("ResourceInUseException: Attempt to change a resource which is still in use: ")


def test_deleted_table_is_deleting_and_then_not_found(late: Any) -> None:
    table = create_table(late)
    until(lambda: status(late, table) == "ACTIVE")
    late("dynamodb").delete_table(TableName=table)
    assert status(late, table) == "DELETING"
    until(lambda: error_of(lambda: status(late, table)).startswith("ResourceNotFoundException"))


def test_new_role_cannot_be_assumed_yet(late: Any) -> None:
    assert error_of(lambda: create(late, make_role(late))) == (
        "InvalidParameterValueException: The role defined for the function cannot be assumed by Lambda."
    )


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
    name = create(late, role)
    client = late("lambda")
    until(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active")
    arn = client.update_function_configuration(FunctionName=name, Timeout=9)["FunctionArn"]
    assert error_of(lambda: client.update_function_code(FunctionName=name, ZipFile=zipped(""))) == (
        "ResourceConflictException: The operation cannot be performed at this time. "
        f"An update is in progress for resource: {arn}"
    )
    until(lambda: client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful")


def test_logs_become_visible_later_and_in_order(late: Any, role: str) -> None:
    function = Deployed(late, create(late, role), role)
    until(lambda: late("lambda").get_function_configuration(FunctionName=function.name)["State"] == "Active")
    function.invoke()
    until(lambda: any(line.startswith("REPORT") for line in function.lines()))
    events = late("logs").filter_log_events(logGroupName=f"/aws/lambda/{function.name}")["events"]
    assert [event["message"].split()[0] for event in events] == ["INIT_START", "START", "printed", "END", "REPORT"]
    assert min(event["ingestionTime"] - event["timestamp"] for event in events) >= 199
