"""LOCAL_DEBUG_PORT: a debugger in the function, by debugpy's own protocol."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.harness.dap import DapClient

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

pytest.importorskip("debugpy")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def test_breakpoint_in_lambda_src_is_hit_on_a_local_aws_that_runs_already(project: ForkedProject) -> None:
    project.run("deploy")
    port = free_port()
    project.run("deploy", LOCAL_DEBUG_PORT=str(port), LOCAL_DEBUG_WAIT="true")
    project.run("put-item", "--item", '{"name": "debugged"}')
    source = project.folder / "lambda_src" / "example.py"
    line = source.read_text().splitlines().index("    print(json.dumps(record, ensure_ascii=False))") + 1
    editor = DapClient(port)
    editor.attach(str(source), line)
    thread = editor.until("stopped")["threadId"]
    frame = editor.request("stackTrace", threadId=thread)["stackFrames"][0]
    value = editor.request("evaluate", expression="record['dynamodb']['Keys']['name']['S']", frameId=frame["id"])
    assert value["result"] == "'debugged'"
    editor.request("disconnect")
    editor.close()


def test_deploy_without_the_setting_ends_the_debugger(project: ForkedProject) -> None:
    port = free_port()
    project.run("deploy", LOCAL_DEBUG_PORT=str(port))
    project.run("smoke")
    DapClient(port).close()
    project.run("deploy", "smoke")
    with pytest.raises(AssertionError, match="no debugger answers"):
        DapClient(port, seconds=1)
