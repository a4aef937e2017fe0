"""Reading a function's log: fetching events, and grouping them by invocation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from pipeline import log_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    Aws = Callable[[str], Any]

GROUP = "/aws/lambda/test"
FIRST, SECOND = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def put(aws: Aws, stream: str, now: int, *events: tuple[int, str]) -> None:
    """Write each event at the given number of milliseconds after `now`."""
    aws("logs").create_log_stream(logGroupName=GROUP, logStreamName=stream)
    aws("logs").put_log_events(
        logGroupName=GROUP,
        logStreamName=stream,
        logEvents=[{"timestamp": now + after, "message": message} for after, message in events],
    )


@pytest.fixture
def now(aws: Aws) -> int:
    """The current time, after two processes logged one invocation each at the same time, and one an older line."""
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


def test_fetch_reads_all_streams_in_order_of_time(aws: Aws, now: int) -> None:
    events = list(log_reader.fetch(aws("logs"), GROUP, since_ms=now - 100))

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


def test_fetch_returns_the_events_that_match_the_pattern(aws: Aws, now: int) -> None:
    events = log_reader.fetch(aws("logs"), GROUP, since_ms=now - 100, pattern="print")

    assert [event["message"].strip() for event in events] == ["plain print", "other print"]


def test_fetch_of_a_request_includes_lines_without_its_id(aws: Aws, now: int) -> None:
    events = log_reader.fetch(aws("logs"), GROUP, since_ms=now - 100, request_id=SECOND)

    assert "other print" in [event["message"].strip() for event in events]


def test_fetch_of_an_unknown_request_returns_nothing(aws: Aws, now: int) -> None:
    unknown = "99999999-9999-9999-9999-999999999999"

    assert list(log_reader.fetch(aws("logs"), GROUP, since_ms=now - 100, request_id=unknown)) == []


def test_fetch_of_a_missing_log_group_returns_nothing(aws: Aws) -> None:
    assert list(log_reader.fetch(aws("logs"), GROUP, since_ms=0)) == []


def test_latest_returns_the_invocations_of_the_newest_log_stream(aws: Aws, now: int) -> None:
    assert now
    assert [each.request_id for each in log_reader.latest(aws("logs"), GROUP)] == [SECOND]


def test_latest_returns_nothing_for_a_missing_or_empty_log_group(aws: Aws) -> None:
    assert log_reader.latest(aws("logs"), GROUP) == []

    aws("logs").create_log_group(logGroupName=GROUP)
    assert log_reader.latest(aws("logs"), GROUP) == []


def test_the_invocation_of_a_line_has_the_lines_from_there_to_its_end(aws: Aws, now: int) -> None:
    [event] = log_reader.fetch(aws("logs"), GROUP, since_ms=now - 100, pattern='"plain print"')

    found = log_reader.invocation_of(aws("logs"), GROUP, event)

    assert (found.request_id, found.lines[0]) == (FIRST, "plain print")
    assert found.report == found.lines[-1] != ""


def test_separates_interleaved_invocations(aws: Aws, now: int) -> None:
    found = log_reader.invocations(log_reader.fetch(aws("logs"), GROUP, since_ms=now - 100))

    assert [(each.request_id, each.log_stream, each.lines[1]) for each in found] == [
        (FIRST, "one", "plain print"),
        (SECOND, "two", "other print"),
    ]


def events(*messages: str) -> list[dict[str, Any]]:
    return [{"logStreamName": "s", "timestamp": at, "message": message} for at, message in enumerate(messages)]


def test_lines_before_the_first_start_belong_to_its_invocation() -> None:
    [cold] = log_reader.invocations(
        events("INIT_START Runtime Version: x", "importing", f"START RequestId: {FIRST} Version: 1")
    )

    assert (cold.request_id, cold.lines[1]) == (FIRST, "importing")


def test_an_invocation_without_a_report_ends_at_the_next_start() -> None:
    found = log_reader.invocations(
        events(f"START RequestId: {FIRST} Version: 1", "a", f"START RequestId: {SECOND} Version: 1", "b")
    )

    assert [(each.request_id, each.lines[-1], each.report) for each in found] == [(FIRST, "a", ""), (SECOND, "b", "")]


def test_an_invocation_without_a_start_takes_its_id_from_its_end() -> None:
    [found] = log_reader.invocations(
        events("tail", f"END RequestId: {FIRST}", f"REPORT RequestId: {FIRST}\tDuration: 1 ms")
    )

    assert (found.request_id, found.report) == (FIRST, f"REPORT RequestId: {FIRST}\tDuration: 1 ms")


def test_lines_outside_an_invocation_have_no_request_id() -> None:
    [found] = log_reader.invocations(events("only", "matches"))

    assert (found.request_id, found.lines) == ("", ("only", "matches"))


def test_reads_the_json_log_format() -> None:
    time_ = '{"time":"2025-01-01T00:00:00.000Z","type":"platform.'
    [found] = log_reader.invocations(
        events(
            f'{time_}start","record":{{"requestId":"{FIRST}","version":"$LATEST"}}}}',
            '{"timestamp":"2025-01-01T00:00:00Z","level":"INFO","message":"hello"}',
            f'{time_}report","record":{{"requestId":"{FIRST}","metrics":{{"durationMs":1.0}}}}}}',
        )
    )

    assert (found.request_id, len(found.lines), "durationMs" in found.report) == (FIRST, 3, True)


@pytest.mark.parametrize(
    "line",
    [
        "[ERROR] ValueError: no",
        '{"timestamp": "2025-01-01T00:00:00Z", "level": "ERROR", "errorMessage": "no"}',
        "2025-01-01T00:00:00.000Z id Task timed out after 1.00 seconds",
        "RequestId: id Error: Runtime exited with error: exit status 1",
    ],
)
def test_failure_is_the_line_that_reports_a_failed_invocation(line: str) -> None:
    [invocation] = log_reader.invocations(events(f"START RequestId: {FIRST} Version: 1", "before", line, "after"))

    assert invocation.failure == line


def test_an_error_that_the_function_logs_itself_is_no_failure() -> None:
    [invocation] = log_reader.invocations(
        events(f"START RequestId: {FIRST} Version: 1", "[ERROR]\t2025-01-01T00:00:00Z\tid\tretrying")
    )

    assert invocation.failure == ""


def test_an_empty_page_is_not_the_end_of_a_log_stream(aws: Aws) -> None:
    message = {"timestamp": 1, "message": f"START RequestId: {FIRST} Version: $LATEST"}
    with Stubber(aws("logs")) as stub:
        stub.add_response("describe_log_streams", {"logStreams": [{"logStreamName": "one"}]})
        stub.add_response("get_log_events", {"events": [], "nextBackwardToken": "b/1"})
        stub.add_response("get_log_events", {"events": [message], "nextBackwardToken": "b/2"})

        assert [each.request_id for each in log_reader.latest(aws("logs"), GROUP)] == [FIRST]


def test_a_log_stream_without_events_ends_at_a_repeated_token(aws: Aws) -> None:
    with Stubber(aws("logs")) as stub:
        stub.add_response("describe_log_streams", {"logStreams": [{"logStreamName": "one"}]})
        for _ in range(2):
            stub.add_response("get_log_events", {"events": [], "nextBackwardToken": "b/1"})

        assert log_reader.latest(aws("logs"), GROUP) == []
