"""Made-up tables of others: deploy, smoke --observe, status, adopt and clean leave every attribute, tag and item.

`invoke dev.soak --only external` makes up 200 tables.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof

KEYS = st.lists(st.sampled_from("SNB"), min_size=1, max_size=2)
CAPACITY = {"ReadCapacityUnits": 3, "WriteCapacityUnits": 2}
BILLING = st.sampled_from(
    [
        {"BillingMode": "PAY_PER_REQUEST"},
        {"BillingMode": "PAY_PER_REQUEST", "OnDemandThroughput": {"MaxReadRequestUnits": 7, "MaxWriteRequestUnits": 9}},
        {"BillingMode": "PROVISIONED", "ProvisionedThroughput": CAPACITY},
    ]
)
KEY_ARN = "arn:aws:kms:us-east-1:000000000000:key/0a1b2c3d"
ENCRYPTION = st.sampled_from([{}, {"Enabled": True}, {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN}])
TAGS = st.dictionaries(
    st.sampled_from(["pipeline", "team", "pipeline:added", "é +-=._:/@"]), st.text("ab ü_.:/=+-@1", max_size=9)
)
TABLES = st.fixed_dictionaries(
    {
        "StreamSpecification": st.sampled_from(["NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"]).map(
            lambda view_type: {"StreamEnabled": True, "StreamViewType": view_type}
        ),
        "DeletionProtectionEnabled": st.booleans(),
        "TableClass": st.sampled_from(["STANDARD", "STANDARD_INFREQUENT_ACCESS"]),
        "Tags": TAGS.map(lambda tags: [{"Key": name, "Value": value} for name, value in tags.items()]),
    }
)
VALUES = {"S": "a", "N": "1", "B": b"a"}


def create(dynamodb: Any, name: str, keys: list[str], parameters: dict[str, Any], *, recovery: bool) -> None:
    """Create a table with an item, an index and a time to live."""
    names = ["hash", "range"][: len(keys)]
    key_schema = [
        {"AttributeName": each, "KeyType": role} for each, role in zip(names, ("HASH", "RANGE"), strict=False)
    ]
    index: dict[str, Any] = {
        "IndexName": "by-state",
        "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    if parameters["BillingMode"] == "PROVISIONED":
        index["ProvisionedThroughput"] = CAPACITY
    kinds = [*zip(names, keys, strict=True), ("state", "S")]
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": kind} for each, kind in kinds],
        KeySchema=key_schema,
        GlobalSecondaryIndexes=[index],
        **parameters,
    )
    specification = {"PointInTimeRecoveryEnabled": recovery}
    dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=specification)
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
    dynamodb.put_item(TableName=name, Item=item(keys))


def item(keys: list[str], **more: Any) -> dict[str, Any]:
    return {**{name: {kind: VALUES[kind]} for name, kind in zip(("hash", "range"), keys, strict=False)}, **more}


def state(dynamodb: Any, name: str) -> dict[str, Any]:
    """Return all that AWS says about the table, and its items."""
    table = dynamodb.describe_table(TableName=name)["Table"]
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    for moment in ("EarliestRestorableDateTime", "LatestRestorableDateTime"):
        backups.get("PointInTimeRecoveryDescription", {}).pop(moment, None)
    return {
        "table": table,
        "tags": dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"],
        "recovery": backups,
        "time to live": dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"],
        "backups": dynamodb.list_backups(TableName=name)["BackupSummaries"],
        "items": dynamodb.scan(TableName=name)["Items"],
    }


def observe(project: ForkedProject, name: str, keys: list[str], settings: dict[str, str]) -> None:
    """Run `smoke --observe` while the owner of the table changes its item, and then changes it back."""
    dynamodb, done = project.client("dynamodb"), threading.Event()

    def write() -> None:
        count = 0
        while not done.wait(0.05):
            dynamodb.put_item(TableName=name, Item=item(keys, count={"N": str(count)}))
            count += 1

    owner = threading.Thread(target=write)
    owner.start()
    try:
        assert project.invoke("smoke", "--observe", **settings).expect(0).writes == []
    finally:
        done.set()
        owner.join()
        dynamodb.put_item(TableName=name, Item=item(keys))


def test_a_table_of_others_stays_as_it_is(
    project: ForkedProject, count: Callable[[int, int], int], record_figures: Callable[[str], None]
) -> None:
    dynamodb = project.client("dynamodb")
    tables: list[str] = []

    @hypothesis.settings(
        max_examples=count(3, 200),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(table=TABLES, billing=BILLING, encryption=ENCRYPTION, keys=KEYS, recovery=st.booleans())
    def leave(
        table: dict[str, Any], billing: dict[str, Any], encryption: dict[str, Any], keys: list[str], recovery: bool
    ) -> None:
        name = f"theirs-{len(tables)}"
        tables.append(name)
        encrypted = {"SSESpecification": encryption} if encryption else {}
        create(dynamodb, name, keys, {**table, **billing, **encrypted}, recovery=recovery)
        account, before = project.snapshot(), state(dynamodb, name)
        settings = {"PIPELINE_NAME": "guest", "TABLE_ARN": before["table"]["TableArn"], "TAGS": '{"guest": "yes"}'}
        for words in (("--dry", "deploy"), ("deploy",), ("deploy", "--adopt"), ("status",)):
            project.run(*words, **settings)
            assert state(dynamodb, name) == before, words
        # Without --write. The table may have the tag of another pipeline, which is an error.
        project.invoke("adopt", PIPELINE_NAME="guest", TABLE_NAME=name)
        assert state(dynamodb, name) == before, "adopt"
        observe(project, name, keys, settings)
        assert state(dynamodb, name) == before, "smoke"
        project.run("clean", "--adopt", "--delete-data", "--backup", **settings)
        assert state(dynamodb, name) == before, "clean"
        assert project.snapshot() == account
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=name)

    leave()
    record_figures(f"{len(tables)} tables of others kept every attribute, tag and item")
