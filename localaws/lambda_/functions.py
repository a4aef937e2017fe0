"""The functions that run: which process gets an invocation, and how many may run at once."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple, cast

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import lambda_backends

from localaws import ACCOUNT_ID
from localaws.iam import policies
from localaws.lambda_ import code, debugger, isolated, layers, names, runtimes
from localaws.lambda_.environment import Environment, Invocation
from localaws.lambda_.function_log import FunctionLog
from localaws.lambda_.metrics import Metrics
from localaws.lambda_.process import Process, ProcessExited

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.awslambda.models import LambdaBackend

    from localaws.lambda_.debugger import Debugger
    from localaws.lambda_.environment import InvocationResult
    from localaws.lambda_.settings import Function

# An account's concurrency (Lambda guide, "Understanding Lambda function scaling").
ACCOUNT_CONCURRENCY = 1000


class Throttled(Exception):  # noqa: N818 - AWS's word
    """The function, or the account, has no concurrency left. The text is AWS's reason."""


class FunctionNotFound(Exception):  # noqa: N818 - AWS's word
    """The function or the qualifier does not exist. The text is its ARN."""


class UnsupportedRuntime(Exception):  # noqa: N818 - like Throttled
    """The function has another runtime than Python. The text says so."""


class _Revision(NamedTuple):
    """What an environment runs: a revision of the function, the debugger, and the interpreter."""

    id: str
    debugger: Debugger | None
    interpreter: str


class _Idle(NamedTuple):
    """An idle environment, what it runs, and the time of its last invocation."""

    revision: _Revision
    environment: Environment
    since: float


