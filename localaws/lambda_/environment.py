"""An execution environment: a process, its log stream, and Lambda's rules for starting, calling, freezing, killing it.

Lambda guide, "Understanding the Lambda execution environment lifecycle".
"""

from __future__ import annotations

import json
import math
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localaws.lambda_.function_log import FunctionLog, Report, timeout_line
from localaws.lambda_.process import DeadlineExceeded, Process, ProcessExited

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws.lambda_.runtime_api import Connection

# After this time a start counts as failed. It is retried once, within the invocation's own timeout.
_INIT_SECONDS = 10
# After a response, a process is frozen at the latest after this time.
_FREEZE_SECONDS = 0.1
# Lambda guide, "Lambda quotas": the maximum size of a synchronous response in bytes.
_RESPONSE_BYTES = 6_291_556


@dataclass(frozen=True)
class Invocation:
    """What the function gets. `function_arn` is the one that was invoked, with its qualifier."""

    request_id: str
    function_arn: str
    payload: bytes
    client_context: str = ""


@dataclass(frozen=True)
class InvocationResult:
    """The result of an invocation.

    `error` is "" or "Unhandled". REPORT shows `status` and `error_type`. `log` is the end of the log since START, and
    `version` the function version that ran.
    """

    payload: bytes
    error: str = ""
    status: str = "success"
    error_type: str = ""
    request_id: str = ""
    version: str = ""
    log: str = ""


