"""A debugger in the process of a function, by debugpy's own protocol."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.dap import DapClient
from tests.localaws.conftest import clients, start
from tests.localaws.deployed import deploy
from tests.localaws.pipe import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.localaws.deployed import Deployed, Result

pytestmark = pytest.mark.proof  # each test starts a debugger

pytest.importorskip("debugpy")
CODE = """
def handler(event, context):
    total = event["count"] + 1
    return total
"""
LINE = 4  # of the return


class Debugged:
    """A local AWS of which functions run under a debugger."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process, url = start(directory)
        self.client = clients(url)

    def configure(self, **debugger: Any) -> int:
        """Write debug.json with a free port, and return the port."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        (self.directory / "debug.json").write_text(json.dumps({"port": port, **debugger}))
        return port

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debugged]:
    debugged = Debugged(tmp_path_factory.mktemp("debugged"))
    yield debugged
    debugged.stop()


def invoked(function: Deployed, event: Any) -> Callable[[], Result]:
    """Invoke the function in a thread, and return what waits for the result."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(function.invoke, event)
    executor.shutdown(wait=False)
    return lambda: future.result(timeout=30)


@pytest.mark.parametrize("others", [[], [{"localRoot": "/project", "remoteRoot": "/project"}]], ids=["none", "vs-code"])
def test_breakpoint_in_the_source_is_hit_in_the_deployed_code(local: Debugged, others: list[Any]) -> None:
    """VS Code maps the workspace to itself if it attaches to this machine."""
    port = local.configure(wait=True, source="/project/src")
    function = deploy(local.client, CODE, Timeout=1)
    result = invoked(function, {"count": 1})
    editor = DapClient(port)
    editor.attach("/project/src/code.py", LINE, pathMappings=others)
    thread = editor.until("stopped")["threadId"]
    frame = editor.request("stackTrace", threadId=thread)["stackFrames"][0]
    assert (frame["source"]["path"], frame["line"]) == ("/project/src/code.py", LINE)
    assert editor.request("evaluate", expression="total", frameId=frame["id"])["result"] == "2"
    editor.request("continue", threadId=thread)
    assert result().payload == 2
    editor.close()


def test_deadline_does_not_count_while_a_debugger_is_attached(local: Debugged) -> None:
    port = local.configure(wait=True, source="/project/src")
    result = invoked(deploy(local.client, CODE, Timeout=1), {"count": 1})
    editor = DapClient(port)
    editor.attach("/project/src/code.py", LINE)
    thread = editor.until("stopped")["threadId"]
    time.sleep(1.3)
    editor.request("continue", threadId=thread)
    assert result().error == ""
    editor.close()


def test_deadline_counts_while_no_debugger_is_attached(local: Debugged) -> None:
    local.configure()
    code = "import time\ndef handler(event, context): time.sleep(20)"
    assert "Task timed out after 1.00 seconds" in deploy(local.client, code, Timeout=1).invoke().log


def test_debugger_attaches_between_invocations(local: Debugged) -> None:
    port = local.configure(source="/project/src")
    function = deploy(local.client, CODE)
    function.invoke({"count": 1})
    editor = DapClient(port)
    editor.attach("/project/src/code.py", LINE)
    result = invoked(function, {"count": 5})
    thread = editor.until("stopped")["threadId"]
    editor.request("disconnect")
    assert (thread > 0, result().payload) == (True, 6)
    editor.close()


def test_debugger_starts_and_ends_with_the_next_invocation(local: Debugged) -> None:
    (local.directory / "debug.json").unlink()
    function = deploy(local.client, "import os\ndef handler(event, context): return os.getpid()")
    first = function.invoke().payload
    port = local.configure()
    second = function.invoke().payload
    assert listens(port)
    (local.directory / "debug.json").unlink()
    assert len({first, second, function.invoke().payload}) == 3
    until(lambda: not listens(port))


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_function_runs_without_a_debugger_if_its_port_is_taken(local: Debugged) -> None:
    port = local.configure()
    function = deploy(local.client, CODE)
    with socket.create_server(("127.0.0.1", port)):
        assert function.invoke({"count": 1}).payload == 2
    assert f"without a debugger on port {port}" in "".join(function.lines())
