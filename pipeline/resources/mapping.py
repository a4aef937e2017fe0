"""The event source mapping from a stream to a Lambda function: describe, create, update or replace, wait, delete.

To reuse this module, copy it and `change.py` into one folder (`from steps import mapping`). It needs only boto3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import change
from .change import Change, Diff, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_lambda import LambdaClient

# AWS's defaults. A parameter that `desired` omits is compared with its default, so that removing an option resets it.
# The empty values are those that clear an option in UpdateEventSourceMapping, where omitting it changes nothing.
_DEFAULTS: dict[str, Any] = {
    "BatchSize": 100,
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {"OnFailure": {}},
    "Enabled": True,
    "FilterCriteria": {},
    "FunctionResponseTypes": [],
    "KMSKeyArn": "",
    "MaximumBatchingWindowInSeconds": 0,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "MetricsConfig": {"Metrics": []},
    "ParallelizationFactor": 1,
    "TumblingWindowInSeconds": 0,
}
_NOT_COMPARED = {"EventSourceArn", "FunctionName", "Tags"}
PARAMETERS = {*_DEFAULTS, *_NOT_COMPARED, "StartingPosition"}
TRANSITIONAL_STATES = ("Creating", "Enabling", "Disabling", "Updating")


def of_function(lambda_: LambdaClient, function_name: str) -> list[dict[str, Any]]:
    """Return all mappings of the function, each as `describe` does. Lambda API reference: ListEventSourceMappings."""
    pages = lambda_.get_paginator("list_event_source_mappings").paginate(FunctionName=function_name)
    try:
        return [to_create_parameters(entry) for page in pages for entry in page["EventSourceMappings"]]
    except lambda_.exceptions.ResourceNotFoundException:
        return []


def describe(lambda_: LambdaClient, function_name: str, stream_arn: str) -> dict[str, Any] | None:
    """Return the mapping under the names of CreateEventSourceMapping's parameters, or None if it does not exist.

    Adds UUID, EventSourceMappingArn, FunctionArn, State, StateTransitionReason and LastProcessingResult.
    """
    mappings = of_function(lambda_, function_name)
    return next((entry for entry in mappings if entry["EventSourceArn"] == stream_arn), None)


def ensure(lambda_: LambdaClient, desired: Mapping[str, Any], *, tags: bool = False) -> Change:
    """Create the mapping, or update what differs. To wait until it is enabled afterwards, call `wait`.

    `desired` holds CreateEventSourceMapping's parameters. Omitted parameters get AWS's defaults. Tags are set at
    creation, and compared only if `tags` is true, as that costs a call. Replaces the mapping if StartingPosition
    differs, and if the function has stale mappings, on earlier streams of the same table. Retries for up to a minute
    while Lambda does not see the role's new permissions yet.

    Does not check the owner: a mapping belongs to its function.
    Lambda API reference: CreateEventSourceMapping, UpdateEventSourceMapping.
    """
    stream = desired["EventSourceArn"]
    resource = f"mapping {_table_name(stream)} -> {desired['FunctionName']}"
    change.reject_unsupported(resource, desired, PARAMETERS)
    mappings = of_function(lambda_, desired["FunctionName"])
    stale = [entry for entry in mappings if _is_stale(entry, stream)]
    current = next((entry for entry in mappings if entry["EventSourceArn"] == stream), None)
    current = with_filters(lambda_, _wait_while_transitional(lambda_, current))
    normalized = normalize({**_DEFAULTS, **desired})
    compared = {setting: value for setting, value in normalized.items() if setting not in _NOT_COMPARED}
    if tags and current:
        compared["Tags"] = desired.get("Tags", {})
        current["Tags"] = change.own_tags(
            lambda_.list_tags(Resource=current["EventSourceMappingArn"])["Tags"], compared["Tags"]
        )
    previous = current or (stale[-1] if stale else {})
    diffs = change.diff(previous, compared)
    result = _apply(lambda_, resource, current, desired, diffs)
    return _move(lambda_, stale, desired, result, diffs) if stale else result


def set_enabled(lambda_: LambdaClient, function_name: str, stream_arn: str, *, enabled: bool) -> Change:
    """Enable or disable the mapping, which keeps its place in the stream. Afterwards, call `wait` with the state.

    Raises UserError if the mapping does not exist. Lambda API reference: UpdateEventSourceMapping, "Enabled".
    """
    resource = f"mapping {_table_name(stream_arn)} -> {function_name}"
    listed = describe(lambda_, function_name, stream_arn)
    if listed is None or listed["State"] == "Deleting":
        raise UserError(f"{resource} does not exist")
    # A list may be seconds old.
    current = to_create_parameters(lambda_.get_event_source_mapping(UUID=listed["UUID"]))
    current = _wait_while_transitional(lambda_, current) or current
    return _apply(lambda_, resource, current, {}, change.diff(current, {"Enabled": enabled}))


def wait(lambda_: LambdaClient, uuid: str, states: tuple[str, ...] = ("Enabled", "Disabled")) -> dict[str, Any]:
    """Wait until the mapping is in one of the states, for at most 10 minutes, and return it as `describe` does.

    Lambda API reference: GetEventSourceMapping.
    """
    settled = [{"state": "success", "matcher": "path", "argument": "State", "expected": state} for state in states]
    change.wait_until(lambda_, "MappingSettled", "GetEventSourceMapping", *settled, delay=0.5, timeout=600, UUID=uuid)
    return to_create_parameters(lambda_.get_event_source_mapping(UUID=uuid))


def delete(lambda_: LambdaClient, uuid: str) -> Change:
    """Delete the mapping. To wait until it is gone, call `wait_until_deleted`.

    Lambda API reference: DeleteEventSourceMapping.
    """
    try:
        current = to_create_parameters(lambda_.get_event_source_mapping(UUID=uuid))
    except lambda_.exceptions.ResourceNotFoundException:
        return Change(f"mapping {uuid}", "absent")
    resource = f"mapping {_table_name(current['EventSourceArn'])} -> {current['FunctionArn'].rpartition(':')[2]}"
    if current["State"] == "Deleting":
        return Change(resource, "deleted", attributes=current, note="deletion was already in progress", pending=True)
    _wait_while_transitional(lambda_, current)
    response = lambda_.delete_event_source_mapping(UUID=uuid)
    return Change(resource, "deleted", attributes=current, pending=not change.is_dry_run(response))


def wait_until_deleted(lambda_: LambdaClient, uuid: str) -> None:
    """Wait until the mapping no longer exists, for at most 10 minutes."""
    gone = {"state": "success", "matcher": "error", "expected": "ResourceNotFoundException"}
    change.wait_until(lambda_, "MappingDeleted", "GetEventSourceMapping", gone, delay=0.5, timeout=600, UUID=uuid)


def _wait_while_transitional(lambda_: LambdaClient, current: dict[str, Any] | None) -> dict[str, Any] | None:
    """Wait until AWS finishes its work on the mapping, and return the result. Until then AWS refuses changes."""
    if current and current["State"] == "Deleting":
        wait_until_deleted(lambda_, current["UUID"])
        return None
    if current and current["State"] in TRANSITIONAL_STATES:
        return wait(lambda_, current["UUID"])
    return current


def with_filters(lambda_: LambdaClient, current: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the mapping with its filters. A list omits them if a customer managed key encrypts them.

    Lambda API reference: GetEventSourceMapping, "FilterCriteriaError".
    """
    if not current or not current["KMSKeyArn"]:
        return current
    response = lambda_.get_event_source_mapping(UUID=current["UUID"])
    if error := response.get("FilterCriteriaError"):
        raise UserError(
            f"mapping {current['UUID']}: its FilterCriteria cannot be decrypted. AWS said: {error.get('Message')}. "
            f"Grant the caller kms:Decrypt on {current['KMSKeyArn']}."
        )
    return to_create_parameters(response)


