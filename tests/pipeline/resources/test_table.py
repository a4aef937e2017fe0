from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import table
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]

WANTED: dict[str, Any] = {
    "TableName": "test",
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
    "BillingMode": "PROVISIONED",
    "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    "Tags": [{"Key": "pipeline", "Value": "demo"}],
}
ON_DEMAND = {setting: value for setting, value in WANTED.items() if setting != "ProvisionedThroughput"} | {
    "BillingMode": "PAY_PER_REQUEST"
}
RECOVERY = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}

# Another value of each setting that AWS changes in place, and the writing call that brings it about.
DRIFTS: dict[str, tuple[dict[str, Any], tuple[str, dict[str, Any]]]] = {
    "BillingMode": (ON_DEMAND, ("UpdateTable", {"BillingMode": "PAY_PER_REQUEST"})),
    "DeletionProtectionEnabled": (
        {**WANTED, "DeletionProtectionEnabled": True},
        ("UpdateTable", {"DeletionProtectionEnabled": True}),
    ),
    "OnDemandThroughput": (
        {**WANTED, "OnDemandThroughput": {"MaxReadRequestUnits": 5}},
        ("UpdateTable", {"OnDemandThroughput": {"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": -1}}),
    ),
    "PointInTimeRecoverySpecification": (
        {**WANTED, "PointInTimeRecoverySpecification": RECOVERY},
        ("UpdateContinuousBackups", {"PointInTimeRecoverySpecification": RECOVERY}),
    ),
    "ProvisionedThroughput": (
        {**WANTED, "ProvisionedThroughput": {"ReadCapacityUnits": 2, "WriteCapacityUnits": 1}},
        ("UpdateTable", {"ProvisionedThroughput": {"ReadCapacityUnits": 2, "WriteCapacityUnits": 1}}),
    ),
    "SSESpecification": (
        {**WANTED, "SSESpecification": {"Enabled": True}},
        ("UpdateTable", {"SSESpecification": {"Enabled": True, "SSEType": "KMS"}}),
    ),
    "StreamSpecification": (
        {**WANTED, "StreamSpecification": {"StreamEnabled": False}},
        ("UpdateTable", {"StreamSpecification": {"StreamEnabled": False}}),
    ),
    "TableClass": (
        {**WANTED, "TableClass": "STANDARD_INFREQUENT_ACCESS"},
        ("UpdateTable", {"TableClass": "STANDARD_INFREQUENT_ACCESS"}),
    ),
    "WarmThroughput": (
        {**WANTED, "WarmThroughput": {"ReadUnitsPerSecond": 15000, "WriteUnitsPerSecond": 5000}},
        ("UpdateTable", {"WarmThroughput": {"ReadUnitsPerSecond": 15000, "WriteUnitsPerSecond": 5000}}),
    ),
}
DRIFTED = pytest.mark.parametrize(("other", "write"), DRIFTS.values(), ids=DRIFTS)


def test_creates_when_absent(aws: Aws) -> None:
    change = table.ensure(aws("dynamodb"), WANTED)

    assert (change.resource, change.action) == ("table test", "created")
    assert change.attributes["LatestStreamArn"] == table.wait(aws("dynamodb"), "test")["LatestStreamArn"]


def test_creates_with_point_in_time_recovery(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), {**WANTED, "PointInTimeRecoverySpecification": RECOVERY})

    found = table.describe(aws("dynamodb"), "test")
    assert found
    assert found["PointInTimeRecoverySpecification"] == RECOVERY


def test_recovery_of_a_new_table_is_tried_until_aws_can(aws: Aws) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_client_error("describe_table", "ResourceNotFoundException")
        stub.add_response("create_table", {"TableDescription": described("CREATING")["Table"]})
        stub.add_response("describe_table", described("ACTIVE"))
        stub.add_client_error("update_continuous_backups", "ContinuousBackupsUnavailableException")
        stub.add_response("update_continuous_backups", {"ResponseMetadata": {"HTTPStatusCode": 200}})

        assert table.ensure(aws("dynamodb"), {**WANTED, "PointInTimeRecoverySpecification": RECOVERY}).action == "created"


