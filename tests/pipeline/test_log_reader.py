"""Reading a function's log: fetching events, and grouping them by invocation."""

from __future__ import annotations

import random
import time
import uuid
from contextlib import suppress
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from pipeline import log_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


START, END, REPORT = "START RequestId: {0} Version: 1", "END RequestId: {0}", "REPORT RequestId: {0}\tDuration: 1.00 ms"
JSON_START, JSON_REPORT = (
    f'{{{{"time":"2025-01-01T00:00:00.000Z","type":"platform.{kind}","record":{{{{"requestId":"{{0}}"}}}}}}}}'
    for kind in ("start", "report")
)
INIT = "INIT_START Runtime Version: x"


def put_lines(logs: Any, group: str, stream: str, *lines: tuple[int, str]) -> None:
    """Write lines, each with its time, to a log stream, which may be new."""
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    events = [{"timestamp": at, "message": message} for at, message in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


@pytest.fixture
def logs(local_aws: Aws) -> Any:
    """A client of the local AWS, which reads backwards. moto alone does not."""
    return local_aws("logs")


@pytest.fixture
def group(logs: Any) -> Iterator[str]:
    name = f"/aws/lambda/{uuid.uuid4().hex}"
    logs.create_log_group(logGroupName=name)
    yield name
    logs.delete_log_group(logGroupName=name)


def made_up(chance: random.Random, now: int, start: int, end: int) -> Iterator[tuple[int, str]]:
    """The lines of one process: an import, and invocations that print, often several lines in a millisecond."""
    start_line, report_line = chance.choice([(START, REPORT), (JSON_START, JSON_REPORT)])
    at = now + chance.randrange(start, end)
    yield at, INIT
    yield from ((at, f"import {number}") for number in range(chance.randrange(3)))
    for _ in range(chance.randrange(6)):
        request_id = uuid.UUID(int=chance.getrandbits(128))
        at += chance.randrange(1, 400)
        yield at, start_line.format(request_id)
        for number in range(chance.randrange(4)):
            at += chance.choice([0, 0, 30])
            yield at, f"print {number}"
        if start_line is START:
            yield at, END.format(request_id)
        if chance.random() < 0.9:
            yield at, report_line.format(request_id)
        if chance.random() < 0.2:
            yield at, "printed by a thread after the end"
    if chance.random() < 0.3:
        yield at + 5, start_line.format(uuid.UUID(int=chance.getrandbits(128)))
        yield at + 5, "still running"


@pytest.mark.parametrize("seed", range(8))
def test_the_newest_invocations_are_those_of_all_events(logs: Any, group: str, seed: int) -> None:
    chance, now = random.Random(seed), int(time.time() * 1000)  # noqa: S311 - a test
    for number in range(12):
        put_lines(logs, group, f"stream {number}", *made_up(chance, now, -3000, -100))
    since_ms = now - 3_600_000
    everything = log_reader.invocations(log_reader.fetch(logs, group, since_ms=since_ms))
    for last in (1, 2, 5, 10, 100):
        first = [each for each in everything if each.request_id][-last:][0]
        expected = [each for each in everything if each.started_ms >= first.started_ms]
        assert log_reader.select(logs, group, since_ms=since_ms, last=last) == expected


def test_the_newest_invocation_is_read_without_the_earlier_ones(logs: Any, group: str) -> None:
    now, read = int(time.time() * 1000), []
    for number in range(20):
        lines = [(now - 9000 + number * 100, text.format(number)) for text in (START, *["print"] * 50, REPORT)]
        put_lines(logs, group, f"stream {number % 4}", *lines)

    def record(parsed: dict[str, Any], **_: Any) -> None:
        read.extend(parsed["events"])

    logs.meta.events.register("after-call.cloudwatch-logs", record)
    [found] = log_reader.select(logs, group, since_ms=now - 60_000, last=1)
    logs.meta.events.unregister("after-call.cloudwatch-logs", record)

    assert (found.request_id, len(found.lines)) == ("19", 52)
    assert len(read) < 200, "of 1,040"


def test_without_starts_the_newest_log_streams_are_selected(logs: Any, group: str) -> None:
    now = int(time.time() * 1000)
    for number in range(3):  # as with SystemLogLevel=WARN
        put_lines(logs, group, str(number), (now + number, "print"), (now + number + 9, "print"))

    found = log_reader.select(logs, group, since_ms=now - 1000, last=2)

    assert [(each.log_stream, len(each.lines)) for each in found] == [("1", 2), ("2", 2)]


def test_a_time_before_2024_selects_all_invocations(logs: Any, group: str) -> None:
    now = int(time.time() * 1000)
    put_lines(logs, group, "one", (now, START.format(FIRST)), (now, REPORT.format(FIRST)))

    assert [each.request_id for each in log_reader.select(logs, group, since_ms=0, last=10)] == [FIRST]


def followed(logs: Any, group: str, **options: Any) -> Iterator[str]:
    """The messages that `follow` yields, without end or pause. Each poll without new ones yields "-"."""
    since_ms = int(time.time() * 1000) - 3_600_000
    defaults = {"since_ms": since_ms, "last": 10, "pattern": "", "until": lambda: False, "pause": lambda _: None}
    for events in log_reader.follow(logs, group, **{**defaults, **options}):
        yield from [event["message"] for event in events] or ["-"]


def polls(messages: Iterator[str], number: int) -> list[str]:
    """The messages of so many polls, or more precisely until so many had none."""
    found, empty = [], 0
    while empty < number:
        message = next(messages)
        empty += message == "-"
        found.append(message)
    return [message for message in found if message != "-"]


def test_follow_begins_with_the_newest_invocations(logs: Any, group: str) -> None:
    now = int(time.time() * 1000)
    put_lines(logs, group, "one", (now - 9, START.format(FIRST)), (now - 8, "earlier"), (now - 7, REPORT.format(FIRST)))
    put_lines(logs, group, "two", (now, START.format(SECOND)), (now, "later"), (now, REPORT.format(SECOND)))

    assert polls(followed(logs, group, last=1), 25) == [START.format(SECOND), "later", REPORT.format(SECOND)]


def test_follow_yields_each_event_once_in_old_and_new_streams(logs: Any, group: str) -> None:
    messages, now = followed(logs, group), int(time.time() * 1000)
    found = polls(messages, 1)
    for number in range(30):
        put_lines(logs, group, f"stream {number // 10}", (now + number, str(number)))
        found += polls(messages, 2)

    assert found + polls(messages, 25) == [str(number) for number in range(30)]


def test_follow_yields_events_that_are_found_late(logs: Any, group: str) -> None:
    messages, now = followed(logs, group), int(time.time() * 1000)
    put_lines(logs, group, "one", (now, "in time"))
    assert polls(messages, 25) == ["in time"]

    put_lines(logs, group, "two", (now - 100_000, "late"))

    assert polls(messages, 25) == ["late"]


def test_follow_puts_events_that_are_found_a_poll_later_in_order(logs: Any, group: str) -> None:
    messages, now = followed(logs, group), int(time.time() * 1000)
    assert next(messages) == "-"
    put_lines(logs, group, "one", (now + 1, REPORT.format(FIRST)))
    assert next(messages) == "-"
    put_lines(logs, group, "one", (now, START.format(FIRST)))

    assert polls(messages, 2) == [START.format(FIRST), REPORT.format(FIRST)]


def test_an_event_in_the_future_hides_no_later_ones(logs: Any, group: str) -> None:
    messages, now = followed(logs, group), int(time.time() * 1000)
    put_lines(logs, group, "one", (now + 3_600_000, "in an hour"))
    assert polls(messages, 3) == ["in an hour"]

    put_lines(logs, group, "one", (now, "now"))

    assert polls(messages, 3) == ["now"]


def test_follow_waits_for_a_log_group(logs: Any) -> None:
    group, now = f"/aws/lambda/{uuid.uuid4().hex}", int(time.time() * 1000)
    messages = followed(logs, group)
    assert polls(messages, 3) == []

    logs.create_log_group(logGroupName=group)
    put_lines(logs, group, "one", (now, "first"))

    assert polls(messages, 3) == ["first"]


def test_follow_ends_with_the_events_that_it_found(logs: Any, group: str) -> None:
    ends = iter([False, False, True])
    messages, now = followed(logs, group, until=lambda: next(ends)), int(time.time() * 1000)
    assert [next(messages), next(messages), next(messages)] == ["-", "-", "-"]
    put_lines(logs, group, "one", (now, "found by the last poll"))

    assert list(messages) == ["-", "found by the last poll"]


def test_follow_makes_at_most_four_calls_a_second(logs: Any, group: str) -> None:
    pauses: list[float] = []
    calls = count()

    def record(**_: Any) -> None:
        next(calls)

    logs.meta.events.register("before-call.cloudwatch-logs.FilterLogEvents", record)
    polls(followed(logs, group, pause=pauses.append), 40)
    logs.meta.events.unregister("before-call.cloudwatch-logs.FilterLogEvents", record)

    assert 30 < next(calls) <= 4 * sum(pauses)


def test_an_invocation_that_runs_for_long_comes_in_parts() -> None:
    first, second = events(START.format(FIRST), "a"), events("b", REPORT.format(FIRST))

    parts = log_reader.grouped([first, second], patience=0)

    assert [(each.request_id, each.lines[-1], bool(each.report)) for each in parts] == [
        (FIRST, "a", False),
        (FIRST, REPORT.format(FIRST), True),
    ]


def test_a_line_after_its_report_is_a_part_of_its_invocation() -> None:
    lines = events(START.format(FIRST), "late", REPORT.format(FIRST), START.format(SECOND), REPORT.format(SECOND))

    found = log_reader.grouped([[lines[0], lines[2], lines[1], *lines[3:]]])

    assert [(each.request_id, len(each.lines)) for each in found] == [(FIRST, 2), (FIRST, 1), (SECOND, 2)]


def test_all_invocations_take_the_memory_of_one() -> None:
    endless = (
        {"logStreamName": "s", "timestamp": at, "message": (START, REPORT)[at % 2].format(at // 2)} for at in count()
    )

    found = log_reader.grouped([endless])

    assert [each.request_id for each in islice(found, 3)] == ["0", "1", "2"]
