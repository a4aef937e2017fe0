"""The Runtime API of one function process, on a loopback port of its own.

Lambda guide, "Using the Lambda runtime API for custom runtimes". In addition, debugged.py holds a connection for
`runtime/debugger` open while a debugger is attached. The thread that waits for the function also serves the
API. No other thread has to wake up, so a warm invocation is fast.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from localaws import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATH = re.compile(r"/2018-06-01/runtime/(invocation/next|init/error|debugger|invocation/[^/]+/(?:response|error))")
# How long to wait for the rest of a request. A runtime writes each request at once.
_READ_SECONDS = 10


@dataclass(frozen=True)
class Call:
    """One request. `path` follows `runtime/`, such as `invocation/next`; it is "" for a path that the API lacks."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """A connection of the runtime, which stays open."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(_READ_SECONDS)
        self._socket = connected
        self._incoming: BinaryIO = connected.makefile("rb")

    def fileno(self) -> int:
        """The file descriptor, for selectors."""
        return self._socket.fileno()

    def read(self) -> Call | None:
        """Return the next request, or None if the runtime has closed the connection or sent half a request."""
        with suppress(OSError):
            request = self._incoming.readline().split()
            headers = {}
            while line := self._incoming.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            length = int(headers.get("content-length", 0))
            body = self._incoming.read(length)
            if len(request) == 3 and len(body) == length:  # noqa: PLR2004 - method, path, version
                path = _PATH.fullmatch(request[1].decode("latin-1"))
                return Call(path[1] if path else "", headers, body)
        return None

    def respond(self, status: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Respond to the latest request, as in `respond("202 Accepted")`. Ignores a runtime that has exited."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        with suppress(OSError):
            self._socket.sendall(head + body)

    def close(self) -> None:
        """Close the connection."""
        self._incoming.close()
        self._socket.close()


def listen() -> socket.socket:
    """Open a listening socket on a free loopback port."""
    return socket.create_server((HOST, 0))
