"""The event source mapping from a stream to a Lambda function: describe, create, update or replace, wait, delete."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import WaiterError

from . import change
from .change import Action, Change, Diff, UserError

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

# AWS's defaults. A parameter that `desired` omits is compared with its default, so that removing an option resets it.
# The empty values are those that clear an option in UpdateEventSourceMapping, where omitting it changes nothing.
DEFAULTS: dict[str, Any] = {
    "BatchSize": 100,
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {"OnFailure": {"Destination": ""}},
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
_NOT_COMPARED = {"EventSourceArn", "Tags"}
PARAMETERS = {*DEFAULTS, *_NOT_COMPARED, "FunctionName", "StartingPosition"}
TRANSITIONAL_STATES = ("Creating", "Enabling", "Disabling", "Updating")


def of_function(lambda_: LambdaClient, function_name: str) -> list[dict[str, Any]]:
    """Return all mappings of the function, its versions and its aliases, each as `describe` does.

    Lambda lists only the mappings of one of them, or all mappings. Lambda API reference: ListEventSourceMappings.
    """
    name = _qualified_name(function_name).partition(":")[0]
    pages = lambda_.get_paginator("list_event_source_mappings").paginate()
    entries = [to_create_parameters(entry) for page in pages for entry in page["EventSourceMappings"]]
    return [entry for entry in entries if entry["FunctionName"].partition(":")[0] == name]


def describe(lambda_: LambdaClient, function_name: str, stream_arn: str) -> dict[str, Any] | None:
    """Return the mapping under the names of CreateEventSourceMapping's parameters, or None if it does not exist.

    Adds UUID, State and other members of GetEventSourceMapping's response: see `to_create_parameters`.
    """
    for entry in of_function(lambda_, function_name):  # a list can be seconds old, and omits encrypted filters
        if entry["EventSourceArn"] == stream_arn != "" and entry["State"] != "Deleting":
            with suppress(lambda_.exceptions.ResourceNotFoundException):
                return to_create_parameters(lambda_.get_event_source_mapping(UUID=entry["UUID"]))
    return None


def readers(lambda_: LambdaClient, stream_arn: str, *, besides: str) -> list[str]:
    """Return the names of the account's functions that have a mapping on the stream, except `besides`.

    `stream_arn` can be "", for no stream. Lambda API reference: ListEventSourceMappings.
    """
    if not stream_arn:
        return []
    pages = lambda_.get_paginator("list_event_source_mappings").paginate(EventSourceArn=stream_arn)
    entries = [entry for page in pages for entry in page["EventSourceMappings"] if entry["State"] != "Deleting"]
    return sorted({entry["FunctionArn"].split(":")[6] for entry in entries} - {besides})


def ensure(lambda_: LambdaClient, desired: Mapping[str, Any], *, tags: bool = False, await_role: bool = True) -> Change:
    """Create the mapping, or update what differs. To wait until it is enabled afterwards, call `wait`.

    `desired` holds CreateEventSourceMapping's parameters. Omitted parameters get AWS's defaults. Tags are set at
    creation, and compared only if `tags` is true, because that requires a call. Replaces the mapping if
    StartingPosition differs, or if the function has stale mappings on earlier streams of the same table. With
    `await_role`, retries for up to two minutes while Lambda does not see the role's new permissions yet.

    Does not check the owner: a mapping belongs to its function.
    Lambda API reference: CreateEventSourceMapping, UpdateEventSourceMapping.
    """
    stream = desired["EventSourceArn"]
    table = _table_name(stream)
    resource = f"mapping {table} -> {desired['FunctionName']}"
    change.reject_unsupported(resource, desired, PARAMETERS)
    mappings = of_function(lambda_, desired["FunctionName"])
    others = [entry for entry in mappings if entry["EventSourceArn"] != stream and entry["State"] != "Deleting"]
    # Compares the table's name, because the ARN of a planned stream is incomplete.
    stale = [entry for entry in others if table and _table_name(entry["EventSourceArn"]) == table]
    # Someone may have created other mappings to the function and to its aliases by hand.
    mappings.sort(key=lambda entry: entry["FunctionName"] != _qualified_name(desired["FunctionName"]))
    current = next((entry for entry in mappings if entry["EventSourceArn"] == stream), None)
    current = with_filters(lambda_, _wait_while_transitional(lambda_, current))
    normalized = normalize({**DEFAULTS, **desired})
    compared = {setting: value for setting, value in normalized.items() if setting not in _NOT_COMPARED}
    if tags and current:
        compared["Tags"] = desired.get("Tags", {})
        existing = lambda_.list_tags(Resource=current["EventSourceMappingArn"])["Tags"]
        current["Tags"] = change.own_tags(existing, compared["Tags"])
    previous = current or (stale[-1] if stale else None)
    diffs = change.diff(previous, compared) if previous else change.diff({}, desired)
    result = _apply(lambda_, resource, current, desired, diffs, await_role)
    return _move(lambda_, stale, desired, result) if stale else result


def set_enabled(lambda_: LambdaClient, function_name: str, stream_arn: str, *, enabled: bool) -> Change:
    """Enable or disable the mapping, which keeps its position in the stream. Afterward, call `wait` with the state.

    Raises UserError if the mapping does not exist. Lambda API reference: UpdateEventSourceMapping, "Enabled".
    """
    current = _wait_while_transitional(lambda_, describe(lambda_, function_name, stream_arn))
    if current is None:
        raise UserError(f"mapping {_table_name(stream_arn)} -> {function_name} does not exist")
    resource = f"mapping {_table_name(stream_arn)} -> {current['FunctionName']}"
    return _apply(lambda_, resource, current, {}, change.diff(current, {"Enabled": enabled}), await_role=enabled)


def wait(lambda_: LambdaClient, uuid: str, states: tuple[str, ...] = ("Enabled", "Disabled")) -> dict[str, Any]:
    """Wait until the mapping is in one of the states, for at most 10 minutes, and return it as `describe` does.

    Lambda API reference: GetEventSourceMapping.
    """
    settled = [{"state": "success", "matcher": "path", "argument": "State", "expected": state} for state in states]
    change.wait_until(lambda_, "MappingSettled", "GetEventSourceMapping", *settled, delay=0.5, timeout=600, UUID=uuid)
    return to_create_parameters(lambda_.get_event_source_mapping(UUID=uuid))


def delete(lambda_: LambdaClient, uuid: str) -> Change:
    """Delete the mapping. To wait, call `wait_until_deleted`. Lambda API reference: DeleteEventSourceMapping."""
    try:
        current = to_create_parameters(lambda_.get_event_source_mapping(UUID=uuid))
    except lambda_.exceptions.ResourceNotFoundException:
        return Change(f"mapping {uuid}", "absent")
    resource = f"mapping {_table_name(current['EventSourceArn'])} -> {current['FunctionName']}"
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
    """Wait until AWS finishes its work on the mapping, and return the result. Until then, AWS rejects changes."""
    if current and current["State"] == "Deleting":
        wait_until_deleted(lambda_, current["UUID"])
        return None
    if current and current["State"] in TRANSITIONAL_STATES:
        try:
            return wait(lambda_, current["UUID"])
        except WaiterError as error:
            if error.last_response.get("Error", {}).get("Code") != "ResourceNotFoundException":
                raise
            return None  # it was deleted, but the list did not show that yet
    return current


def with_filters(lambda_: LambdaClient, current: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the mapping with its filters. A list omits them if a customer managed key encrypts them.

    Lambda API reference: GetEventSourceMapping, "FilterCriteriaError".
    """
    if not current or not current["KMSKeyArn"]:
        return current
    current = to_create_parameters(lambda_.get_event_source_mapping(UUID=current["UUID"]))
    if error := current["FilterCriteriaError"]:
        raise UserError(
            f"mapping {current['UUID']}: AWS cannot decrypt its FilterCriteria. AWS said: {error.get('Message')}. "
            f"Grant your credentials kms:Decrypt on {current['KMSKeyArn']}."
        )
    return current


