"""The log of a function: its own lines, and those of Lambda.

Sources: Lambda guide "Sending Lambda function logs to CloudWatch Logs", "Configuring JSON and plain text log formats",
"Log and monitor Python Lambda functions"; lines as AWS writes them.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.logs.models import LogEvent

from localaws.logs import storage
from tests.localaws.deployed import LOGS, Deployed, allow, deploy
from tests.localaws.pipe import until

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
PRINTS = "def handler(event, context): print('printed')"


def between(function: Deployed, request_id: str) -> list[str]:
    """The lines between START and END of an invocation."""
    lines = function.lines()
    start = lines.index(f"START RequestId: {request_id} Version: $LATEST\n")
    return lines[start + 1 : lines.index(f"END RequestId: {request_id}\n")]


def test_cold_invocation_writes_init_start_start_lines_end_report(client: Any) -> None:
    function = deploy(client, PRINTS)
    function.invoke()
    patterns = [
        (
            r"INIT_START Runtime Version: python:3\.11\.v\d+\tRuntime Version ARN: arn:aws:lambda:\S+::runtime:\w{64}"
            r"(\tError: .+)?\n"
        ),
        rf"START RequestId: {UUID} Version: \$LATEST\n",
        r"printed\n",
        rf"END RequestId: {UUID}\n",
        (
            rf"REPORT RequestId: {UUID}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
            r"Max Memory Used: \d+ MB\tInit Duration: [\d.]+ ms\t\n"
        ),
    ]
    lines = function.lines()
    assert [line for line, pattern in zip(lines, patterns, strict=True) if not re.fullmatch(pattern, line)] == []


def test_warm_invocation_reports_no_init_duration(client: Any) -> None:
    function = deploy(client, PRINTS)
    function.invoke()
    assert "Init Duration" not in function.invoke().log


def test_each_process_has_a_stream_named_by_day_version_and_process(client: Any) -> None:
    function = deploy(client, PRINTS)
    function.invoke()
    function.invoke()
    (stream,) = function.streams()
    assert re.fullmatch(r"\d{4}/\d{2}/\d{2}/\[\$LATEST\][0-9a-f]{32}", stream)


def test_new_process_has_a_new_stream(client: Any) -> None:
    function = deploy(client, "import os\ndef handler(event, context): os._exit(1)")
    function.invoke()
    function.invoke()
    assert len(function.streams()) == 2


@pytest.mark.parametrize("end", ["return", "raise ValueError", "os._exit(1)"])
def test_last_output_belongs_to_its_own_invocation(client: Any, end: str) -> None:
    code = f"import os\ndef handler(event, context):\n    print(event['n'], flush=True)\n    {end}"
    function = deploy(client, code)
    for number in range(10):
        request_id = function.invoke({"n": number}).request_id
        printed = [line for line in between(function, request_id) if line.strip().isdigit()]
        assert printed == [f"{number}\n"]


def test_output_keeps_its_order_across_print_logging_and_stderr(client: Any) -> None:
    code = """
        import logging, sys
        def handler(event, context):
            for number in range(50):
                print(number, "out")
                logging.error("%s log", number)
                print(number, "err", file=sys.stderr)
    """
    function = deploy(client, code)
    lines = between(function, function.invoke().request_id)
    order = [re.split(r"\s", line.rpartition("\t")[2])[:2] for line in lines]
    assert order == [[str(number), kind] for number in range(50) for kind in ("out", "log", "err")]


def test_logging_lines_have_level_time_and_request_id(client: Any) -> None:
    function = deploy(client, "import logging\ndef handler(event, context): logging.warning('careful')")
    request_id = function.invoke().request_id
    (line,) = between(function, request_id)
    assert re.fullmatch(rf"\[WARNING\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{request_id}\tcareful\n", line)


def test_framed_message_of_several_lines_is_one_event(client: Any) -> None:
    function = deploy(client, "import logging\ndef handler(event, context): logging.error('one\\ntwo')")
    (line,) = between(function, function.invoke().request_id)
    assert line.endswith("\tone\ntwo\n")


def test_each_printed_line_is_an_event(client: Any) -> None:
    function = deploy(client, "def handler(event, context): print('one\\ntwo')")
    assert between(function, function.invoke().request_id) == ["one\n", "two\n"]


def test_output_larger_than_the_pipe_arrives_complete(client: Any) -> None:
    function = deploy(client, "def handler(event, context): print('x' * 1_000_000)")
    assert between(function, function.invoke().request_id) == ["x" * 1_000_000 + "\n"]


def test_exception_is_logged_with_its_stack(client: Any) -> None:
    function = deploy(client, "def handler(event, context):\n    raise ValueError('oh')")
    (event,) = between(function, function.invoke().request_id)
    assert event.startswith("[ERROR] ValueError: oh\nTraceback (most recent call last):\n")


def test_failed_import_is_retried_once_before_start(client: Any) -> None:
    function = deploy(client, "raise ValueError('at import')")
    function.invoke()
    kinds = [re.match(r"\[?[A-Z_]+", line) for line in function.lines()]
    assert [kind[0] for kind in kinds if kind and kind[0] != "LAMBDA_WARNING"] == [
        "INIT_START",
        "[WARNING",
        "[ERROR",
        "INIT_REPORT",
        "[WARNING",
        "[ERROR",
        "INIT_REPORT",
        "START",
        "END",
        "REPORT",
    ]


def test_timeout_is_logged_and_reported(client: Any) -> None:
    function = deploy(client, "import time\ndef handler(event, context): time.sleep(9)", Timeout=1)
    result = function.invoke()
    (line,) = between(function, result.request_id)
    assert re.fullmatch(rf"\S+Z {result.request_id} Task timed out after 1\.00 seconds\n\n", line)
    assert result.log.endswith("\tStatus: timeout\t\n")


def test_process_exit_is_logged_and_reported(client: Any) -> None:
    function = deploy(client, "import os\ndef handler(event, context): os._exit(1)")
    result = function.invoke()
    message = f"RequestId: {result.request_id} Error: Runtime exited with error: exit status 1\nRuntime.ExitError\n"
    assert between(function, result.request_id) == [message]
    assert result.log.endswith("\tStatus: error\tError Type: Runtime.ExitError\t\n")


def test_tail_is_the_last_four_kilobytes(client: Any) -> None:
    result = deploy(client, "def handler(event, context): print('x' * 10_000)").invoke()
    assert len(result.log) == 4096
    assert result.log.splitlines()[-1].startswith("REPORT RequestId: ")


def test_no_tail_by_default(client: Any) -> None:
    assert deploy(client, PRINTS).invoke(LogType="None").log == ""


@pytest.mark.parametrize("missing", LOGS)
def test_role_without_a_log_permission_gets_no_logs(client: Any, missing: str) -> None:
    function = deploy(client, PRINTS, statements=(allow([action for action in LOGS if action != missing]),))
    assert "printed\n" in function.invoke().log
    assert function.lines() == []


def test_existing_group_needs_no_create_permission(client: Any) -> None:
    function = deploy(client, PRINTS, statements=(allow(LOGS[1:]),))
    client("logs").create_log_group(logGroupName=f"/aws/lambda/{function.name}")
    function.invoke()
    assert "printed\n" in function.lines()


def test_permission_for_one_log_group_is_enough(client: Any) -> None:
    """The resource that SAM, the console and Terraform use: the group's ARN with :*."""
    function = deploy(client, PRINTS, statements=(allow(LOGS, "arn:aws:logs:*:*:log-group:/aws/lambda/function-*:*"),))
    function.invoke()
    assert "printed\n" in function.lines()


