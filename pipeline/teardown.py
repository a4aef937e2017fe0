"""`clean`: delete everything that a deploy creates, and check what remains."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from . import parameters, smoke
from .events import Changed, Started, Waiting
from .resources import backup, function, log_group, mapping, role, table
from .resources.change import Change, UserError, check_owner
from .steps import our_policy_names, retry_conflicts

if TYPE_CHECKING:
    from collections.abc import Collection

    from .deployment import Deployment
    from .events import Events

# How long AWS may still list what it has deleted: IAM user guide, "Changes that I make are not always immediately
# visible".
_STALE_READS_SECONDS = 15.0


def clean(
    d: Deployment, *, delete_data: bool = False, backup_first: bool = False, keep_logs: bool = False
) -> Events[None]:
    """Delete everything in dependency order, wait for each deletion, and verify that nothing remains.

    A table that holds items stays, unless `delete_data`; `backup_first` backs it up before anything is deleted. Run
    `plan` first: it raises UserError for what is not ours or is protected, before the first deletion.
    """
    yield Started("clean")
    kept = []
    for event in _delete_all(d, delete_data=delete_data, backup_first=backup_first, keep_logs=keep_logs):
        if isinstance(event, Changed):
            if event.change.action == "absent":
                continue
            if event.change.action in ("unchanged", "created"):
                kept.append(event.change.resource)
        yield event
    if d.dry_run:
        return
    yield Waiting("clean", "AWS to list nothing of the pipeline")
    if left := wait_until_gone(d, kept):
        raise UserError(f"still exists after deletion: {', '.join(left)}; run invoke clean again")
    note = f"nothing remains except {', '.join(kept)}" if kept else "nothing remains"
    yield Changed("clean", Change(f"pipeline {d.settings.pipeline_name}", "absent", note=note))


def plan(d: Deployment, **options: bool) -> list[Change]:
    """The changes that `clean` would make with these options. Makes reading calls only."""
    return [event.change for event in clean(d.as_dry_run(), **options) if isinstance(event, Changed)]


def _delete_all(d: Deployment, *, delete_data: bool, backup_first: bool, keep_logs: bool) -> Events[None]:
    settings, owner = d.settings, d.settings.pipeline_name
    kept_table = None if delete_data else _kept_table(d)
    if backup_first and table.describe(d.client("dynamodb"), settings.table_name):
        yield from _back_up(d)
    for entry in _mappings(d):
        change = retry_conflicts(partial(mapping.delete, d.client("lambda"), entry["UUID"]))
        if change.pending:
            yield Waiting("clean", f"{change.resource} to be deleted")
            mapping.wait_until_deleted(d.client("lambda"), entry["UUID"])
        yield Changed("clean", change)
    yield Changed(
        "clean", retry_conflicts(lambda: function.delete(d.client("lambda"), settings.function_name, owner=owner))
    )
    # After the function: its last log lines would create the group again.
    group = parameters.log_group_name(settings)
    if keep_logs and log_group.describe(d.client("logs"), group):
        yield Changed("clean", Change(f"log group {group}", "unchanged", note="kept because of --keep-logs"))
    else:
        yield Changed("clean", retry_conflicts(lambda: log_group.delete(d.client("logs"), group, owner=owner)))
    yield Changed("clean", retry_conflicts(lambda: _delete_role(d)))
    if kept_table:
        yield Changed("clean", kept_table)
        return
    change = retry_conflicts(lambda: table.delete(d.client("dynamodb"), settings.table_name, owner=owner))
    if change.pending:
        yield Waiting("clean", f"{change.resource} to be deleted")
        table.wait_until_deleted(d.client("dynamodb"), settings.table_name)
    yield Changed("clean", change)


def _delete_role(d: Deployment) -> Change:
    return role.delete(
        d.client("iam"),
        d.settings.role_name,
        owner=d.settings.pipeline_name,
        policy_names=our_policy_names(d),
        managed_policy_arns=d.settings.role_managed_policy_arns,
    )


def _kept_table(d: Deployment) -> Change | None:
    """The change "the table stays" if it holds items that smoke did not write, otherwise None."""
    name, dynamodb = d.settings.table_name, d.client("dynamodb")
    current = table.describe(dynamodb, name)
    if current is None or current["TableStatus"] in ("CREATING", "DELETING"):
        return None
    check_owner(f"table {name}", current["Tags"], d.settings.pipeline_name)
    if not smoke.has_user_items(dynamodb, name):
        return None
    note = "kept because it holds items; delete them with --delete-data"
    return Change(f"table {name}", "unchanged", attributes=current, note=note)


def _back_up(d: Deployment) -> Events[None]:
    change = backup.create(d.client("dynamodb"), d.settings.table_name)
    if change.pending:
        yield Waiting("clean", f"{change.resource} to become AVAILABLE")
        backup.wait(d.client("dynamodb"), change.attributes["BackupArn"])
    yield Changed("clean", change)


def wait_until_gone(d: Deployment, kept: Collection[str]) -> list[str]:
    """The resources that AWS still lists after a while, other than those `kept`."""
    deadline = time.monotonic() + _STALE_READS_SECONDS
    while (left := [resource for resource in remaining(d) if resource not in kept]) and time.monotonic() < deadline:
        time.sleep(1)
    return left


def remaining(d: Deployment) -> list[str]:
    """The pipeline's resources that exist. A role's policies are part of the role."""
    settings = d.settings
    group = parameters.log_group_name(settings)
    current = {
        f"function {settings.function_name}": function.describe(d.client("lambda"), settings.function_name),
        f"log group {group}": log_group.describe(d.client("logs"), group),
        f"role {settings.role_name}": role.describe(d.client("iam"), settings.role_name),
        f"table {settings.table_name}": table.describe(d.client("dynamodb"), settings.table_name),
    }
    mappings = mapping.of_function(d.client("lambda"), settings.function_name)
    return [f"mapping {each['UUID']}" for each in mappings] + [name for name, found in current.items() if found]


def summarize_remaining(d: Deployment) -> str:
    """The pipeline's resources that exist, in words, for a person who has interrupted a task."""
    try:
        existing = ", ".join(remaining(d)) or "nothing"
    except (BotoCoreError, ClientError):
        return ". Could not ask AWS what exists now; see invoke status"
    return f". Exists now: {existing}. Continue with invoke deploy, or delete it with invoke clean"


def _mappings(d: Deployment) -> list[dict[str, Any]]:
    """The function's mappings, also those on deleted streams. Raises UserError if the function or one is not ours.

    A mapping on our table belongs to its function. A mapping on another table is ours if its tag says so: TABLE_NAME
    was different when it was created.
    """
    settings, lambda_ = d.settings, d.client("lambda")
    current = function.describe(lambda_, settings.function_name)
    if current:
        check_owner(f"function {settings.function_name}", current["Tags"], settings.pipeline_name)
    entries = mapping.of_function(lambda_, settings.function_name)
    for entry in entries:
        source = entry["EventSourceArn"]
        if f":table/{settings.table_name}/stream/" not in source:
            resource = f"mapping {entry['UUID']} of function {settings.function_name} on {source}"
            tags = lambda_.list_tags(Resource=entry["EventSourceMappingArn"])["Tags"]
            check_owner(resource, tags, settings.pipeline_name)
    return entries
