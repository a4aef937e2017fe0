from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import change, mapping, table
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]
    Zip = Callable[..., bytes]

QUEUE = "arn:aws:sqs:eu-west-1:000000000000:dead"

# A second value for each parameter that AWS can change in place.
DRIFTS: dict[str, Any] = {
    "BatchSize": 10,
    "BisectBatchOnFunctionError": True,
    "DestinationConfig": {"OnFailure": {"Destination": QUEUE}},
    "Enabled": False,
    "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]},
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "KMSKeyArn": "arn:aws:kms:eu-west-1:000000000000:key/11111111-2222-3333-4444-555555555555",
    "MaximumBatchingWindowInSeconds": 5,
    "MaximumRecordAgeInSeconds": 3600,
    "MaximumRetryAttempts": 3,
    "MetricsConfig": {"Metrics": ["EventCount"]},
    "ParallelizationFactor": 2,
    "TumblingWindowInSeconds": 30,
}
DRIFTED = pytest.mark.parametrize(("setting", "value"), DRIFTS.items(), ids=DRIFTS)


@pytest.fixture(scope="module")
def lambda_(local_aws: Aws, local_role_arn: str) -> Any:
    """The Lambda client of the local AWS, with a function `mapped`."""
    code = b"PK\x05\x06" + bytes(18)
    local_aws("lambda").create_function(
        FunctionName="mapped",
        Role=local_role_arn,
        Handler="example.lambda_handler",
        Runtime="python3.13",
        Code={"ZipFile": code},
    )
    local_aws("sqs").create_queue(QueueName="dead")
    return local_aws("lambda")


def keyed_table(name: str, view_type: str = "KEYS_ONLY") -> dict[str, Any]:
    return {
        "TableName": name,
        "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": view_type},
    }


@pytest.fixture(scope="module")
def stream(local_aws: Aws) -> str:
    return str(table.ensure(local_aws("dynamodb"), keyed_table("mapped")).attributes["LatestStreamArn"])


@pytest.fixture
def desired(lambda_: Any, stream: str) -> Iterator[dict[str, Any]]:
    """The parameters of a minimal mapping. Deletes the function's mappings after the test."""
    yield {"FunctionName": "mapped", "EventSourceArn": stream, "StartingPosition": "TRIM_HORIZON"}
    for entry in mapping.of_function(lambda_, "mapped"):
        mapping.delete(lambda_, entry["UUID"])
        mapping.wait_until_deleted(lambda_, entry["UUID"])


@pytest.fixture
def created(lambda_: Any, desired: dict[str, Any]) -> dict[str, Any]:
    """The mapping that `desired` describes, enabled."""
    return mapping.wait(lambda_, mapping.ensure(lambda_, desired).attributes["UUID"])


@pytest.fixture
def local_calls(calls: Calls, lambda_: Any) -> Iterator[Calls]:
    """The calls to `lambda_` from now on."""
    lambda_.meta.events.register("provide-client-params", calls.record, unique_id="local-calls")
    yield calls
    lambda_.meta.events.unregister("provide-client-params", unique_id="local-calls")


def test_creates_a_mapping_that_does_not_exist(lambda_: Any, desired: dict[str, Any]) -> None:
    result = mapping.ensure(lambda_, desired)

    assert (result.action, result.pending) == ("created", True)
    assert mapping.wait(lambda_, result.attributes["UUID"])["State"] == "Enabled"


def test_creates_a_mapping_with_every_parameter(lambda_: Any, desired: dict[str, Any]) -> None:
    # Filters encrypted with a key that does not exist are hidden.
    settings = {**DRIFTS, "TumblingWindowInSeconds": 0, "KMSKeyArn": ""}
    every = {**desired, **settings}

    uuid = mapping.ensure(lambda_, every).attributes["UUID"]

    current = mapping.wait(lambda_, uuid)
    assert {setting: current[setting] for setting in DRIFTS} == settings


@pytest.mark.usefixtures("created")
def test_reports_unchanged_if_nothing_differs(lambda_: Any, desired: dict[str, Any]) -> None:
    result = mapping.ensure(lambda_, desired)

    assert (result.action, result.diffs, result.pending) == ("unchanged", (), False)


