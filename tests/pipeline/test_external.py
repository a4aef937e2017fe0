"""The table of TABLE_ARN: its stream, its key and its readers, as DescribeTable and KMS describe them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from pipeline import external, records, steps
from pipeline.deployment import Deployment
from pipeline.resources.change import UserError
from pipeline.settings import load
from tests.pipeline.conftest import altered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.pipeline.conftest import Calls

VIEW_TYPES = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")
ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"


@pytest.fixture
def deployment(aws: Callable[[str], Any]) -> Callable[..., Deployment]:
    """Return a deployment on a table in moto, which is created with these parameters."""

    def create(parameters: Mapping[str, Any], **settings: str) -> Deployment:
        aws("dynamodb").create_table(
            TableName="orders",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            **parameters,
        )
        return Deployment(load(None, {}, {"TABLE_ARN": ARN, **settings}), lambda service, **_: aws(service), Path())

    return create


def stream(view_type: str) -> dict[str, Any]:
    return {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view_type}}


ENOUGH = {
    (desired, has)
    for desired in ("", *VIEW_TYPES)
    for has in VIEW_TYPES
    if has in (desired, "NEW_AND_OLD_IMAGES") or desired in ("", "KEYS_ONLY")
}


@pytest.mark.parametrize(("desired", "has"), sorted(ENOUGH))
def test_a_stream_may_have_more_images_than_stream_view_type(
    deployment: Callable[..., Deployment], desired: str, has: str
) -> None:
    d = deployment(stream(has), STREAM_VIEW_TYPE=desired)
    external.check_stream(d, external.describe_table(d))


@pytest.mark.parametrize(("desired", "has"), [("NEW_IMAGE", "OLD_IMAGE"), ("NEW_AND_OLD_IMAGES", "KEYS_ONLY")])
def test_a_stream_must_have_the_images_of_stream_view_type(
    deployment: Callable[..., Deployment], desired: str, has: str
) -> None:
    d = deployment(stream(has), STREAM_VIEW_TYPE=desired)
    with pytest.raises(UserError, match="Its owner can run:\n  aws dynamodb update-table --table-name orders"):
        external.check_stream(d, external.describe_table(d))


def test_a_table_that_is_not_active_is_reported_with_its_status(
    deployment: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    d = deployment(stream("NEW_IMAGE"))
    archived = altered(aws("dynamodb"), "DescribeTable", lambda parsed: parsed["Table"].update(TableStatus="ARCHIVED"))
    with archived, pytest.raises(UserError, match="table orders is ARCHIVED"):
        external.check_stream(d, external.describe_table(d))


def test_a_table_of_the_same_name_in_another_account_is_not_taken_for_it(
    deployment: Callable[..., Deployment],
) -> None:
    arn = ARN.replace("123456789012", "210987654321")
    with pytest.raises(UserError, match=f"TABLE_ARN: {arn} does not exist in account 210987654321"):
        external.describe_table(deployment(stream("NEW_IMAGE"), TABLE_ARN=arn))


# --- Its key ----------------------------------------------------------------------------------------------------------


def encrypted(key: str) -> dict[str, Any]:
    return {"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}}


def key_of(d: Deployment, aws: Callable[[str], Any], key: str) -> str:
    """Return the key for the role, with the table's key as DescribeTable has it. moto keeps what was sent."""
    description = {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key}
    with altered(aws("dynamodb"), "DescribeTable", lambda parsed: parsed["Table"].update(SSEDescription=description)):
        return external.table_key_arn(d, external.describe_table(d))


def test_the_role_gets_a_customer_managed_key(deployment: Callable[..., Deployment], aws: Callable[[str], Any]) -> None:
    key = aws("kms").create_key()["KeyMetadata"]["Arn"]
    assert key_of(deployment(stream("NEW_IMAGE")), aws, key) == key


def test_the_role_does_not_get_a_key_that_aws_manages(
    deployment: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    key = aws("kms").create_key()["KeyMetadata"]["Arn"]
    with altered(aws("kms"), "DescribeKey", lambda parsed: parsed["KeyMetadata"].update(KeyManager="AWS")):
        assert key_of(deployment(stream("NEW_IMAGE")), aws, key) == ""


def test_a_key_that_the_caller_may_not_read_counts_as_customer_managed(
    deployment: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/hidden"
    assert key_of(deployment(stream("NEW_IMAGE")), aws, key) == key


def test_a_table_with_the_key_of_dynamodb_itself_asks_kms_nothing(
    deployment: Callable[..., Deployment], calls: Calls
) -> None:
    d = deployment(stream("NEW_IMAGE"))
    assert external.table_key_arn(d, external.describe_table(d)) == ""
    assert "DescribeKey" not in calls.operations


# --- Its readers ------------------------------------------------------------------------------------------------------


def test_a_second_reader_of_a_global_table_is_noted(
    deployment: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    d = deployment(stream("NEW_IMAGE"))
    mappings = [{"FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:theirs:live", "State": "Enabled"}]
    lambda_, current = aws("lambda"), {**external.describe_table(d), "Replicas": [{"RegionName": "us-east-1"}]}
    with altered(lambda_, "ListEventSourceMappings", lambda parsed: parsed.update(EventSourceMappings=mappings)):
        note = steps._crowded(d, current)
        assert steps._crowded(d, {**current, "Replicas": []}) == ""
    assert note == "the stream has other readers: theirs; AWS recommends at most one reader of a global table's stream"


def test_the_reader_follows_a_shard_to_those_after_it(
    aws: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = aws("dynamodbstreams")
    monkeypatch.setattr(records, "_LIST_SHARDS_SECONDS", -1)
    stream_arn, numbers = f"{ARN}/stream/1", {"StartingSequenceNumber": "1" * 21}
    with Stubber(streams) as stub:

        def shards(*names: str) -> None:
            listed = [{"ShardId": f"shardId-{name:0>20}", "SequenceNumberRange": numbers} for name in names]
            description = {"StreamDescription": {"StreamArn": stream_arn, "Shards": listed}}
            stub.add_response("describe_stream", description, {"StreamArn": stream_arn})

        def iterator(name: str, kind: str) -> None:
            expected = {"StreamArn": stream_arn, "ShardId": f"shardId-{name:0>20}", "ShardIteratorType": kind}
            stub.add_response("get_shard_iterator", {"ShardIterator": f"{name}-0"}, expected)

        def page(iterator: str, event_id: str, following: str) -> None:
            response = {"Records": [{"eventID": event_id}] if event_id else [], "NextShardIterator": following}
            response = {name: value for name, value in response.items() if value != ""}
            stub.add_response("get_records", response, {"ShardIterator": iterator})

        shards("old")
        iterator("old", "LATEST")
        page("old-0", "", "old-1")
        shards("old")
        page("old-1", "a", "")
        shards("old", "new")
        iterator("new", "TRIM_HORIZON")
        page("new-0", "b", "new-1")
        pages = itertools.islice(records.follow(streams, stream_arn), 3)
        found = [[record["eventID"] for record in some] for some in pages]
    assert found == [[], ["a"], ["b"]]
