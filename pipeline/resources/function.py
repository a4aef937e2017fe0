"""A Lambda function: describe, create or update, wait, delete."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from . import change
from .change import OWNER_TAG, Change, Diff, UserError

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

# AWS's defaults. A parameter that `desired` omits is compared with its default, so that removing an option resets it.
# The empty values are those that clear an option in UpdateFunctionConfiguration.
DEFAULTS: dict[str, Any] = {
    "Architectures": ["x86_64"],
    "DeadLetterConfig": {"TargetArn": ""},
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "FileSystemConfigs": [],
    "KMSKeyArn": "",
    "Layers": [],
    "LoggingConfig": {"LogFormat": "Text"},
    "MemorySize": 128,
    "ReservedConcurrentExecutions": None,
    "SnapStart": {"ApplyOn": "None"},
    "Tags": {},
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False},
}
PARAMETERS = {*DEFAULTS, "FunctionName", "Role", "Handler", "Runtime", "Code"}
# Parameters in `desired` that CreateFunction does not have.
_NOT_IN_CREATE = {"CodeSha256", "ReservedConcurrentExecutions"}
_NOT_CONFIGURATION = {"Architectures", "CodeSha256", "ReservedConcurrentExecutions", "Tags"}


def describe(lambda_: LambdaClient, name: str, *, secrets: bool = False) -> dict[str, Any] | None:
    """Return the function under the names of CreateFunction's parameters, or None if it does not exist.

    Adds FunctionArn, CodeSha256, RuntimeVersionConfig, State and LastUpdateStatus with their reasons, and
    ReservedConcurrentExecutions (None if there are none). Without `secrets`, hides the environment variables' values.
    Lambda API reference: GetFunction.
    """
    try:
        response = lambda_.get_function(FunctionName=name)
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    configuration: dict[str, Any] = {**response["Configuration"]}
    states = ("State", "StateReason", "LastUpdateStatus", "LastUpdateStatusReason")
    texts = ("Role", "Handler", "Runtime", "CodeSha256", "FunctionArn", *states)
    current = {
        **{setting: configuration.get(setting, default) for setting, default in DEFAULTS.items()},
        **{setting: configuration.get(setting, "") for setting in texts},
        "FunctionName": name,
        "RuntimeVersionConfig": configuration.get("RuntimeVersionConfig", {}),
        "Layers": [layer["Arn"] for layer in configuration.get("Layers", ())],
        "Tags": _tags(lambda_, name, response),
        "ReservedConcurrentExecutions": response.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
    }
    normalized = normalize(current)
    return normalized if secrets else _hide_secrets(normalized)


def ensure(lambda_: LambdaClient, desired: Mapping[str, Any], *, adopt: bool = False) -> Change:
    """Create the function, or update what differs. To wait until the function is active afterwards, call `wait`.

    `desired` holds CreateFunction's parameters, and ReservedConcurrentExecutions as in PutFunctionConcurrency. Omitted
    parameters get AWS's defaults. The code is compared by CodeSha256, which `desired` must hold too if Code is an S3
    object (S3Bucket, S3Key) instead of the ZipFile's bytes. Retries for up to two minutes until Lambda sees the role.
    Replaces a function whose creation failed.

    Raises UserError if the function belongs to another pipeline (unless `adopt`). Lambda API reference:
    CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration, PutFunctionConcurrency, TagResource.
    """
    name = desired["FunctionName"]
    resource = f"function {name}"
    change.reject_unsupported(resource, desired, PARAMETERS | _NOT_IN_CREATE)
    change.reject_unsupported(f"Code of {resource}", desired["Code"], {"ZipFile", "S3Bucket", "S3Key"})
    normalized = normalize({**DEFAULTS, **desired})
    code = normalized.pop("Code")
    if "ZipFile" in code:
        normalized["CodeSha256"] = base64.b64encode(hashlib.sha256(code["ZipFile"]).digest()).decode()
    current = describe(lambda_, name, secrets=True)
    if current is None:
        return _create(lambda_, desired, normalized)
    change.check_owner(resource, current["Tags"], normalized["Tags"].get(OWNER_TAG, ""), adopt=adopt)
    if current["State"] == "Failed":  # its creation; Lambda developer guide: "Lambda function states"
        lambda_.delete_function(FunctionName=name)
        created = _create(lambda_, desired, normalized)
        return replace(created, action="replaced", note=f"its creation failed: {current['StateReason']}")
    ours = {**current, "Tags": change.own_tags(current["Tags"], normalized["Tags"])}
    hidden = current["Environment"].get("Error")
    if hidden:
        # AWS does not return what the caller is not allowed to decrypt, so `ensure` cannot compare it.
        ours["Environment"] = normalized["Environment"]
    diffs = change.diff(ours, normalized)
    settings = {each.setting for each in diffs}
    if _failure(current) and not diffs:  # any update makes Lambda retry
        diffs, settings = (Diff("LastUpdateStatus", "Failed", "Successful"),), {"Description"}
    if not diffs:
        pending = current["State"] == "Pending" or current["LastUpdateStatus"] == "InProgress"
        hidden_note = f"AWS does not return the environment variables: {hidden['Message']}" if hidden else ""
        note = hidden_note or runtime_error(current)
        return Change(resource, "unchanged", attributes=_hide_secrets(current), note=note, pending=pending)
    response = _update(lambda_, ours, {**normalized, "Code": code}, settings)
    pending = bool(response) and not change.is_dry_run(response)
    note = runtime_error(response if pending else current)
    foreign = {tag: value for tag, value in current["Tags"].items() if tag not in ours["Tags"]}
    attributes = _hide_secrets({**current, **normalized, "Tags": {**foreign, **normalized["Tags"]}})
    return Change(resource, "updated", tuple(map(_hide_secrets_in_diff, diffs)), attributes, note, pending)


def wait(lambda_: LambdaClient, name: str) -> None:
    """Wait until the function is created and updated, for at most 10 minutes.

    Raises UserError, with AWS's reason, if either failed. Lambda developer guide: "Lambda function states".
    """
    _wait_until_settled(lambda_, name)
    # The same call as in the waiter, because GetFunction may still return an older state.
    if failure := _failure(change.retry(partial(lambda_.get_function_configuration, FunctionName=name))):
        raise UserError(f"function {name}: {failure}. Fix the cause and run the step again.")


def delete(lambda_: LambdaClient, name: str, *, owner: str = "", adopt: bool = False) -> Change:
    """Detach the function from its VPC, and delete it. Raises UserError if it belongs to another pipeline.

    Lambda developer guide: "Giving Lambda functions access to resources in an Amazon VPC".
    Lambda API reference: DeleteFunction, UpdateFunctionConfiguration.
    """
    resource = f"function {name}"
    current = describe(lambda_, name)
    if current is None:
        return Change(resource, "absent")
    change.check_owner(resource, current["Tags"], owner, adopt=adopt or None)
    attached = current["VpcConfig"]["SubnetIds"]
    if attached:
        # Lambda needs the role, which may be deleted next, to remove the function's network interfaces.
        _wait_until_settled(lambda_, name)
        empty: Any = {"SubnetIds": [], "SecurityGroupIds": []}
        if not change.is_dry_run(lambda_.update_function_configuration(FunctionName=name, VpcConfig=empty)):
            wait(lambda_, name)
    lambda_.delete_function(FunctionName=name)
    return Change(resource, "deleted", attributes=current, note="detached from its VPC first" if attached else "")


def runtime_error(function: Mapping[str, Any]) -> str:
    """Why Lambda cannot provide the runtime; "" if it can. Lambda API reference: RuntimeVersionConfig."""
    return str(function.get("RuntimeVersionConfig", {}).get("Error", {}).get("Message", ""))


def _failure(configuration: Mapping[str, Any]) -> str:
    for state, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
        if configuration.get(state) == "Failed":
            return f"{state} is Failed: {configuration.get(reason)}"
    return ""


def _wait_until_settled(lambda_: LambdaClient, name: str) -> None:
    """Wait until no creation or update is in progress. A failed update ends the wait too: a later one can fix it."""
    expression = "State != 'Pending' && LastUpdateStatus != 'InProgress'"
    settled = {"state": "success", "matcher": "path", "argument": expression, "expected": True}
    acceptors, operation = (settled, change.NOT_FOUND_YET), "GetFunctionConfiguration"
    change.wait_until(lambda_, "FunctionSettled", operation, *acceptors, delay=0.5, timeout=600, FunctionName=name)


def _tags(lambda_: LambdaClient, name: str, response: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags. GetFunction omits them if the caller is not allowed to read them (API reference: TagsError)."""
    if "Tags" not in response and "TagsError" not in response:
        arn = response["Configuration"]["FunctionArn"]
        response = {"Tags": lambda_.list_tags(Resource=arn)["Tags"]}  # raises the error that GetFunction hides
    if "Tags" not in response:
        raise UserError(
            f"function {name}: cannot read its tags, which name its owner. "
            f"AWS said: {response['TagsError'].get('Message')}. Grant your credentials lambda:ListTags."
        )
    return {tag: value for tag, value in response["Tags"].items() if not tag.startswith("aws:")}