def test_says_unchanged_when_same(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), WANTED)

    change = table.ensure(aws("dynamodb"), WANTED)

    assert (change.action, change.diffs, change.pending) == ("unchanged", (), False)


def test_unchanged_takes_three_reads(aws: Aws, calls: Calls) -> None:
    table.ensure(aws("dynamodb"), WANTED)
    calls.clear()

    table.ensure(aws("dynamodb"), WANTED)

    assert calls.operations == ["DescribeTable", "DescribeContinuousBackups", "ListTagsOfResource"]


def test_the_grid_below_knows_every_setting() -> None:
    refused = {"TableName", "KeySchema", "AttributeDefinitions", "LocalSecondaryIndexes", "GlobalSecondaryIndexes"}

    assert {*DRIFTS, "Tags"} == table._KNOWN - refused


@DRIFTED
def test_changes_exactly_what_drifted(
    aws: Aws, calls: Calls, other: dict[str, Any], write: tuple[str, dict[str, Any]]
) -> None:
    table.ensure(aws("dynamodb"), WANTED)
    calls.clear()

    change = table.ensure(aws("dynamodb"), other)

    operation, parameters = write
    assert calls.writes == [(operation, {"TableName": "test", **parameters})]
    assert change.action == "updated"


@pytest.mark.parametrize(("setting", "other"), [(setting, other) for setting, (other, _) in DRIFTS.items()], ids=DRIFTS)
def test_names_what_drifted(aws: Aws, setting: str, other: dict[str, Any]) -> None:
    table.ensure(aws("dynamodb"), WANTED)

    change = table.ensure(aws("dynamodb"), other)

    assert setting in [difference.setting for difference in change.diffs]


# moto takes these into account; what it ignores is tested as the call that is made, above.
TAKEN_BY_MOTO = pytest.mark.parametrize(
    "setting", ["BillingMode", "DeletionProtectionEnabled", "PointInTimeRecoverySpecification", "ProvisionedThroughput"]
)


@TAKEN_BY_MOTO
def test_says_unchanged_after_a_change(aws: Aws, setting: str) -> None:
    table.ensure(aws("dynamodb"), WANTED)
    table.ensure(aws("dynamodb"), DRIFTS[setting][0])

    assert table.ensure(aws("dynamodb"), DRIFTS[setting][0]).diffs == ()


@TAKEN_BY_MOTO
def test_an_option_taken_away_goes_back_to_the_default(aws: Aws, setting: str) -> None:
    table.ensure(aws("dynamodb"), WANTED)
    before = table.describe(aws("dynamodb"), "test")
    table.ensure(aws("dynamodb"), DRIFTS[setting][0])

    table.ensure(aws("dynamodb"), WANTED)

    assert table.describe(aws("dynamodb"), "test") == before


def test_tags_become_exactly_the_wanted_ones(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), {**WANTED, "Tags": [*WANTED["Tags"], {"Key": "old", "Value": "1"}]})

    table.ensure(aws("dynamodb"), {**WANTED, "Tags": [*WANTED["Tags"], {"Key": "new", "Value": "2"}]})

    found = table.describe(aws("dynamodb"), "test")
    assert found
    assert found["Tags"] == {"pipeline": "demo", "new": "2"}


