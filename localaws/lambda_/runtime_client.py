"""A pure-Python replacement for the C module `runtime_client`, which awslambdaric builds for one Python version.

It comes last in the search path of a function's process. The process uses it if it cannot import the C module: on
macOS, and if the function's runtime is another Python than the server's. It imports the standard library only.
"""

from __future__ import annotations

import http.client
import os
from typing import Any

_INVOCATION = "/2018-06-01/runtime/invocation"
_SENT = (
    "Aws-Request-Id",
    "Trace-Id",
    "Invoked-Function-Arn",
    "Client-Context",
    "Cognito-Identity",
    "Aws-Tenant-Id",
    "Invocation-Id",
)
_user_agent = ""
_connection: http.client.HTTPConnection | None = None


def initialize_client(user_agent: str) -> None:
    """Set the User-Agent header of all later requests."""
    global _user_agent  # noqa: PLW0603 - the C module has one client per process, and this interface
    _user_agent = user_agent


def next() -> tuple[bytes, dict[str, Any]]:  # noqa: A001 - the name in the C module
    """Wait for an invocation. Return its event, and its headers by name; a missing header is None."""
    response, body = _request("GET", f"{_INVOCATION}/next")
    if response.status != http.client.OK:
        raise RuntimeError(f"Failed to get next. Http response code: {response.status}.")
    headers: dict[str, Any] = {f"Lambda-Runtime-{name}": response.getheader(f"Lambda-Runtime-{name}") for name in _SENT}
    headers["Lambda-Runtime-Deadline-Ms"] = int(response.getheader("Lambda-Runtime-Deadline-Ms") or 0)
    headers["Content-Type"] = response.getheader("Content-Type")
    return body, headers


def post_invocation_result(invoke_id: str, content: bytes, content_type: str, invocation_id: str | None = None) -> None:
    """Send the handler's result."""
    _post(f"{invoke_id}/response", content, {"Content-Type": content_type}, invocation_id)


def post_error(invoke_id: str, error: str, xray_fault: str, invocation_id: str | None = None) -> None:
    """Send the handler's error, a JSON document."""
    del xray_fault  # for X-Ray, which the local AWS lacks
    headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": "Unhandled"}
    _post(f"{invoke_id}/error", error.encode(), headers, invocation_id)


def _post(path: str, body: bytes, headers: dict[str, str], invocation_id: str | None) -> None:
    if invocation_id:
        headers["Lambda-Runtime-Invocation-Id"] = invocation_id
    response, _ = _request("POST", f"{_INVOCATION}/{path}", body, headers)
    if response.status != http.client.ACCEPTED:
        raise RuntimeError(f"Failed to post to {path}. Http response code: {response.status}.")


def _request(
    method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    global _connection  # noqa: PLW0603 - one connection that stays open, as in the C module
    if not _connection:
        _connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    _connection.request(method, path, body, {"User-Agent": _user_agent, **(headers or {})})
    response = _connection.getresponse()
    return response, response.read()