def normalize(parameters: dict[str, Any]) -> dict[str, Any]:
    """Fill in nested defaults, remove what AWS adds, and sort lists whose order has no meaning."""
    group = f"/aws/lambda/{parameters['FunctionName']}"
    logging = {"LogFormat": "Text", "LogGroup": group, **parameters["LoggingConfig"]}
    if logging["LogFormat"] == "JSON":
        logging = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **logging}
    network = {**DEFAULTS["VpcConfig"], **parameters["VpcConfig"]}
    groups = {name: sorted(network[name]) for name in ("SubnetIds", "SecurityGroupIds")}
    return {
        **parameters,
        "DeadLetterConfig": {**DEFAULTS["DeadLetterConfig"], **parameters["DeadLetterConfig"]},
        "Environment": {**DEFAULTS["Environment"], **parameters["Environment"]},
        "LoggingConfig": logging,
        "SnapStart": {"ApplyOn": parameters["SnapStart"]["ApplyOn"]},
        "VpcConfig": {**groups, "Ipv6AllowedForDualStack": network["Ipv6AllowedForDualStack"]},
    }


def _create(lambda_: LambdaClient, desired: Mapping[str, Any], normalized: Mapping[str, Any]) -> Change:
    name = desired["FunctionName"]
    reserved = desired.get("ReservedConcurrentExecutions")
    parameters = {setting: value for setting, value in desired.items() if setting not in _NOT_IN_CREATE}
    response = change.retry_while_role_propagates(lambda: lambda_.create_function(**parameters))
    if reserved is not None:
        if not change.is_dry_run(response):
            _wait_until_settled(lambda_, name)
        lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    attributes = _hide_secrets({**normalized, "FunctionArn": response["FunctionArn"]})
    shown = {setting: normalized[setting] for setting in normalized if setting in desired or setting == "CodeSha256"}
    diffs = tuple(map(_hide_secrets_in_diff, change.diff({}, shown)))
    pending = not change.is_dry_run(response)
    return Change(f"function {name}", "created", diffs, attributes, runtime_error(response), pending)


