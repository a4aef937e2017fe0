"""fetch-logs: the newest invocations, whole, across log streams."""

from __future__ import annotations

import re
import threading
import time

import pytest

from tests.project import Project

NAME = "logged"


@pytest.fixture(scope="module", autouse=True)
def three_items(project: Project) -> None:
    """A pipeline whose function has handled three items, one after the other, the last in a process of its own."""
    project.run("deploy", PIPELINE_NAME=NAME)
    for item in ("one", "two"):
        put_and_see(project, item)
    project.run("create-function", "--function-memory-size", "256", PIPELINE_NAME=NAME)
    put_and_see(project, "three")


def put_and_see(project: Project, item: str) -> None:
    project.run("put-item", "--item", f'{{"name": "{item}"}}', PIPELINE_NAME=NAME)
    deadline = time.monotonic() + 20
    while f'"S": "{item}"' not in project.run("fetch-logs", PIPELINE_NAME=NAME):
        assert time.monotonic() < deadline, f"{item} was not logged in 20 s"


def fetch(project: Project, *words: str) -> str:
    return project.run("fetch-logs", *words, PIPELINE_NAME=NAME)


def items_in(output: str) -> list[str]:
    return re.findall(r'"NewImage": \{"name": \{"S": "(\w+)"', output)


def test_each_invocation_is_whole_and_the_newest_is_last(project: Project) -> None:
    output = fetch(project)
    assert items_in(output) == ["one", "two", "three"]
    assert output.count("START RequestId") == output.count("END RequestId") == output.count("REPORT RequestId") == 3


def test_it_crosses_log_streams(project: Project) -> None:
    streams = project.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{NAME}")["logStreams"]
    assert len(streams) == 2
    assert items_in(fetch(project)) == ["one", "two", "three"]


def test_last_shows_so_many_of_the_newest(project: Project) -> None:
    assert items_in(fetch(project, "--last", "1")) == ["three"]


def test_last_zero_shows_all(project: Project) -> None:
    assert items_in(fetch(project, "--last", "0")) == ["one", "two", "three"]


def test_filter_shows_matching_lines_only(project: Project) -> None:
    output = fetch(project, "--filter", '"two"')
    assert (items_in(output), "START" in output) == (["two"], False)


def test_request_id_shows_its_invocation_whole(project: Project) -> None:
    request_id = re.findall(r"START RequestId: (\S+)", fetch(project))[1]
    output = fetch(project, "--request-id", request_id)
    assert (items_in(output), output.count("REPORT")) == (["two"], 1)


def test_since_leaves_out_what_is_older(project: Project) -> None:
    assert fetch(project, "--since", "2999-01-01T00:00:00Z") == ""


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--since", "yesterday", "90s, 15m, 2h, 1d"),
        ("--last", "few", "from 0 to"),
        ("--timeout", "-1", "from 0 to 3600"),
    ],
)
def test_a_wrong_flag_is_told_with_what_is_allowed(project: Project, flag: str, value: str, allowed: str) -> None:
    told = project.refusal("fetch-logs", f"{flag}={value}", PIPELINE_NAME=NAME)
    assert f"{flag}: '{value}' is not allowed; allowed: " in told
    assert allowed in told


def test_a_log_group_that_never_comes_ends_with_what_to_try(project: Project) -> None:
    told = project.refusal("fetch-logs", "--timeout", "1", PIPELINE_NAME="never-made")
    assert "log group /aws/lambda/never-made is not there after 1 s; make it with: invoke create-function" in told


def test_a_log_group_that_comes_later_is_waited_for(project: Project) -> None:
    meanwhile = Project(project.folder)  # warm commands run one after the other
    later = threading.Timer(1.0, meanwhile.run, ["create-role", "create-function"], {"PIPELINE_NAME": "later"})
    later.start()
    assert project.run("fetch-logs", "--timeout", "60", PIPELINE_NAME="later") == ""
    later.join()
