"""The operating-system process that runs a function, with its Runtime API and its output."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from localaws.lambda_ import runtime_api
from localaws.lambda_.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localaws.lambda_.runtime_api import Call, Connection

# How often to look whether the process lives although nothing was heard of it: a child of it may keep the pipe open.
_LOOK_SECONDS = 0.25
_CHUNK = 1 << 20


class EndedError(Exception):
    """The process has ended; the text is how, in Lambda's words, as "exit status 1" or "signal: killed"."""


class LateError(Exception):
    """The process was not heard of before the deadline."""


class Process:
    """A runtime in a process group of its own. One thread at a time may use it.

    `write` takes the messages that the function puts out. They are read while `next_call` waits, and what is still on
    its way when the call comes belongs before it. In between nothing is read: what a thread of the function prints
    after the answer comes with the next invocation, as on Lambda, which freezes the process meanwhile.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], write: Callable[[list[str]], None]
    ) -> None:
        self._write = write
        self._output = Output()
        self._listener = runtime_api.listen()
        self._pipe, function_end = os.pipe()
        os.set_blocking(self._pipe, False)
        self._heard_end = False
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._pipe, selectors.EVENT_READ)
        host, port = self._listener.getsockname()
        self._popen = subprocess.Popen(
            command,
            cwd=folder,
            env={
                **environment,
                "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}",
                "_LAMBDA_TELEMETRY_LOG_FD": str(function_end),
            },
            stdin=subprocess.DEVNULL,
            stdout=function_end,
            stderr=function_end,
            pass_fds=(function_end,),
            start_new_session=True,
        )
        os.close(function_end)

    def next_call(self, deadline: float) -> tuple[Connection, Call]:
        """Wait for the runtime's next request, and read all output that precedes it.

        `deadline` is on the clock of time.monotonic. Raises LateError after it, EndedError when the process has ended.
        """
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise LateError
            for key, _ in self._selector.select(min(remaining, _LOOK_SECONDS)):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd == self._pipe:
                    self._read_output()
                elif not (call := key.data.read()):
                    self._hang_up(key.data)
                elif call.path:
                    self.drain()
                    return key.data, call
                else:
                    key.data.answer("404 Not Found")
            if ended := self._ended():
                self.drain()
                raise EndedError(ended)

    @property
    def has_ended(self) -> bool:
        """Whether it is dead, although its last request may still be there to be read."""
        return self._popen.poll() is not None

    def drain(self) -> None:
        """Read what was put out until now, an unfinished last line too."""
        while self._read_output():
            pass
        self._write(self._output.flush())

    def memory_used(self) -> int:
        """The most memory it ever used, in MB; where the system does not tell (macOS), what it uses now."""
        with suppress(OSError):
            status = Path(f"/proc/{self._popen.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) // 1024 if "VmHWM:" in status else 0
        listed = subprocess.run(
            ["/bin/ps", "-o", "rss=", "-p", str(self._popen.pid)], capture_output=True, text=True, check=False
        )
        return int(listed.stdout.strip() or 0) // 1024

    def kill(self) -> None:
        """Kill it with all its children; the thread that waits for it notices. Any thread may do this."""
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left
            os.killpg(self._popen.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it, read its last words, and let go of everything."""
        self.kill()
        self._popen.wait()
        self.drain()
        self._selector.close()
        for connection in self._connections:
            connection.close()
        self._listener.close()
        os.close(self._pipe)

    def _accept(self) -> None:
        connection = runtime_api.Connection(self._listener.accept()[0])
        self._connections.add(connection)
        self._selector.register(connection, selectors.EVENT_READ, connection)

    def _hang_up(self, connection: Connection) -> None:
        self._selector.unregister(connection)
        self._connections.discard(connection)
        connection.close()
        self._heard_end = True

    def _read_output(self) -> bool:
        """Read once; False when there is nothing to read now."""
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            with suppress(KeyError):  # the end is read again by a later drain
                self._selector.unregister(self._pipe)
            self._heard_end = True
            return False
        self._write(self._output.feed(data))
        return True

    def _ended(self) -> str:
        """How the process ended, or "". An end that was heard of is waited for a moment: it is about to be."""
        with suppress(subprocess.TimeoutExpired):
            code = self._popen.wait(0.1) if self._heard_end else self._popen.poll()
            if code is not None:
                return f"exit status {code}" if code >= 0 else f"signal: {_signal_name(-code)}"
        self._heard_end = False
        return ""


def _signal_name(number: int) -> str:
    """As "killed"; macOS adds the number, Linux at times a note."""
    return (signal.strsignal(number) or str(number)).partition(":")[0].partition(" (")[0].lower()
