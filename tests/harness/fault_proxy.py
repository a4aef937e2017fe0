"""A proxy in front of the local AWS that injects faults, chosen by a seed.

To add a kind of fault, write a function as those below and name it in `FAULTS`.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLOW_SECONDS = 0.05
STALE_SECONDS = 2.0
_VERSION_OR_ID = re.compile(r"^/\d{4}-\d\d-\d\d|/[0-9a-f]{8}-[0-9a-f-]{27}/?$")
_READ = re.compile(r"Describe|Get|List|Scan|Filter")
_HOP_BY_HOP = ("connection", "content-length", "transfer-encoding", "date", "server")


@dataclass(frozen=True)
class Response:
    """An HTTP response, and the time of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    received: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Call:
    """A request to AWS."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def service(self) -> str:
        """The service that the request is signed for."""
        match = re.search(r"/([a-z0-9-]+)/aws4_request", self.headers.get("Authorization", ""))
        return match[1] if match else ""

    @property
    def operation(self) -> str:
        """The operation's name; of a REST call, the method and the path without version and identifier."""
        if target := self.headers.get("X-Amz-Target"):
            return target.rpartition(".")[2]
        action = re.search(rb"(?:^|&)Action=(\w+)", self.body)
        return action[1].decode() if action else f"{self.method} {_VERSION_OR_ID.sub('', self.path.partition('?')[0])}"

    @property
    def is_read(self) -> bool:
        return self.method == "GET" or bool(_READ.match(self.operation))

    def error(self, status: int, code: str, message: str) -> Response:
        """Return an error in the format of the call's service."""
        if self.service in ("iam", "sts"):
            code = code.removesuffix("Exception")
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            xml = f"<ErrorResponse>{error}<RequestId>none</RequestId></ErrorResponse>"
            return Response(status, {"Content-Type": "text/xml"}, xml.encode())
        document = json.dumps({"__type": code, "message": message}).encode()
        if self.service == "lambda":
            return Response(status, {"Content-Type": "application/json", "x-amzn-ErrorType": code}, document)
        # DynamoDB and CloudWatch Logs answer each error of the client with 400.
        status = 400 if 400 < status < 500 else status
        return Response(status, {"Content-Type": "application/x-amz-json-1.0"}, document)


class Upstream:
    """The local AWS behind the proxy, and its latest response to each call."""

    def __init__(self, endpoint: str) -> None:
        self._host = urlsplit(endpoint).netloc
        self._latest: dict[tuple[str, str, str, bytes], Response] = {}

    def latest(self, call: Call) -> Response | None:
        """Return the latest response to the same call."""
        return self._latest.get(_key(call))

    def send(self, call: Call) -> Response:
        """Forward the call."""
        connection = HTTPConnection(self._host, timeout=60)
        headers = {name: value for name, value in call.headers.items() if name.lower() not in ("connection", "host")}
        connection.request(call.method, call.path, call.body or None, headers)
        response = connection.getresponse()
        received = Response(response.status, dict(response.getheaders()), response.read())
        connection.close()
        self._latest[_key(call)] = received
        return received

    def forget(self) -> None:
        """Forget every response."""
        self._latest.clear()


def _key(call: Call) -> tuple[str, str, str, bytes]:
    return call.service, call.operation, call.path, call.body


# --- The faults: each returns the response that the client gets, or None to cut the connection ------------------------


def throttled(call: Call, _upstream: Upstream) -> Response | None:
    """Refuse the call, since there are too many."""
    if call.service == "lambda":
        return call.error(429, "TooManyRequestsException", "Rate exceeded")
    return call.error(400, "ThrottlingException", "Rate exceeded")


def failing(call: Call, _upstream: Upstream) -> Response | None:
    """Answer 500."""
    return call.error(500, "InternalServerError", "An internal error occurred.")


def unavailable(call: Call, _upstream: Upstream) -> Response | None:
    """Answer 503."""
    return call.error(503, "ServiceUnavailableException", "Service is unavailable.")


def slow(call: Call, upstream: Upstream) -> Response | None:
    """Delay the call."""
    time.sleep(SLOW_SECONDS)
    return upstream.send(call)


def cut_before(_call: Call, _upstream: Upstream) -> Response | None:
    """Cut the connection before the call has an effect."""
    return None


def cut_after(call: Call, upstream: Upstream) -> Response | None:
    """Cut the connection after the call has had its effect."""
    upstream.send(call)
    return None


def stale(call: Call, upstream: Upstream) -> Response | None:
    """Repeat the previous response to the same read, when it is recent."""
    previous = upstream.latest(call)
    response = upstream.send(call)
    recent = previous and time.monotonic() - previous.received < STALE_SECONDS
    return previous if recent and call.is_read else response


def not_ready(call: Call, upstream: Upstream) -> Response | None:
    """Refuse to use a role that has not reached Lambda, or to update a function while an update is in progress."""
    if call.service != "lambda" or call.is_read:
        return upstream.send(call)
    if call.operation.endswith("/functions"):
        message = "The role defined for the function cannot be assumed by Lambda."
        return call.error(400, "InvalidParameterValueException", message)
    if re.search(r"/(code|configuration)$", call.operation):
        message = "The operation cannot be performed at this time. An update is in progress for resource: it"
        return call.error(409, "ResourceConflictException", message)
    return upstream.send(call)


FAULTS: dict[str, Callable[[Call, Upstream], Response | None]] = {
    "throttled": throttled,
    "failing": failing,
    "unavailable": unavailable,
    "slow": slow,
    "cut before": cut_before,
    "cut after": cut_after,
    "stale": stale,
    "not ready": not_ready,
}


# --- The proxy --------------------------------------------------------------------------------------------------------


@dataclass
class Faults:
    """Which call meets which fault: `rate` of all calls meet one, drawn from `seed`.

    `once` maps an operation to the fault of its next call, `always` to the error (status, code, message) of every call.
    `calls` counts the calls of each operation, `injected` lists the faults so far.
    """

    upstream: Upstream
    rate: float = 0.2
    seed: int = 0
    once: dict[str, str] = field(default_factory=dict)
    always: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    injected: list[str] = field(default_factory=list)
    endpoint: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.reseed(self.seed)

    def reseed(self, seed: int) -> None:
        """Start again with another seed, and forget every response."""
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self.upstream.forget()
        self.injected.clear()

    def respond(self, call: Call) -> Response | None:
        """Return the response to the call, through its fault if it meets one; None cuts the connection."""
        operation = call.operation
        with self._lock:
            self.calls[operation] += 1
            fault = self._random.choice(tuple(FAULTS)) if self._random.random() < self.rate else ""
            fault = self.once.pop(operation, fault)
            self.injected += [fault] if fault else []
        if operation in self.always:
            return call.error(*self.always[operation])
        return FAULTS[fault](call, self.upstream) if fault else self.upstream.send(call)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, respond: Callable[[Call], Response | None], *arguments: object) -> None:
        self._respond = respond
        super().__init__(*arguments)  # type: ignore[arg-type]

    def handle_request_of_any_method(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        response = self._respond(Call(self.command, self.path, dict(self.headers.items()), body))
        if not response:
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_request_of_any_method  # noqa: N815 - http.server's names


@contextmanager
def fault_proxy(endpoint: str, rate: float = 0.2, seed: int = 0) -> Iterator[Faults]:
    """Run a proxy in front of the local AWS at `endpoint`; clients use the endpoint of the `Faults`."""
    faults = Faults(Upstream(endpoint), rate, seed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, faults.respond))
    faults.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()
