"""The settings of a function that moto drops or ignores.

Lambda API reference: FunctionConfiguration, CreateFunction, UpdateFunctionConfiguration, UpdateFunctionCode.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import time
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import unquote

import flask
from moto.awslambda import models

from localaws import delays, keys, signature
from localaws.errors import AwsError, invalid
from localaws.iam import policies
from localaws.lambda_ import code, layers, runtimes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.awslambda.models import LayerVersion
    from moto.awslambda.responses import LambdaResponse

CODE_PATH = "/_localaws/code/"
# Shown as set, and removed by an empty value.
_PLAIN = ("DeadLetterConfig", "FileSystemConfigs", "KMSKeyArn")
_ENVIRONMENT_BYTES = 4096
_VARIABLE = re.compile("[a-zA-Z]([a-zA-Z0-9_])+")
_MAX_NAME = 64
_NO_CODE = "Please provide a source for function code."
# Lambda guide, "Defined runtime environment variables": those that a function may not set.
_RESERVED = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}  # fmt: skip
# Lambda guide, "Deprecated runtimes": those that can no longer be created or updated.
_RETIRED = {"python2.7", "python3.6", "python3.7", "python3.8"}
_CHANGED_FUNCTION = re.compile(r"/(?:functions|tags)/(?:.*:function:)?([\w-]+)")
_CREATING = "The function is being created."
_IN_PROGRESS = {
    "LastUpdateStatus": "InProgress",
    "LastUpdateStatusReason": _CREATING,
    "LastUpdateStatusReasonCode": "Creating",
}
# By the state of the key that encrypts the environment: the code of a failed update.
_KEY_FAILURES = {"Disabled": "DisabledKMSKey", "PendingDeletion": "InvalidStateKMSKey"}


class Function(models.LambdaFunction):
    """moto's function, with all settings validated, stored, shown and updated.

    `on_event` runs it with an event from another service of moto: SNS, S3 or CloudWatch Logs.
    """

    on_event: ClassVar[Callable[[Function, bytes], None]]

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
        _validate_new(spec)
        _validate(spec)
        _validate_permissions(spec, spec["Role"])
        self._plain: dict[str, Any] = {}
        self._busy_until = 0.0
        self._failure: dict[str, str] = {}  # of the last update
        self.logging_config: dict[str, str] = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{spec['FunctionName']}"}
        self._snap_start = "None"
        super().__init__(account_id, _normalize(spec), region, version)
        _validate_zip(self.code_bytes)
        self._is_new = True
        self._store(spec)

    @property
    def runtime_version_arn(self) -> str:
        """The ARN of the runtime's release: made up, and the same for each function with that runtime."""
        release = uuid.uuid5(uuid.NAMESPACE_URL, str(self.run_time)).hex
        return f"arn:{self.partition}:lambda:{self.region}::runtime:{release * 2}"

    @property
    def runtime_difference(self) -> str:
        """How the function runs differently here than with its runtime on Lambda; "" if it does not."""
        return runtimes.difference(str(self.run_time), self.architectures[0])

    @property
    def state(self) -> str:
        """Pending during creation, which takes no time unless delays are on, then Active."""
        return "Pending" if self._is_new and time.monotonic() < self._busy_until else "Active"

    @state.setter
    def state(self, state: str) -> None:
        """Ignore the state that moto sets once: here it depends on the time."""

    def _get_layers_data(self, layers_versions_arns: list[str]) -> list[models.LayerDataType]:
        for arn in layers_versions_arns:
            layers.refuse_missing(models.lambda_backends[self.account_id][self.region], arn)
        return super()._get_layers_data(layers_versions_arns)

    def layer_versions(self) -> list[LayerVersion]:
        """The function's layers, the lowest first."""
        backend = models.lambda_backends[self.account_id][self.region]
        versions = (backend.layers_versions_by_arn(layer["Arn"]) for layer in self.layers)
        return [version for version in versions if version]

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:
        """FunctionConfiguration. CreateFunction returns Pending, as on AWS, even if the function is Active at once."""
        configuration = {
            **super().get_configuration(on_create),
            **self._plain,
            "LoggingConfig": self.logging_config,
            "RevisionId": self.revision_id,
            "RuntimeVersionConfig": self._runtime_version_config(),
            "SnapStart": {"ApplyOn": self._snap_start, "OptimizationStatus": "Off"},
        }
        if on_create or self.state == "Pending":
            configuration |= {"State": "Pending", "StateReason": _CREATING, "StateReasonCode": "Creating"}
        elif time.monotonic() < self._busy_until:
            configuration |= _IN_PROGRESS
        else:
            configuration |= self._failure
        return {name: value for name, value in configuration.items() if value not in (None, [])}

    def _runtime_version_config(self) -> dict[str, Any]:
        """The made-up release, with an error if the machine lacks the runtime (Lambda API reference, same name)."""
        error = {"ErrorCode": "RuntimeDiffers", "Message": f"The function {self.runtime_difference}"}
        return {"RuntimeVersionArn": self.runtime_version_arn, **({"Error": error} if self.runtime_difference else {})}

    def invoke(self, body: Any, request_headers: Any, response_headers: Any) -> bytes:  # noqa: ARG002 - moto's
        """Run the function soon, with an event from another service. The Invoke call does not use this method."""
        type(self).on_event(self, body.encode() if isinstance(body, str) else body)
        return b""

    def copy_as_version(self, number: int) -> Function:
        """A published version, which no update of the function changes."""
        version = copy.copy(self)
        version.code = dict(self.code)
        version.revision_id = str(uuid.uuid4())
        version.set_version(number)
        return version

    def get_code(self) -> dict[str, Any]:
        """GetFunction, with the two things that moto lacks: the code's location, and a reserved concurrency of 0."""
        result = super().get_code()
        if self.code_bytes:
            location = f"{flask.request.host_url.rstrip('/')}{CODE_PATH}{self.function_arn}"
            result["Code"] = {"Location": location, "RepositoryType": "S3"}
        if self.reserved_concurrency is not None:
            result["Concurrency"] = {"ReservedConcurrentExecutions": self.reserved_concurrency}
        return result

    def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
        """UpdateFunctionConfiguration: changes the settings in the request, and no others."""
        self._refuse_conflict(config_updates)
        _validate(config_updates)
        _validate_permissions(config_updates, config_updates.get("Role") or self.role)
        before = dict(self.__dict__)
        super().update_configuration(_normalize(config_updates))
        self._store(config_updates)
        return self._updating(before)

    def update_function_code(self, updated_spec: dict[str, Any]) -> dict[str, Any]:
        """UpdateFunctionCode, which also changes Architectures."""
        self._refuse_conflict(updated_spec)
        if not {"ZipFile", "S3Bucket", "ImageUri"} & set(updated_spec):
            raise invalid(_NO_CODE)
        if "ZipFile" in updated_spec:
            _validate_zip(base64.b64decode(updated_spec["ZipFile"]))
        if updated_spec.get("DryRun"):
            return self.get_configuration()
        before = {**self.__dict__, "code": dict(self.code)}
        super().update_function_code(updated_spec)
        try:
            _validate_zip(self.code_bytes)  # code from S3 is known only now
        except AwsError:
            self.__dict__.update(before)
            raise
        self.architectures = updated_spec.get("Architectures") or self.architectures
        self._touch()
        return self._updating(before)

    def _store(self, spec: Mapping[str, Any]) -> None:
        names = set(_PLAIN) & set(spec)
        plain = {name: None if spec[name] == {"TargetArn": ""} else spec[name] or None for name in names}
        self._plain = {**self._plain, **plain}  # the published versions keep the old one
        if spec.get("TracingConfig"):
            self.tracing_config = spec["TracingConfig"]
        if spec.get("SnapStart"):
            self._snap_start = spec["SnapStart"].get("ApplyOn", "None")
        if spec.get("EphemeralStorage"):
            self._ephemeral_storage = spec["EphemeralStorage"]["Size"]
        if spec.get("LoggingConfig"):
            self.logging_config = _logging_config({**self.logging_config, **spec["LoggingConfig"]})
        self._touch()

    def _touch(self) -> None:
        """Begin a new revision: processes of an older one are replaced."""
        self.revision_id = str(uuid.uuid4())
        self._busy_until = time.monotonic() + delays.delay_for("function-pending")
        self.last_modified = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.000+0000}"

    def _refuse_conflict(self, spec: Mapping[str, Any]) -> None:
        """Refuse an update during another one, and an update of a revision that is not the latest."""
        self.refuse_if_busy()
        refuse_other_revision(spec, self.revision_id)

    def refuse_if_busy(self) -> None:
        """Refuse a change while Lambda creates or updates the function."""
        if time.monotonic() < self._busy_until:
            why = f"An update is in progress for resource: {self.function_arn}"
            if self.state == "Pending":
                why = "The function is currently in the following state: Pending"
            message = f"The operation cannot be performed at this time. {why}"
            raise AwsError("ResourceConflictException", message, 409)

    def _updating(self, before: dict[str, Any]) -> dict[str, Any]:
        """The response to an update: AWS says InProgress. Here the update is effective, or has failed, at once.

        It fails if KMSKeyArn is a key that cannot be used. Then the function has the attributes `before`.
        """
        self._is_new = False
        response = self.get_configuration() | _IN_PROGRESS
        arn = self._plain.get("KMSKeyArn") or ""
        code = _KEY_FAILURES.get(keys.state(arn), "") if arn else ""
        if code:
            self.__dict__.update({**before, "_is_new": False, "_busy_until": self._busy_until})
        reason = {"LastUpdateStatusReason": f"KMS key {arn}: {code}", "LastUpdateStatusReasonCode": code}
        self._failure = {"LastUpdateStatus": "Failed", **reason} if code else {}
        return response


