from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import table
from pipeline.resources.change import UserError, record
from tests.pipeline.conftest import altered

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]

DESIRED: dict[str, Any] = {
    "TableName": "test",
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
    "BillingMode": "PROVISIONED",
    "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    "Tags": [{"Key": "pipeline", "Value": "demo"}],
}
ON_DEMAND = {setting: value for setting, value in DESIRED.items() if setting != "ProvisionedThroughput"} | {
    "BillingMode": "PAY_PER_REQUEST"
}
BACKUPS = {"ContinuousBackupsStatus": "ENABLED"}
LOCKED = "Table tags are being updated: test"
RECOVERY = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}

# A second value for each parameter that AWS can change in place, and the call that writes it.
DRIFTS: dict[str, tuple[dict[str, Any], tuple[str, dict[str, Any]]]] = {
    "BillingMode": (ON_DEMAND, ("UpdateTable", {"BillingMode": "PAY_PER_REQUEST"})),
    "DeletionProtectionEnabled": (
        {**DESIRED, "DeletionProtectionEnabled": True},
        ("UpdateTable", {"DeletionProtectionEnabled": True}),
    ),
    "OnDemandThroughput": (
        {**DESIRED, "OnDemandThroughput": {"MaxReadRequestUnits": 5}},
        ("UpdateTable", {"OnDemandThroughput": {"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": -1}}),
    ),
    "PointInTimeRecoverySpecification": (
        {**DESIRED, "PointInTimeRecoverySpecification": RECOVERY},
        ("UpdateContinuousBackups", {"PointInTimeRecoverySpecification": RECOVERY}),
    ),
    "ProvisionedThroughput": (
        {**DESIRED, "ProvisionedThroughput": {"ReadCapacityUnits": 2, "WriteCapacityUnits": 1}},
        ("UpdateTable", {"ProvisionedThroughput": {"ReadCapacityUnits": 2, "WriteCapacityUnits": 1}}),
    ),
    "SSESpecification": (
        {**DESIRED, "SSESpecification": {"Enabled": True}},
        ("UpdateTable", {"SSESpecification": {"Enabled": True, "SSEType": "KMS"}}),
    ),
    "StreamSpecification": (
        {**DESIRED, "StreamSpecification": {"StreamEnabled": False}},
        ("UpdateTable", {"StreamSpecification": {"StreamEnabled": False}}),
    ),
    "TableClass": (
        {**DESIRED, "TableClass": "STANDARD_INFREQUENT_ACCESS"},
        ("UpdateTable", {"TableClass": "STANDARD_INFREQUENT_ACCESS"}),
    ),
}
DRIFTED = pytest.mark.parametrize(("other", "write"), DRIFTS.values(), ids=DRIFTS)


def test_creates_a_table_that_does_not_exist(aws: Aws) -> None:
    change = table.ensure(aws("dynamodb"), DESIRED)

    assert (change.resource, change.action) == ("table test", "created")
    assert change.attributes["LatestStreamArn"] == table.wait(aws("dynamodb"), "test")["LatestStreamArn"]


def test_creates_with_point_in_time_recovery(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), {**DESIRED, "PointInTimeRecoverySpecification": RECOVERY})

    current = table.describe(aws("dynamodb"), "test")
    assert current
    assert current["PointInTimeRecoverySpecification"] == RECOVERY


def test_retries_point_in_time_recovery_until_aws_can_back_up_a_new_table(aws: Aws) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_client_error("describe_table", "ResourceNotFoundException")
        stub.add_response("create_table", {"TableDescription": described("CREATING")["Table"]})
        stub.add_response("describe_table", described("ACTIVE"))
        stub.add_client_error("update_continuous_backups", "ContinuousBackupsUnavailableException")
        stub.add_response("update_continuous_backups", {"ResponseMetadata": {"HTTPStatusCode": 200}})

        assert (
            table.ensure(aws("dynamodb"), {**DESIRED, "PointInTimeRecoverySpecification": RECOVERY}).action == "created"
        )


def test_reports_unchanged_if_nothing_differs(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), DESIRED)

    change = table.ensure(aws("dynamodb"), DESIRED)

    assert (change.action, change.diffs, change.pending) == ("unchanged", (), False)


def test_an_unchanged_table_takes_three_reads(aws: Aws, calls: Calls) -> None:
    table.ensure(aws("dynamodb"), DESIRED)
    calls.clear()

    table.ensure(aws("dynamodb"), DESIRED)

    assert calls.operations == ["DescribeTable", "DescribeContinuousBackups", "ListTagsOfResource"]


