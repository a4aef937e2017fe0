"""The port: our own answers first, moto's for all the rest."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from moto.core.common_models import BaseModel
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

Answerer = Callable[[Request], "Response | None"]

HOST = "127.0.0.1"
IDENTITY_PATH = "/_localaws"


class Handler(MotoRequestHandler):
    """HTTP/1.1 with connections kept open, and no 40 ms of Nagle's algorithm between a header and its body."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # header and body leave in one piece

    def run_wsgi(self) -> None:
        """Answer one request. werkzeug's own closes the connection after it, not knowing that the body was read."""
        status, headers, body = self._answer()
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() not in ("connection", "content-length"):
                self.send_header(name, value)
        if self.command == "HEAD":
            # Of a body that is not sent: an object's size.
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
        """Log no request: a line each is noise in a log that people read when something fails."""

    def _answer(self) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status, headers and body of the application's answer; 500 when it fails, and the log says how."""
        begun: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
            begun[:] = status, headers
            return lambda _: None

        try:
            answered = self.server.app(self.make_environ(), start_response)
            body = b"".join(answered)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - whatever fails, the client gets an answer
            self.close_connection = True
            traceback.print_exc()
            return "500 Internal Server Error", [("Content-Type", "text/plain")], b"The server's log tells more.\n"
        status, headers = begun
        return status, headers, body


class Front:
    """The WSGI application: refuses browsers, says who it is, and asks each answerer before moto.

    An answerer takes a request and returns a response, or None for "not mine".
    """

    def __init__(self, identity: dict[str, object], answerers: Sequence[Answerer], seen: Callable[[], None]) -> None:
        self._identity = identity
        self._answerers = answerers
        self._seen = seen
        # moto remembers every object that it ever made, for a page of its own that nobody asks for here.
        BaseModel.__new__ = _untracked  # type: ignore[method-assign,assignment]
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        request = Request(environ)
        # The body is read whole before anyone answers: on a kept connection the rest of it would be the next request.
        body = request.get_data(cache=True)
        response = self._answer(request)
        if response:
            return response(environ, start_response)
        environ["wsgi.input"] = BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        answered: Iterable[bytes] = self._moto(environ, start_response)
        return answered

    def _answer(self, request: Request) -> Response | None:
        if refusal := _refuse_browser(request):
            return refusal
        if request.path == IDENTITY_PATH:
            return Response(json.dumps(self._identity), mimetype="application/json")
        self._seen()
        return next((response for answer in self._answerers if (response := answer(request))), None)


def _untracked(kind: type[BaseModel], *_: object, **__: object) -> BaseModel:
    return object.__new__(kind)


def serve(port: int, application: Front) -> BaseWSGIServer:
    """Bind `port` on loopback (0: any free one) and return the server, a thread a connection.

    Raises OSError when the port is taken.
    """
    return make_server(HOST, port, application, threaded=True, request_handler=Handler)


def _refuse_browser(request: Request) -> Response | None:
    """A page that a browser shows may send requests to loopback; AWS clients send no Origin and name us as the host."""
    host = urlsplit(f"//{request.host}").hostname
    if request.headers.get("Origin"):
        return Response("Requests from web pages are refused.\n", 403)
    if host not in (HOST, "localhost") and not (host or "").endswith(".localhost"):
        return Response(f"Host {request.host!r} is refused: this server answers as {HOST} or localhost.\n", 403)
    return None