def _apply(
    lambda_: LambdaClient,
    resource: str,
    current: Mapping[str, Any] | None,
    desired: Mapping[str, Any],
    diffs: tuple[Diff, ...],
) -> Change:
    if current is None:
        return _create(lambda_, resource, desired)
    if not diffs:
        return Change(resource, "unchanged", attributes=current)
    parameters = {each.setting: each.new for each in diffs if each.setting != "Tags"}
    if "StartingPosition" in parameters:
        return _replace(lambda_, resource, current["UUID"], desired, diffs)
    pending = False
    if parameters:
        response = lambda_.update_event_source_mapping(UUID=current["UUID"], **parameters)
        pending = not change.is_dry_run(response)
    if len(parameters) < len(diffs):
        change.retag_in_lambda(lambda_, current["EventSourceMappingArn"], current["Tags"], desired.get("Tags", {}))
    return Change(resource, "updated", diffs, attributes={**current, **parameters}, pending=pending)


def _create(lambda_: LambdaClient, resource: str, desired: Mapping[str, Any]) -> Change:
    response = change.retry_while_role_propagates(lambda: lambda_.create_event_source_mapping(**desired))
    attributes = to_create_parameters(response)
    return Change(
        resource, "created", change.added(desired), attributes=attributes, pending=not change.is_dry_run(response)
    )


