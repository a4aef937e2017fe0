"""The embedded AWS as a background process: started on first use, recognised, stopped, and never mistaken."""

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

    from tests.project import Project


@pytest.fixture
def fresh(new_project: Callable[[], Project]) -> Project:
    """A project whose embedded AWS has not been started yet."""
    return new_project()


def record(project: Project) -> dict[str, object]:
    return dict(json.loads((project.folder / ".local" / "server.json").read_text()))


def test_start_prints_the_endpoint_alone(fresh: Project) -> None:
    printed = fresh.run("local.start")
    assert printed == fresh.endpoint + "\n"
    assert urlsplit(printed).hostname == "127.0.0.1"


def test_start_of_a_running_one_finds_it(fresh: Project) -> None:
    assert fresh.run("local.start") == fresh.run("local.start")


def test_status_tells_where_it_runs(fresh: Project) -> None:
    fresh.run("local.start")
    assert f"running at {fresh.endpoint}, process {record(fresh)['pid']}" in fresh.run("local.status")


def test_status_of_none_exits_1_and_says_how_to_start(fresh: Project) -> None:
    assert "start it with: invoke local.start" in fresh.refusal("local.status")


def test_stop_ends_it(fresh: Project) -> None:
    fresh.run("local.start")
    endpoint = fresh.endpoint
    fresh.run("local.stop")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(endpoint, timeout=2)  # noqa: S310 - loopback


def test_stop_of_none_says_so(fresh: Project) -> None:
    assert "it was not running" in fresh.run("local.stop")


def test_it_listens_on_loopback_only(fresh: Project) -> None:
    fresh.run("local.start")
    port = urlsplit(fresh.endpoint).port or 0
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, type=socket.SOCK_STREAM)}
    for address in others - {"127.0.0.1", "::1"}:
        with pytest.raises(OSError):  # noqa: PT011 - any: refused, unreachable
            socket.create_connection((str(address), port), timeout=2).close()
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection(("127.0.0.2", port), timeout=2).close()


def test_what_it_writes_is_its_owners_only(fresh: Project) -> None:
    fresh.run("deploy", "smoke")
    local = fresh.folder / ".local"
    assert stat.S_IMODE(local.stat().st_mode) == 0o700
    assert stat.S_IMODE((local / "server.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((local / "server.log").stat().st_mode) == 0o600


def test_a_stranger_on_the_port_is_told_and_left_alone(fresh: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        told = fresh.refusal("deploy", LOCAL_PORT=str(port))
        assert f"LOCAL_PORT {port} is taken by another program: find it with `lsof -nP -iTCP:{port}" in told
        assert stranger.fileno() >= 0


def test_another_folders_embedded_aws_on_the_port_is_named(fresh: Project, new_project: Callable[[], Project]) -> None:
    fresh.run("local.start")
    port = str(urlsplit(fresh.endpoint).port)
    told = new_project().refusal("local.start", LOCAL_PORT=port)
    assert f"is taken by the embedded AWS of {fresh.folder / '.local'} (process {record(fresh)['pid']})" in told


def test_a_running_one_on_another_port_than_the_settings_say_is_told(fresh: Project) -> None:
    fresh.run("local.start")
    told = fresh.refusal("local.start", LOCAL_PORT="1")
    assert "not on LOCAL_PORT 1; stop it with: invoke local.stop" in told


def test_a_killed_one_is_started_anew(fresh: Project) -> None:
    fresh.run("local.start")
    os.kill(int(str(record(fresh)["pid"])), signal.SIGKILL)
    fresh.run("deploy", "smoke")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"endpoint": "http://127.0.0.1:9"}', '{"pid": 1}'])
def test_a_corrupt_record_is_no_running_one(fresh: Project, text: str) -> None:
    (fresh.folder / ".local").mkdir()
    (fresh.folder / ".local" / "server.json").write_text(text)
    assert "is not running" in fresh.refusal("local.status")


def test_a_record_that_names_a_stranger_is_not_believed(fresh: Project) -> None:
    fresh.run("local.start")
    path = fresh.folder / ".local" / "server.json"
    truth = path.read_text()
    path.write_text(json.dumps({**json.loads(truth), "id": "of another"}))
    assert "it was not running" in fresh.run("local.stop")
    path.write_text(truth)
    fresh.run("local.status")


def test_it_ends_itself_when_nobody_asks(fresh: Project) -> None:
    fresh.run("local.start", LOCAL_IDLE_HOURS="0.001")
    deadline = time.monotonic() + 30
    while fresh.invoke("local.status").returncode == 0:
        assert time.monotonic() < deadline, "still running 30 s after the idle time"
    assert not (fresh.folder / ".local" / "server.json").exists()


def request(project: Project, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(urlsplit(project.endpoint).netloc, timeout=5)
    connection.request("GET", "/_localaws", headers=headers)
    return connection.getresponse().status


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://example.com"}, {"Host": "evil.example.com"}, {"Host": "127.0.0.1.evil.example.com"}],
    ids=["a page's origin", "a foreign host", "a host that looks like ours"],
)
def test_what_a_web_page_may_send_is_refused(fresh: Project, headers: dict[str, str]) -> None:
    fresh.run("local.start")
    assert request(fresh, headers) == 403
    assert request(fresh, {}) == 200


def test_the_hosts_credentials_and_profile_are_never_read(fresh: Project) -> None:
    settings = {"AWS_PROFILE": "no-such-profile", "AWS_CONFIG_FILE": "/dev/zero", "AWS_ACCESS_KEY_ID": "AKIAHOST"}
    fresh.run("deploy", "smoke", **settings)


def test_a_proxy_of_the_host_is_not_asked(fresh: Project) -> None:
    fresh.run("deploy", "smoke", HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")


def test_the_account_is_twelve_zeros(fresh: Project) -> None:
    fresh.run("local.start")
    assert fresh.client("sts").get_caller_identity()["Account"] == "000000000000"
