from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline import session, settings
from pipeline.resources import change, mapping, table
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]
    Zip = Callable[..., bytes]

QUEUE = "arn:aws:sqs:eu-west-1:000000000000:dead"

# Another value of each setting that AWS changes in place.
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
def lambda_(embedded: Aws, embedded_role_arn: str) -> Any:
    """The embedded AWS's Lambda, with a function `mapped`."""
    code = b"PK\x05\x06" + bytes(18)
    embedded("lambda").create_function(
        FunctionName="mapped",
        Role=embedded_role_arn,
        Handler="example.lambda_handler",
        Runtime="python3.13",
        Code={"ZipFile": code},
    )
    embedded("sqs").create_queue(QueueName="dead")
    return embedded("lambda")


def keyed_table(name: str, view_type: str = "KEYS_ONLY") -> dict[str, Any]:
    return {
        "TableName": name,
        "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": view_type},
    }


@pytest.fixture(scope="module")
def stream(embedded: Aws) -> str:
    return str(table.ensure(embedded("dynamodb"), keyed_table("mapped")).attributes["LatestStreamArn"])


@pytest.fixture
def wanted(lambda_: Any, stream: str) -> Iterator[dict[str, Any]]:
    """The smallest mapping; whatever the test makes of it is gone before the next one."""
    yield {"FunctionName": "mapped", "EventSourceArn": stream, "StartingPosition": "TRIM_HORIZON"}
    for entry in mapping.of_function(lambda_, "mapped"):
        mapping.delete(lambda_, entry["UUID"])
        mapping.wait_until_deleted(lambda_, entry["UUID"])


@pytest.fixture
def made(lambda_: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """The mapping as `wanted`, enabled."""
    return mapping.wait(lambda_, mapping.ensure(lambda_, wanted).attributes["UUID"])


@pytest.fixture
def asked(calls: Calls, lambda_: Any) -> Iterator[Calls]:
    """What is asked of `lambda_` from here on."""
    lambda_.meta.events.register("provide-client-params", calls.note, unique_id="asked")
    yield calls
    lambda_.meta.events.unregister("provide-client-params", unique_id="asked")


def test_creates_when_absent(lambda_: Any, wanted: dict[str, Any]) -> None:
    done = mapping.ensure(lambda_, wanted)

    assert (done.action, done.pending) == ("created", True)
    assert mapping.wait(lambda_, done.attributes["UUID"])["State"] == "Enabled"


def test_creates_with_every_setting(lambda_: Any, wanted: dict[str, Any]) -> None:
    every = {**wanted, **DRIFTS, "TumblingWindowInSeconds": 0}

    uuid = mapping.ensure(lambda_, every).attributes["UUID"]

    found = mapping.wait(lambda_, uuid)
    assert {setting: found[setting] for setting in DRIFTS} == {**DRIFTS, "TumblingWindowInSeconds": 0}


@pytest.mark.usefixtures("made")
def test_says_unchanged_when_same(lambda_: Any, wanted: dict[str, Any]) -> None:
    again = mapping.ensure(lambda_, wanted)

    assert (again.action, again.diffs, again.pending) == ("unchanged", (), False)


@pytest.mark.usefixtures("made")
def test_unchanged_takes_one_read(lambda_: Any, wanted: dict[str, Any], asked: Calls) -> None:
    mapping.ensure(lambda_, wanted)

    assert asked.operations == ["ListEventSourceMappings"]


def test_the_grid_below_knows_every_setting() -> None:
    assert {*DRIFTS} == mapping._DEFAULTS.keys()


@DRIFTED
def test_changes_exactly_what_drifted(
    lambda_: Any, wanted: dict[str, Any], made: dict[str, Any], asked: Calls, setting: str, value: Any
) -> None:
    done = mapping.ensure(lambda_, {**wanted, setting: value})

    assert asked.writes == [("UpdateEventSourceMapping", {"UUID": made["UUID"], setting: value})]
    assert [difference.setting for difference in done.diffs] == [setting]


@DRIFTED
def test_an_option_is_set_and_taken_away_again(
    lambda_: Any, wanted: dict[str, Any], made: dict[str, Any], setting: str, value: Any
) -> None:
    mapping.ensure(lambda_, {**wanted, setting: value})
    mapping.wait(lambda_, made["UUID"])
    assert mapping.ensure(lambda_, {**wanted, setting: value}).action == "unchanged"

    mapping.ensure(lambda_, wanted)

    found = mapping.wait(lambda_, made["UUID"])
    assert {key: found[key] for key in DRIFTS} == {key: made[key] for key in DRIFTS}


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("setting", "value"), [*DRIFTS.items(), ("StartingPosition", "LATEST")], ids=[*DRIFTS, "StartingPosition"]
)
def test_plan_foretells_the_run(lambda_: Any, wanted: dict[str, Any], setting: str, value: Any) -> None:
    chosen = settings.load(None, {}, {"aws_region": lambda_.meta.region_name})
    planning = session.connect(chosen, lambda_.meta.endpoint_url, dry=True)("lambda")

    foretold = mapping.ensure(planning, {**wanted, setting: value})

    done = mapping.ensure(lambda_, {**wanted, setting: value})
    assert (foretold.action, foretold.diffs, foretold.note) == (done.action, done.diffs, done.note)