class Environment:
    """Runs one function version, one invocation at a time. Only one thread at a time may use it.

    `start` starts the process. `timeout` is in seconds, `memory` in MB.
    """

    def __init__(self, start: Callable[[], Process], log: FunctionLog, timeout: int, memory: int) -> None:
        self._start = start
        self._log = log
        self._timeout = timeout
        self._memory = memory
        self._memory_used = 0
        self._killed = False
        self._process: Process | None = None
        self._ready: Connection | None = None

    @property
    def alive(self) -> bool:
        """Whether it can run another invocation."""
        return self._process is not None

    def invoke(self, invocation: Invocation) -> InvocationResult:
        """Run the handler and return its result. The first invocation starts the process.

        Raises ProcessExited if the process has exited since the last invocation; the function did not get this one.
        """
        init, failure = None, None
        if not self._process:
            self._log.init_start()
            init, failure = self._initialize(invocation, "init", _INIT_SECONDS)
        elif self._process.has_exited or self._await_ready(invocation, time.monotonic() + _INIT_SECONDS):
            self.end()
            raise ProcessExited
        began = time.monotonic()
        if failure:
            init, (_, failure) = None, self._initialize(invocation, "invoke", self._timeout)
        if failure:
            self._log.start(invocation.request_id)
        result = failure or self._call(invocation, began + self._timeout)
        duration = time.monotonic() - began
        self._note_memory()
        report = Report(duration, self._memory, self._memory_used, init, result.status, result.error_type)
        self._log.end(invocation.request_id, report)
        result = replace(result, request_id=invocation.request_id, log=self._log.tail)
        self._freeze()
        return result

    def kill(self) -> None:
        """Kill the process, or the next one if it has not started: the invocation fails. Any thread may call this."""
        self._killed = True
        if process := self._process:
            process.kill()

    def end(self) -> None:
        """Kill the process and release its resources."""
        if self._process:
            self._process.end()
        self._process = self._ready = None

    def _initialize(self, invocation: Invocation, phase: str, seconds: float) -> tuple[float, InvocationResult | None]:
        """Start the process and load the handler. Return the time in seconds, and the failure if there was one."""
        began = time.monotonic()
        self._process = self._start()
        if self._killed:
            self._process.kill()
        failure = self._await_ready(invocation, began + seconds)
        took = time.monotonic() - began
        self._note_memory()
        if failure:
            self.end()
            self._log.init_report(took, phase, failure.status, failure.error_type)
        return took, failure

    def _await_ready(self, invocation: Invocation, deadline: float) -> InvocationResult | None:
        """Wait until the runtime asks for an invocation. Return the failure if it does not."""
        if self._ready:
            return None
        assert self._process  # noqa: S101 - for the type checker
        try:
            connection, call = self._process.next_call(deadline)
        except ProcessExited as exited:
            return self._exited(invocation, str(exited))
        except DeadlineExceeded:
            return self._timed_out(invocation)
        if call.path == "init/error":
            connection.respond("202 Accepted")
            error_type = call.headers.get("lambda-runtime-function-error-type", "")
            return InvocationResult(call.body, "Unhandled", "error", error_type)
        self._ready = connection
        return None

    def _call(self, invocation: Invocation, deadline: float) -> InvocationResult:
        """Pass the event to the runtime and wait for the response. End a process that does not respond."""
        assert self._process  # noqa: S101 - for the type checker
        assert self._ready  # noqa: S101 - for the type checker
        self._ready.respond("200 OK", invocation.payload, _headers(invocation, deadline))
        self._ready = None
        self._process.thaw()
        self._log.start(invocation.request_id)  # while the function runs; its output is read after that
        try:
            connection, call = self._process.next_call(deadline)
        except (ProcessExited, DeadlineExceeded) as failure:
            self._note_memory()
            self.end()
            late = isinstance(failure, DeadlineExceeded)
            return self._timed_out(invocation) if late else self._exited(invocation, str(failure))
        if len(call.body) > _RESPONSE_BYTES:
            connection.respond("413 Request Entity Too Large", _TOO_LARGE)
            return _unhandled("Function.ResponseSizeTooLarge", _TOO_LARGE_MESSAGE)
        connection.respond("202 Accepted", b'{"status":"OK"}')
        return InvocationResult(call.body, "Unhandled" if call.path.endswith("/error") else "")

    def _freeze(self) -> None:
        """Freeze the process when the runtime asks for the next invocation: that one then starts at once."""
        if not self._process:
            return
        try:
            with suppress(DeadlineExceeded):  # the next invocation waits for it
                self._ready, _ = self._process.next_call(time.monotonic() + _FREEZE_SECONDS)
            self._process.freeze()
        except ProcessExited:
            self.end()

    def _exited(self, invocation: Invocation, how: str) -> InvocationResult:
        reason = "exited without providing a reason" if how == "exit status 0" else f"exited with error: {how}"
        message = f"RequestId: {invocation.request_id} Error: Runtime {reason}"
        self._log.write([f"{message}\nRuntime.ExitError\n"])
        return _unhandled("Runtime.ExitError", message, status="error")

    def _timed_out(self, invocation: Invocation) -> InvocationResult:
        self._log.write([timeout_line(invocation.request_id, self._timeout)])
        message = f"RequestId: {invocation.request_id} Error: Task timed out after {self._timeout:.2f} seconds"
        return _unhandled("Sandbox.Timedout", message, status="timeout")

    def _note_memory(self) -> None:
        """Store the peak memory, which outlives the process."""
        if self._process:
            self._memory_used = max(self._memory_used, self._process.memory_used)


_TOO_LARGE_MESSAGE = f"Response payload size exceeded maximum allowed payload size ({_RESPONSE_BYTES} bytes)."
_TOO_LARGE_FOR_API = f"Exceeded maximum allowed payload size ({_RESPONSE_BYTES} bytes)."
_TOO_LARGE = json.dumps({"errorMessage": _TOO_LARGE_FOR_API, "errorType": "RequestEntityTooLarge"}).encode()


def _unhandled(error_type: str, message: str, status: str = "success") -> InvocationResult:
    payload = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
    return InvocationResult(payload, "Unhandled", status, "" if status == "timeout" else error_type)


def _headers(invocation: Invocation, deadline: float) -> dict[str, str]:
    """The headers that the runtime builds the context object from."""
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