def test_deleted_group_is_recreated_by_the_next_line(client: Any) -> None:
    function = deploy(client, PRINTS)
    function.invoke()
    client("logs").delete_log_group(logGroupName=f"/aws/lambda/{function.name}")
    request_id = function.invoke().request_id
    assert between(function, request_id) == ["printed\n"]


def test_a_new_group_has_no_tags_of_a_deleted_one(client: Any) -> None:
    logs = client("logs")
    logs.create_log_group(logGroupName="tagged", tags={"stage": "test"})
    arn = logs.describe_log_groups(logGroupNamePrefix="tagged")["logGroups"][0]["logGroupArn"]
    logs.delete_log_group(logGroupName="tagged")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.list_tags_for_resource(resourceArn=arn)
    logs.create_log_group(logGroupName="tagged")
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {}


def test_streams_in_a_custom_group_name_the_function(client: Any) -> None:
    function = deploy(client, PRINTS, LoggingConfig={"LogGroup": "shared-group"})
    function.invoke()
    (stream,) = [name for name in function.streams("shared-group") if function.name in name]
    assert re.fullmatch(rf"\d{{4}}/\d{{2}}/\d{{2}}/{function.name}\[\$LATEST\][0-9a-f]{{32}}", stream)
    assert function.streams() == []


JSON_LOGS = "import logging\ndef handler(event, context):\n    logging.info('info')\n    logging.error('error')"


def json_lines(client: Any, **levels: str) -> list[dict[str, Any]]:
    function = deploy(client, JSON_LOGS, LoggingConfig={"LogFormat": "JSON", **levels})
    function.invoke()
    return [json.loads(line) for line in function.lines()]