def _replace(
    lambda_: LambdaClient, resource: str, uuid: str, desired: Mapping[str, Any], diffs: tuple[Diff, ...]
) -> Change:
    """Delete the mapping and create it again, as AWS cannot change where a mapping starts."""
    response = lambda_.delete_event_source_mapping(UUID=uuid)
    if not change.is_dry_run(response):
        # AWS allows one mapping per function and stream.
        wait_until_deleted(lambda_, uuid)
    created = _create(lambda_, resource, desired)
    position = desired["StartingPosition"]
    effect = "processes the records in the stream again" if position == "TRIM_HORIZON" else "skips unprocessed records"
    note = f"the new mapping starts at {position} and {effect}"
    return Change(resource, "replaced", diffs, created.attributes, note, created.pending)


def _move(
    lambda_: LambdaClient,
    stale: list[dict[str, Any]],
    desired: Mapping[str, Any],
    result: Change,
    diffs: tuple[Diff, ...],
) -> Change:
    """Delete the stale mappings, now that the function has one on the table's current stream."""
    for entry in stale:
        if _wait_while_transitional(lambda_, entry):
            lambda_.delete_event_source_mapping(UUID=entry["UUID"])
    moved = tuple(Diff("EventSourceArn", entry["EventSourceArn"], desired["EventSourceArn"]) for entry in stale)
    note = (
        f"moved to the table's new stream, starting at {desired['StartingPosition']}; "
        f"records that remain in the old stream are not processed"
    )
    return Change(result.resource, "replaced", (*moved, *diffs), result.attributes, note, result.pending)


def _is_stale(entry: Mapping[str, Any], stream_arn: str) -> bool:
    """Whether the mapping reads an earlier stream of the same table. Compares names, as a planned ARN is incomplete."""
    source = entry["EventSourceArn"]
    return (
        _table_name(source) == _table_name(stream_arn) != "" and source != stream_arn and entry["State"] != "Deleting"
    )


def _table_name(stream_arn: str) -> str:
    return stream_arn.partition(":table/")[2].partition("/stream/")[0]


def to_create_parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Convert GetEventSourceMapping's response to the names of CreateEventSourceMapping's parameters."""
    texts = ("UUID", "EventSourceMappingArn", "FunctionArn", "EventSourceArn", "StartingPosition", "State")
    results = ("StateTransitionReason", "LastProcessingResult")
    current = {
        **{setting: entry.get(setting, default) for setting, default in _DEFAULTS.items()},
        **{name: entry.get(name, "") for name in (*texts, *results)},
        "Enabled": entry.get("State") not in ("Disabled", "Disabling"),
    }
    return normalize(current)


def normalize(parameters: dict[str, Any]) -> dict[str, Any]:
    """Remove what AWS adds to FilterCriteria. Without filters it is {}, which clears them in an update."""
    filters = (parameters["FilterCriteria"] or {}).get("Filters")
    return {**parameters, "FilterCriteria": {"Filters": list(filters)} if filters else {}}
