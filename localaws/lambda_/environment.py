"""An execution environment: a process, its log stream, and Lambda's rules of starting, calling and killing it.

Lambda guide, "Understanding the Lambda execution environment lifecycle".
"""

from __future__ import annotations

import json
import math
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localaws.lambda_ import function_log
from localaws.lambda_.process import EndedError, LateError, Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws.lambda_.runtime_api import Connection

# Then a start is given up, and tried once more in the invocation's own time.
_INIT_SECONDS = 10
# Lambda guide, "Lambda quotas": the most a synchronous answer may hold, in bytes.
_ANSWER_BYTES = 6_291_556


@dataclass(frozen=True)
class Invocation:
    """What is handed to the function; `function_arn` is the one that was invoked, with its qualifier."""

    request_id: str
    function_arn: str
    payload: bytes
    client_context: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of it: `error` is "" or "Unhandled", the rest is for REPORT."""

    payload: bytes
    error: str = ""
    status: str = "success"
    error_type: str = ""


class GoneError(Exception):
    """The process had ended before the event was handed to it: another one may take it."""


class Environment:
    """Runs one function version, one invocation at a time. Not to be used by two threads at once.

    `start` makes the process; `timeout` is in seconds, `memory` in MB. `alive` is False once the process has ended.
    """

    def __init__(self, start: Callable[[], Process], log: function_log.Log, timeout: int, memory: int) -> None:
        self._start = start
        self._log = log
        self._timeout = timeout
        self._memory = memory
        self._memory_used = 0
        self._process: Process | None = None
        self._ready: Connection | None = None

    @property
    def alive(self) -> bool:
        """Whether it can take another invocation."""
        return self._process is not None

    def invoke(self, invocation: Invocation) -> tuple[Outcome, str]:
        """Run the handler and return what came of it, with the log since START; starts the process the first time.

        Raises GoneError when the process had ended by itself since the last invocation.
        """
        init, failure = None, None
        if not self._process:
            self._log.init_start()
            init, failure = self._initialise(invocation, "init", _INIT_SECONDS)
        elif self._await_ready(invocation, time.monotonic() + _INIT_SECONDS) or self._process.has_ended:
            self.end()
            raise GoneError
        began = time.monotonic()
        if failure:
            init, (_, failure) = None, self._initialise(invocation, "invoke", self._timeout)
        self._log.start(invocation.request_id)
        outcome = failure or self._call(invocation, began + self._timeout)
        duration = time.monotonic() - began
        self._note_memory()
        report = function_log.Report(
            duration, self._memory, self._memory_used, init, outcome.status, outcome.error_type
        )
        self._log.end(invocation.request_id, report)
        return outcome, self._log.tail

    def kill(self) -> None:
        """Kill the process in the midst of an invocation, which then fails. Any thread may do this."""
        if process := self._process:
            process.kill()

    def end(self) -> None:
        """Kill the process and let go of it."""
        if self._process:
            self._process.end()
        self._process = self._ready = None

    def _initialise(self, invocation: Invocation, phase: str, seconds: float) -> tuple[float, Outcome | None]:
        """Start the process and load the handler; returns the time it took, in seconds, and what went wrong."""
        began = time.monotonic()
        self._process = self._start()
        failure = self._await_ready(invocation, began + seconds)
        took = time.monotonic() - began
        self._note_memory()
        if failure:
            self.end()
            self._log.init_report(took, phase, failure.status, failure.error_type)
        return took, failure

    def _await_ready(self, invocation: Invocation, deadline: float) -> Outcome | None:
        """Wait until the runtime asks for an invocation; returns what went wrong instead."""
        assert self._process  # noqa: S101 - for the type checker
        try:
            connection, call = self._process.next_call(deadline)
        except EndedError as ended:
            return self._exited(invocation, str(ended))
        except LateError:
            return self._timed_out(invocation)
        if call.path == "init/error":
            connection.answer("202 Accepted")
            error_type = call.headers.get("lambda-runtime-function-error-type", "")
            return Outcome(call.body, "Unhandled", "error", error_type)
        self._ready = connection
        return None

    def _call(self, invocation: Invocation, deadline: float) -> Outcome:
        """Hand over the event and wait for the answer; a process that did not give one is ended."""
        assert self._process  # noqa: S101 - for the type checker
        assert self._ready  # noqa: S101 - for the type checker
        self._ready.answer("200 OK", invocation.payload, _headers(invocation, deadline))
        try:
            connection, call = self._process.next_call(deadline)
        except (EndedError, LateError) as problem:
            self._note_memory()
            self.end()
            late = isinstance(problem, LateError)
            return self._timed_out(invocation) if late else self._exited(invocation, str(problem))
        if len(call.body) > _ANSWER_BYTES:
            connection.answer("413 Request Entity Too Large", _TOO_LARGE)
            return _unhandled("Function.ResponseSizeTooLarge", _TOO_LARGE_MESSAGE)
        connection.answer("202 Accepted", b'{"status":"OK"}')
        return Outcome(call.body, "Unhandled" if call.path.endswith("/error") else "")

    def _exited(self, invocation: Invocation, how: str) -> Outcome:
        reason = "exited without providing a reason" if how == "exit status 0" else f"exited with error: {how}"
        message = f"RequestId: {invocation.request_id} Error: Runtime {reason}"
        self._log.write([f"{message}\nRuntime.ExitError\n"])
        return _unhandled("Runtime.ExitError", message, status="error")

    def _timed_out(self, invocation: Invocation) -> Outcome:
        self._log.write([function_log.timed_out_line(invocation.request_id, self._timeout)])
        message = f"RequestId: {invocation.request_id} Error: Task timed out after {self._timeout:.2f} seconds"
        return _unhandled("Sandbox.Timedout", message, status="timeout")

    def _note_memory(self) -> None:
        """Remember the most memory used: of a process that has ended it cannot be asked any more."""
        if self._process:
            self._memory_used = self._process.memory_used() or self._memory_used


_TOO_LARGE_MESSAGE = f"Response payload size exceeded maximum allowed payload size ({_ANSWER_BYTES} bytes)."
_TOO_LARGE = json.dumps(
    {
        "errorMessage": f"Exceeded maximum allowed payload size ({_ANSWER_BYTES} bytes).",
        "errorType": "RequestEntityTooLarge",
    }
).encode()


def _unhandled(error_type: str, message: str, status: str = "success") -> Outcome:
    payload = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
    return Outcome(payload, "Unhandled", status, "" if status == "timeout" else error_type)


def _headers(invocation: Invocation, deadline: float) -> dict[str, str]:
    """What the runtime makes the context object of."""
    remaining = deadline - time.monotonic()
    trace = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
    headers = {
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        "Lambda-Runtime-Deadline-Ms": str(math.floor((time.time() + remaining) * 1000)),
        "Lambda-Runtime-Trace-Id": trace,
    }
    if invocation.client_context:
        headers["Lambda-Runtime-Client-Context"] = invocation.client_context
    return headers