def test_the_cases_below_cover_every_parameter() -> None:
    refused = {"TableName", "KeySchema", "AttributeDefinitions"}

    assert {*DRIFTS, "Tags"} == table.PARAMETERS - refused


@DRIFTED
def test_updates_only_the_parameter_that_differs(
    aws: Aws, calls: Calls, other: dict[str, Any], write: tuple[str, dict[str, Any]]
) -> None:
    table.ensure(aws("dynamodb"), DESIRED)
    calls.clear()

    change = table.ensure(aws("dynamodb"), other)

    operation, parameters = write
    assert calls.writes == [(operation, {"TableName": "test", **parameters})]
    assert change.action == "updated"


@pytest.mark.parametrize(("setting", "other"), [(setting, other) for setting, (other, _) in DRIFTS.items()], ids=DRIFTS)
def test_the_diff_names_the_parameter_that_differs(aws: Aws, setting: str, other: dict[str, Any]) -> None:
    table.ensure(aws("dynamodb"), DESIRED)

    change = table.ensure(aws("dynamodb"), other)

    assert setting in [each.setting for each in change.diffs]


# moto stores these parameters. For those that it ignores, the test above checks the call.
STORED_BY_MOTO = pytest.mark.parametrize(
    "setting", ["BillingMode", "DeletionProtectionEnabled", "PointInTimeRecoverySpecification", "ProvisionedThroughput"]
)


@STORED_BY_MOTO
def test_reports_unchanged_after_an_update(aws: Aws, setting: str) -> None:
    table.ensure(aws("dynamodb"), DESIRED)
    table.ensure(aws("dynamodb"), DRIFTS[setting][0])

    assert table.ensure(aws("dynamodb"), DRIFTS[setting][0]).diffs == ()


@STORED_BY_MOTO
def test_removing_an_option_resets_it_to_the_default(aws: Aws, setting: str) -> None:
    table.ensure(aws("dynamodb"), DESIRED)
    before = table.describe(aws("dynamodb"), "test")
    table.ensure(aws("dynamodb"), DRIFTS[setting][0])

    table.ensure(aws("dynamodb"), DESIRED)

    assert table.describe(aws("dynamodb"), "test") == before


def test_removes_a_tag_that_it_added_and_keeps_a_tag_of_others(aws: Aws) -> None:
    def tagged(**tags: str) -> list[dict[str, str]]:
        return [{"Key": name, "Value": value} for name, value in {"pipeline": "demo", **tags, **record(tags)}.items()]

    arn = table.ensure(aws("dynamodb"), {**DESIRED, "Tags": tagged(old="1")}).attributes["TableArn"]
    aws("dynamodb").tag_resource(ResourceArn=arn, Tags=[{"Key": "cost-center", "Value": "42"}])

    table.ensure(aws("dynamodb"), {**DESIRED, "Tags": tagged(new="2")})

    current = table.describe(aws("dynamodb"), "test")
    assert current
    assert current["Tags"] == {"pipeline": "demo", "new": "2", **record(["new"]), "cost-center": "42"}
    assert table.ensure(aws("dynamodb"), {**DESIRED, "Tags": tagged(new="2")}).action == "unchanged"


def test_adds_a_tag_once_aws_is_done_with_the_removal_of_another(aws: Aws) -> None:
    active = described("ACTIVE")
    desired = {**active["Table"], "BillingMode": "PROVISIONED", "Tags": [{"Key": "new", "Value": "2"}]}
    desired = {name: desired[name] for name in desired if name in table.PARAMETERS}
    tags = [{"Key": name, "Value": value} for name, value in {"old": "1", **record(["old"])}.items()]
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", active)
        stub.add_response("describe_continuous_backups", {"ContinuousBackupsDescription": BACKUPS})
        stub.add_response("list_tags_of_resource", {"Tags": tags})
        stub.add_response("untag_resource", {})
        stub.add_client_error("tag_resource", "LimitExceededException", f"Subscriber limit exceeded: {LOCKED}")
        stub.add_response("tag_resource", {})

        assert table.ensure(aws("dynamodb"), desired).action == "updated"


