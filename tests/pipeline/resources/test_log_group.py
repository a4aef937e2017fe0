from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, WaiterError
from botocore.stub import Stubber

from pipeline.resources import log_group
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]

GROUP = "/aws/lambda/test"
WANTED: dict[str, Any] = {"logGroupName": GROUP, "retentionInDays": 30, "tags": {"pipeline": "demo"}}
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
FIRST, SECOND = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"

# Another value of each setting that AWS changes in place, and the writing call that brings it about.
DRIFTS: dict[str, tuple[Any, tuple[str, dict[str, Any]]]] = {
    "deletionProtectionEnabled": (
        True,
        ("PutLogGroupDeletionProtection", {"logGroupIdentifier": GROUP, "deletionProtectionEnabled": True}),
    ),
    "kmsKeyId": (KEY, ("AssociateKmsKey", {"logGroupName": GROUP, "kmsKeyId": KEY})),
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


def test_creates_when_absent(aws: Aws) -> None:
    change = log_group.ensure(aws("logs"), WANTED)

    assert (change.resource, change.action) == (f"log group {GROUP}", "created")
    found = log_group.describe(aws("logs"), GROUP)
    assert found
    assert {setting: found[setting] for setting in WANTED} == WANTED


def test_a_group_whose_name_only_begins_alike_is_another(aws: Aws) -> None:
    aws("logs").create_log_group(logGroupName=f"{GROUP}-2")

    assert log_group.ensure(aws("logs"), WANTED).action == "created"


def test_says_unchanged_when_same(aws: Aws) -> None:
    log_group.ensure(aws("logs"), WANTED)

    assert log_group.ensure(aws("logs"), WANTED).action == "unchanged"


def test_unchanged_takes_two_reads(aws: Aws, calls: Calls) -> None:
    log_group.ensure(aws("logs"), WANTED)
    calls.clear()

    log_group.ensure(aws("logs"), WANTED)

    assert calls.operations == ["DescribeLogGroups", "ListTagsForResource"]


def test_the_grid_below_knows_every_setting() -> None:
    assert {*DRIFTS} == logs._DEFAULTS.keys() - {"logGroupClass"}


# By the plan, as moto does not have every one of these calls.
@DRIFTED
def test_changes_exactly_what_drifted(
    aws: Aws, plan: Aws, calls: Calls, setting: str, value: Any, write: tuple[str, dict[str, Any]]
) -> None:
    log_group.ensure(aws("logs"), WANTED)
    calls.clear()

    change = log_group.ensure(plan("logs"), {**WANTED, setting: value})

    assert calls.writes == [write]
    assert [difference.setting for difference in change.diffs] == [setting]


def test_a_key_taken_away_is_disassociated(aws: Aws, plan: Aws, calls: Calls) -> None:
    log_group.ensure(aws("logs"), {**WANTED, "kmsKeyId": KEY})
    calls.clear()

    log_group.ensure(plan("logs"), WANTED)

    assert calls.writes == [("DisassociateKmsKey", {"logGroupName": GROUP})]


@pytest.mark.parametrize("setting", ["retentionInDays", "tags"])
def test_an_option_taken_away_goes_back_to_the_default(aws: Aws, setting: str) -> None:
    log_group.ensure(aws("logs"), {**WANTED, setting: DRIFTS[setting][0]})

    log_group.ensure(aws("logs"), {"logGroupName": GROUP}, adopt=True)

    found = log_group.describe(aws("logs"), GROUP)
    assert found
    assert found[setting] == logs._DEFAULTS[setting]


def test_plan_foretells_the_run_call_by_call(aws: Aws, plan: Aws, calls: Calls) -> None:
    log_group.ensure(aws("logs"), WANTED)
    other = {**WANTED, "retentionInDays": None, "tags": {"pipeline": "demo", "stage": "test"}}
    calls.clear()

    foretold = log_group.ensure(plan("logs"), other)
    planned_calls = list(calls)
    calls.clear()

    assert foretold == log_group.ensure(aws("logs"), other)
    assert planned_calls == calls


def test_plan_of_a_creation_writes_nothing(aws: Aws, plan: Aws) -> None:
    assert log_group.ensure(plan("logs"), WANTED).action == "created"

    assert log_group.describe(aws("logs"), GROUP) is None


def test_refuses_another_class(aws: Aws) -> None:
    log_group.ensure(aws("logs"), WANTED)

    with pytest.raises(UserError, match="has logGroupClass STANDARD, wanted is INFREQUENT_ACCESS"):
        log_group.ensure(aws("logs"), {**WANTED, "logGroupClass": "INFREQUENT_ACCESS"})


def test_refuses_a_group_that_is_not_ours(aws: Aws, calls: Calls) -> None:
    aws("logs").create_log_group(logGroupName=GROUP)
    calls.clear()

    with pytest.raises(UserError, match="exists and carries no pipeline tag"):
        log_group.ensure(aws("logs"), WANTED)

    assert calls.writes == []


def test_adopt_takes_over(aws: Aws) -> None:
    aws("logs").create_log_group(logGroupName=GROUP)

    log_group.ensure(aws("logs"), WANTED, adopt=True)

    assert log_group.ensure(aws("logs"), WANTED).action == "unchanged"


def test_denied_surfaces_as_aws_said_it(aws: Aws) -> None:
    with Stubber(aws("logs")) as stub:
        stub.add_client_error("describe_log_groups", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            log_group.ensure(aws("logs"), WANTED)


def test_deletes(aws: Aws) -> None:
    log_group.ensure(aws("logs"), WANTED)

    assert log_group.delete(aws("logs"), GROUP, owner="demo").action == "deleted"

    assert log_group.describe(aws("logs"), GROUP) is None


def test_delete_says_absent_when_absent(aws: Aws) -> None:
    assert log_group.delete(aws("logs"), GROUP, owner="demo").action == "absent"


def test_delete_refuses_a_group_of_another_pipeline(aws: Aws) -> None:
    log_group.ensure(aws("logs"), WANTED)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        log_group.delete(aws("logs"), GROUP, owner="mine")


def test_waiting_for_a_group_ends_at_its_deadline(aws: Aws) -> None:
    with pytest.raises(UserError, match=f"log group {GROUP} is not there after 0 s"):
        log_group.wait(aws("logs"), GROUP, timeout=0)


def test_waiting_for_a_group_that_may_not_be_seen_surfaces_at_once(aws: Aws) -> None:
    with Stubber(aws("logs")) as stub:
        stub.add_client_error("describe_log_groups", "AccessDeniedException", "not authorized")

        with pytest.raises(WaiterError, match="AccessDeniedException"):
            log_group.wait(aws("logs"), GROUP, timeout=60)


def test_waiting_for_a_group_returns_when_it_is_there(aws: Aws, calls: Calls) -> None:
    aws("logs").create_log_group(logGroupName=GROUP)
    calls.clear()

    log_group.wait(aws("logs"), GROUP, timeout=60)

    assert calls.operations == ["DescribeLogGroups"]


def put(aws: Aws, stream: str, now: int, *events: tuple[int, str]) -> None:
    """Write log events at so many milliseconds after now."""
    aws("logs").create_log_stream(logGroupName=GROUP, logStreamName=stream)
    aws("logs").put_log_events(
        logGroupName=GROUP,
        logStreamName=stream,
        logEvents=[{"timestamp": now + after, "message": message} for after, message in events],
    )


@pytest.fixture
def now(aws: Aws) -> int:
    """Two processes that handled one invocation each, at the same time, and an older line."""
    aws("logs").create_log_group(logGroupName=GROUP)
    now = int(time.time() * 1000)
    put(
        aws,
        "one",
        now,
        (-9000, "older"),
        (0, f"START RequestId: {FIRST} Version: $LATEST\n"),
        (20, "plain print\n"),
        (40, f"END RequestId: {FIRST}\n"),
        (40, f"REPORT RequestId: {FIRST}\tDuration: 40.00 ms\n"),
    )
    put(
        aws,
        "two",
        now,
        (5, f"START RequestId: {SECOND} Version: $LATEST\n"),
        (25, "other print\n"),
        (50, f"END RequestId: {SECOND}\n"),
        (50, f"REPORT RequestId: {SECOND}\tDuration: 45.00 ms\n"),
    )
    return now


def test_fetch_reads_across_streams_in_order_of_time(aws: Aws, now: int) -> None:
    events = list(log_group.fetch(aws("logs"), GROUP, since_ms=now - 100))

    assert [event["message"].split()[0] for event in events] == [
        "START",
        "START",
        "plain",
        "other",
        "END",
        "REPORT",
        "END",
        "REPORT",
    ]


def test_fetch_reads_what_the_pattern_matches(aws: Aws, now: int) -> None:
    events = log_group.fetch(aws("logs"), GROUP, since_ms=now - 100, pattern="print")

    assert [event["message"].strip() for event in events] == ["plain print", "other print"]


def test_fetch_of_a_request_brings_the_prints_that_do_not_name_it(aws: Aws, now: int) -> None:
    events = log_group.fetch(aws("logs"), GROUP, since_ms=now - 100, request_id=SECOND)

    assert "other print" in [event["message"].strip() for event in events]


def test_fetch_of_an_unknown_request_is_empty(aws: Aws, now: int) -> None:
    unknown = "99999999-9999-9999-9999-999999999999"

    assert list(log_group.fetch(aws("logs"), GROUP, since_ms=now - 100, request_id=unknown)) == []


def test_interleaved_invocations_are_told_apart(aws: Aws, now: int) -> None:
    found = log_group.invocations(log_group.fetch(aws("logs"), GROUP, since_ms=now - 100))

    assert [(each.request_id, each.log_stream, each.lines[1]) for each in found] == [
        (FIRST, "one", "plain print"),
        (SECOND, "two", "other print"),
    ]


def events(*messages: str) -> list[dict[str, Any]]:
    return [{"logStreamName": "s", "timestamp": at, "message": message} for at, message in enumerate(messages)]


def test_lines_before_the_first_start_belong_to_it() -> None:
    [cold] = log_group.invocations(
        events("INIT_START Runtime Version: x", "importing", f"START RequestId: {FIRST} Version: 1")
    )

    assert (cold.request_id, cold.lines[1]) == (FIRST, "importing")


def test_an_invocation_without_report_ends_at_the_next_start() -> None:
    found = log_group.invocations(
        events(f"START RequestId: {FIRST} Version: 1", "a", f"START RequestId: {SECOND} Version: 1", "b")
    )

    assert [(each.request_id, each.lines[-1], each.report) for each in found] == [(FIRST, "a", ""), (SECOND, "b", "")]


def test_an_invocation_whose_start_was_not_read_is_known_by_its_end() -> None:
    [found] = log_group.invocations(events("tail", f"END RequestId: {FIRST}", f"REPORT RequestId: {FIRST}\tDuration: 1 ms"))

    assert (found.request_id, found.report) == (FIRST, f"REPORT RequestId: {FIRST}\tDuration: 1 ms")


def test_lines_outside_of_any_invocation_have_no_request_id() -> None:
    [found] = log_group.invocations(events("only", "matches"))

    assert (found.request_id, found.lines) == ("", ("only", "matches"))


def test_the_json_log_format_is_understood() -> None:
    time_ = '{"time":"2025-01-01T00:00:00.000Z","type":"platform.'
    [found] = log_group.invocations(
        events(
            f'{time_}start","record":{{"requestId":"{FIRST}","version":"$LATEST"}}}}',
            '{"timestamp":"2025-01-01T00:00:00Z","level":"INFO","message":"hello"}',
            f'{time_}report","record":{{"requestId":"{FIRST}","metrics":{{"durationMs":1.0}}}}}}',
        )
    )

    assert (found.request_id, len(found.lines), "durationMs" in found.report) == (FIRST, 3, True)