@pytest.mark.usefixtures("created")
def test_an_unchanged_mapping_takes_one_read(lambda_: Any, desired: dict[str, Any], local_calls: Calls) -> None:
    mapping.ensure(lambda_, desired)

    assert local_calls.operations == ["ListEventSourceMappings"]


def test_finds_the_mapping_of_an_alias_of_a_function_whose_name_ends_in_function(
    lambda_: Any, desired: dict[str, Any], local_role_arn: str
) -> None:
    lambda_.create_function(
        FunctionName="my-function",
        Role=local_role_arn,
        Handler="example.lambda_handler",
        Runtime="python3.13",
        Code={"ZipFile": b"PK\x05\x06" + bytes(18)},
        Publish=True,
    )
    lambda_.create_alias(FunctionName="my-function", Name="live", FunctionVersion="1")
    aliased = {**desired, "FunctionName": "my-function:live"}
    uuid = mapping.wait(lambda_, mapping.ensure(lambda_, aliased).attributes["UUID"])["UUID"]

    assert mapping.ensure(lambda_, aliased).action == "unchanged"
    assert [each["UUID"] for each in mapping.of_function(lambda_, "my-function")] == [uuid]
    mapping.delete(lambda_, uuid)
    mapping.wait_until_deleted(lambda_, uuid)


def test_the_cases_below_cover_every_parameter() -> None:
    assert {*DRIFTS} == mapping.DEFAULTS.keys()


@DRIFTED
def test_updates_only_the_parameter_that_differs(
    lambda_: Any, desired: dict[str, Any], created: dict[str, Any], local_calls: Calls, setting: str, value: Any
) -> None:
    result = mapping.ensure(lambda_, {**desired, setting: value})

    assert local_calls.writes == [("UpdateEventSourceMapping", {"UUID": created["UUID"], setting: value})]
    assert [each.setting for each in result.diffs] == [setting]


@DRIFTED
def test_an_option_can_be_set_and_removed_again(
    lambda_: Any, desired: dict[str, Any], created: dict[str, Any], setting: str, value: Any
) -> None:
    mapping.ensure(lambda_, {**desired, setting: value})
    mapping.wait(lambda_, created["UUID"])
    assert mapping.ensure(lambda_, {**desired, setting: value}).action == "unchanged"

    mapping.ensure(lambda_, desired)

    current = mapping.wait(lambda_, created["UUID"])
    assert {key: current[key] for key in DRIFTS} == {key: created[key] for key in DRIFTS}


@pytest.mark.usefixtures("created")
@pytest.mark.parametrize(
    ("setting", "value"), [*DRIFTS.items(), ("StartingPosition", "LATEST")], ids=[*DRIFTS, "StartingPosition"]
)
def test_a_dry_run_predicts_the_change(
    lambda_: Any, local_dry_run: Aws, desired: dict[str, Any], setting: str, value: Any
) -> None:
    planned = mapping.ensure(local_dry_run("lambda"), {**desired, setting: value})

    result = mapping.ensure(lambda_, {**desired, setting: value})
    assert (planned.action, planned.diffs, planned.note) == (result.action, result.diffs, result.note)


def test_another_starting_position_replaces_the_mapping(
    lambda_: Any, desired: dict[str, Any], created: dict[str, Any]
) -> None:
    result = mapping.ensure(lambda_, {**desired, "StartingPosition": "LATEST"})

    assert (result.action, [each.setting for each in result.diffs]) == ("replaced", ["StartingPosition"])
    [now] = mapping.of_function(lambda_, "mapped")
    assert now["UUID"] != created["UUID"]
    assert now["StartingPosition"] == "LATEST"


@pytest.fixture
def streams(local_aws: Aws, lambda_: Any, desired: dict[str, Any]) -> Iterator[list[str]]:
    """The old and the new stream of one table. The function has a mapping on the old one."""
    dynamodb = local_aws("dynamodb")
    old = table.ensure(dynamodb, keyed_table("moved")).attributes["LatestStreamArn"]
    mapped = mapping.ensure(lambda_, {**desired, "EventSourceArn": old})
    mapping.wait(lambda_, mapped.attributes["UUID"])
    new = table.ensure(dynamodb, keyed_table("moved", "NEW_IMAGE")).attributes["LatestStreamArn"]
    yield [old, new]
    table.delete(dynamodb, "moved")
    table.wait_until_deleted(dynamodb, "moved")