def _apply(lambda_: LambdaClient, resource: str, current: Mapping[str, Any] | None, desired: Mapping[str, Any],
           diffs: tuple[Diff, ...], await_role: bool) -> Change:  # fmt: skip
    parameters = {each.setting: each.new for each in diffs if each.setting != "Tags"}
    attempt = change.retry_while_role_propagates if await_role else change.retry
    action: Action = "created"
    note = ""
    if current and "StartingPosition" in parameters:
        # AWS cannot change where a mapping starts, and allows one mapping per function and stream.
        if not change.is_dry_run(lambda_.delete_event_source_mapping(UUID=current["UUID"])):
            wait_until_deleted(lambda_, current["UUID"])
        position = parameters["StartingPosition"]
        effect = "skips unprocessed records" if position == "LATEST" else "processes the stream's records again"
        note = f"the new mapping starts at {position} and {effect}"
        action, current = "replaced", None
    if current is None:
        response = attempt(lambda: lambda_.create_event_source_mapping(**desired))
        pending = not change.is_dry_run(response)
        return Change(resource, action, diffs, to_create_parameters(response), note, pending)
    if not diffs:
        return Change(resource, "unchanged", attributes=current)
    pending = False
    if parameters:
        update = partial(lambda_.update_event_source_mapping, UUID=current["UUID"], **parameters)
        pending = not change.is_dry_run(attempt(update))  # the role's permission for a destination may be new
    if len(parameters) < len(diffs):
        change.retag_in_lambda(lambda_, current["EventSourceMappingArn"], current["Tags"], desired.get("Tags", {}))
    return Change(resource, "updated", diffs, attributes={**current, **parameters}, pending=pending)