def refuse_other_revision(spec: Mapping[str, Any], revision_id: str) -> None:
    """Refuse an update of a revision that is not the latest."""
    if spec.get("RevisionId") not in (None, revision_id):
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
            412,
        )


def update_function_code(
    self: models.LambdaBackend, function_name: str, qualifier: str, body: dict[str, Any]
) -> dict[str, Any]:
    """UpdateFunctionCode. moto's own method updates the code twice."""
    result = self.get_function(function_name, qualifier).update_function_code(body)
    published = self.publish_version(function_name) if body.get("Publish") else None
    return published.get_configuration() if published else result


def hide_tags(call: Callable[..., str], self: LambdaResponse) -> str:
    """Wrap GetFunction: a caller who may not list the tags gets an error in their place (GetFunction, "TagsError")."""
    response = json.loads(call(self))
    caller = policies.caller(signature.parse(self.headers.get("Authorization", "")))
    arn = ":".join(response["Configuration"]["FunctionArn"].split(":")[:7])
    if message := policies.refusal(caller, "lambda:ListTags", arn, {}):
        response.pop("Tags", None)
        response["TagsError"] = {"ErrorCode": "AccessDeniedException", "Message": message}
    return json.dumps(response)


def refuse_during_update(call: Callable[..., Any], self: LambdaResponse) -> Any:
    """Wrap a call that changes a function: refuse it during an update. All of them list ResourceConflictException."""
    match = _CHANGED_FUNCTION.search(unquote(self.path))
    for function in self.backend.list_functions():
        if match and function.function_name == match[1]:
            cast("Function", function).refuse_if_busy()
    return call(self)


