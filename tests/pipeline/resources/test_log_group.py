from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import change, log_group
from pipeline.resources.change import UserError, record
from tests.pipeline.conftest import altered

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]

GROUP = "/aws/lambda/test"
DESIRED: dict[str, Any] = {"logGroupName": GROUP, "retentionInDays": 30, "tags": {"pipeline": "demo"}}
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"

# A second value for each parameter that AWS can change in place, and the call that writes it.
DRIFTS: dict[str, tuple[Any, tuple[str, dict[str, Any]]]] = {
    "retentionInDays": (7, ("PutRetentionPolicy", {"logGroupName": GROUP, "retentionInDays": 7})),
    "tags": (
        {"pipeline": "demo", "stage": "test"},
        (
            "TagResource",
            {"resourceArn": f"arn:aws:logs:eu-west-1:123456789012:log-group:{GROUP}", "tags": {"stage": "test"}},
        ),
    ),
}
DRIFTED = pytest.mark.parametrize(("setting", "value", "write"), [(s, *d) for s, d in DRIFTS.items()], ids=DRIFTS)


def test_creates_a_log_group_that_does_not_exist(aws: Aws) -> None:
    change = log_group.ensure(aws("logs"), DESIRED)

    assert (change.resource, change.action) == (f"log group {GROUP}", "created")
    current = log_group.describe(aws("logs"), GROUP)
    assert current
    assert {setting: current[setting] for setting in DESIRED} == DESIRED


def test_ignores_a_log_group_whose_name_only_starts_the_same(aws: Aws) -> None:
    aws("logs").create_log_group(logGroupName=f"{GROUP}-2")

    assert log_group.ensure(aws("logs"), DESIRED).action == "created"


def test_reports_unchanged_if_nothing_differs(aws: Aws) -> None:
    log_group.ensure(aws("logs"), DESIRED)

    assert log_group.ensure(aws("logs"), DESIRED).action == "unchanged"


def test_an_unchanged_log_group_takes_two_reads(aws: Aws, calls: Calls) -> None:
    log_group.ensure(aws("logs"), DESIRED)
    calls.clear()

    log_group.ensure(aws("logs"), DESIRED)

    assert calls.operations == ["DescribeLogGroups", "ListTagsForResource"]


def test_the_cases_below_cover_every_parameter() -> None:
    assert {*DRIFTS} == log_group.PARAMETERS - {"logGroupName"}


# In a dry run, as moto lacks some of these calls.
@DRIFTED
def test_updates_only_the_parameter_that_differs(
    aws: Aws, dry_run: Aws, calls: Calls, setting: str, value: Any, write: tuple[str, dict[str, Any]]
) -> None:
    log_group.ensure(aws("logs"), DESIRED)
    calls.clear()

    change = log_group.ensure(dry_run("logs"), {**DESIRED, setting: value})

    assert calls.writes == [write]
    assert [each.setting for each in change.diffs] == [setting]


def test_a_key_that_others_added_stays(aws: Aws, calls: Calls) -> None:
    aws("logs").create_log_group(logGroupName=GROUP, kmsKeyId=KEY, tags=DESIRED["tags"])
    calls.clear()

    log_group.ensure(aws("logs"), DESIRED)

    assert [operation for operation, _ in calls.writes] == ["PutRetentionPolicy"]


def test_removing_an_option_resets_it_to_the_default(aws: Aws) -> None:
    log_group.ensure(aws("logs"), {**DESIRED, "retentionInDays": 14})

    log_group.ensure(aws("logs"), {"logGroupName": GROUP}, adopt=True)

    current = log_group.describe(aws("logs"), GROUP)
    assert current
    assert current["retentionInDays"] is None


def test_removes_a_tag_that_it_added_and_keeps_a_tag_of_others(aws: Aws) -> None:
    log_group.ensure(aws("logs"), {**DESIRED, "tags": {**DESIRED["tags"], "old": "1", **record(["old"])}})
    current = log_group.describe(aws("logs"), GROUP)
    assert current
    aws("logs").tag_resource(resourceArn=current["arn"], tags={"cost-center": "42"})

    log_group.ensure(aws("logs"), DESIRED)

    current = log_group.describe(aws("logs"), GROUP)
    assert current
    assert current["tags"] == {**DESIRED["tags"], "cost-center": "42"}
    assert log_group.ensure(aws("logs"), DESIRED).action == "unchanged"