def test_another_view_type_replaces_the_stream(aws: Aws, plan: Aws) -> None:
    old = table.ensure(aws("dynamodb"), WANTED).attributes["LatestStreamArn"]
    keys_only = {**WANTED, "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}}

    change = table.ensure(plan("dynamodb"), keys_only)

    assert change.action == "replaced"
    assert change.attributes["LatestStreamArn"] != old
    assert "24 hours" in change.note


def test_the_replaced_stream_is_a_new_one_of_the_wanted_view_type(embedded: Aws) -> None:
    dynamodb, wanted = embedded("dynamodb"), {**WANTED, "TableName": "view-type"}
    old = table.ensure(dynamodb, wanted).attributes["LatestStreamArn"]
    keys_only = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}

    change = table.ensure(dynamodb, {**wanted, "StreamSpecification": keys_only})

    found = table.wait(dynamodb, "view-type")
    assert found["StreamSpecification"] == keys_only
    assert old != found["LatestStreamArn"] == change.attributes["LatestStreamArn"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("KeySchema", [{"AttributeName": "id", "KeyType": "HASH"}]),
        ("AttributeDefinitions", [{"AttributeName": "name", "AttributeType": "N"}]),
        (
            "GlobalSecondaryIndexes",
            [
                {
                    "IndexName": "by-name",
                    "KeySchema": WANTED["KeySchema"],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
        ),
    ],
)
def test_refuses_what_would_lose_data(aws: Aws, calls: Calls, setting: str, value: Any) -> None:
    table.ensure(aws("dynamodb"), WANTED)
    calls.clear()

    with pytest.raises(UserError, match=rf"table test has {setting} .* By hand"):
        table.ensure(aws("dynamodb"), {**WANTED, setting: value})

    assert calls.writes == []


def test_indexes_that_are_as_wanted_are_unchanged(aws: Aws) -> None:
    index = {
        "IndexName": "by-name",
        "KeySchema": WANTED["KeySchema"],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    }
    wanted = {**WANTED, "GlobalSecondaryIndexes": [index]}
    table.ensure(aws("dynamodb"), wanted)

    assert table.ensure(aws("dynamodb"), wanted).action == "unchanged"


KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("wanted_key", [KEY, KEY.rpartition("/")[2]], ids=["ARN", "id"])
def test_an_encryption_key_is_compared_by_arn_or_id(aws: Aws, wanted_key: str) -> None:
    encrypted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    table.ensure(aws("dynamodb"), {**WANTED, "SSESpecification": encrypted})

    again = table.ensure(aws("dynamodb"), {**WANTED, "SSESpecification": {**encrypted, "KMSMasterKeyId": wanted_key}})

    assert again.action == "unchanged"


def test_another_encryption_key_is_set(aws: Aws, calls: Calls) -> None:
    encrypted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    table.ensure(aws("dynamodb"), {**WANTED, "SSESpecification": encrypted})
    calls.clear()
    other = {**encrypted, "KMSMasterKeyId": KEY.replace("1111", "9999")}

    table.ensure(aws("dynamodb"), {**WANTED, "SSESpecification": other})

    assert calls.writes == [("UpdateTable", {"TableName": "test", "SSESpecification": other})]


def test_refuses_a_parameter_that_it_could_not_compare(aws: Aws, calls: Calls) -> None:
    with pytest.raises(UserError, match="table test: ResourcePolicy cannot be kept"):
        table.ensure(aws("dynamodb"), {**WANTED, "ResourcePolicy": "{}"})

    assert calls == []


def test_refuses_the_table_of_another_pipeline(aws: Aws, calls: Calls) -> None:
    table.ensure(aws("dynamodb"), {**WANTED, "Tags": [{"Key": "pipeline", "Value": "other"}]})
    calls.clear()

    with pytest.raises(UserError, match="table test exists and belongs to pipeline 'other'"):
        table.ensure(aws("dynamodb"), WANTED)

    assert calls.writes == []


def test_adopt_takes_over_an_untagged_table(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), {**WANTED, "Tags": []})

    change = table.ensure(aws("dynamodb"), WANTED, adopt=True)

    assert [difference.setting for difference in change.diffs] == ["Tags"]
    assert table.ensure(aws("dynamodb"), WANTED).action == "unchanged"