def _move(lambda_: LambdaClient, stale: list[dict[str, Any]], desired: Mapping[str, Any], result: Change) -> Change:
    """Delete the stale mappings, because the function now has a mapping on the table's current stream."""
    for entry in stale:
        if _wait_while_transitional(lambda_, entry):
            lambda_.delete_event_source_mapping(UUID=entry["UUID"])
    moved = tuple(Diff("EventSourceArn", entry["EventSourceArn"], desired["EventSourceArn"]) for entry in stale)
    moved_to = f"moved to the table's new stream, starting at {desired['StartingPosition']}"
    note = f"{moved_to}; records that remain in the old stream are not processed"
    return replace(result, action="replaced", diffs=(*moved, *result.diffs), note=note)


def _table_name(stream_arn: str) -> str:
    return stream_arn.partition(":table/")[2].partition("/stream/")[0]


def to_create_parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Convert GetEventSourceMapping's response to the names of CreateEventSourceMapping's parameters."""
    arns = ("EventSourceMappingArn", "FunctionArn", "EventSourceArn")
    texts = ("UUID", *arns, "StartingPosition", "State", "StateTransitionReason", "LastProcessingResult")
    current = {name: entry.get(name, default) for name, default in {**DEFAULTS, **dict.fromkeys(texts, "")}.items()}
    current |= {name: entry.get(name, {}) for name in ("FilterCriteriaError", "ResponseMetadata")}
    enabled = current["State"] not in ("Disabled", "Disabling")
    return normalize({**current, "FunctionName": current["FunctionArn"], "Enabled": enabled})


def normalize(parameters: dict[str, Any]) -> dict[str, Any]:
    """Remove what AWS adds to FilterCriteria. Give missing filters or destination the value that clears them."""
    filters = (parameters["FilterCriteria"] or {}).get("Filters")
    destination = parameters["DestinationConfig"].get("OnFailure", {}).get("Destination", "")
    return {
        **parameters,
        "FunctionName": _qualified_name(parameters["FunctionName"]),
        "FilterCriteria": {"Filters": list(filters)} if filters else {},
        "DestinationConfig": {"OnFailure": {"Destination": destination}},
    }


def _qualified_name(name_or_arn: str) -> str:
    """NAME, or NAME:ALIAS. A name may end in "function"."""
    return name_or_arn.partition(":function:")[2] or name_or_arn
