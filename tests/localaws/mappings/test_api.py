"""The API of event source mappings: formats and error messages of AWS. Lambda API reference."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.localaws.conftest import start
from tests.localaws.pipe import ACTIONS, DEADLINE_SECONDS, Pipe, build, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNKNOWN = "00000000-0000-0000-0000-000000000000"
NEEDED = ["GetRecords", "GetShardIterator", "DescribeStream", "ListStreams"]


@pytest.fixture
def pipe(client: Callable[[str], Any], tmp_path: Path) -> Pipe:
    return build(client, tmp_path)


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def test_create_returns_the_defaults_of_aws(pipe: Pipe) -> None:
    """Recorded on AWS."""
    answer = pipe.map()
    function = pipe.client("lambda").get_function(FunctionName=pipe.function)["Configuration"]["FunctionArn"]
    arn = f"arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:{answer['UUID']}"
    assert plain(answer) == {
        "BatchSize": 100,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {"OnFailure": {}},
        "EventSourceArn": pipe.stream_arn,
        "EventSourceMappingArn": arn,
        "FunctionArn": function,
        "FunctionResponseTypes": [],
        "LastModified": answer["LastModified"],
        "LastProcessingResult": "No records processed",
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "TRIM_HORIZON",
        "State": "Creating",
        "StateTransitionReason": "User action",
        "TumblingWindowInSeconds": 0,
        "UUID": answer["UUID"],
    }


def test_create_returns_202(pipe: Pipe) -> None:
    assert pipe.map()["ResponseMetadata"]["HTTPStatusCode"] == 202


def test_created_mapping_becomes_enabled(pipe: Pipe) -> None:
    mapping = pipe.map()
    assert until(lambda: pipe.mapping(mapping["UUID"])["State"] == "Enabled")


def test_mapping_created_disabled_becomes_disabled(pipe: Pipe) -> None:
    mapping = pipe.map(Enabled=False)
    assert until(lambda: pipe.mapping(mapping["UUID"])["State"] == "Disabled")


OPTIONS: dict[str, Any] = {
    "BatchSize": 7,
    "BisectBatchOnFunctionError": True,
    "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]},
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "MaximumBatchingWindowInSeconds": 5,
    "MaximumRecordAgeInSeconds": 60,
    "MaximumRetryAttempts": 3,
    "ParallelizationFactor": 2,
    "TumblingWindowInSeconds": 30,
    "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:000000000000:queue"}},
}


def test_create_accepts_every_option(pipe: Pipe) -> None:
    options = {**OPTIONS, "ParallelizationFactor": 1}
    answer = pipe.map(**options)
    assert {name: answer[name] for name in OPTIONS} == options


@pytest.mark.parametrize("option", OPTIONS)
def test_update_changes_only_one_option(pipe: Pipe, option: str) -> None:
    before = pipe.map()
    mapping_id = before["UUID"]
    pipe.client("lambda").update_event_source_mapping(UUID=mapping_id, **{option: OPTIONS[option]})
    until(lambda: pipe.mapping(mapping_id)["State"] == "Enabled")
    after = plain(pipe.mapping(mapping_id))
    unlike = ("State", "LastModified")
    assert {**after, **dict.fromkeys(unlike)} == {
        **plain(before),
        option: OPTIONS[option],
        **dict.fromkeys(unlike),
    }


@pytest.mark.parametrize(
    ("option", "empty", "shown"),
    [
        ("FilterCriteria", {}, None),
        ("FilterCriteria", {"Filters": []}, None),
        ("FunctionResponseTypes", [], []),
        ("DestinationConfig", {}, {"OnFailure": {}}),
        ("DestinationConfig", {"OnFailure": {"Destination": ""}}, {"OnFailure": {}}),
    ],
)
def test_empty_value_removes_an_option(pipe: Pipe, option: str, empty: Any, shown: Any) -> None:
    mapping_id = pipe.map(**{**OPTIONS, "ParallelizationFactor": 1})["UUID"]
    answer = pipe.client("lambda").update_event_source_mapping(UUID=mapping_id, **{option: empty})
    assert answer.get(option) == shown


@pytest.mark.parametrize(
    ("enabled", "change", "state"),
    [
        (True, {"Enabled": False}, "Disabling"),
        (False, {"Enabled": True}, "Enabling"),
        (True, {"BatchSize": 1}, "Updating"),
        (False, {"BatchSize": 1}, "Updating"),
    ],
)
def test_update_returns_a_transitional_state(pipe: Pipe, enabled: bool, change: dict[str, Any], state: str) -> None:
    mapping_id = pipe.map(Enabled=enabled)["UUID"]
    until(lambda: pipe.mapping(mapping_id)["State"] in ("Enabled", "Disabled"))
    assert pipe.client("lambda").update_event_source_mapping(UUID=mapping_id, **change)["State"] == state


def test_update_of_a_disabled_mapping_leaves_it_disabled(pipe: Pipe) -> None:
    mapping_id = pipe.map(Enabled=False)["UUID"]
    pipe.client("lambda").update_event_source_mapping(UUID=mapping_id, BatchSize=1)
    assert until(lambda: pipe.mapping(mapping_id)["State"] == "Disabled")


def test_update_moves_a_mapping_to_another_function(pipe: Pipe, client: Callable[[str], Any], tmp_path: Path) -> None:
    other = build(client, tmp_path)
    mapping_id = pipe.map()["UUID"]
    client("lambda").update_event_source_mapping(UUID=mapping_id, FunctionName=other.function)
    pipe.put("a")
    assert other.wait_for("a") == [["a"]]


def test_delete_returns_deleting_and_then_not_found(pipe: Pipe) -> None:
    mapping_id = pipe.map()["UUID"]
    answer = pipe.client("lambda").delete_event_source_mapping(UUID=mapping_id)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        until(lambda: not pipe.mapping(mapping_id))
    assert answer["State"] == "Deleting"


def test_function_arn_keeps_its_qualifier(pipe: Pipe) -> None:
    answer = pipe.map(FunctionName=f"{pipe.function}:$LATEST")
    assert answer["FunctionArn"].endswith(f":function:{pipe.function}:$LATEST")


@pytest.fixture
def alias(pipe: Pipe) -> str:
    """The name of an alias of the function."""
    version = pipe.client("lambda").publish_version(FunctionName=pipe.function)["Version"]
    pipe.client("lambda").create_alias(FunctionName=pipe.function, Name="live", FunctionVersion=version)
    return f"{pipe.function}:live"


def test_function_arn_keeps_its_alias(pipe: Pipe, alias: str) -> None:
    answer = pipe.map(FunctionName=alias)
    assert answer["FunctionArn"].endswith(f":function:{pipe.function}:live")


def test_alias_is_invoked(pipe: Pipe, alias: str) -> None:
    pipe.map(FunctionName=alias)
    pipe.put("a")
    assert pipe.wait_for("a") == [["a"]]


def test_a_mapping_that_moves_to_an_alias_keeps_its_place(pipe: Pipe, alias: str) -> None:
    mapping_id = pipe.map()["UUID"]
    pipe.put("a")
    pipe.wait_for("a")
    pipe.client("lambda").update_event_source_mapping(UUID=mapping_id, FunctionName=alias)
    pipe.put("b")
    assert pipe.wait_for("b") == [["a"], ["b"]]


def test_a_function_does_not_list_the_mappings_of_its_alias(pipe: Pipe, alias: str) -> None:
    mapping_id = pipe.map(FunctionName=alias)["UUID"]
    list_mappings = pipe.client("lambda").list_event_source_mappings
    listed = [list_mappings(FunctionName=name)["EventSourceMappings"] for name in (pipe.function, alias)]
    assert [[each["UUID"] for each in mappings] for mappings in listed] == [[], [mapping_id]]


def test_a_mapping_does_not_move_to_an_alias_that_has_one(pipe: Pipe, alias: str) -> None:
    pipe.map(FunctionName=alias)
    mapping_id = pipe.map()["UUID"]
    with pytest.raises(ClientError, match="ResourceConflictException"):
        pipe.client("lambda").update_event_source_mapping(UUID=mapping_id, FunctionName=alias)


def test_duplicate_is_a_conflict(pipe: Pipe) -> None:
    """Recorded on AWS: 409 with this text."""
    mapping_id = pipe.map()["UUID"]
    with pytest.raises(ClientError) as error:
        pipe.map()
    assert error.value.response["Error"] == {
        "Code": "ResourceConflictException",
        "Message": f'The event source arn (" {pipe.stream_arn} ") and function (" {pipe.function} ") provided mapping '
        f"already exists. Please update or delete the existing mapping with UUID {mapping_id}",
    }


def test_duplicate_returns_409(pipe: Pipe) -> None:
    pipe.map()
    with pytest.raises(ClientError) as error:
        pipe.map()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409


NO_STREAM = "arn:aws:dynamodb:eu-west-1:000000000000:table/none/stream/2026-01-01T00:00:00.000"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"EventSourceArn": NO_STREAM}, "InvalidParameterValueException", f"Stream not found: {NO_STREAM}"),
        ({"FunctionName": "none"}, "InvalidParameterValueException", "Function does not exist"),
        (
            {"EventSourceArn": "arn:aws:sqs:eu-west-1:000000000000:queue"},
            "InvalidParameterValueException",
            (
                "EventSourceArn arn:aws:sqs:eu-west-1:000000000000:queue is not supported here: "
                "this AWS has mappings of DynamoDB streams only"
            ),
        ),
        (
            {"StartingPosition": "0"},
            "ValidationException",
            (
                "1 validation error detected: Value '0' at 'startingPosition' failed to satisfy constraint: "
                "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
            ),
        ),
        (
            {"StartingPosition": "LATEST", "StartingPositionTimestamp": 1},
            "InvalidParameterValueException",
            "Timestamp only valid with StartingPosition AT_TIMESTAMP",
        ),
        (
            {"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:sqs:eu-west-1:000000000000:queue"}}},
            "InvalidParameterValueException",
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        (
            {"DestinationConfig": {"OnFailure": {}}},
            "InvalidParameterValueException",
            "The Destination field is required for an OnFailure configuration.",
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:lambda:eu-west-1:000000000000:function:f"}}},
            "InvalidParameterValueException",
            (
                "OnFailure destination arn:aws:lambda:eu-west-1:000000000000:function:f is invalid: "
                "the ARN of one of sqs, sns, s3, not FIFO"
            ),
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:000000000000:queue.fifo"}}},
            "InvalidParameterValueException",
            (
                "OnFailure destination arn:aws:sqs:eu-west-1:000000000000:queue.fifo is invalid: "
                "the ARN of one of sqs, sns, s3, not FIFO"
            ),
        ),
        (
            {"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}] * 11}},
            "ValidationException",
            (
                "1 validation error detected: Value '11 filters' at 'filterCriteria.filters' failed to satisfy "
                "constraint: Member must have length less than or equal to 10"
            ),
        ),
        (
            {"FunctionResponseTypes": ["Other"]},
            "ValidationException",
            (
                "1 validation error detected: Value 'Other' at 'functionResponseTypes' failed to satisfy constraint: "
                "Member must satisfy enum value set: [ReportBatchItemFailures]"
            ),
        ),
    ],
)
def test_create_is_refused_in_the_words_of_aws(pipe: Pipe, options: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(ClientError) as error:
        pipe.map(**options)
    assert error.value.response["Error"] == {"Code": code, "Message": message}


def test_update_does_not_take_back_the_destination_that_get_shows_for_none(pipe: Pipe) -> None:
    """Reported from AWS: aws-controllers-k8s/community#2865, go-to-k/cdk-real-drift#1611."""
    mapping = pipe.map()
    assert mapping["DestinationConfig"] == {"OnFailure": {}}
    update = pipe.client("lambda").update_event_source_mapping
    with pytest.raises(ClientError, match="Destination field is required for an OnFailure configuration"):
        update(UUID=mapping["UUID"], DestinationConfig=mapping["DestinationConfig"])