def test_denied_surfaces_as_aws_said_it(aws: Aws) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_client_error("describe_table", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            table.ensure(aws("dynamodb"), WANTED)


def described(status: str) -> dict[str, Any]:
    keys = {setting: WANTED[setting] for setting in ("TableName", "KeySchema", "AttributeDefinitions")}
    return {"Table": {**keys, "TableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/test", "TableStatus": status}}


def test_a_table_that_is_still_being_created_is_waited_for_and_then_compared(aws: Aws) -> None:
    minimal = {**described("ACTIVE")["Table"], "BillingMode": "PROVISIONED"}
    wanted = {
        setting: minimal[setting] for setting in ("TableName", "KeySchema", "AttributeDefinitions", "BillingMode")
    }
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", described("CREATING"))
        stub.add_response("describe_table", described("ACTIVE"))
        stub.add_response("describe_table", described("ACTIVE"))
        stub.add_response(
            "describe_continuous_backups",
            {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}},
        )
        stub.add_response("list_tags_of_resource", {"Tags": [{"Key": "aws:cloudformation:stack-id", "Value": "x"}]})

        assert table.ensure(aws("dynamodb"), wanted).action == "unchanged"


def test_a_table_that_is_going_is_waited_for_and_made_anew(aws: Aws) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", described("DELETING"))
        stub.add_client_error("describe_table", "ResourceNotFoundException")
        stub.add_response("create_table", {"TableDescription": described("CREATING")["Table"]})

        assert table.ensure(aws("dynamodb"), WANTED).action == "created"


def test_deleting_what_is_going_already_asks_for_nothing_more(aws: Aws) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", described("DELETING"))

        done = table.delete(aws("dynamodb"), "test", owner="demo")

    assert (done.action, done.pending) == ("deleted", True)


@pytest.mark.parametrize("status", ["ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
def test_wait_gives_up_on_a_table_that_cannot_become_active(aws: Aws, status: str) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", {"Table": {"TableStatus": status}})

        with pytest.raises(UserError, match=f"table test is {status}"):
            table.wait(aws("dynamodb"), "test")


def test_deletes(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), WANTED)

    assert table.delete(aws("dynamodb"), "test", owner="demo").action == "deleted"

    table.wait_until_deleted(aws("dynamodb"), "test")
    assert table.describe(aws("dynamodb"), "test") is None


def test_delete_says_absent_when_absent(aws: Aws) -> None:
    assert table.delete(aws("dynamodb"), "test", owner="demo").action == "absent"


def test_delete_refuses_the_table_of_another_pipeline(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), WANTED)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        table.delete(aws("dynamodb"), "test", owner="mine")


def test_delete_respects_deletion_protection(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), {**WANTED, "DeletionProtectionEnabled": True})

    with pytest.raises(UserError, match="protected from deletion"):
        table.delete(aws("dynamodb"), "test", owner="demo")


def test_plan_of_a_creation_writes_nothing(aws: Aws, plan: Aws) -> None:
    change = table.ensure(plan("dynamodb"), {**WANTED, "PointInTimeRecoverySpecification": RECOVERY})

    assert (change.action, change.pending) == ("created", False)
    assert table.describe(aws("dynamodb"), "test") is None


@DRIFTED
def test_plan_foretells_the_run_call_by_call(
    aws: Aws, plan: Aws, calls: Calls, other: dict[str, Any], write: Any
) -> None:
    assert write
    table.ensure(aws("dynamodb"), WANTED)
    calls.clear()

    foretold = table.ensure(plan("dynamodb"), other)
    planned_calls = list(calls)
    calls.clear()

    done = table.ensure(aws("dynamodb"), other)
    assert (foretold.action, foretold.diffs) == (done.action, done.diffs)
    assert planned_calls == calls


def test_plan_of_a_deletion_writes_nothing(aws: Aws, plan: Aws) -> None:
    table.ensure(aws("dynamodb"), WANTED)

    assert table.delete(plan("dynamodb"), "test", owner="demo").action == "deleted"

    assert table.describe(aws("dynamodb"), "test")