def _update(lambda_: LambdaClient, current: Mapping[str, Any], desired: Mapping[str, Any], settings: set[str]) -> Any:
    """Update the settings one after the other, as AWS requires. Return the last response about the function, or {}."""
    name = current["FunctionName"]
    response: Any = {}
    if settings & {"CodeSha256", "Architectures"}:
        _wait_until_settled(lambda_, name)
        code = {"Architectures": desired["Architectures"], **desired["Code"]}
        response = lambda_.update_function_code(FunctionName=name, **code)
    parameters = {setting: desired[setting] for setting in sorted(settings - _NOT_CONFIGURATION)}
    if parameters:
        _wait_until_settled(lambda_, name)
        update = partial(lambda_.update_function_configuration, FunctionName=name, **parameters)
        response = change.retry_while_role_propagates(update)
    if "ReservedConcurrentExecutions" in settings:
        _wait_until_settled(lambda_, name)
        if (reserved := desired["ReservedConcurrentExecutions"]) is None:
            lambda_.delete_function_concurrency(FunctionName=name)
        else:
            lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    if "Tags" in settings:
        _wait_until_settled(lambda_, name)
        change.retag_in_lambda(lambda_, current["FunctionArn"], current["Tags"], desired["Tags"])
    return response


def _hide_secrets_in_diff(each: Diff) -> Diff:
    """Show the names of the environment variables, and which of them changed, but not their values."""
    if each.setting != "Environment":
        return each
    old, new = (environment["Variables"] if environment else {} for environment in (each.old, each.new))
    marked = [f"{name} (changed)" if name in old and old[name] != new[name] else name for name in sorted(new)]
    return Diff("Environment", sorted(old) if each.old else None, marked)


def _hide_secrets(function: Mapping[str, Any]) -> dict[str, Any]:
    return {**function, "Environment": {"Variables": dict.fromkeys(function["Environment"]["Variables"], "(hidden)")}}