def test_at_timestamp_is_refused(pipe: Pipe) -> None:
    """Recorded on AWS."""
    with pytest.raises(ClientError) as error:
        pipe.map(StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=1)
    assert error.value.response["Error"]["Message"] == f"Unsupported starting position for arn type: {pipe.stream_arn}"


def test_option_of_another_source_type_is_refused(pipe: Pipe) -> None:
    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*Unsupported parameters.*: Queues"):
        pipe.map(Queues=["queue"])


def test_starting_position_is_required(pipe: Pipe) -> None:
    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*Value null at 'startingPosition'"):
        pipe.client("lambda").create_event_source_mapping(EventSourceArn=pipe.stream_arn, FunctionName=pipe.function)


def test_source_is_required(pipe: Pipe) -> None:
    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*Unrecognized event source\."):
        pipe.client("lambda").create_event_source_mapping(FunctionName=pipe.function, StartingPosition="LATEST")


@pytest.mark.parametrize(
    ("option", "value", "bound"),
    [
        ("BatchSize", 0, "greater than or equal to 1"),
        ("BatchSize", 10_001, "less than or equal to 10000"),
        ("MaximumBatchingWindowInSeconds", -1, "greater than or equal to 0"),
        ("MaximumBatchingWindowInSeconds", 301, "less than or equal to 300"),
        ("MaximumRecordAgeInSeconds", -2, "greater than or equal to -1"),
        ("MaximumRecordAgeInSeconds", 604_801, "less than or equal to 604800"),
        ("MaximumRetryAttempts", -2, "greater than or equal to -1"),
        ("MaximumRetryAttempts", 10_001, "less than or equal to 10000"),
        ("ParallelizationFactor", 0, "greater than or equal to 1"),
        ("ParallelizationFactor", 11, "less than or equal to 10"),
        ("TumblingWindowInSeconds", -1, "greater than or equal to 0"),
        ("TumblingWindowInSeconds", 901, "less than or equal to 900"),
    ],
)
def test_number_out_of_range_is_refused(unchecked: Any, pipe: Pipe, option: str, value: int, bound: str) -> None:
    member = option[0].lower() + option[1:]
    with pytest.raises(ClientError) as error:
        unchecked.create_event_source_mapping(
            EventSourceArn=pipe.stream_arn, FunctionName=pipe.function, StartingPosition="LATEST", **{option: value}
        )
    assert error.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
        f"Member must have value {bound}",
    }