def _normalize(spec: dict[str, Any]) -> dict[str, Any]:
    """Spell out empty settings, as moto requires, and drop one that moto limits to less than AWS does."""
    normalized = {name: value for name, value in spec.items() if name != "EphemeralStorage"}
    if "Environment" in normalized:
        normalized["Environment"] = {"Variables": (normalized["Environment"] or {}).get("Variables") or {}}
    if normalized.get("VpcConfig") is not None:
        empty = {"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False}
        normalized["VpcConfig"] = {**empty, **normalized["VpcConfig"]}
    return normalized


def _logging_config(settings: dict[str, str]) -> dict[str, str]:
    """Only the JSON format has levels. They default to INFO."""
    if settings["LogFormat"] == "JSON":
        return {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **settings}
    return {name: settings[name] for name in ("LogFormat", "LogGroup")}


def _validate_new(spec: dict[str, Any]) -> None:
    """Refuse a function without code, runtime or handler, or with a name that is longer than its pattern says."""
    if len(spec["FunctionName"]) > _MAX_NAME:
        constraint = f"failed to satisfy constraint: Member must have length less than or equal to {_MAX_NAME}"
        raise invalid(f"1 validation error detected: Value '{spec['FunctionName']}' at 'functionName' {constraint}")
    if spec.get("PackageType") != "Image" and not (spec.get("Runtime") and spec.get("Handler")):
        raise invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    if not any(spec["Code"].values()):
        raise invalid(_NO_CODE)


def _validate(spec: dict[str, Any]) -> None:
    """Refuse the settings that the service model allows and AWS refuses, with its messages."""
    if spec.get("PackageType") == "Image":
        raise invalid("PackageType Image is not supported here: this Lambda runs zip files")
    if spec.get("Runtime") in _RETIRED:
        raise invalid(
            f"The runtime parameter of {spec['Runtime']} is no longer supported for creating or updating AWS Lambda "
            "functions. We recommend you use a supported runtime while creating or updating functions."
        )
    _validate_environment((spec.get("Environment") or {}).get("Variables") or {})
    if spec.get("Role") and not policies.is_assumable(spec["Role"], "lambda.amazonaws.com"):
        raise invalid("The role defined for the function cannot be assumed by Lambda.")


def _validate_permissions(spec: Mapping[str, Any], role_arn: str) -> None:
    """Refuse tracing, a network or a dead-letter queue or topic that the execution role has no permission for.

    In the words that users report: github.com/serverless/serverless/issues/6931, and troubleshooting pages of others.
    """
    network, target = spec.get("VpcConfig") or {}, (spec.get("DeadLetterConfig") or {}).get("TargetArn") or ""
    needed = [
        ("xray", "PutTraceSegments", "*", (spec.get("TracingConfig") or {}).get("Mode") == "Active"),
        ("ec2", "CreateNetworkInterface", "*", network.get("SubnetIds")),
        ("sqs", "SendMessage", target, ":sqs:" in target),
        ("sns", "Publish", target, ":sns:" in target),
    ]
    for service, action, resource, is_used in needed:
        if is_used and not policies.allows(role_arn, resource, f"{service}:{action}"):
            lacking = f"does not have permissions to call {action} on {service.upper()}"
            raise invalid(f"The provided execution role {lacking}")


def _validate_environment(variables: Mapping[str, str]) -> None:
    refusal = "Lambda was unable to configure your environment variables because the environment variables you have"
    if reserved := sorted(_RESERVED & set(variables)):
        raise invalid(
            f"{refusal} provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if any(not _VARIABLE.fullmatch(name) for name in variables):
        problem = (
            f"Map keys must satisfy constraint: [Member must satisfy regular expression pattern: {_VARIABLE.pattern}]"
        )
        where = "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint:"
        raise AwsError("ValidationException", f"{where} {problem}")
    if sum(len(name.encode()) + len(value.encode()) for name, value in variables.items()) > _ENVIRONMENT_BYTES:
        raise invalid(f"{refusal} provided exceeded the 4KB limit.")


def _validate_zip(data: bytes) -> None:
    try:
        code.validate(data)
    except code.InvalidZipError as error:
        raise invalid(str(error)) from error
