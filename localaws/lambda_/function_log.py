"""The log stream of a function's process, with the lines that Lambda itself writes to it.

Lambda guide, "Sending Lambda function logs to CloudWatch Logs" and "Configuring JSON and plain text log formats".
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from moto.logs.models import logs_backends

from localaws import delays
from localaws.iam import policies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localaws.lambda_.settings import Function

_LEVELS = ("DEBUG", "INFO", "WARN")
_TAIL_LENGTH = 4096


@dataclass(frozen=True)
class Report:
    """The figures in a REPORT line, in seconds and MB. `init` is None unless it was a cold start."""

    duration: float
    memory: int
    memory_used: int
    init: float | None
    status: str = "success"
    error_type: str = ""

    @property
    def duration_ms(self) -> float:
        """The duration, rounded to hundredths as Lambda does."""
        return round(self.duration * 1000, 2)

    @property
    def billed_ms(self) -> int:
        """The milliseconds of the invocation and its initialization, rounded up."""
        return -int(-(self.duration + (self.init or 0)) * 1000 // 1)


class FunctionLog:
    """The log stream of one process. It stays empty if the function's role may not write to it.

    `tail` is the end of the text since the latest START, which Invoke returns with LogType=Tail.
    """

    def __init__(self, function: Function) -> None:
        configuration = function.logging_config
        self.group = configuration["LogGroup"]
        self.stream = _stream_name(function, self.group)
        self.tail = ""
        self._unpublished: deque[list[dict[str, Any]]] = deque()
        self._publishing = threading.Lock()
        self._function_name = function.function_name
        self._runtime = function.run_time
        self._version = str(function.version)
        self._role = function.role
        self._json = configuration["LogFormat"] == "JSON"
        self._level = configuration.get("SystemLogLevel", "INFO")
        self._application_level = configuration.get("ApplicationLogLevel", "")
        self._runtime_arn = function.runtime_version_arn
        self._difference = function.runtime_difference
        self._backend = logs_backends[function.account_id][function.region]
        account = f"arn:{function.partition}:logs:{function.region}:{function.account_id}"
        self._arn = f"{account}:log-group:{self.group}"

    def variables(self) -> dict[str, str]:
        """The environment variables that configure the runtime's logging."""
        return {
            "AWS_LAMBDA_LOG_FORMAT": "JSON" if self._json else "Text",
            **({"AWS_LAMBDA_LOG_LEVEL": self._application_level} if self._application_level else {}),
            "AWS_LAMBDA_LOG_GROUP_NAME": self.group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.stream,
        }

    def write(self, messages: list[str]) -> None:
        """Add one event per message, with the current time."""
        if not messages:
            return
        text = "".join(message if message.endswith("\n") else f"{message}\n" for message in messages)
        self.tail = (self.tail + text)[-_TAIL_LENGTH:]
        now = time.time_ns() // 1_000_000
        self._unpublished.append([{"timestamp": now, "message": message} for message in messages])
        delays.schedule("logs-visible", self._publish)

    def init_start(self) -> None:
        """Log that the runtime is starting."""
        version = (self._runtime or "").replace("python", "python:") + ".v1"
        record = {
            "initializationType": "on-demand",
            "phase": "init",
            "runtimeVersion": version,
            "runtimeVersionArn": self._runtime_arn,
            "functionName": self._function_name,
            "functionVersion": self._version,
        }
        text = f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {self._runtime_arn}"
        if self._difference:
            record["error"] = f"The function {self._difference}"
            text += f"\tError: {record['error']}"
        self._write_system_line("initStart", "INFO", record, f"{text}\n")

    def init_report(self, seconds: float, phase: str, status: str, error_type: str) -> None:
        """Log that the runtime did not start. `phase` is "init", or "invoke" for the second attempt."""
        record: dict[str, object] = {"initializationType": "on-demand", "phase": phase, "status": status}
        text = f"INIT_REPORT Init Duration: {seconds * 1000:.2f} ms\tPhase: {phase}\tStatus: {status}"
        if error_type:
            record["errorType"] = error_type
            text += f"\tError Type: {error_type}"
        record["metrics"] = {"durationMs": round(seconds * 1000, 3)}
        self._write_system_line("initReport", "WARN", record, f"{text}\n")

    def start(self, request_id: str) -> None:
        """Log the start of an invocation."""
        self.tail = ""
        record = {"requestId": request_id, "version": self._version}
        self._write_system_line("start", "INFO", record, f"START RequestId: {request_id} Version: {self._version}\n")

    def end(self, request_id: str, report: Report) -> None:
        """Log the end of an invocation."""
        failed = report.status != "success"
        if self._json:
            self._write_system_line("report", "WARN" if failed else "INFO", _json_report(request_id, report), "")
        else:
            self.write([f"END RequestId: {request_id}\n", _text_report(request_id, report)])

    def _write_system_line(self, kind: str, level: str, record: Mapping[str, object], text: str) -> None:
        """Write a line of Lambda's own. In the JSON format, the function's SystemLogLevel has to allow its level."""
        if not self._json:
            self.write([text])
        elif _LEVELS.index(level) >= _LEVELS.index(self._level):
            event = {"time": _iso(datetime.now(timezone.utc)), "type": f"platform.{kind}", "record": record}
            self.write([json.dumps(event, separators=(",", ":")) + "\n"])

    def _publish(self) -> None:
        """Move the oldest unpublished events to CloudWatch Logs, if the role may write them."""
        with self._publishing:
            events = self._unpublished.popleft()
            if self._ensure_stream():
                self._backend.put_log_events(self.group, self.stream, events)

    def _ensure_stream(self) -> bool:
        """Whether the role may write. Creates a missing group and stream if the role may do that."""
        group = self._backend.groups.get(self.group)
        if not group:
            if not self._role_allows("CreateLogGroup", self._arn, f"{self._arn}:log-stream:"):
                return False
            self._backend.ensure_log_group(self.group)
            group = self._backend.groups[self.group]
        stream = f"{self._arn}:log-stream:{self.stream}"
        if self.stream not in group.streams:
            if not self._role_allows("CreateLogStream", stream):
                return False
            self._backend.ensure_log_stream(self.group, self.stream)
        return self._role_allows("PutLogEvents", stream)

    def _role_allows(self, action: str, *resources: str) -> bool:
        return any(policies.allows(self._role, resource, f"logs:{action}") for resource in resources)


