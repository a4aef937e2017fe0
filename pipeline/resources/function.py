"""A Lambda function: look, compare, create or update, wait, delete.

To use it elsewhere, copy this file and `change.py` into one folder and import it from there
(`from steps import function`). It needs boto3 and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from botocore.waiter import WaiterModel, create_waiter_with_client

from .change import (
    OWNER_TAG,
    Change,
    Diff,
    UserError,
    added,
    check_owner,
    diff,
    is_dry_run,
    reject_unsupported,
    retag_in_lambda,
    retry_while_role_propagates,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_lambda import LambdaClient

# What AWS takes for what is left out: compared like the rest, so that an option taken away is set back.
# The empty values are those that clear the option in UpdateFunctionConfiguration.
_DEFAULTS: dict[str, Any] = {
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
    "PackageType": "Zip",
    "ReservedConcurrentExecutions": None,
    "SnapStart": {"ApplyOn": "None"},
    "Tags": {},
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False},
}
_KNOWN = {*_DEFAULTS, "FunctionName", "Role", "Handler", "Runtime", "Code"}
_NOT_CONFIGURATION = {"Architectures", "CodeSha256", "ReservedConcurrentExecutions", "Tags"}

_WAITERS = WaiterModel(
    {
        "version": 2,
        "waiters": {
            # Also when it failed: `wait` tells why, and an update mends it.
            "Settled": {
                "operation": "GetFunctionConfiguration",
                "delay": 0.5,
                "maxAttempts": 1200,
                "acceptors": [
                    {
                        "state": "success",
                        "matcher": "path",
                        "argument": "State != 'Pending' && LastUpdateStatus != 'InProgress'",
                        "expected": True,
                    }
                ],
            }
        },
    }
)


def describe(lambda_: LambdaClient, name: str) -> dict[str, Any] | None:
    """What AWS has of the function under the names of CreateFunction's parameters, or None.

    Adds FunctionArn, CodeSha256, State and LastUpdateStatus with their reasons, and ReservedConcurrentExecutions
    (None: none). Of the environment only the names of the variables are told: values may be secrets.
    Lambda API reference: GetFunction.
    """
    found = _find(lambda_, name)
    return found and _without_secrets(found)


def ensure(lambda_: LambdaClient, wanted: Mapping[str, Any], *, adopt: bool = False) -> Change:
    """Make the function as wanted; not waiting until it is active at the end (`wait` does).

    `wanted` are CreateFunction's parameters, with Code={"ZipFile": bytes}, and ReservedConcurrentExecutions as
    PutFunctionConcurrency has it. What is left out is put to AWS's default. The code is compared by CodeSha256. While
    the role is new and Lambda does not see it yet, the call is made again, a minute at most.

    Raises UserError for a function of another pipeline (unless `adopt`) and for another PackageType. Lambda API
    reference: CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration, PutFunctionConcurrency, TagResource.
    """
    name = wanted["FunctionName"]
    resource = f"function {name}"
    reject_unsupported(resource, wanted, _KNOWN)
    reject_unsupported(f"Code of {resource}", wanted["Code"], {"ZipFile"})
    complete = _complete(wanted)
    found = _find(lambda_, name)
    if found is None:
        return _create(lambda_, wanted, complete)
    check_owner(resource, found["Tags"], complete["Tags"].get(OWNER_TAG, ""), adopt=adopt)
    changed = diff(found, complete)
    if not changed:
        pending = found["State"] == "Pending" or found["LastUpdateStatus"] == "InProgress"
        return Change(resource, "unchanged", attributes=_without_secrets(found), note=_failure(found), pending=pending)
    if found["PackageType"] != complete["PackageType"]:
        raise UserError(
            f"{resource} has PackageType {found['PackageType']}, wanted is {complete['PackageType']}; AWS cannot change "
            f"it. Choose another function name, or delete the function and create it anew."
        )
    pending = _update(lambda_, found, complete, wanted["Code"], {difference.setting for difference in changed})
    answer = _without_secrets({**found, **complete})
    return Change(resource, "updated", tuple(map(_told, changed)), attributes=answer, pending=pending)


def wait(lambda_: LambdaClient, name: str) -> None:
    """Wait until creation and update of the function are done; 10 minutes at most.

    Raises UserError with AWS's reason when they failed. Lambda developer guide: "Lambda function states".
    """
    _until_settled(lambda_, name)
    # As the waiter asked: an answer of GetFunction may be older than the creation.
    if why := _failure(lambda_.get_function_configuration(FunctionName=name)):
        raise UserError(f"function {name}: {why}. Correct that and run the step again.")


def delete(lambda_: LambdaClient, name: str, *, owner: str = "") -> Change:
    """Delete the function; UserError when it is of another pipeline. Lambda API reference: DeleteFunction."""
    resource = f"function {name}"
    found = describe(lambda_, name)
    if found is None:
        return Change(resource, "absent")
    check_owner(resource, found["Tags"], owner)
    lambda_.delete_function(FunctionName=name)
    return Change(resource, "deleted", attributes=found)


def _failure(found: Mapping[str, Any]) -> str:
    for state, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
        if found.get(state) == "Failed":
            return f"{state} is Failed: {found.get(reason)}"
    return ""


def _until_settled(lambda_: LambdaClient, name: str) -> None:
    create_waiter_with_client("Settled", _WAITERS, lambda_).wait(FunctionName=name)


def _find(lambda_: LambdaClient, name: str) -> dict[str, Any] | None:
    try:
        answer = lambda_.get_function(FunctionName=name)
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    has: dict[str, Any] = {**answer["Configuration"]}
    found = {
        **{setting: has.get(setting, default) for setting, default in _DEFAULTS.items()},
        **{setting: has.get(setting, "") for setting in ("Role", "Handler", "Runtime", "CodeSha256", "FunctionArn")},
        **{setting: has.get(setting, "") for setting in ("State", "StateReason")},
        **{setting: has.get(setting, "") for setting in ("LastUpdateStatus", "LastUpdateStatusReason")},
        "FunctionName": name,
        "Layers": [layer["Arn"] for layer in has.get("Layers", ())],
        "Tags": {name: value for name, value in answer.get("Tags", {}).items() if not name.startswith("aws:")},
        "ReservedConcurrentExecutions": answer.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
    }
    return normalize(found)


def _complete(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The wanted parameters with AWS's defaults, in the forms of `_find`."""
    complete = {**_DEFAULTS, **wanted}
    code = complete.pop("Code")["ZipFile"]
    complete["CodeSha256"] = base64.b64encode(hashlib.sha256(code).digest()).decode()
    return normalize(complete)


