"""The event source mapping from a stream to a function: look, compare, create, update or replace, wait, delete.

To use it elsewhere, copy this file and `change.py` into one folder and import it from there
(`from steps import mapping`). It needs boto3 and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.waiter import WaiterModel, create_waiter_with_client

from .change import (
    Change,
    Diff,
    added,
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
# The empty values are those that clear the option in UpdateEventSourceMapping; leaving it out would change nothing.
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
_KNOWN = {*_DEFAULTS, *_NOT_COMPARED, "StartingPosition"}
TRANSITIONAL_STATES = ("Creating", "Enabling", "Disabling", "Updating")

_WAITERS = WaiterModel(
    {
        "version": 2,
        "waiters": {
            "Settled": {
                "operation": "GetEventSourceMapping",
                "delay": 0.5,
                "maxAttempts": 1200,
                "acceptors": [
                    {"state": "success", "matcher": "path", "argument": "State", "expected": state}
                    for state in ("Enabled", "Disabled")
                ],
            },
            "Gone": {
                "operation": "GetEventSourceMapping",
                "delay": 0.5,
                "maxAttempts": 1200,
                "acceptors": [{"state": "success", "matcher": "error", "expected": "ResourceNotFoundException"}],
            },
        },
    }
)


def of_function(lambda_: LambdaClient, function_name: str) -> list[dict[str, Any]]:
    """All mappings of the function, in the form of `describe`. Lambda API reference: ListEventSourceMappings."""
    pages = lambda_.get_paginator("list_event_source_mappings").paginate(FunctionName=function_name)
    try:
        return [to_create_parameters(entry) for page in pages for entry in page["EventSourceMappings"]]
    except lambda_.exceptions.ResourceNotFoundException:
        return []


def describe(lambda_: LambdaClient, function_name: str, stream_arn: str) -> dict[str, Any] | None:
    """What AWS has of the mapping under the names of CreateEventSourceMapping's parameters, or None.

    Adds UUID, EventSourceMappingArn, FunctionArn, State, StateTransitionReason and LastProcessingResult.
    """
    found = (entry for entry in of_function(lambda_, function_name) if entry["EventSourceArn"] == stream_arn)
    return next(found, None)


def ensure(lambda_: LambdaClient, wanted: Mapping[str, Any], *, tags: bool = False) -> Change:
    """Make the mapping as wanted; not waiting until it is enabled at the end (`wait` does).

    `wanted` are CreateEventSourceMapping's parameters. What is left out is put to AWS's default; Tags are put on at
    creation, and compared only with `tags`, since that takes a call of its own. Another StartingPosition takes a new
    mapping, which begins there: did is "replaced". So it is when the function has mappings on earlier streams of the
    same table: these are deleted. While the role's new permissions are not seen by Lambda yet, the call is made again,
    a minute at most.

    A mapping belongs to its function: who may change the function may change it.
    Lambda API reference: CreateEventSourceMapping, UpdateEventSourceMapping.
    """
    function, stream = wanted["FunctionName"], wanted["EventSourceArn"]
    resource = f"mapping {_table(stream)} -> {function}"
    reject_unsupported(resource, wanted, _KNOWN)
    mappings = of_function(lambda_, function)
    dead = [entry for entry in mappings if _on_an_earlier_stream(entry, stream)]
    found = _settled(lambda_, next((entry for entry in mappings if entry["EventSourceArn"] == stream), None))
    complete = {**_DEFAULTS, **wanted}
    complete["FilterCriteria"] = _filters(complete["FilterCriteria"])
    before = found or (dead[-1] if dead else {})
    compared = {key: complete[key] for key in complete if key not in _NOT_COMPARED}
    if tags and found:
        found["Tags"] = lambda_.list_tags(Resource=found["EventSourceMappingArn"])["Tags"]
        compared["Tags"] = complete.get("Tags", {})
    changed = diff(before, compared)
    now = _apply(lambda_, resource, found, wanted, changed)
    if not dead:
        return now
    for entry in dead:
        if _settled(lambda_, entry):
            lambda_.delete_event_source_mapping(UUID=entry["UUID"])
    moved = tuple(Diff("EventSourceArn", entry["EventSourceArn"], stream) for entry in dead)
    note = (
        "moved to the table's new stream; what the old stream still holds is not handled any more, and the new one "
        f"is read from {wanted['StartingPosition']}"
    )
    return Change(resource, "replaced", (*moved, *changed), now.attributes, note, now.pending)


def wait(lambda_: LambdaClient, uuid: str) -> dict[str, Any]:
    """Wait until the mapping is enabled or disabled, whichever it is on the way to, and return what AWS has of it.

    10 minutes at most. Lambda API reference: GetEventSourceMapping.
    """
    create_waiter_with_client("Settled", _WAITERS, lambda_).wait(UUID=uuid)
    return to_create_parameters(lambda_.get_event_source_mapping(UUID=uuid))


def delete(lambda_: LambdaClient, uuid: str) -> Change:
    """Delete the mapping; not waiting until it is gone (`wait_until_deleted` does).

    Lambda API reference: DeleteEventSourceMapping.
    """
    try:
        found = to_create_parameters(lambda_.get_event_source_mapping(UUID=uuid))
    except lambda_.exceptions.ResourceNotFoundException:
        return Change(f"mapping {uuid}", "absent")
    resource = f"mapping {_table(found['EventSourceArn'])} -> {found['FunctionArn'].rpartition(':')[2]}"
    if found["State"] == "Deleting":
        return Change(resource, "deleted", attributes=found, note="it was being deleted already", pending=True)
    _settled(lambda_, found)
    answer = lambda_.delete_event_source_mapping(UUID=uuid)
    return Change(resource, "deleted", attributes=found, pending=not is_dry_run(answer))


def wait_until_deleted(lambda_: LambdaClient, uuid: str) -> None:
    """Wait until AWS has no such mapping; 10 minutes at most."""
    create_waiter_with_client("Gone", _WAITERS, lambda_).wait(UUID=uuid)


def _settled(lambda_: LambdaClient, found: dict[str, Any] | None) -> dict[str, Any] | None:
    """The mapping when AWS is done with what it was doing: before, it can neither be compared nor be changed."""
    if found and found["State"] == "Deleting":
        wait_until_deleted(lambda_, found["UUID"])
        return None
    if found and found["State"] in TRANSITIONAL_STATES:
        return wait(lambda_, found["UUID"])
    return found


def _apply(
    lambda_: LambdaClient,
    resource: str,
    found: Mapping[str, Any] | None,
    wanted: Mapping[str, Any],
    changed: tuple[Diff, ...],
) -> Change:
    if found is None:
        answer = retry_while_role_propagates(lambda_, lambda: lambda_.create_event_source_mapping(**wanted))
        now = to_create_parameters(answer)
        return Change(resource, "created", added(wanted), attributes=now, pending=not is_dry_run(answer))
    if not changed:
        return Change(resource, "unchanged", attributes=found)
    if any(difference.setting == "StartingPosition" for difference in changed):
        return _replace(lambda_, resource, found["UUID"], wanted, changed)
    parameters = {difference.setting: difference.new for difference in changed if difference.setting != "Tags"}
    pending = False
    if parameters:
        updated = lambda_.update_event_source_mapping(UUID=found["UUID"], **parameters)
        pending = not is_dry_run(updated)
    if len(parameters) < len(changed):
        retag_in_lambda(lambda_, found["EventSourceMappingArn"], found["Tags"], wanted.get("Tags", {}))
    return Change(resource, "updated", changed, attributes={**found, **parameters}, pending=pending)


def _replace(
    lambda_: LambdaClient, resource: str, uuid: str, wanted: Mapping[str, Any], changed: tuple[Diff, ...]
) -> Change:
    answer = lambda_.delete_event_source_mapping(UUID=uuid)
    if not is_dry_run(answer):
        # AWS takes one mapping of a function on a stream.
        wait_until_deleted(lambda_, uuid)
    created = _apply(lambda_, resource, None, wanted, ())
    note = f"a new mapping begins at {wanted['StartingPosition']}: " + (
        "records that the stream still holds are handled again"
        if wanted["StartingPosition"] == "TRIM_HORIZON"
        else "records that were not handled yet are skipped"
    )
    return Change(resource, "replaced", changed, created.attributes, note, created.pending)


def _on_an_earlier_stream(entry: Mapping[str, Any], stream_arn: str) -> bool:
    """Whether the mapping reads another stream of the same table, told by its name: a planned ARN has no more."""
    source = entry["EventSourceArn"]
    return _table(source) == _table(stream_arn) != "" and source != stream_arn and entry["State"] != "Deleting"


def _table(stream_arn: str) -> str:
    return stream_arn.partition(":table/")[2].partition("/stream/")[0]


def _filters(criteria: Mapping[str, Any]) -> dict[str, Any]:
    return {"Filters": list(criteria["Filters"])} if criteria.get("Filters") else {}


def to_create_parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    """GetEventSourceMapping's answer under the names of CreateEventSourceMapping's parameters."""
    extra = ("UUID", "EventSourceMappingArn", "FunctionArn", "EventSourceArn", "StartingPosition", "State")
    told = ("StateTransitionReason", "LastProcessingResult")
    return {
        **{setting: entry.get(setting, default) for setting, default in _DEFAULTS.items()},
        **{name: entry.get(name, "") for name in (*extra, *told)},
        "Enabled": entry.get("State") not in ("Disabled", "Disabling"),
        "FilterCriteria": _filters(entry.get("FilterCriteria", {})),
    }