def test_a_dry_run_predicts_every_call(aws: Aws, dry_run: Aws, calls: Calls) -> None:
    log_group.ensure(aws("logs"), DESIRED)
    other = {**DESIRED, "retentionInDays": None, "tags": {"pipeline": "demo", "stage": "test"}}
    calls.clear()

    planned = log_group.ensure(dry_run("logs"), other)
    planned_calls = list(calls)
    calls.clear()

    assert planned == log_group.ensure(aws("logs"), other)
    assert planned_calls == calls


def test_a_dry_run_creates_nothing(aws: Aws, dry_run: Aws) -> None:
    assert log_group.ensure(dry_run("logs"), DESIRED).action == "created"

    assert log_group.describe(aws("logs"), GROUP) is None


def test_rejects_an_untagged_log_group(aws: Aws, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "TAGS_TIMEOUT", 0.1)
    aws("logs").create_log_group(logGroupName=GROUP)
    calls.clear()

    with pytest.raises(UserError, match="exists and has no pipeline tag"):
        log_group.ensure(aws("logs"), DESIRED)

    assert calls.writes == []


def test_adopt_takes_over_an_untagged_log_group(aws: Aws) -> None:
    aws("logs").create_log_group(logGroupName=GROUP)

    log_group.ensure(aws("logs"), DESIRED, adopt=True)

    assert log_group.ensure(aws("logs"), DESIRED).action == "unchanged"


def test_raises_access_denied_as_aws_reports_it(aws: Aws) -> None:
    with Stubber(aws("logs")) as stub:
        stub.add_client_error("describe_log_groups", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            log_group.ensure(aws("logs"), DESIRED)


def test_deletes_a_log_group(aws: Aws) -> None:
    log_group.ensure(aws("logs"), DESIRED)

    assert log_group.delete(aws("logs"), GROUP, owner="demo").action == "deleted"

    assert log_group.describe(aws("logs"), GROUP) is None


def test_delete_reports_absent_if_there_is_no_log_group(aws: Aws) -> None:
    assert log_group.delete(aws("logs"), GROUP, owner="demo").action == "absent"


def test_delete_rejects_a_log_group_of_another_pipeline(aws: Aws) -> None:
    log_group.ensure(aws("logs"), DESIRED)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        log_group.delete(aws("logs"), GROUP, owner="mine")


def test_wait_fails_at_its_deadline(aws: Aws) -> None:
    with pytest.raises(UserError, match=f"log group {GROUP} does not exist after 0 s"):
        log_group.wait(aws("logs"), GROUP, timeout=0)


def test_wait_raises_access_denied_at_once(aws: Aws) -> None:
    with Stubber(aws("logs")) as stub:
        stub.add_client_error("describe_log_groups", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="AccessDeniedException"):
            log_group.wait(aws("logs"), GROUP, timeout=60)


def test_wait_returns_once_the_log_group_exists(aws: Aws, calls: Calls) -> None:
    aws("logs").create_log_group(logGroupName=GROUP)
    calls.clear()

    log_group.wait(aws("logs"), GROUP, timeout=60)

    assert calls.operations == ["DescribeLogGroups"]


def test_a_log_group_of_ours_whose_tags_are_not_visible_yet_is_ours(aws: Aws) -> None:
    log_group.ensure(aws("logs"), DESIRED)

    with altered(aws("logs"), "ListTagsForResource", lambda parsed: parsed.update(tags={}), times=3):
        assert log_group.ensure(aws("logs"), DESIRED).action == "unchanged"


@pytest.mark.parametrize("tags", [True, False])
def test_a_retention_of_an_account_level_policy_is_no_difference(aws: Aws, calls: Calls, tags: bool) -> None:
    log_group.ensure(aws("logs"), {**DESIRED, "retentionInDays": None})
    policy = {"retentionInDays": 7, "retentionPolicyName": "a week"}
    calls.clear()

    with altered(aws("logs"), "DescribeLogGroups", lambda parsed: parsed["logGroups"][0].update(policy)):
        assert log_group.ensure(aws("logs"), {**DESIRED, "retentionInDays": None}, tags=tags).action == "unchanged"

    assert calls.writes == []


def test_a_log_group_that_is_listed_after_its_deletion_does_not_exist(aws: Aws) -> None:
    logs = aws("logs")
    with Stubber(logs) as stubber:
        arn = f"arn:aws:logs:eu-west-1:123456789012:log-group:{GROUP}:*"
        stubber.add_response("describe_log_groups", {"logGroups": [{"logGroupName": GROUP, "arn": arn}]})
        stubber.add_client_error("list_tags_for_resource", "ResourceNotFoundException")
        assert log_group.describe(logs, GROUP) is None