def normalize(parameters: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults within nested parameters, leave out what only AWS says, sort what has no order."""
    logging = {"LogGroup": f"/aws/lambda/{parameters['FunctionName']}", **parameters["LoggingConfig"]}
    if logging.get("LogFormat") == "JSON":
        logging = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **logging}
    network = {**_DEFAULTS["VpcConfig"], **parameters["VpcConfig"]}
    return {
        **parameters,
        "DeadLetterConfig": {**_DEFAULTS["DeadLetterConfig"], **parameters["DeadLetterConfig"]},
        "Environment": {"Variables": {}, **parameters["Environment"]},
        "LoggingConfig": {"LogFormat": "Text", **logging},
        "SnapStart": {"ApplyOn": parameters["SnapStart"]["ApplyOn"]},
        "VpcConfig": {
            "SubnetIds": sorted(network["SubnetIds"]),
            "SecurityGroupIds": sorted(network["SecurityGroupIds"]),
            "Ipv6AllowedForDualStack": network["Ipv6AllowedForDualStack"],
        },
    }


def _create(lambda_: LambdaClient, wanted: Mapping[str, Any], complete: Mapping[str, Any]) -> Change:
    name = wanted["FunctionName"]
    reserved = wanted.get("ReservedConcurrentExecutions")
    parameters = {setting: value for setting, value in wanted.items() if setting != "ReservedConcurrentExecutions"}
    answer = retry_while_role_propagates(lambda_, lambda: lambda_.create_function(**parameters))
    if reserved is not None:
        if not is_dry_run(answer):
            _until_settled(lambda_, name)
        lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    created = _without_secrets({**complete, "FunctionArn": answer["FunctionArn"]})
    new = added({setting: complete[setting] for setting in complete if setting in wanted or setting == "CodeSha256"})
    told = tuple(map(_told, new))
    return Change(f"function {name}", "created", told, attributes=created, pending=not is_dry_run(answer))


def _update(
    lambda_: LambdaClient,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    code: Mapping[str, Any],
    settings: set[str],
) -> bool:
    """Bring about what differs; whether AWS is still at work on it afterwards."""
    name = found["FunctionName"]
    pending = False
    if settings & {"CodeSha256", "Architectures"}:
        _until_settled(lambda_, name)
        updated = lambda_.update_function_code(FunctionName=name, Architectures=wanted["Architectures"], **code)
        pending = not is_dry_run(updated)
    parameters = {setting: wanted[setting] for setting in sorted(settings - _NOT_CONFIGURATION)}
    if parameters:
        # AWS refuses an update while another one is under way.
        _until_settled(lambda_, name)
        configured = retry_while_role_propagates(
            lambda_, lambda: lambda_.update_function_configuration(FunctionName=name, **parameters)
        )
        pending = not is_dry_run(configured)
    if "ReservedConcurrentExecutions" in settings and wanted["ReservedConcurrentExecutions"] is None:
        lambda_.delete_function_concurrency(FunctionName=name)
    elif "ReservedConcurrentExecutions" in settings:
        reserved = wanted["ReservedConcurrentExecutions"]
        lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    if "Tags" in settings:
        retag_in_lambda(lambda_, found["FunctionArn"], found["Tags"], wanted["Tags"])
    return pending


def _told(difference: Diff) -> Diff:
    """The difference as it may be shown: of the environment, names of variables and which of them changed."""
    if difference.setting != "Environment":
        return difference
    old, new = (environment["Variables"] if environment else {} for environment in (difference.old, difference.new))
    marked = [f"{name} (changed)" if name in old and old[name] != new[name] else name for name in sorted(new)]
    return Diff("Environment", sorted(old) if difference.old else None, marked)


def _without_secrets(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**found, "Environment": {"Variables": dict.fromkeys(found["Environment"]["Variables"], "(hidden)")}}