def test_json_format_writes_system_lines_as_platform_events(client: Any) -> None:
    events = [line for line in json_lines(client) if "type" in line]
    assert [event["type"] for event in events] == ["platform.initStart", "platform.start", "platform.report"]
    assert {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"} == set(
        events[-1]["record"]["metrics"]
    )


def test_json_format_writes_logging_as_json(client: Any) -> None:
    events = [line for line in json_lines(client) if "type" not in line]
    assert [(event["level"], event["message"]) for event in events] == [("INFO", "info"), ("ERROR", "error")]


def test_application_log_level_drops_lower_levels(client: Any) -> None:
    events = [line for line in json_lines(client, ApplicationLogLevel="ERROR") if "type" not in line]
    assert [event["message"] for event in events] == ["error"]


def test_system_log_level_drops_system_lines(client: Any) -> None:
    assert [line for line in json_lines(client, SystemLogLevel="WARN") if "type" in line] == []


def numbered_events(client: Any) -> tuple[Any, int]:
    """The paginate method of FilterLogEvents on a group with ten events in two streams, and the time of the first."""
    group, logs = f"group-{uuid.uuid4().hex}", client("logs")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="a")
    logs.create_log_stream(logGroupName=group, logStreamName="b")
    now = time.time_ns() // 1_000_000
    for number in range(10):
        event = {"timestamp": now + number, "message": str(number)}
        logs.put_log_events(logGroupName=group, logStreamName="ab"[number % 2], logEvents=[event])
    return partial(logs.get_paginator("filter_log_events").paginate, logGroupName=group), now


@pytest.mark.parametrize(
    ("options", "pages"),
    [
        ({}, ["012", "345", "678", "9"]),
        ({"startFromHead": False}, ["987", "654", "321", "0"]),
        ({"startFromHead": False, "filterPattern": '?"7" ?2 ?absent'}, ["72"]),
    ],
    ids=["oldest first", "newest first", "optional terms"],
)
def test_filter_log_events_sorts_all_streams_by_time(client: Any, options: dict[str, Any], pages: list[str]) -> None:
    """CloudWatch Logs API reference, "FilterLogEvents": sorted by timestamp, also without `interleaved`."""
    paginate, now = numbered_events(client)
    found = paginate(startTime=now, PaginationConfig={"PageSize": 3}, **options)
    assert ["".join(event["message"] for event in page["events"]) for page in found] == pages


def test_filter_log_events_reads_backwards_from_2024_on(client: Any) -> None:
    paginate, _ = numbered_events(client)
    with pytest.raises(ClientError, match="startTime must be on or after Jan 1, 2024"):
        list(paginate(startTime=1, startFromHead=False))


@pytest.mark.parametrize(
    ("from_head", "token", "pages"),
    [
        (True, "nextForwardToken", [["0", "1"], ["2", "3"], ["4"], []]),
        (False, "nextBackwardToken", [["3", "4"], ["1", "2"], ["0"], []]),
    ],
)
def test_get_log_events_repeats_the_token_at_the_end(
    client: Any, from_head: bool, token: str, pages: list[list[str]]
) -> None:
    """CloudWatch Logs API reference, "GetLogEvents": at the end of the stream, it returns the token of the request."""
    group, logs = f"group-{uuid.uuid4().hex}", client("logs")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="a")
    now = time.time_ns() // 1_000_000
    events = [{"timestamp": now + number, "message": str(number)} for number in range(5)]
    logs.put_log_events(logGroupName=group, logStreamName="a", logEvents=events)
    request: dict[str, Any] = {"logGroupName": group, "logStreamName": "a", "limit": 2, "startFromHead": from_head}
    seen = []
    while (answer := logs.get_log_events(**request))[token] != request.get("nextToken"):
        seen.append([event["message"] for event in answer["events"]])
        request["nextToken"] = answer[token]
    assert [*seen, [event["message"] for event in answer["events"]]] == pages


def test_lines_arrive_while_the_handler_runs(client: Any, tmp_path: Any) -> None:
    code = """
        import os, time
        def handler(event, context):
            print("under way")
            while not os.path.exists(os.environ["GO"]):
                time.sleep(0.01)
    """
    go = tmp_path / "go"
    function = deploy(client, code, Timeout=20, Environment={"Variables": {"GO": str(go)}})
    function.invoke(InvocationType="Event")
    until(lambda: "under way\n" in function.lines())
    assert not any(line.startswith("END") for line in function.lines())
    go.touch()


def test_events_that_moto_gives_one_number_are_both_stored() -> None:
    """Moto counts its events without a lock, so two threads may get the same number."""
    events = storage.Events("stream")
    for message in "ab":
        event = LogEvent(1, {"timestamp": 1, "message": message})
        event.event_id = 10**9
        events += [event]
    assert [event.message for event in events] == ["a", "b"]
