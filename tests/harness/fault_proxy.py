"""A proxy in front of the local AWS that injects faults, chosen by a seed. A fault may last for seconds.

To add a kind of fault, add it to `FAULTS`: a function as those below, or a `refusal`.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Of AWS's time: a proxy with a `speed` divides them.
LONGEST_SECONDS = 5.0
SLOW_SECONDS = 0.5
STALE_SECONDS = 5.0
# The share of calls that start a fault.
RATE = 0.1
_IDENTIFIER = r"/[0-9a-f]{8}-[0-9a-f-]{27}/?(?=\?|$)"
_VERSION_OR_ID = re.compile(rf"^/\d{{4}}-\d\d-\d\d|{_IDENTIFIER}|/$")
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

    def __init__(self, endpoint: str, speed: float) -> None:
        self._host = urlsplit(endpoint).netloc
        self._latest: dict[tuple[str, str, str, bytes], Response] = {}
        self.speed = speed

    def latest(self, call: Call) -> Response | None:
        """Return the latest response to the same call, if it is recent."""
        latest = self._latest.get(_key(call))
        return latest if latest and time.monotonic() - latest.received < STALE_SECONDS / self.speed else None

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
    time.sleep(SLOW_SECONDS / upstream.speed)
    return upstream.send(call)


def cut_before(_call: Call, _upstream: Upstream) -> Response | None:
    """Cut the connection before the call has an effect."""
    return None


def cut_after(call: Call, upstream: Upstream) -> Response | None:
    """Cut the connection after the call has had its effect."""
    upstream.send(call)
    return None


def stale(call: Call, upstream: Upstream) -> Response | None:
    """Repeat the previous response to the same read, while it is recent."""
    return upstream.latest(call) or upstream.send(call)


def without_tags(call: Call, upstream: Upstream) -> Response | None:
    """Leave out the function's tags, as GetFunction does for a caller that lacks lambda:ListTags."""
    return _with_tags_error(upstream.send(call), None)


def tags_error(call: Call, upstream: Upstream) -> Response | None:
    """Say in GetFunction's response that the caller lacks lambda:ListTags."""
    message = "User: arn:aws:iam::000000000000:user/it is not authorized to perform: lambda:ListTags"
    return _with_tags_error(upstream.send(call), {"ErrorCode": "AccessDeniedException", "Message": message})


def _with_tags_error(response: Response, error: dict[str, str] | None) -> Response:
    if response.status != 200:
        return response
    function = {name: value for name, value in json.loads(response.body).items() if name != "Tags"}
    body = json.dumps({**function, "TagsError": error} if error else function).encode()
    return Response(response.status, response.headers, body)


_EMPTY_PAGE = "the-page-after-an-empty-page"
_EMPTY_PAGES: dict[str, dict[str, Any]] = {
    "FilterLogEvents": {"events": [], "nextToken": _EMPTY_PAGE},
    "GET /event-source-mappings": {"EventSourceMappings": [], "NextMarker": _EMPTY_PAGE},
    "GetLogEvents": {"events": [], "nextForwardToken": "f/it", "nextBackwardToken": _EMPTY_PAGE},
    "Scan": {"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": {"name": {"S": _EMPTY_PAGE}}},
}


def empty_page(call: Call, _upstream: Upstream) -> Response | None:
    """Answer with an empty page that is not the last. The token that it gives leads to the real first page."""
    if call.service == "iam":
        page = f"<PolicyNames/><AttachedPolicies/><IsTruncated>true</IsTruncated><Marker>{_EMPTY_PAGE}</Marker>"
        result = f"<{call.operation}Result>{page}</{call.operation}Result>"
        xml = f"<{call.operation}Response>{result}</{call.operation}Response>"
        return Response(200, {"Content-Type": "text/xml"}, xml.encode())
    return Response(200, {"Content-Type": "application/json"}, json.dumps(_EMPTY_PAGES[call.operation]).encode())


def _has_pages(call: Call) -> bool:
    """Whether the call lists what may come in pages. GetEventSourceMapping differs from the list by an identifier."""
    if call.service == "iam":
        return call.operation in ("ListAttachedRolePolicies", "ListRolePolicies")
    return call.operation in _EMPTY_PAGES and not re.search(_IDENTIFIER, call.path)


