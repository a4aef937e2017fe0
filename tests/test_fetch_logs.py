"""fetch-logs: the newest invocations, complete, across log streams."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.harness.project import Project

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

NAME = "logged"


@pytest.fixture(scope="module", autouse=True)
def three_items(project: ForkedProject) -> None:
    """Deploy a function that handles three items, one after the other, the last one in a second process."""
    project.run("deploy", PIPELINE_NAME=NAME)
    for item in ("one", "two"):
        put_and_wait(project, item)
    project.run("create-function", "--set", "FUNCTION_MEMORY_SIZE=256", PIPELINE_NAME=NAME)
    put_and_wait(project, "three")


def put_and_wait(project: ForkedProject, item: str) -> None:
    project.run("put-item", "--item", f'{{"name": "{item}"}}', PIPELINE_NAME=NAME)
    deadline = time.monotonic() + 20
    while f'"S": "{item}"' not in project.run("fetch-logs", PIPELINE_NAME=NAME):
        assert time.monotonic() < deadline, f"{item} is not in the log after 20 s"


def fetch(project: ForkedProject, *words: str) -> str:
    return project.run("fetch-logs", *words, PIPELINE_NAME=NAME)


def items_in(output: str) -> list[str]:
    return re.findall(r'"NewImage": \{"name": \{"S": "(\w+)"', output)


def test_each_invocation_is_complete_and_the_newest_is_last(project: ForkedProject) -> None:
    output = fetch(project)
    assert items_in(output) == ["one", "two", "three"]
    assert output.count("START RequestId") == output.count("END RequestId") == output.count("REPORT RequestId") == 3


def test_invocations_come_from_all_log_streams(project: ForkedProject) -> None:
    streams = project.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{NAME}")["logStreams"]
    assert len(streams) == 2
    assert items_in(fetch(project)) == ["one", "two", "three"]


def test_last_limits_the_number_of_invocations(project: ForkedProject) -> None:
    assert items_in(fetch(project, "--last", "1")) == ["three"]


def test_last_zero_shows_all_invocations(project: ForkedProject) -> None:
    assert items_in(fetch(project, "--last", "0")) == ["one", "two", "three"]


def test_filter_shows_only_matching_lines(project: ForkedProject) -> None:
    output = fetch(project, "--filter", '"two"')
    assert (items_in(output), "START" in output) == (["two"], False)


def test_filter_takes_every_kind_of_pattern(project: ForkedProject) -> None:
    output = fetch(project, "--filter", '{ $.dynamodb.NewImage.name.S = "t*" }')
    assert items_in(output) == ["two", "three"]


def test_an_invalid_filter_is_refused_in_the_words_of_aws(project: ForkedProject) -> None:
    errors = project.refusal("fetch-logs", "--filter", "ERROR: 1", PIPELINE_NAME=NAME)
    assert "AWS said: InvalidParameterException: Invalid character(s) in term ':'" in errors


def test_request_id_shows_the_complete_invocation(project: ForkedProject) -> None:
    request_id = re.findall(r"START RequestId: (\S+)", fetch(project))[1]
    output = fetch(project, "--request-id", request_id)
    assert (items_in(output), output.count("REPORT")) == (["two"], 1)


def test_since_leaves_out_earlier_lines(project: ForkedProject) -> None:
    assert fetch(project, "--since", "0s") == ""


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--since", "yesterday", "90s, 15m, 2h, 1d"),
        ("--last", "few", "from 0 to"),
        ("--timeout", "-1", "from 0 to 3600"),
    ],
)
def test_the_error_for_an_invalid_flag_says_what_is_allowed(
    project: ForkedProject, flag: str, value: str, allowed: str
) -> None:
    ended = project.invoke("fetch-logs", f"{flag}={value}", PIPELINE_NAME=NAME).expect(1)
    assert f"{flag}: '{value}' is not allowed; allowed: " in ended.stderr
    assert allowed in ended.stderr
    assert ended.calls == []


def test_a_log_group_that_does_not_appear_is_an_error_that_names_the_task_that_creates_it(
    project: ForkedProject,
) -> None:
    error = project.refusal("fetch-logs", "--timeout", "1", PIPELINE_NAME="absent")
    assert "log group /aws/lambda/absent does not exist after 1 s; create it with: invoke create-function" in error


def test_fetch_logs_waits_for_a_log_group_that_is_created_later(project: ForkedProject) -> None:
    other = Project(project.folder)  # a forked project runs one command at a time
    later = threading.Timer(1.0, other.run, ["create-role", "create-function"], {"PIPELINE_NAME": "later"})
    later.start()
    assert project.run("fetch-logs", "--timeout", "60", PIPELINE_NAME="later") == ""
    later.join()
