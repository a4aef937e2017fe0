"""The settings of a function that moto drops or ignores, in the shape of AWS.

Lambda API reference: FunctionConfiguration, CreateFunction, UpdateFunctionConfiguration, UpdateFunctionCode.
"""

from __future__ import annotations

import base64
import re
import time
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from moto.awslambda import models
from moto.awslambda.exceptions import (
    InvalidParameterValueException,
    InvalidRoleFormat,
    LambdaClientError,
    PreconditionFailedException,
    ValidationException,
)

from localaws import delays
from localaws.iam import policies
from localaws.lambda_ import code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.awslambda.models import LayerVersion

# Shown as they were given, and gone when given empty.
_PLAIN = ("DeadLetterConfig", "FileSystemConfigs", "KMSKeyArn")
_RANGES = {"MemorySize": (128, 10240), "Timeout": (1, 900)}
_EPHEMERAL_STORAGE = (512, 10240)
_ENVIRONMENT_BYTES = 4096
# Lambda guide, "Defined runtime environment variables": those that a function may not set.
_RESERVED = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}  # fmt: skip
# Lambda guide, "Deprecated runtimes": those that can no longer be created or updated.
_RETIRED = {"python2.7", "python3.6", "python3.7", "python3.8"}
_CREATING = "The function is being created."
_IN_PROGRESS = {
    "LastUpdateStatus": "InProgress",
    "LastUpdateStatusReason": _CREATING,
    "LastUpdateStatusReasonCode": "Creating",
}


_start_event: Callable[[Function, bytes], None]
_endpoint: Callable[[], str]


def install(start_event: Callable[[Function, bytes], None], endpoint: Callable[[], str]) -> None:
    """Make moto create functions of this kind: its own class has no place for what it leaves out.

    `start_event` is how the other services of moto (SNS, S3, CloudWatch Logs) hand a function an event;
    `endpoint` tells the URL of this server.
    """
    global _start_event, _endpoint
    _start_event, _endpoint = start_event, endpoint
    models.LambdaFunction = Function  # type: ignore[misc]
    models.LambdaBackend.update_function_code = _update_function_code  # type: ignore[method-assign]


class _ConflictError(LambdaClientError):
    code = 409

    def __init__(self, why: str) -> None:
        super().__init__("ResourceConflictException", f"The operation cannot be performed at this time. {why}")


class Function(models.LambdaFunction):
    """moto's function, with every setting checked, kept, shown, and changed by an update."""

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
        _check(spec)
        self._plain: dict[str, Any] = {}
        self._busy_until = 0.0
        self.logging_config: dict[str, str] = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{spec['FunctionName']}"}
        self._snap_start = "None"
        super().__init__(account_id, _normal(spec), region, version)
        _check_zip(self.code_bytes)
        self._is_new = True
        self._keep(spec)

    @property
    def runtime_version_arn(self) -> str:
        """Of the runtime's release: made up, the same for each runtime."""
        release = uuid.uuid5(uuid.NAMESPACE_URL, str(self.run_time)).hex
        return f"arn:{self.partition}:lambda:{self.region}::runtime:{release * 2}"

    @property
    def state(self) -> str:
        """Pending while it is being created, which takes no time unless delays are asked for."""
        return "Pending" if self._is_new and time.monotonic() < self._busy_until else "Active"

    @state.setter
    def state(self, state: str) -> None:
        """For moto, which sets it once; here it follows from the time."""

    def layer_versions(self) -> list[LayerVersion]:
        """The function's layers, the lowest first."""
        backend = models.lambda_backends[self.account_id][self.region]
        found = (backend.layers_versions_by_arn(layer["Arn"]) for layer in self.layers)
        return [layer for layer in found if layer]

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:
        """FunctionConfiguration; of a function just made it says Pending, as AWS does even when it soon is Active."""
        configuration = {
            **super().get_configuration(on_create),
            **self._plain,
            "LoggingConfig": self.logging_config,
            "RevisionId": self.revision_id,
            "RuntimeVersionConfig": {"RuntimeVersionArn": self.runtime_version_arn},
            "SnapStart": {"ApplyOn": self._snap_start, "OptimizationStatus": "Off"},
        }
        if on_create or self.state == "Pending":
            configuration |= {"State": "Pending", "StateReason": _CREATING, "StateReasonCode": "Creating"}
        elif time.monotonic() < self._busy_until:
            configuration |= _IN_PROGRESS
        return {name: value for name, value in configuration.items() if value not in (None, [])}

    def invoke(self, body: Any, request_headers: Any, response_headers: Any) -> bytes:  # noqa: ARG002 - moto's
        """Take an event of another service of moto, to be run soon. The Invoke call itself never comes here."""
        _start_event(self, body.encode() if isinstance(body, str) else body)
        return b""

    def get_code(self) -> dict[str, Any]:
        """GetFunction; moto leaves out a reserved concurrency of 0, and its code is nowhere."""
        answer = super().get_code()
        if self.code_bytes:
            location = f"{_endpoint()}{code.PATH}{self.function_arn}"
            answer["Code"] = {"Location": location, "RepositoryType": "S3"}
        if self.reserved_concurrency is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": self.reserved_concurrency}
        return answer

    def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
        """UpdateFunctionConfiguration: what is given changes, and nothing else."""
        self._refuse_outdated(config_updates)
        _check(config_updates)
        super().update_configuration(_normal(config_updates))
        self._keep(config_updates)
        return self._updating()

    def update_function_code(self, updated_spec: dict[str, Any]) -> dict[str, Any]:
        """UpdateFunctionCode: also changes Architectures."""
        self._refuse_outdated(updated_spec)
        if "ZipFile" in updated_spec:
            _check_zip(base64.b64decode(updated_spec["ZipFile"]))
        if updated_spec.get("DryRun"):
            return self.get_configuration()
        before = {**self.__dict__, "code": dict(self.code)}
        super().update_function_code(updated_spec)
        try:
            _check_zip(self.code_bytes)  # known only now when it comes from S3
        except InvalidParameterValueException:
            self.__dict__.update(before)
            raise
        self.architectures = updated_spec.get("Architectures") or self.architectures
        self._touch()
        return self._updating()

    def _keep(self, spec: Mapping[str, Any]) -> None:
        for name in set(_PLAIN) & set(spec):
            self._plain[name] = None if spec[name] == {"TargetArn": ""} else spec[name] or None
        if spec.get("TracingConfig"):
            self.tracing_config = spec["TracingConfig"]
        if spec.get("SnapStart"):
            self._snap_start = spec["SnapStart"].get("ApplyOn", "None")
        if spec.get("EphemeralStorage"):
            self.ephemeral_storage = spec["EphemeralStorage"]["Size"]
        if spec.get("LoggingConfig"):
            self.logging_config = _logging({**self.logging_config, **spec["LoggingConfig"]})
        self._touch()

    def _touch(self) -> None:
        """A new revision: processes that run an older one are replaced."""
        self.revision_id = str(uuid.uuid4())
        self._busy_until = time.monotonic() + delays.seconds("function-pending")
        self.last_modified = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.000+0000}"

    def _refuse_outdated(self, spec: Mapping[str, Any]) -> None:
        """An update that comes while another one is under way, or that was made for an older revision."""
        if time.monotonic() < self._busy_until:
            why = f"An update is in progress for resource: {self.function_arn}"
            if self.state == "Pending":
                why = "The function is currently in the following state: Pending"
            raise _ConflictError(why)
        if spec.get("RevisionId") not in (None, self.revision_id):
            raise PreconditionFailedException(
                "The Revision Id provided does not match the latest Revision Id. "
                "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
            )

    def _updating(self) -> dict[str, Any]:
        """The configuration as AWS answers an update: still under way, although it has effect at once here."""
        self._is_new = False
        return self.get_configuration() | _IN_PROGRESS