def _after_empty_page(call: Call) -> Call | None:
    """Return the call without the token of an empty page; None if it has no such token."""
    token = _EMPTY_PAGE.encode()
    if token not in call.body and _EMPTY_PAGE not in call.path:
        return None
    path = re.sub(rf"[?&]Marker={_EMPTY_PAGE}$|(?<=[?&])Marker={_EMPTY_PAGE}&", "", call.path)
    body = re.sub(rb"&Marker=" + token, b"", call.body)
    if token in body:
        parameters = {name: value for name, value in json.loads(body).items() if _EMPTY_PAGE not in str(value)}
        body = json.dumps(parameters).encode()
    headers = {name: value for name, value in call.headers.items() if name.lower() != "content-length"}
    return replace(call, path=path, body=body, headers=headers)


def _any_call(_call: Call) -> bool:
    return True


@dataclass(frozen=True)
class Fault:
    """A kind of fault: the response to a call, and the calls that it can concern."""

    respond: Callable[[Call, Upstream], Response | None]
    applies: Callable[[Call], bool] = _any_call


def refusal(service: str, operations: str, status: int, code: str, message: str) -> Fault:
    """Return a fault with which AWS refuses the operations, which are a regular expression, in AWS's words."""
    return Fault(
        lambda call, _: call.error(status, code, message),
        lambda call: call.service == service and bool(re.search(operations, call.operation)),
    )


_IAM_WRITES = r"^(Create|Put|Attach|Detach|Delete|Update|Tag|Untag)"
_BACKUP_WRITES = r"^(CreateBackup|UpdateContinuousBackups)$"
_IN_PROGRESS = "The operation cannot be performed at this time. An update is in progress for resource: it"

# The codes are those that botocore's service models list for the calls.
FAULTS = {
    "throttled": Fault(throttled),
    "failing": Fault(failing),
    "unavailable": Fault(unavailable),
    "slow": Fault(slow),
    "cut before": Fault(cut_before),
    "cut after": Fault(cut_after),
    # A consistent read is never stale.
    "stale": Fault(stale, lambda call: call.is_read and b'"ConsistentRead": true' not in call.body),
    "empty page": Fault(empty_page, _has_pages),
    "without tags": Fault(without_tags, lambda call: bool(re.search(r"^GET /functions/[^/]+$", call.operation))),
    "tags error": Fault(tags_error, lambda call: bool(re.search(r"^GET /functions/[^/]+$", call.operation))),
    "role not assumable": refusal(
        "lambda",
        r"^POST /functions$|^PUT /functions/.*/configuration$",
        400,
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    ),
    "function not seen": refusal(
        "lambda", "^POST /event-source-mappings$", 400, "InvalidParameterValueException", "Function does not exist"
    ),
    "destination denied": refusal(
        "lambda",
        "^PUT /event-source-mappings",
        400,
        "InvalidParameterValueException",
        "The provided execution role does not have permissions to call SendMessage on SQS",
    ),
    "update in progress": refusal(
        "lambda",
        r"^(PUT|DELETE) /functions/.*/(code|configuration|concurrency)$|^(POST|DELETE) /tags/.*function",
        409,
        "ResourceConflictException",
        _IN_PROGRESS,
    ),
    "mapping in use": refusal(
        "lambda",
        r"^(PUT|DELETE) /event-source-mappings",
        400,
        "ResourceInUseException",
        "Cannot delete the event source mapping because it is in use.",
    ),
    "concurrent modification": refusal(
        "iam", _IAM_WRITES, 409, "ConcurrentModification", "Multiple requests to change this object were submitted."
    ),
    "unmodifiable": refusal(
        "iam", "^UpdateAssumeRolePolicy$", 409, "EntityTemporarilyUnmodifiable", "Please wait and try again."
    ),
    "delete conflict": refusal(
        "iam", "^DeleteRole$", 409, "DeleteConflict", "Cannot delete entity, must delete policies first."
    ),
    "role not found": refusal(
        "iam", "^(Put|Attach|Tag)Role", 404, "NoSuchEntity", "The role with name it cannot be found."
    ),
    "table in use": refusal(
        "dynamodb", "^CreateBackup$", 400, "TableInUseException", "Table is being created or deleted: it"
    ),
    "backup in use": refusal("dynamodb", "^CreateBackup$", 400, "BackupInUseException", "Backup is being created: it"),
    "table not found": refusal(
        "dynamodb",
        rf"{_BACKUP_WRITES}|^DescribeContinuousBackups$",
        400,
        "TableNotFoundException",
        "Table not found: it",
    ),
    "backups unavailable": refusal(
        "dynamodb",
        _BACKUP_WRITES,
        400,
        "ContinuousBackupsUnavailableException",
        "Backups are being enabled for the table: it. Please retry later",
    ),
    "table busy": refusal(
        "dynamodb",
        "^(Update|Delete)Table$",
        400,
        "ResourceInUseException",
        "Attempt to change a resource which is still in use: Table is being updated: it",
    ),
    "too many tables": refusal(
        "dynamodb",
        "^(Create|Update|Delete)Table$",
        400,
        "LimitExceededException",
        "Only 500 tables can be created, updated, or deleted simultaneously",
    ),
    "log group busy": refusal(
        "logs",
        "^(Create|Delete|Put|Associate|Disassociate|Tag|Untag)",
        400,
        "OperationAbortedException",
        "A conflicting operation is currently in progress against this resource. Please try again.",
    ),
}


