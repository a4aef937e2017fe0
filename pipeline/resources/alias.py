"""An alias of a Lambda function and the versions behind it: describe, publish and point, roll back, delete.

An alias has no tags. Its description names its pipeline, and the version that it was rolled back from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import WaiterError

from . import change
from .change import OWNER_TAG, Change, UserError

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

NEW = "<Version>"  # in a dry run, the version to publish
_COMPARED = {
    "Architectures", "CodeSha256", "DeadLetterConfig", "Description", "Environment", "EphemeralStorage",
    "FileSystemConfigs", "Handler", "KMSKeyArn", "Layers", "LoggingConfig", "MemorySize", "Role", "Runtime", "Timeout",
    "TracingConfig", "VpcConfig",
}  # fmt: skip


def describe(lambda_: LambdaClient, function_name: str, name: str) -> dict[str, Any] | None:
    """Return the alias with its AliasArn and RevisionId, or None if it does not exist. Lambda API reference: GetAlias.

    A RoutingConfig without weights is {}.
    """
    try:
        alias: Any = lambda_.get_alias(FunctionName=function_name, Name=name)
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    routing = {setting: value for setting, value in (alias.get("RoutingConfig") or {}).items() if value}
    return {"Description": "", **alias, "FunctionName": function_name, "RoutingConfig": routing}


def existing(lambda_: LambdaClient, desired: Mapping[str, Any]) -> dict[str, Any]:
    """Return the alias as `describe` does. Raises UserError if it does not exist, or belongs to another pipeline."""
    current, resource = describe(lambda_, desired["FunctionName"], desired["Name"]), _resource(desired)
    if current is None:
        raise UserError(f"{resource} does not exist; create it with: invoke create-function")
    change.check_owner(resource, _tags(current), _tags(desired)[OWNER_TAG])
    return current


def versions(lambda_: LambdaClient, function_name: str) -> list[dict[str, Any]]:
    """Return the configurations of $LATEST and the published versions, oldest first; [] if the function does not exist.

    Lambda API reference: ListVersionsByFunction.
    """
    pages = lambda_.get_paginator("list_versions_by_function").paginate(FunctionName=function_name)
    try:
        entries: list[Any] = [entry for page in pages for entry in page["Versions"]]
    except lambda_.exceptions.ResourceNotFoundException:
        return []
    return sorted(entries, key=lambda entry: _number(entry["Version"]))


def summary(version: Mapping[str, Any]) -> str:
    """A description of a version, with its time and the beginning of its code's hash."""
    return f"version {version['Version']} ({version['LastModified'][:19]}Z, CodeSha256 {version['CodeSha256'][:8]})"


def ensure(lambda_: LambdaClient, desired: Mapping[str, Any], *, publish: bool = False, adopt: bool = False) -> Change:
    """Publish a version if $LATEST differs from the newest one, and point the alias at the newest one.

    `desired` holds CreateAlias's FunctionName, Name and Description: "pipeline=NAME". With `publish`, Lambda compares,
    because lists can be seconds old. An alias that was rolled back does not change until a newer version is published.

    Raises UserError if the alias belongs to another pipeline (unless `adopt`).
    Lambda API reference: PublishVersion, CreateAlias, UpdateAlias.
    """
    resource, owner = _resource(desired), desired["Description"]
    current = describe(lambda_, desired["FunctionName"], desired["Name"])
    if current:
        change.check_owner(resource, _tags(current), _tags(desired)[OWNER_TAG], adopt=adopt)
    newest = _newest(lambda_, desired["FunctionName"], current, publish=publish)
    if newest != NEW and (current is None or current["FunctionVersion"] != newest):
        _wait_until_active(lambda_, desired["FunctionName"], newest)
    if current is None:
        response = lambda_.create_alias(**desired, FunctionVersion=newest)
        diffs = change.diff({}, {"FunctionVersion": newest})
        return Change(resource, "created", diffs, attributes={**response, "FunctionVersion": newest})
    if current["Description"] == _rolled_back(owner, newest):
        note = f"rolled back from version {newest} to {current['FunctionVersion']} until the function changes"
        return Change(resource, "unchanged", attributes=current, note=note)
    return _point(lambda_, current, newest, owner)


def point_at(lambda_: LambdaClient, desired: Mapping[str, Any], version: str) -> Change:
    """Point the alias at an existing version. If it is not the newest version, the alias is rolled back: see `ensure`.

    Raises UserError if the pipeline has no such alias. Lambda API reference: UpdateAlias.
    """
    current, owner = existing(lambda_, desired), desired["Description"]
    listed = versions(lambda_, desired["FunctionName"])[-1]["Version"]
    newest = max(listed, current["FunctionVersion"], key=_number)  # a list may be seconds old
    return _point(lambda_, current, version, owner if version == newest else _rolled_back(owner, newest))


