"""The local AWS as a background process: local.start, local.stop, local.status, and starting on first use."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.project import Project

pytestmark = pytest.mark.proof  # each test starts a local AWS, as a person does


@pytest.fixture
def fresh(new_project: Callable[[], Project]) -> Project:
    """A project whose local AWS is not started yet."""
    return new_project()


def record(project: Project) -> dict[str, object]:
    return dict(json.loads((project.folder / ".local" / "server.json").read_text()))


def test_start_prints_only_the_endpoint(fresh: Project) -> None:
    printed = fresh.run("local.start")
    assert printed == fresh.endpoint + "\n"
    assert urlsplit(printed).hostname == "127.0.0.1"


def test_start_finds_a_running_local_aws(fresh: Project) -> None:
    assert fresh.run("local.start") == fresh.run("local.start")


def test_status_prints_the_endpoint_and_the_process(fresh: Project) -> None:
    fresh.run("local.start")
    assert f"running at {fresh.endpoint}, process {record(fresh)['pid']}" in fresh.run("local.status")


def test_status_of_a_stopped_local_aws_exits_1_and_names_the_task_that_starts_it(fresh: Project) -> None:
    assert "start it with: invoke local.start" in fresh.refusal("local.status")


def test_stop_ends_the_process(fresh: Project) -> None:
    fresh.run("local.start")
    endpoint = fresh.endpoint
    assert fresh.run("local.stop").startswith(f"- local.stop       local AWS at {endpoint}  ")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(endpoint, timeout=2)  # noqa: S310 - loopback


def test_stop_of_a_stopped_local_aws_reports_that_it_was_not_running(fresh: Project) -> None:
    assert "it was not running" in fresh.run("local.stop")


def test_the_local_aws_listens_only_on_loopback(fresh: Project) -> None:
    fresh.run("local.start")
    port = urlsplit(fresh.endpoint).port or 0
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, type=socket.SOCK_STREAM)}
    for address in others - {"127.0.0.1", "::1"}:
        with pytest.raises(OSError):  # noqa: PT011 - any: refused, unreachable
            socket.create_connection((str(address), port), timeout=2).close()
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection(("127.0.0.2", port), timeout=2).close()


def test_only_the_owner_can_read_the_files_of_the_local_aws(fresh: Project) -> None:
    fresh.run("deploy", "smoke")
    local = fresh.folder / ".local"
    assert stat.S_IMODE(local.stat().st_mode) == 0o700
    assert stat.S_IMODE((local / "server.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((local / "server.log").stat().st_mode) == 0o600


def test_another_program_on_the_port_is_an_error_and_keeps_running(fresh: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = fresh.refusal("deploy", LOCAL_PORT=str(port))
        assert f"LOCAL_PORT {port} is in use by another program: find it with `lsof -nP -iTCP:{port}" in error
        assert other.fileno() >= 0


def test_the_local_aws_of_another_folder_on_the_port_is_an_error_that_names_the_folder(
    fresh: Project, new_project: Callable[[], Project]
) -> None:
    fresh.run("local.start")
    port = str(urlsplit(fresh.endpoint).port)
    error = new_project().refusal("local.start", LOCAL_PORT=port)
    assert f"is in use by the local AWS of {fresh.folder / '.local'} (process {record(fresh)['pid']})" in error


def test_a_local_aws_on_another_port_than_the_settings_is_an_error(fresh: Project) -> None:
    fresh.run("local.start")
    error = fresh.refusal("local.start", "--set", "LOCAL_PORT=1")
    assert "not on LOCAL_PORT 1; stop it with: invoke local.stop" in error


def test_a_task_starts_the_local_aws_again_after_it_was_killed(fresh: Project) -> None:
    fresh.run("local.start")
    os.kill(int(str(record(fresh)["pid"])), signal.SIGKILL)
    fresh.run("deploy", "smoke")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"endpoint": "http://127.0.0.1:9"}', '{"pid": 1}'])
def test_a_corrupt_server_json_means_that_no_local_aws_is_running(fresh: Project, text: str) -> None:
    (fresh.folder / ".local").mkdir()
    (fresh.folder / ".local" / "server.json").write_text(text)
    assert "is not running" in fresh.refusal("local.status")


def test_stop_leaves_a_server_with_another_id_and_its_record(fresh: Project) -> None:
    fresh.run("local.start")
    path = fresh.folder / ".local" / "server.json"
    of_another = json.dumps({**json.loads(path.read_text()), "id": "of another"})
    path.write_text(of_another)
    assert "it was not running" in fresh.run("local.stop")
    assert path.read_text() == of_another


@pytest.mark.proof  # waits for the idle time
def test_the_local_aws_exits_after_its_idle_hours(fresh: Project) -> None:
    fresh.run("local.start", LOCAL_IDLE_HOURS="0.001")
    deadline = time.monotonic() + 30
    while (fresh.folder / ".local" / "server.json").exists():
        assert time.monotonic() < deadline, "still running 30 s after the idle time"
        time.sleep(0.1)
    assert fresh.invoke("local.status").returncode == 1


def request(project: Project, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(urlsplit(project.endpoint).netloc, timeout=5)
    connection.request("GET", "/_localaws", headers=headers)
    return connection.getresponse().status


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://example.com"}, {"Host": "evil.example.com"}, {"Host": "127.0.0.1.evil.example.com"}],
    ids=["a page's origin", "a foreign host", "a host that looks local"],
)
def test_the_local_aws_refuses_requests_that_a_web_page_can_send(fresh: Project, headers: dict[str, str]) -> None:
    fresh.run("local.start")
    assert request(fresh, headers) == 403
    assert request(fresh, {}) == 200


def test_the_local_target_does_not_read_the_credentials_and_profile_of_the_machine(fresh: Project) -> None:
    settings = {"AWS_PROFILE": "no-such-profile", "AWS_CONFIG_FILE": "/dev/zero", "AWS_ACCESS_KEY_ID": "AKIAHOST"}
    fresh.run("deploy", "smoke", **settings)


def test_the_local_target_ignores_a_proxy(fresh: Project) -> None:
    fresh.run("deploy", "smoke", HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")


def test_the_account_id_is_twelve_zeros(fresh: Project) -> None:
    fresh.run("local.start")
    assert fresh.client("sts").get_caller_identity()["Account"] == "000000000000"