# --- The proxy --------------------------------------------------------------------------------------------------------


@dataclass
class Faults:
    """Which call meets which fault.

    Each call starts a fault with a chance of `rate`. Half of the faults concern this call alone. The others concern
    each call of the same operation for up to `LONGEST_SECONDS`, divided by `speed`. Each operation has its own sequence
    of faults, drawn from `seed`, so that the order of different operations has no effect.

    `once` maps an operation to the fault of its next call, `always` to the fault or error (status, code, message) of
    every call. `calls` counts the calls of each operation, `injected` lists the faults that began, and the operation.
    """

    upstream: Upstream
    rate: float = RATE
    seed: int = 0
    speed: float = 1
    once: dict[str, str] = field(default_factory=dict)
    always: dict[str, str | tuple[int, str, str]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    injected: list[str] = field(default_factory=list)
    endpoint: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.reseed(self.seed)

    def reseed(self, seed: int) -> None:
        """Start again with another seed, and forget every response."""
        self.seed = seed
        self._chances: dict[str, random.Random] = {}
        self._lasting: dict[str, tuple[str, float]] = {}
        self.upstream.forget()
        self.injected.clear()

    def start(self, operation: str, fault: str, seconds: float) -> None:
        """Let each call of the operation, with its service before it, meet the fault for so many seconds."""
        self._lasting[operation] = (fault, time.monotonic() + seconds / self.speed)
        self.injected.append(f"{fault} ({operation}, {seconds:.1f} s)")

    def respond(self, call: Call) -> Response | None:
        """Return the response to the call, through its fault if it meets one; None cuts the connection."""
        if following := _after_empty_page(call):
            return self.upstream.send(following)
        operation = call.operation
        with self._lock:
            self.calls[operation] += 1
            fault = self.once.pop(operation, "")
            self.injected += [fault] if fault else []
            fault = fault or self._drawn(call)
        constant = self.always.get(operation, "")
        if isinstance(constant, tuple):
            return call.error(*constant)
        name = constant or fault
        return FAULTS[name].respond(call, self.upstream) if name else self.upstream.send(call)

    def _drawn(self, call: Call) -> str:
        """Return the fault that holds for the operation, or begins with this call; "" for none."""
        operation, now = f"{call.service} {call.operation}", time.monotonic()
        fault, end = self._lasting.get(operation, ("", 0.0))
        if now < end:
            # GetEventSourceMapping counts as the same operation as the list, but has no pages.
            return fault if FAULTS[fault].applies(call) else ""
        chance = self._chances.setdefault(operation, random.Random(f"{self.seed} {operation}"))  # noqa: S311 - no secret
        if chance.random() >= self.rate:
            return ""
        fault = chance.choice(chance.choice(_kinds(call)))
        seconds = chance.choice((0.0, chance.uniform(0, LONGEST_SECONDS)))
        self.start(operation, fault, seconds)
        return fault


def _kinds(call: Call) -> list[list[str]]:
    """Return the faults that any call can meet, and those of this call, so that half of its faults are its own."""
    kinds = [[name for name, each in FAULTS.items() if each.applies is _any_call]]
    own = [name for name, each in FAULTS.items() if each.applies is not _any_call and each.applies(call)]
    return [*kinds, own] if own else kinds


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
def fault_proxy(endpoint: str, rate: float = RATE, speed: float = 1) -> Iterator[Faults]:
    """Run a proxy in front of the local AWS at `endpoint`; clients use the endpoint of the `Faults`."""
    faults = Faults(Upstream(endpoint, speed), rate, speed=speed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, faults.respond))
    faults.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()
