"""The operating-system process that runs a function, with its Runtime API and its output."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from localaws.lambda_ import memory, runtime_api
from localaws.lambda_.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from localaws.lambda_.runtime_api import Call, Connection

_CHUNK = 1 << 20
# Python 3.10 cannot start a process in a group of its own otherwise.
_NEW_GROUP: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}


class ProcessExited(Exception):  # noqa: N818 - the name of the event
    """The process has exited. The text says how, in Lambda's words: "exit status 1" or "signal: killed"."""


class DeadlineExceeded(Exception):  # noqa: N818 - the name of the event
    """The process made no request before the deadline."""


class Process:
    """A runtime in a process group of its own. Only one thread at a time may use it.

    `write` gets the messages that the function prints. `next_call` reads them while it waits, and drains the pipe
    before it returns. `freeze` stops the process until the next call, as Lambda does between invocations: what a thread
    of the function prints after the response appears in the next invocation.

    The group belongs to the session of this process: if this process is killed, the system sends SIGHUP and SIGCONT to
    the group once it is stopped and has no parent in the session (setpgid(2)). So no frozen process is left.

    `memory_used` is its peak memory in MB. If it exceeds `memory_limit`, the process is killed.

    A process that is `debugged` has no memory limit and is not frozen: a debugger can attach to it at any time.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        write: Callable[[list[str]], None],
        memory_limit: int | None = None,
        *,
        debugged: bool = False,
    ) -> None:
        self.memory_used = 0
        self._memory_limit = None if debugged else memory_limit
        self._debugged = debugged
        self._attached: Connection | None = None
        self._write = write
        self._lock = threading.Lock()
        self._output = Output()
        self._listener = runtime_api.listen()
        self._pipe, function_end = os.pipe()
        os.set_blocking(self._pipe, False)
        self._hung_up = False
        self._frozen = False
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._pipe, selectors.EVENT_READ)
        host, port = self._listener.getsockname()
        variables = {"AWS_LAMBDA_RUNTIME_API": f"{host}:{port}", "_LAMBDA_TELEMETRY_LOG_FD": str(function_end)}
        try:
            self._popen = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=function_end,
                stderr=function_end,
                pass_fds=(function_end,),
                **_NEW_GROUP,
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(function_end)

    def next_call(self, deadline: float) -> tuple[Connection, Call]:
        """Wait for the runtime's next request, and read the output that precedes it.

        `deadline` is a time of time.monotonic, which moves while a debugger is attached.
        Raises DeadlineExceeded or ProcessExited.
        """
        self.thaw()
        now = time.monotonic()
        measure_at = now + memory.MEASURE_SECONDS
        while True:
            before, now = now, time.monotonic()
            if self._attached:
                deadline += now - before
            if now >= deadline:
                raise DeadlineExceeded
            if now >= measure_at:
                self._measure_memory()
                measure_at = now + memory.MEASURE_SECONDS
            # The timeout also finds out that a silent process has exited: one of its children may keep the pipe open.
            for key, _ in self._selector.select(min(deadline, measure_at) - now):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd == self._pipe:
                    self._read_output()
                elif not (call := key.data.read()):
                    self._hang_up(key.data)
                elif call.path == "debugger":
                    self._attached = key.data
                elif call.path:
                    self.drain()
                    if call.path == "invocation/next" or self._measure_memory():
                        return key.data, call
                else:
                    key.data.respond("404 Not Found")
            if status := self._exit_status():
                self.drain()
                raise ProcessExited(status)

    @property
    def has_exited(self) -> bool:
        """Whether it has exited. Its last request may still be unread."""
        return self._wait(0) is not None

    def drain(self) -> None:
        """Read the output up to now, including an unfinished last line."""
        while self._read_output():
            pass
        self._write(self._output.flush())

    def thaw(self) -> None:
        """Let a frozen process run on."""
        if self._frozen:
            self._frozen = False
            self._signal(signal.SIGCONT)

    def freeze(self) -> None:
        """Stop it and its children until `thaw`."""
        if not self._debugged:
            self._frozen = True
            self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it with all its children; `next_call` then raises ProcessExited. Any thread may call this."""
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        """Kill it, read the rest of its output, and release all resources."""
        self.kill()
        self._wait(None)
        self.drain()
        self._close()

    def _measure_memory(self) -> bool:
        """Update `memory_used`. Kill the process if it exceeds its limit, and return False."""
        self.memory_used = max(self.memory_used, memory.used(self._popen.pid))
        if self._memory_limit is None or self.memory_used <= self._memory_limit:
            return True
        self.memory_used = self._memory_limit
        self.kill()
        return False

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            # Once it has been waited for, its id may be that of another process.
            if self._popen.returncode is None:
                self._signal_group(number)

    def _wait(self, seconds: float | None) -> int | None:
        """Wait for it to exit, and kill the children that it leaves. Return its exit code, or None if it still runs."""
        with self._lock:
            if self._popen.returncode is None:
                with suppress(subprocess.TimeoutExpired):
                    self._popen.wait(seconds)
                    self._signal_group(signal.SIGKILL)
            return self._popen.returncode

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM if only zombies remain
            os.killpg(self._popen.pid, number)

    def _close(self) -> None:
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
        if connection is self._attached:
            self._attached = None
        self._hung_up = True

    def _read_output(self) -> bool:
        """Read once. Return False if there is no output now."""
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            with suppress(KeyError):  # a later drain reads the end again
                self._selector.unregister(self._pipe)
            self._hung_up = True
            return False
        self._write(self._output.feed(data))
        return True

    def _exit_status(self) -> str:
        """How the process exited, or "". After it has hung up, wait a moment for it to exit."""
        code = self._wait(0.1 if self._hung_up else 0)
        if code is not None:
            return f"exit status {code}" if code >= 0 else f"signal: {_signal_name(-code)}"
        self._hung_up = False
        return ""


def _signal_name(number: int) -> str:
    """The name, such as "killed", without the number that macOS adds and the note that Linux adds at times."""
    return (signal.strsignal(number) or str(number)).partition(":")[0].partition(" (")[0].lower()