class Functions:
    """Runs the functions that moto stores, each version in processes of its own, which stay warm.

    It unpacks code in a new private folder of `directory`. `endpoint()` is the URL of this server. With `pure_client`,
    functions run on the pure-Python runtime client, not on the C one.
    """

    def __init__(self, directory: Path, endpoint: Callable[[], str], *, pure_client: bool = False) -> None:
        self.metrics = Metrics()
        self._server_directory = directory
        self._directory = Path(mkdtemp(prefix="functions-", dir=directory)).resolve()
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._idle: dict[str, list[_Idle]] = {}  # by function ARN
        self._concurrency: dict[str, int] = {}
        self._running: set[Environment] = set()
        self._closed = False
        self._runtime = self._directory / "runtime"
        runtimes.make_folder(self._runtime, pure_client=pure_client)
        # This takes a moment, which the first invocation does not wait for.
        threading.Thread(target=self._log_missing_isolation, daemon=True).start()

    def find(
        self, name_or_arn: str, region: str = "", account: str = ACCOUNT_ID, qualifier: str | None = None
    ) -> Function | None:
        """Return the function with a name, an ARN or a part of one, or None. The ARN's own region and account win."""
        name = names.parse(name_or_arn, qualifier)
        if not name.name:
            return None
        backend = lambda_backends[name.account or account][name.region or region]
        try:
            return cast("Function", backend.get_function(name.name, name.qualifier or None))
        except UnknownFunctionException:
            return None

    def invoke(
        self, function_arn: str, payload: bytes, *, client_context: str = "", request_id: str = ""
    ) -> InvocationResult:
        """Run the function and wait for its result. `client_context` is JSON.

        Raises Throttled, FunctionNotFound, UnsupportedRuntime, or InvalidZipError for a layer.
        """
        function = self.find(function_arn)
        unqualified = ":".join(function_arn.split(":")[:7])
        latest = function if unqualified == function_arn else self.find(unqualified)
        if not function or not latest:
            raise FunctionNotFound(function_arn)
        check_runtime(function)
        invocation = Invocation(request_id or str(uuid.uuid4()), function_arn, payload, client_context)
        self._admit(latest)
        began = time.monotonic()
        try:
            result = self._run(function, invocation)
            self.metrics.count(latest, "Invocations", 1)
            self.metrics.count(latest, "Errors", int(bool(result.error)))
            self.metrics.count(latest, "Duration", (time.monotonic() - began) * 1000, "Milliseconds")
            return result
        finally:
            with self._lock:
                self._concurrency[latest.function_arn] -= 1
                if not self._concurrency[latest.function_arn]:
                    del self._concurrency[latest.function_arn]

    def delete(
        self, delete_function: Callable[..., None], backend: LambdaBackend, name: str, qualifier: str | None = None
    ) -> None:
        """Wrap DeleteFunction: it ends the idle processes of the function. The others end after their invocation."""
        function = self.find(name, backend.region_name, backend.account_id, qualifier)
        delete_function(backend, name, qualifier)
        arn = function.function_arn if function else ""
        with self._lock:
            versions = [each for each in self._idle if each == arn or each.startswith(f"{arn}:")]
            idle = [each for version in versions for each in self._idle.pop(version)]
            running = self._concurrency.get(":".join(arn.split(":")[:7]), 0)
        for each in idle:
            each.environment.end()
        if function and not running:  # a running process may still import from it
            folder = self._folder(function).parent
            code.remove(folder if qualifier else folder.parent)

    def end_idle(self, stop: threading.Event, seconds: float) -> None:
        """End the environments that have been idle for so many seconds, unless debugged, until `stop` is set."""
        while not stop.wait(seconds / 10):
            latest = time.monotonic() - seconds
            with self._lock:
                all_idle = [each for some in self._idle.values() for each in some]
                ended = [each for each in all_idle if each.since < latest and not each.revision.debugger]
                for arn, idle in self._idle.items():
                    self._idle[arn] = [each for each in idle if each not in ended]
            for each in ended:
                each.environment.end()

    def close(self) -> None:
        """End all processes and delete the unpacked code."""
        with self._lock:
            idle = [each for some in self._idle.values() for each in some]
            self._idle.clear()
            running = list(self._running)
            self._closed = True
        for each in idle:
            each.environment.end()
        for environment in running:
            environment.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _log_missing_isolation(self) -> None:
        if text := runtimes.missing_isolation(sys.executable, self._runtime):
            sys.stderr.write(f"{text}\n")

    def _admit(self, latest: Function) -> None:
        """Count one more invocation, or raise Throttled. All versions share the function's reserved concurrency."""
        reserved = latest.reserved_concurrency
        with self._lock:
            running = self._concurrency.get(latest.function_arn, 0)
            if reserved is not None and running >= int(reserved):
                self.metrics.count(latest, "Throttles", 1)
                raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            if running >= ACCOUNT_CONCURRENCY or self._closed:
                raise Throttled("ConcurrentInvocationLimitExceeded")
            self._concurrency[latest.function_arn] = running + 1

    def _run(self, function: Function, invocation: Invocation) -> InvocationResult:
        while True:
            revision = self._revision(function)
            environment = self._take(function, revision)
            with self._lock:
                self._running.add(environment)
            if self._closed:
                environment.kill()  # `close` may have come before
            try:
                result = environment.invoke(invocation)
            except ProcessExited:
                continue
            finally:
                with self._lock:
                    self._running.discard(environment)
            self._release(function, revision, environment)
            return replace(result, version=str(function.version))

    def _take(self, function: Function, revision: _Revision) -> Environment:
        """Return an idle environment of the current revision, or a new one. End those of older revisions."""
        with self._lock:
            idle = self._idle.pop(function.function_arn, [])
            current = [each for each in idle if each.revision == revision]
            chosen = current.pop().environment if current else None
            if current:
                self._idle[function.function_arn] = current
        for each in idle:
            if each.revision != revision:
                each.environment.end()
        return chosen or self._new_environment(function, revision.debugger)

    def _release(self, function: Function, revision: _Revision, environment: Environment) -> None:
        """Return an environment to the idle ones, or end it if its function was changed or deleted."""
        with self._lock:
            exists = self.find(function.function_arn) is function
            current = exists and self._revision(function) == revision
            reusable = environment.alive and current and not self._closed
            if reusable:
                idle = _Idle(revision, environment, time.monotonic())
                self._idle.setdefault(function.function_arn, []).append(idle)
        if not reusable:
            environment.end()

    def _revision(self, function: Function) -> _Revision:
        interpreter = runtimes.interpreter(str(function.run_time))
        return _Revision(function.revision_id, debugger.read(self._server_directory), interpreter)

    def _folder(self, function: Function) -> Path:
        """Where the code of a version lies: in a folder of the version, in one of the function."""
        version = str(function.version).replace("$", "")
        place = self._directory / "code" / function.account_id / function.region
        return place / str(function.function_name) / version / "code"

    def _new_environment(self, function: Function, debug: Debugger | None) -> Environment:
        folder = self._folder(function)
        code.install(function.code_bytes, folder)
        opt = code.unpack([layer.code_bytes for layer in function.layer_versions()], self._directory / "opt")
        log = FunctionLog(function)
        runtime, handler = str(function.run_time), str(function.handler)
        python = runtimes.interpreter(runtime)
        # The threads of a debugger prevent isolation.
        isolate = not debug and not runtimes.isolation_error(python, self._runtime)
        root, layer_root = (
            (isolated.TASK_ROOT, runtimes.layer_root(python, opt)) if isolate else (str(folder), str(opt))
        )
        variables = {**self._variables(function, root, layer_root), **log.variables(), **function.environment_vars}
        command = runtimes.command(runtime, self._runtime, handler, root, opt, layer_root)
        if debug:
            command = debug.command(command, folder, self._directory / "debugger")
        if wrapper := variables.get(layers.WRAPPER):
            command = layers.wrap(command, wrapper, root, layer_root, self._directory / "wrapped")
        if isolate:
            mounted = str(opt) if layer_root == layers.ROOT else ""
            command = runtimes.isolate(command, folder, self._runtime, int(function.ephemeral_storage), mounted)
        memory = int(function.memory_size)

        def start() -> Process:
            return Process(command, folder, variables, log.write, memory, debugged=bool(debug))

        return Environment(start, log, function.timeout, memory)

    def _variables(self, function: Function, task_root: str, layer_root: str) -> dict[str, str]:
        """Lambda guide, "Defined runtime environment variables", and the endpoint that leads to the local AWS."""
        credentials = policies.credentials(function.role, function.function_name)
        return {
            "_HANDLER": str(function.handler),
            "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
            "AWS_SESSION_TOKEN": credentials["SessionToken"],
            "AWS_DEFAULT_REGION": function.region,
            "AWS_REGION": function.region,
            "AWS_ENDPOINT_URL": self._endpoint(),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "LAMBDA_RUNTIME_DIR": str(self._runtime),
            "LAMBDA_TASK_ROOT": task_root,
            "LANG": "en_US.UTF-8",
            "LD_LIBRARY_PATH": f"{task_root}:{task_root}/lib:{layer_root}/lib",
            "PATH": f"{os.defpath}:{layer_root}/bin",
            "TZ": ":UTC",
        }


def check_runtime(function: Function) -> None:
    """Raise UnsupportedRuntime for a function that cannot run here."""
    if not str(function.run_time).startswith("python"):
        raise UnsupportedRuntime(
            f"Runtime {function.run_time} is not supported here: python3.x is. Function: {function.function_arn}"
        )
