"""The port: the local AWS's own request handlers first, moto for everything else."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from localaws import HOST, IDENTITY_PATH, errors, failures, peers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

# Returns the response, or None for a request that it does not serve. May raise AwsError.
RequestHandler = Callable[[Request], "Response | None"]


_READ_BYTES = 1 << 20
_REASON = b"This server serves only the user who started it.\n"
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_REASON), _REASON)


class _HttpHandler(MotoRequestHandler):
    """HTTP/1.1 with keep-alive, and without the 40 ms of Nagle's algorithm between headers and body."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # buffer: headers and body leave in one piece

    def handle(self) -> None:
        """Serve the requests of a connection, unless it is another user's."""
        if peers.is_allowed(self.client_address, self.connection.getsockname()):
            super().handle()
        else:
            self.connection.settimeout(1)
            with suppress(OSError):
                # With an unread request, the system would reset the connection, and the client not read the answer.
                self.connection.recv(_READ_BYTES)
                self.connection.sendall(_REFUSAL)

    def handle_expect_100(self) -> bool:
        """Answer `Expect: 100-continue` at once: the client waits for it before it sends the body."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def run_wsgi(self) -> None:
        """Serve one request. werkzeug's own method closes the connection after each."""
        status, headers, body = self._call_application()
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() not in ("connection", "content-length"):
                self.send_header(name, value)
        if self.command == "HEAD":
            # The length of the body that a GET would return.
            length = dict(headers).get("Content-Length")
            body = b""
        else:
            length = str(len(body))
        if length is not None and code not in ("204", "304"):
            self.send_header("Content-Length", length)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log no requests: people read the log when something fails, and requests would hide it."""

    def _call_application(self) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return status, headers and body. If the application fails, log the traceback and return a 500."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
            started[:] = status, headers
            return lambda _: None

        try:
            body = b"".join(self.server.app(self.make_environ(), start_response))
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - the client gets a response whatever fails
            self.close_connection = True
            traceback.print_exc()
            return "500 Internal Server Error", [("Content-Type", "text/plain")], b"See the server's log.\n"
        status, headers = started
        return status, headers, body


class Application:
    """The WSGI application: refuses browsers, identifies itself, and asks each handler before moto.

    `on_request` sees each AWS request first. It may raise AwsError.
    """

    def __init__(
        self, identity: dict[str, object], on_request: Callable[[Request], None], handlers: Sequence[RequestHandler]
    ) -> None:
        self._identity = identity
        self._on_request = on_request
        self._handlers = handlers
        self._moto = DomainDispatcherApplication(failures.create_app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request (PEP 3333)."""
        request = Request(environ)
        # Read the whole body first: on a connection that stays open, the server would take the rest for a request.
        body = request.get_data(cache=True)
        environ["wsgi.input"] = BytesIO(body)  # for moto, which makes a request of its own
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        try:
            if response := self._handle(request):
                return response(environ, start_response)
            return self._call_moto(request, start_response)
        except errors.AwsError as error:
            return errors.response(request, error)(environ, start_response)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the client gets a response whatever fails
            return errors.response(request, failures.translate(request, error))(environ, start_response)

    def _call_moto(self, request: Request, start_response: StartResponse) -> Iterable[bytes]:
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
            started[:] = status, headers
            return lambda _: None

        output: Iterable[bytes] = self._moto(request.environ, start)
        if failures.is_unrouted(request, *started):
            raise failures.missing_operation(request)
        start_response(*started)
        return output

    def _handle(self, request: Request) -> Response | None:
        if refusal := _refuse_browser(request):
            return refusal
        if request.path == IDENTITY_PATH:
            return Response(json.dumps(self._identity), mimetype="application/json")
        failures.check_body(request)
        self._on_request(request)
        return next((response for handle in self._handlers if (response := handle(request))), None)


def serve(port: int, application: Application) -> BaseWSGIServer:
    """Bind `port` on loopback (0: any free port) and return the server. Each connection gets a thread.

    Raises OSError if the port is in use.
    """
    return make_server(HOST, port, application, threaded=True, request_handler=_HttpHandler)


def _refuse_browser(request: Request) -> Response | None:
    """Refuse web pages, which may reach loopback. AWS clients send neither header, and address loopback by its name."""
    host = urlsplit(f"//{request.host}").hostname
    if request.headers.get("Origin") or request.headers.get("Sec-Fetch-Site"):
        return Response("Requests from web pages are refused.\n", 403)
    if host not in (HOST, "localhost") and not (host or "").endswith(".localhost"):
        return Response(f"Host {request.host!r} is refused: this server answers as {HOST} or localhost.\n", 403)
    return None