def test_moves_a_stale_mapping_to_the_new_stream_of_the_table(
    lambda_: Any, desired: dict[str, Any], streams: list[str]
) -> None:
    result = mapping.ensure(lambda_, {**desired, "EventSourceArn": streams[1]})

    assert (result.action, [(each.old, each.new) for each in result.diffs]) == ("replaced", [tuple(streams)])
    left = [entry["EventSourceArn"] for entry in mapping.of_function(lambda_, "mapped") if entry["State"] != "Deleting"]
    assert left == [streams[1]]


def test_a_move_also_names_the_other_diffs(lambda_: Any, desired: dict[str, Any], streams: list[str]) -> None:
    result = mapping.ensure(lambda_, {**desired, "EventSourceArn": streams[1], "BatchSize": 7})

    assert [each.setting for each in result.diffs] == ["EventSourceArn", "BatchSize"]


def test_of_function_returns_no_mappings_if_there_is_no_function(lambda_: Any) -> None:
    assert mapping.of_function(lambda_, "nowhere") == []


def test_deletes_a_mapping(lambda_: Any, created: dict[str, Any]) -> None:
    assert mapping.delete(lambda_, created["UUID"]).action == "deleted"

    mapping.wait_until_deleted(lambda_, created["UUID"])
    assert mapping.describe(lambda_, "mapped", created["EventSourceArn"]) is None


def test_delete_reports_absent_if_there_is_no_mapping(lambda_: Any) -> None:
    assert mapping.delete(lambda_, "11111111-2222-3333-4444-555555555555").action == "absent"


# The tests below use recorded responses, for states and errors that the local AWS does not produce on request.

STREAM = "arn:aws:dynamodb:eu-west-1:123456789012:table/test/stream/2025-01-01T00:00:00.000"
SMALLEST = {"FunctionName": "test", "EventSourceArn": STREAM, "StartingPosition": "LATEST"}
UUID = "11111111-2222-3333-4444-555555555555"


def entry(state: str = "Enabled", stream: str = STREAM) -> dict[str, Any]:
    return {
        "UUID": UUID,
        "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:test",
        "EventSourceArn": stream,
        "StartingPosition": "LATEST",
        "State": state,
    }


def test_rejects_a_parameter_of_other_event_sources_before_any_call(aws: Aws, calls: Calls) -> None:
    with pytest.raises(UserError, match=r"mapping test -> test: ScalingConfig not supported"):
        mapping.ensure(aws("lambda"), {**SMALLEST, "ScalingConfig": {"MaximumConcurrency": 2}})

    assert calls == []


def test_raises_access_denied_as_aws_reports_it(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_client_error("list_event_source_mappings", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            mapping.ensure(aws("lambda"), SMALLEST)


CANNOT_ACCESS = "Cannot access stream. Please ensure the role can perform the GetRecords actions on your stream in IAM."


def test_retries_while_lambda_does_not_see_the_function_or_its_permissions(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": []})
        unknown = ("InvalidParameterValueException", "Function does not exist")
        stub.add_client_error("create_event_source_mapping", *unknown)
        stub.add_client_error("create_event_source_mapping", "InvalidParameterValueException", CANNOT_ACCESS)
        stub.add_response("create_event_source_mapping", entry("Creating"))

        assert mapping.ensure(aws("lambda"), SMALLEST).action == "created"


CANNOT_SEND = "The provided execution role does not have permissions to call SendMessage on SQS"


def test_an_update_waits_until_lambda_sees_the_permission_for_a_new_destination(aws: Aws) -> None:
    destination = {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [entry()]})
        stub.add_client_error("update_event_source_mapping", "InvalidParameterValueException", CANNOT_SEND)
        stub.add_response("update_event_source_mapping", entry("Updating"), {"UUID": UUID, **destination})

        assert mapping.ensure(aws("lambda"), {**SMALLEST, **destination}).action == "updated"


def test_a_deleted_mapping_that_a_list_shows_for_a_moment_does_not_hide_the_new_one(aws: Aws) -> None:
    new = {**entry(), "UUID": UUID.replace("1", "2")}
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [entry("Deleting"), entry(), new]})
        stub.add_client_error("get_event_source_mapping", "ResourceNotFoundException")
        stub.add_response("get_event_source_mapping", new, {"UUID": new["UUID"]})

        found = mapping.describe(aws("lambda"), "test", STREAM)
        assert found
        assert found["UUID"] == new["UUID"]