@pytest.fixture
def unchecked(endpoint: str) -> Any:
    """A client that does not validate parameters."""
    return boto3.client(
        "lambda",
        region_name="eu-west-1",
        endpoint_url=endpoint,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(parameter_validation=False),
    )


def test_record_age_between_zero_and_a_minute_is_refused(pipe: Pipe) -> None:
    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*MaximumRecordAgeInSeconds 59"):
        pipe.map(MaximumRecordAgeInSeconds=59)


def test_tumbling_window_with_parallel_batches_is_refused(pipe: Pipe) -> None:
    """The text is that of AWS, as users report it."""
    refusal = "Parallelization factor must be equal to 1 when tumbling window period is configured"
    with pytest.raises(ClientError, match=rf"InvalidParameterValueException.*{refusal}"):
        pipe.map(TumblingWindowInSeconds=30, ParallelizationFactor=2)
    mapping = pipe.map(TumblingWindowInSeconds=30)
    until(lambda: pipe.mapping(mapping["UUID"])["State"] == "Enabled")
    with pytest.raises(ClientError, match=refusal):
        pipe.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], ParallelizationFactor=2)


@pytest.mark.parametrize("missing", NEEDED)
def test_role_without_access_to_the_stream_is_refused(
    client: Callable[[str], Any], tmp_path: Path, missing: str
) -> None:
    allowed = [f"dynamodb:{action}" for action in NEEDED if action != missing]
    one = build(client, tmp_path, actions=[*allowed, *(action for action in ACTIONS if action != "dynamodb:*")])
    with pytest.raises(ClientError) as error:
        one.map()
    assert error.value.response["Error"] == {
        "Code": "InvalidParameterValueException",
        "Message": f"Cannot access stream {one.stream_arn}. Please ensure the role can perform the GetRecords, "
        "GetShardIterator, DescribeStream, and ListStreams Actions on your stream in IAM.",
    }