@pytest.mark.parametrize(
    "shown",
    [
        {"TableStatus": "UPDATING", "ProvisionedThroughput": {"ReadCapacityUnits": 9, "WriteCapacityUnits": 9}},
        {"TableStatus": "UPDATING", "TableClassSummary": {"TableClass": "STANDARD_INFREQUENT_ACCESS"}},
        {"SSEDescription": {"Status": "UPDATING"}},
        {"SSEDescription": {"Status": "UPDATING", "SSEType": "KMS", "KMSMasterKeyArn": "arn:aws:kms:::key/old"}},
    ],
)
def test_an_update_in_progress_is_not_repeated(aws: Aws, calls: Calls, shown: dict[str, Any]) -> None:
    table.ensure(aws("dynamodb"), DESIRED)
    calls.clear()

    with altered(aws("dynamodb"), "DescribeTable", lambda parsed: parsed["Table"].update(shown), times=1):
        change = table.ensure(aws("dynamodb"), DESIRED)

    assert (change.action, calls.writes) == ("unchanged", [])


@pytest.mark.proof
def test_waits_until_the_encryption_has_changed(aws: Aws, calls: Calls) -> None:
    table.ensure(aws("dynamodb"), DESIRED)
    calls.clear()

    encrypting = {"SSEDescription": {"Status": "UPDATING"}}
    with altered(aws("dynamodb"), "DescribeTable", lambda parsed: parsed["Table"].update(encrypting), times=1):
        assert table.wait(aws("dynamodb"), "test")["TableStatus"] == "ACTIVE"

    assert calls.operations.count("DescribeTable") == 3


def test_another_view_type_replaces_the_stream(aws: Aws, dry_run: Aws) -> None:
    old = table.ensure(aws("dynamodb"), DESIRED).attributes["LatestStreamArn"]
    keys_only = {**DESIRED, "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}}

    change = table.ensure(dry_run("dynamodb"), keys_only)

    assert change.action == "replaced"
    assert change.attributes["LatestStreamArn"] != old
    assert "24 hours" in change.note


def test_the_new_stream_has_the_desired_view_type(local_aws: Aws) -> None:
    dynamodb, desired = local_aws("dynamodb"), {**DESIRED, "TableName": "view-type"}
    old = table.ensure(dynamodb, desired).attributes["LatestStreamArn"]
    keys_only = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}

    change = table.ensure(dynamodb, {**desired, "StreamSpecification": keys_only})

    current = table.wait(dynamodb, "view-type")
    assert current["StreamSpecification"] == keys_only
    assert old != current["LatestStreamArn"] == change.attributes["LatestStreamArn"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("KeySchema", [{"AttributeName": "id", "KeyType": "HASH"}]),
        ("AttributeDefinitions", [{"AttributeName": "name", "AttributeType": "N"}]),
    ],
)
def test_rejects_a_change_of_keys(aws: Aws, calls: Calls, setting: str, value: Any) -> None:
    table.ensure(aws("dynamodb"), DESIRED)
    calls.clear()

    with pytest.raises(UserError, match=rf"table test: cannot change {setting} from .*delete the table"):
        table.ensure(aws("dynamodb"), {**DESIRED, setting: value})

    assert calls.writes == []