def timeout_line(request_id: str, seconds: float) -> str:
    """The line that Lambda writes when it kills a function."""
    return f"{_iso(datetime.now(timezone.utc))} {request_id} Task timed out after {seconds:.2f} seconds\n\n"


def _stream_name(function: Function, group: str) -> str:
    """Name the stream. In a log group that functions share, the name includes that of the function."""
    owner = "" if group == f"/aws/lambda/{function.function_name}" else function.function_name
    return f"{datetime.now(timezone.utc):%Y/%m/%d}/{owner}[{function.version}]{uuid.uuid4().hex}"


def _text_report(request_id: str, report: Report) -> str:
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {report.duration_ms:.2f} ms",
        f"Billed Duration: {report.billed_ms} ms",
        f"Memory Size: {report.memory} MB",
        f"Max Memory Used: {report.memory_used} MB",
    ]
    if report.init is not None:
        fields.append(f"Init Duration: {report.init * 1000:.2f} ms")
    if report.status != "success":
        fields.append(f"Status: {report.status}")
    if report.error_type:
        fields.append(f"Error Type: {report.error_type}")
    return "\t".join([*fields, "\n"])


def _json_report(request_id: str, report: Report) -> dict[str, object]:
    metrics: dict[str, float] = {
        "durationMs": report.duration_ms,
        "billedDurationMs": report.billed_ms,
        "memorySizeMB": report.memory,
        "maxMemoryUsedMB": report.memory_used,
    }
    if report.init is not None:
        metrics["initDurationMs"] = round(report.init * 1000, 2)
    record: dict[str, object] = {"requestId": request_id, "metrics": metrics, "status": report.status}
    if report.error_type:
        record["errorType"] = report.error_type
    return record


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