def test_another_starting_position_takes_a_new_mapping(
    lambda_: Any, wanted: dict[str, Any], made: dict[str, Any]
) -> None:
    done = mapping.ensure(lambda_, {**wanted, "StartingPosition": "LATEST"})

    assert (done.action, [difference.setting for difference in done.diffs]) == ("replaced", ["StartingPosition"])
    [now] = mapping.of_function(lambda_, "mapped")
    assert now["UUID"] != made["UUID"]
    assert now["StartingPosition"] == "LATEST"


@pytest.fixture
def moved(embedded: Aws, lambda_: Any, wanted: dict[str, Any]) -> Iterator[list[str]]:
    """Two streams of one table, the older one first and mapped."""
    dynamodb = embedded("dynamodb")
    old = table.ensure(dynamodb, keyed_table("moved")).attributes["LatestStreamArn"]
    made = mapping.ensure(lambda_, {**wanted, "EventSourceArn": old})
    mapping.wait(lambda_, made.attributes["UUID"])
    new = table.ensure(dynamodb, keyed_table("moved", "NEW_IMAGE")).attributes["LatestStreamArn"]
    yield [old, new]
    table.delete(dynamodb, "moved")
    table.wait_until_deleted(dynamodb, "moved")


def test_a_mapping_on_an_earlier_stream_of_the_table_is_moved(
    lambda_: Any, wanted: dict[str, Any], moved: list[str]
) -> None:
    done = mapping.ensure(lambda_, {**wanted, "EventSourceArn": moved[1]})

    assert (done.action, [(each.old, each.new) for each in done.diffs]) == ("replaced", [tuple(moved)])
    left = [entry["EventSourceArn"] for entry in mapping.of_function(lambda_, "mapped") if entry["State"] != "Deleting"]
    assert left == [moved[1]]


def test_a_move_names_what_else_changes(lambda_: Any, wanted: dict[str, Any], moved: list[str]) -> None:
    done = mapping.ensure(lambda_, {**wanted, "EventSourceArn": moved[1], "BatchSize": 7})

    assert [difference.setting for difference in done.diffs] == ["EventSourceArn", "BatchSize"]


def test_of_a_function_that_is_not_there_are_none(lambda_: Any) -> None:
    assert mapping.of_function(lambda_, "nowhere") == []


def test_deletes(lambda_: Any, made: dict[str, Any]) -> None:
    assert mapping.delete(lambda_, made["UUID"]).action == "deleted"

    mapping.wait_until_deleted(lambda_, made["UUID"])
    assert mapping.describe(lambda_, "mapped", made["EventSourceArn"]) is None


def test_delete_says_absent_when_absent(lambda_: Any) -> None:
    assert mapping.delete(lambda_, "11111111-2222-3333-4444-555555555555").action == "absent"