def test_an_index_that_others_added_stays(aws: Aws, calls: Calls) -> None:
    index = {
        "IndexName": "by-place",
        "KeySchema": [{"AttributeName": "place", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    }
    place = {"AttributeName": "place", "AttributeType": "S"}
    attributes = [*DESIRED["AttributeDefinitions"], place]
    table.ensure(aws("dynamodb"), DESIRED)
    aws("dynamodb").update_table(
        TableName="test", AttributeDefinitions=attributes, GlobalSecondaryIndexUpdates=[{"Create": index}]
    )
    calls.clear()

    assert table.ensure(aws("dynamodb"), DESIRED).diffs == ()
    assert calls.writes == []


KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("desired_key", [KEY, KEY.rpartition("/")[2]], ids=["ARN", "id"])
def test_compares_an_encryption_key_by_arn_or_id(aws: Aws, desired_key: str) -> None:
    encrypted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    table.ensure(aws("dynamodb"), {**DESIRED, "SSESpecification": encrypted})

    change = table.ensure(
        aws("dynamodb"), {**DESIRED, "SSESpecification": {**encrypted, "KMSMasterKeyId": desired_key}}
    )

    assert change.action == "unchanged"


@pytest.mark.parametrize(("encryption", "shown"), [({}, {}), ({"SSEType": "KMS"}, {"Enabled": True})])
def test_compares_encryption_that_does_not_say_whether_it_is_on(
    aws: Aws, encryption: dict[str, Any], shown: dict[str, Any]
) -> None:
    table.ensure(aws("dynamodb"), {**DESIRED, "SSESpecification": shown})

    assert table.ensure(aws("dynamodb"), {**DESIRED, "SSESpecification": encryption}).action == "unchanged"


def test_sets_another_encryption_key(aws: Aws, calls: Calls) -> None:
    encrypted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    table.ensure(aws("dynamodb"), {**DESIRED, "SSESpecification": encrypted})
    calls.clear()
    other = {**encrypted, "KMSMasterKeyId": KEY.replace("1111", "9999")}

    table.ensure(aws("dynamodb"), {**DESIRED, "SSESpecification": other})

    assert calls.writes == [("UpdateTable", {"TableName": "test", "SSESpecification": other})]


def test_rejects_an_unsupported_parameter_before_any_call(aws: Aws, calls: Calls) -> None:
    with pytest.raises(UserError, match="table test: ResourcePolicy not supported"):
        table.ensure(aws("dynamodb"), {**DESIRED, "ResourcePolicy": "{}"})

    assert calls == []


def test_rejects_a_table_of_another_pipeline(aws: Aws, calls: Calls) -> None:
    table.ensure(aws("dynamodb"), {**DESIRED, "Tags": [{"Key": "pipeline", "Value": "other"}]})
    calls.clear()

    with pytest.raises(UserError, match="table test already exists and belongs to pipeline 'other'"):
        table.ensure(aws("dynamodb"), DESIRED)

    assert calls.writes == []


def test_adopt_takes_over_an_untagged_table(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), {**DESIRED, "Tags": []})

    change = table.ensure(aws("dynamodb"), DESIRED, adopt=True)

    assert [each.setting for each in change.diffs] == ["Tags"]
    assert table.ensure(aws("dynamodb"), DESIRED).action == "unchanged"


def test_raises_access_denied_as_aws_reports_it(aws: Aws) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_client_error("describe_table", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            table.ensure(aws("dynamodb"), DESIRED)


def described(status: str) -> dict[str, Any]:
    keys = {setting: DESIRED[setting] for setting in ("TableName", "KeySchema", "AttributeDefinitions")}
    return {"Table": {**keys, "TableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/test", "TableStatus": status}}


def test_waits_for_a_table_in_creation_and_then_compares_it(aws: Aws) -> None:
    minimal = {**described("ACTIVE")["Table"], "BillingMode": "PROVISIONED"}
    desired = {
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

        assert table.ensure(aws("dynamodb"), desired).action == "unchanged"


LIMITS = {"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": 5}
NO_LIMITS = {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": -1}
TO_ON_DEMAND = {"BillingMode": "PAY_PER_REQUEST"}
TO_PROVISIONED = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": DESIRED["ProvisionedThroughput"]}


# With recorded responses, as moto does not return the limits.
@pytest.mark.parametrize(
    ("current", "desired", "updates"),
    [
        ({}, {**TO_ON_DEMAND, "OnDemandThroughput": LIMITS}, [TO_ON_DEMAND, {"OnDemandThroughput": LIMITS}]),
        (
            {"BillingModeSummary": TO_ON_DEMAND, "OnDemandThroughput": LIMITS},
            TO_PROVISIONED,
            [{"OnDemandThroughput": NO_LIMITS}, TO_PROVISIONED],
        ),
    ],
    ids=["to on-demand mode", "to provisioned mode"],
)
def test_changes_on_demand_limits_while_the_table_is_in_on_demand_mode(
    aws: Aws, current: dict[str, Any], desired: dict[str, Any], updates: list[dict[str, Any]]
) -> None:
    keys = {setting: DESIRED[setting] for setting in ("TableName", "KeySchema", "AttributeDefinitions")}
    active = {"Table": {**described("ACTIVE")["Table"], **current}}
    backups = {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}}
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", active)
        stub.add_response("describe_continuous_backups", backups)
        stub.add_response("list_tags_of_resource", {"Tags": []})
        for update in updates:
            stub.add_response("describe_table", active)
            stub.add_response("update_table", {}, {"TableName": "test", **update})

        assert table.ensure(aws("dynamodb"), {**keys, **desired}).action == "updated"


def test_waits_for_a_deletion_in_progress_and_then_creates_the_table(aws: Aws) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", described("DELETING"))
        stub.add_client_error("describe_table", "ResourceNotFoundException")
        stub.add_response("create_table", {"TableDescription": described("CREATING")["Table"]})

        assert table.ensure(aws("dynamodb"), DESIRED).action == "created"


def test_delete_makes_no_call_if_a_deletion_is_in_progress(aws: Aws) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", described("DELETING"))

        change = table.delete(aws("dynamodb"), "test", owner="demo")

    assert (change.action, change.pending) == ("deleted", True)


@pytest.mark.parametrize("status", ["ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
def test_wait_fails_at_once_for_a_table_that_cannot_become_active(aws: Aws, status: str) -> None:
    with Stubber(aws("dynamodb")) as stub:
        stub.add_response("describe_table", {"Table": {"TableStatus": status}})

        with pytest.raises(UserError, match=f"table test is {status}"):
            table.wait(aws("dynamodb"), "test")


def test_deletes_a_table(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), DESIRED)

    assert table.delete(aws("dynamodb"), "test", owner="demo").action == "deleted"

    table.wait_until_deleted(aws("dynamodb"), "test")
    assert table.describe(aws("dynamodb"), "test") is None


def test_delete_reports_absent_if_there_is_no_table(aws: Aws) -> None:
    assert table.delete(aws("dynamodb"), "test", owner="demo").action == "absent"


def test_delete_rejects_a_table_of_another_pipeline(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), DESIRED)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        table.delete(aws("dynamodb"), "test", owner="mine")


def test_delete_rejects_a_protected_table(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), {**DESIRED, "DeletionProtectionEnabled": True})

    with pytest.raises(UserError, match="protected from deletion"):
        table.delete(aws("dynamodb"), "test", owner="demo")


def test_a_dry_run_creates_nothing(aws: Aws, dry_run: Aws) -> None:
    change = table.ensure(dry_run("dynamodb"), {**DESIRED, "PointInTimeRecoverySpecification": RECOVERY})

    assert (change.action, change.pending) == ("created", False)
    assert table.describe(aws("dynamodb"), "test") is None


@DRIFTED
def test_a_dry_run_predicts_every_call(aws: Aws, dry_run: Aws, calls: Calls, other: dict[str, Any], write: Any) -> None:
    assert write
    table.ensure(aws("dynamodb"), DESIRED)
    calls.clear()

    planned = table.ensure(dry_run("dynamodb"), other)
    planned_calls = list(calls)
    calls.clear()

    change = table.ensure(aws("dynamodb"), other)
    assert (planned.action, planned.diffs) == (change.action, change.diffs)
    assert planned_calls == calls


def test_a_dry_run_deletes_nothing(aws: Aws, dry_run: Aws) -> None:
    table.ensure(aws("dynamodb"), DESIRED)

    assert table.delete(dry_run("dynamodb"), "test", owner="demo").action == "deleted"

    assert table.describe(aws("dynamodb"), "test")


def test_a_table_of_ours_whose_tags_are_not_visible_yet_is_ours(aws: Aws) -> None:
    table.ensure(aws("dynamodb"), DESIRED)

    with altered(aws("dynamodb"), "ListTagsOfResource", lambda parsed: parsed.update(Tags=[]), times=3):
        assert table.ensure(aws("dynamodb"), DESIRED).action == "unchanged"


def test_an_untagged_table_that_differs_is_not_waited_for(aws: Aws, calls: Calls) -> None:
    table.ensure(aws("dynamodb"), {**DESIRED, "Tags": [], "DeletionProtectionEnabled": True})
    calls.clear()

    with pytest.raises(UserError, match="table test already exists and has no pipeline tag"):
        table.ensure(aws("dynamodb"), DESIRED)

    assert calls.operations.count("ListTagsOfResource") == 1


@pytest.mark.parametrize("status", ["ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
def test_a_table_that_does_not_become_active_is_reported_as_such(aws: Aws, calls: Calls, status: str) -> None:
    table.ensure(aws("dynamodb"), DESIRED)
    calls.clear()

    with altered(aws("dynamodb"), "DescribeTable", lambda parsed: parsed["Table"].update(TableStatus=status)):
        assert table.ensure(aws("dynamodb"), DESIRED).pending
        with pytest.raises(UserError, match=f"table test is {status} and will not become ACTIVE"):
            table.wait(aws("dynamodb"), "test")

    assert "DescribeContinuousBackups" not in calls.operations