def _update_function_code(
    self: models.LambdaBackend, function_name: str, qualifier: str, body: dict[str, Any]
) -> dict[str, Any]:
    """UpdateFunctionCode; moto's own makes the update twice."""
    answer = self.get_function(function_name, qualifier).update_function_code(body)
    published = self.publish_version(function_name) if body.get("Publish") else None
    return published.get_configuration() if published else answer


def _normal(spec: dict[str, Any]) -> dict[str, Any]:
    """The settings with empty ones spelled out where moto wants that."""
    normal = dict(spec)
    if "Environment" in normal:
        normal["Environment"] = {"Variables": (normal["Environment"] or {}).get("Variables") or {}}
    if normal.get("VpcConfig") is not None:
        empty = {"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False}
        normal["VpcConfig"] = {**empty, **normal["VpcConfig"]}
    return normal


def _logging(given: dict[str, str]) -> dict[str, str]:
    """Levels exist in the JSON format only, INFO unless set."""
    if given["LogFormat"] == "JSON":
        return {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **given}
    return {name: given[name] for name in ("LogFormat", "LogGroup")}


def _check(spec: Mapping[str, Any]) -> None:
    """Refuse what AWS refuses, in its words."""
    for name, (low, high) in _RANGES.items():
        _check_range(name[0].lower() + name[1:], spec.get(name), low, high)
    _check_range("ephemeralStorage.size", (spec.get("EphemeralStorage") or {}).get("Size"), *_EPHEMERAL_STORAGE)
    if spec.get("PackageType") == "Image":
        raise InvalidParameterValueException("PackageType Image is not supported here: this Lambda runs zip files")
    if spec.get("Runtime") in _RETIRED:
        raise InvalidParameterValueException(
            f"The runtime parameter of {spec['Runtime']} is no longer supported for creating or updating AWS Lambda "
            "functions. We recommend you use a supported runtime while creating or updating functions."
        )
    _check_environment((spec.get("Environment") or {}).get("Variables") or {})
    if "Role" in spec:
        if not re.match(InvalidRoleFormat.pattern, spec["Role"]):
            raise InvalidRoleFormat(spec["Role"])
        if not policies.assumable(spec["Role"], "lambda.amazonaws.com"):
            raise InvalidParameterValueException("The role defined for the function cannot be assumed by Lambda.")


def _check_range(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        bound = f"greater than or equal to {low}" if value < low else f"less than or equal to {high}"
        raise ValidationException(str(value), name, f"Member must have value {bound}")


def _check_environment(variables: Mapping[str, str]) -> None:
    refused = "Lambda was unable to configure your environment variables because the environment variables you have"
    if reserved := sorted(_RESERVED & set(variables)):
        raise InvalidParameterValueException(
            f"{refused} provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if sum(len(name.encode()) + len(value.encode()) for name, value in variables.items()) > _ENVIRONMENT_BYTES:
        raise InvalidParameterValueException(f"{refused} provided exceeded the 4KB limit.")


def _check_zip(data: bytes) -> None:
    try:
        code.check(data)
    except code.InvalidZipError as error:
        raise InvalidParameterValueException(str(error)) from error