@pytest.mark.parametrize("call", ["get", "update", "delete"])
def test_unknown_mapping_is_not_found(client: Callable[[str], Any], call: str) -> None:
    with pytest.raises(ClientError) as error:
        getattr(client("lambda"), f"{call}_event_source_mapping")(UUID=UNKNOWN)
    assert error.value.response["Error"] == {
        "Code": "ResourceNotFoundException",
        "Message": "The resource you requested does not exist.",
    }


@pytest.mark.parametrize("by", ["FunctionName", "EventSourceArn"])
def test_list_by_function_and_by_source(pipe: Pipe, client: Callable[[str], Any], tmp_path: Path, by: str) -> None:
    mapping, _ = pipe.map(), build(client, tmp_path).map()
    value = {"FunctionName": pipe.function, "EventSourceArn": pipe.stream_arn}[by]
    listed = client("lambda").list_event_source_mappings(**{by: value})["EventSourceMappings"]
    assert [each["UUID"] for each in listed] == [mapping["UUID"]]


def test_list_excludes_other_regions(pipe: Pipe, endpoint: str) -> None:
    pipe.map()
    elsewhere = boto3.client(
        "lambda",
        region_name="us-west-2",
        endpoint_url=endpoint,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    assert elsewhere.list_event_source_mappings()["EventSourceMappings"] == []


def test_list_refuses_a_page_of_no_mappings(unchecked_client: Callable[[str], Any]) -> None:
    """Lambda API reference, ListEventSourceMappings, "MaxItems"."""
    with pytest.raises(ClientError, match="Value '0' at 'maxItems' failed to satisfy constraint"):
        unchecked_client("lambda").list_event_source_mappings(MaxItems=0)


def test_list_pages(pipe: Pipe, client: Callable[[str], Any], tmp_path: Path) -> None:
    other = build(client, tmp_path)
    first, second = pipe.map(), pipe.map(FunctionName=other.function)
    pages = (
        client("lambda")
        .get_paginator("list_event_source_mappings")
        .paginate(EventSourceArn=pipe.stream_arn, PaginationConfig={"PageSize": 1})
    )
    listed = [[mapping["UUID"] for mapping in page["EventSourceMappings"]] for page in pages]
    assert listed == [[first["UUID"]], [second["UUID"]]]


def test_deleted_table_leaves_its_mapping_enabled(pipe: Pipe) -> None:
    """Recorded on AWS: right after DeleteTable the mapping is listed as Enabled."""
    mapping_id = pipe.map()["UUID"]
    until(lambda: pipe.mapping(mapping_id)["State"] == "Enabled")
    pipe.client("dynamodb").delete_table(TableName=pipe.table)
    assert pipe.mapping(mapping_id)["State"] == "Enabled"


def test_deleted_function_leaves_its_mapping(pipe: Pipe) -> None:
    mapping_id = pipe.map()["UUID"]
    pipe.client("lambda").delete_function(FunctionName=pipe.function)
    listed = pipe.client("lambda").list_event_source_mappings(FunctionName=pipe.function)["EventSourceMappings"]
    assert [each["UUID"] for each in listed] == [mapping_id]


def test_tags_of_a_mapping_can_be_set_read_and_removed(pipe: Pipe) -> None:
    arn = pipe.map(Tags={"pipeline": "one", "old": "x"})["EventSourceMappingArn"]
    pipe.client("lambda").tag_resource(Resource=arn, Tags={"new": "y"})
    pipe.client("lambda").untag_resource(Resource=arn, TagKeys=["old"])
    assert pipe.client("lambda").list_tags(Resource=arn)["Tags"] == {"pipeline": "one", "new": "y"}


def test_tags_of_an_unknown_mapping_are_not_found(client: Callable[[str], Any]) -> None:
    arn = f"arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:{UNKNOWN}"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client("lambda").list_tags(Resource=arn)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Pipe]:
    """A pipe on a local AWS with delays, at a factor of 0.1."""
    process, url = start(tmp_path / "server", "--delays", "0.1")
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="eu-west-1")
    clients = {name: session.client(name, endpoint_url=url) for name in ("dynamodb", "iam", "lambda")}
    try:
        yield build(clients.__getitem__, tmp_path)
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.mark.proof  # as late as AWS
def test_states_last_as_long_as_on_aws(slow: Pipe) -> None:
    mapping_id = slow.map()["UUID"]
    seen = [slow.mapping(mapping_id)["State"]]
    until(lambda: slow.mapping(mapping_id)["State"] == "Enabled")
    slow.client("lambda").delete_event_source_mapping(UUID=mapping_id)
    seen.append(slow.mapping(mapping_id)["State"])
    assert seen == ["Creating", "Deleting"]


@pytest.mark.proof  # as late as AWS
def test_mapping_in_transition_is_in_use(slow: Pipe) -> None:
    mapping_id = slow.map()["UUID"]
    with pytest.raises(ClientError, match="ResourceInUseException"):
        slow.client("lambda").update_event_source_mapping(UUID=mapping_id, BatchSize=1)


@pytest.mark.proof  # as late as AWS
def test_latest_loses_records_written_before_it_takes_effect(slow: Pipe) -> None:
    """AWS can lose the first records after Enabled. With delays on, the local AWS does too."""
    mapping_id = slow.map(StartingPosition="LATEST")["UUID"]
    until(lambda: slow.mapping(mapping_id)["State"] == "Enabled")
    slow.put("early")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not slow.batches():
        assert time.monotonic() < deadline
        slow.put(f"late {time.monotonic()}")
    assert "early" not in slow.batches()[0]
