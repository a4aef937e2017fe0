"""What goes wrong on the way to AWS and back, by seed: a proxy in front of the embedded AWS.

Throttling, 500 and 503, slow answers, connections cut before and after the effect, answers of a moment ago to reading
calls, a role that Lambda cannot assume yet, an update that is under way.
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
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLOW_SECONDS = 0.05
_STALE_SECONDS = 2.0
_FAULTS = ("throttled", "failing", "unavailable", "slow", "cut before", "cut after", "stale", "not ready")
_ID = re.compile(r"^/\d{4}-\d\d-\d\d|/[0-9a-f]{8}-[0-9a-f-]{27}/?$")
_READING = re.compile(r"Describe|Get|List|Scan|Filter")
# What Lambda says while a new role has not reached it, and while an update is under way.
_ROLE = ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.")
_UPDATE = (
    "ResourceConflictException",
    "The operation cannot be performed at this time. An update is in progress for resource: it",
)


@dataclass(frozen=True)
class Answer:
    """An HTTP response, and when it was given."""

    status: int
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)


@dataclass
class Faults:
    """Which call meets which fault: `rate` of the calls, drawn from `seed`; `met` are those that were met.

    `once` are faults that the next call of an operation meets; `always` are operations that are refused each time,
    with (status, code, message). `asked` counts how often each operation was asked for.
    """

    upstream: str
    rate: float = 0.2
    seed: int = 0
    once: dict[str, str] = field(default_factory=dict)
    always: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    met: list[str] = field(default_factory=list)
    url: str = ""
    _known: dict[bytes, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reseed(self.seed)

    def reseed(self, seed: int) -> None:
        """Begin anew with another seed, and forget what was answered."""
        self._random = random.Random(seed)  # noqa: S311 - faults, not secrets
        self._known.clear()
        self.met.clear()

    def draw(self, operation: str) -> str:
        """The fault of a call of the operation that comes next; "" for none."""
        self.asked[operation] += 1
        fault = self._random.choice(_FAULTS) if self._random.random() < self.rate else ""
        fault = self.once.pop(operation, fault)
        self.met.extend([fault] if fault else [])
        return fault


class _Handler(BaseHTTPRequestHandler):
    """One request: forwarded, unless its fault says otherwise."""

    protocol_version = "HTTP/1.1"
    faults: Faults
    lock: threading.Lock

    def answer(self) -> None:
        """Answer any request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = _Call(self.command, self.path, dict(self.headers.items()), body)
        with self.lock:
            fault = self.faults.draw(call.operation)
        if call.operation in self.faults.always:
            self._send(call.error(*self.faults.always[call.operation]))
        elif fault == "cut before":
            self.close_connection = True
        elif refused := _refusal(call, fault):
            self._send(refused)
        else:
            self._forward(call, fault)

    def _forward(self, call: _Call, fault: str) -> None:
        if fault == "slow":
            time.sleep(_SLOW_SECONDS)
        before = self.faults._known.get(call.key)
        answer = call.ask(self.faults.upstream)
        self.faults._known[call.key] = answer
        if fault == "cut after":
            self.close_connection = True
        elif fault == "stale" and call.reads and before and time.monotonic() - before.at < _STALE_SECONDS:
            self._send(before)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("connection", "content-length", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the log is for what the tests did not ask for."""

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - the names that http.server looks for


@dataclass(frozen=True)
class _Call:
    """A request to AWS, and how its service says that something is wrong."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def service(self) -> str:
        found = re.search(r"/([a-z0-9-]+)/aws4_request", self.headers.get("Authorization", ""))
        return found[1] if found else ""

    @property
    def operation(self) -> str:
        """The API's name for the call; of a REST call its method and path, without a version and without ids."""
        if target := self.headers.get("X-Amz-Target"):
            return target.rpartition(".")[2]
        named = re.search(rb"(?:^|&)Action=(\w+)", self.body)
        return named[1].decode() if named else f"{self.method} {_ID.sub('', self.path.partition('?')[0])}"

    @property
    def reads(self) -> bool:
        return self.method == "GET" or bool(_READING.match(self.operation))

    @property
    def key(self) -> bytes:
        return f"{self.service} {self.operation} {self.path} ".encode() + self.body

    def ask(self, upstream: str) -> Answer:
        """What the embedded AWS answers."""
        connection = HTTPConnection(urlsplit(upstream).netloc, timeout=60)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "host")}
        connection.request(self.method, self.path, self.body or None, kept)
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return answer

    def error(self, status: int, code: str, message: str) -> Answer:
        """The error in the shape of the call's service."""
        if self.service in ("iam", "sts"):
            code = code.removesuffix("Exception")
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            xml = f"<ErrorResponse>{error}<RequestId>none</RequestId></ErrorResponse>"
            return Answer(status, {"Content-Type": "text/xml"}, xml.encode())
        document = json.dumps({"__type": code, "message": message})
        if self.service == "lambda":
            return Answer(status, {"Content-Type": "application/json", "x-amzn-ErrorType": code}, document.encode())
        return Answer(
            min(status, 400) if status < 500 else status,
            {"Content-Type": "application/x-amz-json-1.0"},
            document.encode(),
        )


def _refusal(call: _Call, fault: str) -> Answer | None:
    """The answer of a fault that keeps the call from having an effect."""
    if fault == "throttled" and call.service == "lambda":
        return call.error(429, "TooManyRequestsException", "Rate exceeded")
    if fault == "throttled":
        return call.error(400, "ThrottlingException", "Rate exceeded")
    if fault == "failing":
        return call.error(500, "InternalServerError", "It is us, not you.")
    if fault == "unavailable":
        return call.error(503, "ServiceUnavailableException", "Service is unavailable.")
    lambda_writes = call.service == "lambda" and not call.reads
    if fault == "not ready" and lambda_writes and call.operation.endswith("/functions"):
        return call.error(400, *_ROLE)
    if fault == "not ready" and lambda_writes and re.search(r"/(code|configuration)$", call.operation):
        return call.error(409, *_UPDATE)
    return None


@contextmanager
def in_front_of(endpoint: str, rate: float = 0.2, seed: int = 0) -> Iterator[Faults]:
    """The embedded AWS at `endpoint` behind a proxy, which `Faults.url` is the URL of."""
    faults = Faults(endpoint, rate, seed)
    handler = type("Handler", (_Handler,), {"faults": faults, "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    faults.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()
