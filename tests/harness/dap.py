"""A client of the Debug Adapter Protocol, which editors speak to debugpy."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import Any

_SECONDS = 20


class DapClient:
    """A connection to the debugger on a port of this machine, for which it waits."""

    def __init__(self, port: int, *, seconds: float = _SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while True:
            # A debugger that still starts may close the connection.
            with suppress(ConnectionError):
                self._socket = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
                self._incoming, self._sent = self._socket.makefile("rb"), 0
                self.request("initialize", adapterID="python", linesStartAt1=True, pathFormat="path")
                break
            assert time.monotonic() < deadline, f"no debugger answers on port {port}"
            time.sleep(0.02)

    def attach(self, path: str, line: int, **arguments: Any) -> None:
        """Attach, with a breakpoint, as an editor does."""
        self._send("attach", {"host": "127.0.0.1", **arguments})
        self.until("initialized")
        self.request("setBreakpoints", source={"path": path}, breakpoints=[{"line": line}])
        self.request("configurationDone")

    def request(self, command: str, **arguments: Any) -> Any:
        """Send a request and return the body of its response."""
        number = self._send(command, arguments)
        while True:
            message = self._read()
            if message.get("request_seq") == number:
                assert message["success"], message
                return message.get("body")

    def until(self, event: str) -> Any:
        """Wait for an event and return its body."""
        while (message := self._read()).get("event") != event:
            pass
        return message.get("body")

    def close(self) -> None:
        """End the connection. The process goes on."""
        self._incoming.close()
        self._socket.close()

    def _send(self, command: str, arguments: dict[str, Any]) -> int:
        self._sent += 1
        message = {"seq": self._sent, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return self._sent

    def _read(self) -> dict[str, Any]:
        length = 0
        while line := self._incoming.readline().strip():
            length = int(line.removeprefix(b"Content-Length:"))
        if not length:
            raise ConnectionError("the debugger closed the connection")
        message: dict[str, Any] = json.loads(self._incoming.read(length))
        return message