def delete_versions(lambda_: LambdaClient, function_name: str, kept: int, *, planned: int = 0) -> Iterator[Change]:
    """Delete the published versions, except the newest `kept` ones and those that an alias points at.

    `planned` is the number of versions that a dry run would publish. Lambda API reference: ListAliases, DeleteFunction.
    """
    entries = versions(lambda_, function_name)
    old = [entry["Version"] for entry in entries[1 : max(1, len(entries) + planned - kept)]]
    aliases = _aliases(lambda_, function_name) if old else []
    weights = [(each.get("RoutingConfig") or {}).get("AdditionalVersionWeights", {}) for each in aliases]
    named = {each["FunctionVersion"] for each in aliases}.union(*weights)
    for version in [each for each in old if each not in named]:
        lambda_.delete_function(FunctionName=function_name, Qualifier=version)
        yield Change(f"version {function_name}:{version}", "deleted")


def delete_others(lambda_: LambdaClient, function_name: str, owner: str, name: str) -> Iterator[Change]:
    """Delete the aliases of the pipeline `owner`, except the one named `name`. Lambda API reference: DeleteAlias."""
    for alias in _aliases(lambda_, function_name):
        if _tags(alias).get(OWNER_TAG) == owner and alias["Name"] != name:
            lambda_.delete_alias(FunctionName=function_name, Name=alias["Name"])
            yield Change(f"alias {function_name}:{alias['Name']}", "deleted", attributes=alias)


def _aliases(lambda_: LambdaClient, function_name: str) -> list[Any]:
    pages = lambda_.get_paginator("list_aliases").paginate(FunctionName=function_name)
    try:
        return [alias for page in pages for alias in page["Aliases"]]
    except lambda_.exceptions.ResourceNotFoundException:
        return []


def _newest(lambda_: LambdaClient, function_name: str, current: Mapping[str, Any] | None, *, publish: bool) -> str:
    """Return the newest version. Publishes it if code or configuration have changed since."""
    latest, *published = versions(lambda_, function_name) or [{}]
    contents = [{name: each[name] for name in each.keys() & _COMPARED} for each in (latest, *published[-1:])]
    if not publish and contents[1:] == contents[:1]:
        named = str(current["FunctionVersion"]) if current else ""
        return max(str(published[-1]["Version"]), named, key=_number)  # a list may be seconds old
    response = lambda_.publish_version(FunctionName=function_name)
    return NEW if change.is_dry_run(response) else response["Version"]


def _wait_until_active(lambda_: LambdaClient, function_name: str, version: str) -> None:
    """Wait for a version that Lambda does not invoke yet: Pending. Raises UserError for one that it never will: Failed.

    Lambda developer guide: "Lambda SnapStart and function states".
    """
    key = {"FunctionName": function_name, "Qualifier": version}
    failed = {"state": "failure", "matcher": "path", "argument": "State", "expected": "Failed"}
    settled = {"state": "success", "matcher": "path", "argument": "State != 'Pending'", "expected": True}
    acceptors, operation = (failed, settled, change.NOT_FOUND_YET), "GetFunctionConfiguration"
    try:
        change.wait_until(lambda_, "VersionSettled", operation, *acceptors, delay=0.5, timeout=600, **key)
    except WaiterError as error:
        if error.last_response.get("State") != "Failed":
            raise
        reason = f"State is Failed: {error.last_response.get('StateReason')}"
        advice = "The alias stays where it is. Fix the cause and run the step again."
        raise UserError(f"version {function_name}:{version}: {reason}. {advice}") from None


def _point(lambda_: LambdaClient, current: Mapping[str, Any], version: str, description: str) -> Change:
    resource = _resource(current)
    diffs = change.diff(current, {"FunctionVersion": version, "Description": description, "RoutingConfig": {}})
    if not diffs:
        return Change(resource, "unchanged", attributes=current, note=f"version {version}")
    key = {name: current[name] for name in ("FunctionName", "Name", "RevisionId")}
    no_weights: Any = {"AdditionalVersionWeights": {}}
    lambda_.update_alias(**key, FunctionVersion=version, Description=description, RoutingConfig=no_weights)
    return Change(resource, "updated", diffs, attributes={**current, "FunctionVersion": version})


def _resource(alias: Mapping[str, Any]) -> str:
    return f"alias {alias['FunctionName']}:{alias['Name']}"


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0


def _tags(alias: Mapping[str, Any]) -> dict[str, str]:
    """The description as a tag: "pipeline=stream-demo; rolled back from version 3"."""
    return dict([alias.get("Description", "").partition(";")[0].partition("=")[::2]])


def _rolled_back(owner: str, version: str) -> str:
    return f"{owner}; rolled back from version {version}"
