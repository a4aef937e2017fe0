"""The functions that run: which process takes an invocation, and how many there may be."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, cast

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import lambda_backends

from localaws import ACCOUNT_ID
from localaws.iam import policies
from localaws.lambda_ import code, metrics, runtimes
from localaws.lambda_.environment import Environment, GoneError, Invocation
from localaws.lambda_.function_log import Log
from localaws.lambda_.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws.lambda_.settings import Function

# An account's concurrency (Lambda guide, "Understanding Lambda function scaling").
_CONCURRENT = 1000
_NAME = re.compile(
    r"(?:arn:[\w-]+:lambda:)?(?:(?P<region>[a-z]{2}-[\w-]+-\d):)?(?:\d{12}:)?(?:function:)?"
    r"(?P<name>[\w-]+)(?::(?P<qualifier>[\w$-]+))?"
)


class Throttled(Exception):  # noqa: N818 - AWS's word
    """All that may run at once are running; the text is AWS's reason."""


class FunctionNotFound(Exception):  # noqa: N818 - AWS's word
    """There is no such function or qualifier; the text is its ARN."""


@dataclass(frozen=True)
class Answer:
    """What came of an invocation.

    `error` is "" or "Unhandled", `log` all of its log from START on, `version` the one that ran.
    """

    request_id: str
    payload: bytes
    error: str
    log: str
    version: str


class Functions:
    """Runs the functions that moto holds, each version in processes of its own that stay warm.

    `directory` is where code is unpacked, in a new private folder; `endpoint()` is the URL of this server.
    `pure` runs them on our own runtime client instead of the C one.
    """

    def __init__(self, directory: Path, endpoint: Callable[[], str], *, pure: bool = False) -> None:
        self._directory = Path(mkdtemp(prefix="functions-", dir=directory)).resolve()
        self._endpoint = endpoint
        self._lock = threading.Lock()
        # By function ARN: the revision an environment was made of, and the environment.
        self._idle: dict[str, list[tuple[str, Environment]]] = {}
        self._busy: dict[str, int] = {}
        self._running: set[Environment] = set()
        self._closed = False
        self._runtime = self._directory / "runtime"
        runtimes.make_folder(self._runtime, pure=pure)

    def find(self, name_or_arn: str, region: str) -> Function | None:
        """The function of a name, an ARN or a part of one ("ACCOUNT:function:NAME"), with a qualifier or without."""
        match = _NAME.fullmatch(name_or_arn)
        if not match:
            return None
        backend = lambda_backends[ACCOUNT_ID][match["region"] or region]
        try:
            return cast("Function", backend.get_function(match["name"], match["qualifier"]))
        except UnknownFunctionException:
            return None

    def invoke(self, function_arn: str, payload: bytes, *, client_context: str = "", request_id: str = "") -> Answer:
        """Run the function and wait for its answer.

        `client_context` is JSON. Raises Throttled when its reserved concurrency is used up, FunctionNotFound.
        """
        region = function_arn.split(":")[3]
        function = self.find(function_arn, region)
        latest = self.find(_unqualified(function_arn), region)
        if not function or not latest:
            raise FunctionNotFound(function_arn)
        invocation = Invocation(request_id or str(uuid.uuid4()), function_arn, payload, client_context)
        self._admit(latest)
        began = time.monotonic()
        try:
            answer = self._run(function, invocation)
            metrics.count(latest, "Invocations", 1)
            metrics.count(latest, "Errors", int(bool(answer.error)))
            metrics.count(latest, "Duration", (time.monotonic() - began) * 1000, "Milliseconds")
            return answer
        finally:
            with self._lock:
                self._busy[latest.function_arn] -= 1

    def retire(self, function: Function) -> None:
        """End the idle processes of a function that is about to be deleted; the busy ones end with their invocation."""
        arn = function.function_arn
        with self._lock:
            versions = [one for one in self._idle if one == arn or one.startswith(f"{arn}:")]
            idle = [environment for one in versions for _, environment in self._idle.pop(one)]
        for environment in idle:
            environment.end()

    def close(self) -> None:
        """End all processes and remove what was unpacked."""
        with self._lock:
            idle = [environment for some in self._idle.values() for _, environment in some]
            self._idle.clear()
            running = list(self._running)
            self._closed = True
        for environment in idle:
            environment.end()
        for environment in running:
            environment.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _admit(self, latest: Function) -> None:
        """Count one more that runs, or raise Throttled. All versions share what is reserved for the function."""
        reserved = latest.reserved_concurrency
        with self._lock:
            busy = self._busy.get(latest.function_arn, 0)
            if reserved is not None and busy >= int(reserved):
                metrics.count(latest, "Throttles", 1)
                raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            if busy >= _CONCURRENT or self._closed:
                raise Throttled("ConcurrentInvocationLimitExceeded")
            self._busy[latest.function_arn] = busy + 1

    def _run(self, function: Function, invocation: Invocation) -> Answer:
        while True:
            revision = function.revision_id
            environment = self._take(function, revision)
            with self._lock:
                self._running.add(environment)
            try:
                outcome, log = environment.invoke(invocation)
            except GoneError:
                continue
            finally:
                with self._lock:
                    self._running.discard(environment)
            self._give_back(function, revision, environment)
            version = str(function.version)
            return Answer(invocation.request_id, outcome.payload, outcome.error, log, version)

    def _take(self, function: Function, revision: str) -> Environment:
        """An idle environment of the function as it is now, else a new one; outdated ones are ended."""
        with self._lock:
            idle = self._idle.pop(function.function_arn, [])
            current = [one for one in idle if one[0] == revision]
            chosen = current.pop()[1] if current else None
            if current:
                self._idle[function.function_arn] = current
        for outdated, environment in idle:
            if outdated != revision:
                environment.end()
        return chosen or self._environment(function)

    def _give_back(self, function: Function, revision: str, environment: Environment) -> None:
        if not environment.alive:
            return
        if (
            self._closed
            or self.find(function.function_arn, function.region) is not function
            or function.revision_id != revision
        ):
            environment.end()
            return
        with self._lock:
            self._idle.setdefault(function.function_arn, []).append((revision, environment))

    def _environment(self, function: Function) -> Environment:
        folder = code.unpack(function.code_bytes, self._directory / "code")
        layers = [code.unpack(layer.code_bytes, self._directory / "layers") for layer in function.layer_versions()]
        log = Log(function)
        command = runtimes.command(str(function.run_time), folder, self._runtime, str(function.handler), layers)
        variables = {**self._variables(function, folder), **log.variables(), **function.environment_vars}
        return Environment(
            lambda: Process(command, folder, variables, log.write), log, function.timeout, function.memory_size
        )

    def _variables(self, function: Function, folder: Path) -> dict[str, str]:
        """Lambda guide, "Defined runtime environment variables", and the endpoint that makes its AWS this one."""
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
            "LAMBDA_TASK_ROOT": str(folder),
            "LANG": "en_US.UTF-8",
            "PATH": os.defpath,
            "TZ": ":UTC",
        }


def _unqualified(function_arn: str) -> str:
    return ":".join(function_arn.split(":")[:7])