# Below: what AWS is asked and answers in states and faults that do not come about on request.

STREAM = "arn:aws:dynamodb:eu-west-1:123456789012:table/test/stream/2025-01-01T00:00:00.000"
SMALLEST = {"FunctionName": "test", "EventSourceArn": STREAM, "StartingPosition": "LATEST"}
UUID = "11111111-2222-3333-4444-555555555555"


def entry(state: str = "Enabled", stream: str = STREAM) -> dict[str, Any]:
    return {
        "UUID": UUID,
        "EventSourceArn": stream,
        "StartingPosition": "LATEST",
        "State": state,
    }


def test_refuses_a_parameter_that_is_not_for_a_stream_of_dynamodb(aws: Aws, calls: Calls) -> None:
    with pytest.raises(UserError, match=r"mapping test -> test: ScalingConfig cannot be kept"):
        mapping.ensure(aws("lambda"), {**SMALLEST, "ScalingConfig": {"MaximumConcurrency": 2}})

    assert calls == []


def test_denied_surfaces_as_aws_said_it(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_client_error("list_event_source_mappings", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            mapping.ensure(aws("lambda"), SMALLEST)


CANNOT_ACCESS = "Cannot access stream. Please ensure the role can perform the GetRecords actions on your stream in IAM."


def test_permissions_that_lambda_does_not_see_yet_are_waited_for(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": []})
        stub.add_client_error("create_event_source_mapping", "InvalidParameterValueException", CANNOT_ACCESS)
        stub.add_response("create_event_source_mapping", entry("Creating"))

        assert mapping.ensure(aws("lambda"), SMALLEST).action == "created"


def test_permissions_that_never_come_surface_at_the_deadline(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "IAM_PROPAGATION_TIMEOUT", 0)
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": []})
        stub.add_client_error("create_event_source_mapping", "InvalidParameterValueException", CANNOT_ACCESS)

        with pytest.raises(ClientError, match="Cannot access stream"):
            mapping.ensure(aws("lambda"), SMALLEST)


def test_a_mapping_that_aws_is_still_changing_is_waited_for_and_then_compared(aws: Aws) -> None:
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
    ids=["going already", "another table", "a queue"],
)
def test_other_mappings_of_the_function_are_left_alone(aws: Aws, other: dict[str, Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [other, entry()]})

        assert mapping.ensure(aws("lambda"), SMALLEST).action == "unchanged"


def test_a_mapping_that_is_going_is_waited_for_and_made_anew(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("list_event_source_mappings", {"EventSourceMappings": [entry("Deleting")]})
        stub.add_client_error("get_event_source_mapping", "ResourceNotFoundException")
        stub.add_response("create_event_source_mapping", entry("Creating"))

        assert mapping.ensure(aws("lambda"), SMALLEST).action == "created"


def test_plan_of_a_creation_writes_nothing(aws: Aws, plan: Aws) -> None:
    done = mapping.ensure(plan("lambda"), {**SMALLEST, "EventSourceArn": "<LatestStreamArn>"})

    assert (done.action, done.pending) == ("created", False)
    assert aws("lambda").list_event_source_mappings()["EventSourceMappings"] == []


def test_plan_of_another_view_type_moves_the_mapping(
    aws: Aws, plan: Aws, calls: Calls, role_arn: str, code: Zip
) -> None:
    old = table.ensure(aws("dynamodb"), keyed_table("test")).attributes["LatestStreamArn"]
    aws("lambda").create_function(
        FunctionName="test", Role=role_arn, Handler="example.h", Runtime="python3.13", Code={"ZipFile": code()}
    )
    mapping.ensure(aws("lambda"), {**SMALLEST, "EventSourceArn": old})
    new = table.ensure(plan("dynamodb"), keyed_table("test", "NEW_IMAGE")).attributes["LatestStreamArn"]
    calls.clear()

    done = mapping.ensure(plan("lambda"), {**SMALLEST, "EventSourceArn": new})

    assert done.action == "replaced"
    assert [operation for operation, _ in calls.writes] == ["CreateEventSourceMapping", "DeleteEventSourceMapping"]