def test_raises_the_error_of_missing_permissions_at_the_deadline(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "SETTLE_TIMEOUT", 0)
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": []})
        stub.add_client_error("create_event_source_mapping", "InvalidParameterValueException", CANNOT_ACCESS)

        with pytest.raises(ClientError, match="Cannot access stream"):
            mapping.ensure(aws("lambda"), SMALLEST)


def test_waits_for_a_change_in_progress_and_then_compares_the_mapping(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [entry("Updating")]})
        stub.add_response("get_event_source_mapping", entry("Disabled"))
        stub.add_response("get_event_source_mapping", entry("Disabled"))
        stub.add_response("update_event_source_mapping", entry("Enabling"), {"UUID": UUID, "Enabled": True})

        assert mapping.ensure(aws("lambda"), SMALLEST).action == "updated"


@pytest.mark.parametrize(
    "other",
    [
        entry("Deleting", STREAM.replace("2025", "2024")),
        entry("Enabled", STREAM.replace("test", "test-2")),
        entry("Enabled", "arn:aws:sqs:eu-west-1:123456789012:queue"),
    ],
    ids=["a deleted mapping", "another table", "a queue"],
)
def test_leaves_other_mappings_of_the_function_alone(aws: Aws, other: dict[str, Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [other, entry()]})

        assert mapping.ensure(aws("lambda"), SMALLEST).action == "unchanged"


def test_waits_for_a_deletion_in_progress_and_then_creates_the_mapping(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [entry("Deleting")]})
        stub.add_client_error("get_event_source_mapping", "ResourceNotFoundException")
        stub.add_response("create_event_source_mapping", entry("Creating"))

        assert mapping.ensure(aws("lambda"), SMALLEST).action == "created"


def test_a_dry_run_creates_nothing(aws: Aws, dry_run: Aws) -> None:
    result = mapping.ensure(dry_run("lambda"), {**SMALLEST, "EventSourceArn": "<LatestStreamArn>"})

    assert (result.action, result.pending) == ("created", False)
    assert aws("lambda").list_event_source_mappings()["EventSourceMappings"] == []


def test_a_dry_run_of_another_view_type_moves_the_mapping(
    aws: Aws, dry_run: Aws, calls: Calls, role_arn: str, code: Zip
) -> None:
    old = table.ensure(aws("dynamodb"), keyed_table("test")).attributes["LatestStreamArn"]
    aws("lambda").create_function(
        FunctionName="test", Role=role_arn, Handler="example.h", Runtime="python3.13", Code={"ZipFile": code()}
    )
    mapping.ensure(aws("lambda"), {**SMALLEST, "EventSourceArn": old})
    new = table.ensure(dry_run("dynamodb"), keyed_table("test", "NEW_IMAGE")).attributes["LatestStreamArn"]
    calls.clear()

    result = mapping.ensure(dry_run("lambda"), {**SMALLEST, "EventSourceArn": new})

    assert result.action == "replaced"
    assert [operation for operation, _ in calls.writes] == ["CreateEventSourceMapping", "DeleteEventSourceMapping"]


KEY: str = DRIFTS["KMSKeyArn"]
ENCRYPTED = {**SMALLEST, "KMSKeyArn": KEY, "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}}


def without_filters(**more: Any) -> dict[str, Any]:
    """An entry of the list, which leaves out filters that a customer managed key encrypts."""
    return {**entry("Enabled"), "KMSKeyArn": KEY, **more}


def test_filters_that_a_key_encrypts_are_read_one_by_one(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [without_filters()]})
        filters = ENCRYPTED["FilterCriteria"]
        stub.add_response("get_event_source_mapping", without_filters(FilterCriteria=filters), {"UUID": UUID})

        assert mapping.ensure(aws("lambda"), ENCRYPTED).action == "unchanged"


def test_filters_that_may_not_be_decrypted_are_an_error_that_names_the_permission(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [without_filters()]})
        error = {"ErrorCode": "KMSAccessDeniedException", "Message": "Lambda was unable to decrypt your filters"}
        stub.add_response("get_event_source_mapping", without_filters(FilterCriteriaError=error))

        with pytest.raises(UserError, match=f"decrypt your filters. Grant your credentials kms:Decrypt on {KEY}"):
            mapping.ensure(aws("lambda"), ENCRYPTED)
