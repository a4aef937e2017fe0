"""`clean`: delete everything that a deploy creates, and verify that nothing remains."""

import time
from collections.abc import Collection
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from . import parameters, policies, role_check, smoke
from .deployment import Deployment
from .events import Changed, Events, Started, Waiting, finish
from .resources import alarm, backup, code_object, function, log_group, mapping, role, table
from .resources.change import Change, UserError, check_owner, retry

# AWS may still list what it has deleted: IAM user guide, "Changes that I make are not always immediately visible".
_STALE_READS_SECONDS = 15.0


def clean(d: Deployment, *, delete_data: bool = False, back_up: bool = False, keep_logs: bool = False) -> Events[None]:
    """Delete everything in dependency order, wait for each deletion, and verify that nothing remains.

    Keeps a table that holds items, unless `delete_data` is true. `back_up` backs the table up first. Run `clean` as a
    dry run first, which raises UserError for protected resources and for resources that are not ours.
    """
    yield Started("clean")
    kept = []
    for event in _delete_all(d, delete_data=delete_data, back_up=back_up, keep_logs=keep_logs):
        if isinstance(event, Changed):
            if event.change.action == "absent":
                continue
            if event.change.action in ("unchanged", "created"):
                kept.append(event.change.resource)
        yield event
    if d.dry_run:
        return
    yield Waiting("clean", "AWS to stop listing the deleted resources")
    if left := wait_until_gone(d, kept):
        raise UserError(f"AWS still lists {', '.join(left)} after deletion; run invoke clean again")
    note = f"nothing remains except {', '.join(kept)}" if kept else "nothing remains"
    yield Changed("clean", Change(f"pipeline {d.settings.pipeline_name}", "absent", note=note))


def _delete_all(d: Deployment, *, delete_data: bool, back_up: bool, keep_logs: bool) -> Events[None]:
    settings, owner, lambda_ = d.settings, d.settings.pipeline_name, d.client("lambda")
    current = function.describe(lambda_, settings.function_name)
    entries = _mappings(d, current)
    # First, because a clean-up must not trigger alarms. Sorted, because both lists contain most names.
    listed = current["Tags"].get(parameters.ALARMS_TAG, "").split() if current else []
    for name in sorted({*listed, *(each["AlarmName"] for each in parameters.alarms(settings))}):
        yield Changed("clean", retry(partial(alarm.delete, d.client("cloudwatch"), name, owner=owner, adopt=d.adopt)))
    for entry in entries:
        change = retry(partial(mapping.delete, lambda_, entry["UUID"]))
        yield from finish("clean", change, "to be deleted", partial(mapping.wait_until_deleted, lambda_, entry["UUID"]))
    delete_function = partial(function.delete, lambda_, settings.function_name, owner=owner, adopt=d.adopt)
    yield Changed("clean", retry(delete_function))
    if settings.code_bucket:
        delete_code = partial(code_object.delete_all, d.client("s3"), settings.code_bucket, owner)
        yield Changed("clean", retry(partial(delete_code, parameters.CODE_OBJECT_NAME)))
    # After the function, whose last log lines would create the group again.
    group = parameters.log_group_name(settings)
    if keep_logs and log_group.describe(d.client("logs"), group):
        yield Changed("clean", Change(f"log group {group}", "unchanged", note="kept (--keep-logs)"))
    else:
        delete_group = partial(log_group.delete, d.client("logs"), group, owner=owner, adopt=d.adopt)
        yield Changed("clean", retry(delete_group))
    names, arns = policies.inline_policy_names(settings, d.root), settings.role_managed_policy_arns
    delete_role = partial(role.delete, d.client("iam"), settings.role_name, names, arns, owner=owner, adopt=d.adopt)
    yield Changed("clean", role_check.unmanaged(settings.role_arn) if settings.role_arn else retry(delete_role))
    # Last, when nothing reads the table anymore. `clean` keeps the table if an item was written in the meantime.
    yield from _delete_table(d, delete_data=delete_data, back_up=back_up)


def _delete_table(d: Deployment, *, delete_data: bool, back_up: bool) -> Events[None]:
    name, dynamodb, owner = d.settings.table_name, d.client("dynamodb"), d.settings.pipeline_name
    if d.settings.table_arn:
        yield Changed("clean", Change(f"table {name}", "unchanged", note="kept; TABLE_ARN is read-only"))
        return
    current = table.describe(dynamodb, name)
    if current and current["TableStatus"] not in ("CREATING", "DELETING"):
        check_owner(f"table {name}", current["Tags"], owner, adopt=d.adopt or None)
        readers = mapping.readers(d.client("lambda"), current["LatestStreamArn"], besides=d.settings.function_name)
        note = ""
        if readers and not d.adopt:
            note = f"kept because other functions read its stream: {', '.join(readers)}; to delete it, pass --adopt"
        elif not delete_data and smoke.has_user_items(dynamodb, name):
            note = "kept because it holds items; to delete it, pass --delete-data"
        if note:
            yield Changed("clean", Change(f"table {name}", "unchanged", attributes=current, note=note))
            return
        if back_up:
            change = retry(lambda: backup.create(dynamodb, name))
            wait = partial(backup.wait, dynamodb, change.attributes["BackupArn"])
            yield from finish("clean", change, "to become AVAILABLE", wait)
    change = retry(lambda: table.delete(dynamodb, name, owner=owner, adopt=d.adopt))
    yield from finish("clean", change, "to be deleted", partial(table.wait_until_deleted, dynamodb, name))


def wait_until_gone(d: Deployment, kept: Collection[str]) -> list[str]:
    """The resources, except those in `kept`, that AWS still lists after a while."""
    deadline = time.monotonic() + _STALE_READS_SECONDS
    while (left := [resource for resource in remaining(d) if resource not in kept]) and time.monotonic() < deadline:
        time.sleep(1)
    return left


def remaining(d: Deployment) -> list[str]:
    """The pipeline's resources that exist. A role's policies are part of the role."""
    settings = d.settings
    group = parameters.log_group_name(settings)
    own_table = table.describe(d.client("dynamodb"), settings.table_name) if not settings.table_arn else None
    current = {
        f"function {settings.function_name}": function.describe(d.client("lambda"), settings.function_name),
        f"log group {group}": log_group.describe(d.client("logs"), group),
        f"role {settings.role_name}": not settings.role_arn and role.describe(d.client("iam"), settings.role_name),
        f"table {settings.table_name}": own_table,
    }
    for name in [each["AlarmName"] for each in parameters.alarms(settings)]:
        current[f"alarm {name}"] = retry(partial(alarm.describe, d.client("cloudwatch"), name))
    mappings = mapping.of_function(d.client("lambda"), settings.function_name)
    return [f"mapping {each['UUID']}" for each in mappings] + [name for name, found in current.items() if found]


def summarize_remaining(d: Deployment) -> str:
    """A summary of the pipeline's existing resources, for a task that was interrupted or failed."""
    try:
        existing = ", ".join(remaining(d)) or "nothing"
    except (BotoCoreError, ClientError, UserError):
        return "AWS did not answer; run invoke status to see what exists"
    return f"Existing resources: {existing}. Continue with invoke deploy, or delete them with invoke clean"


def _mappings(d: Deployment, current: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The function's mappings, including those on deleted streams. Raises UserError if the function or one is not ours.

    A mapping on our table belongs to its function. One on another table, from an earlier TABLE_NAME, has our tag.
    """
    name, owner, lambda_ = d.settings.function_name, d.settings.pipeline_name, d.client("lambda")
    if current:
        check_owner(f"function {name}", current["Tags"], owner, adopt=d.adopt or None)
    entries = mapping.of_function(lambda_, name)
    for entry in entries:
        source = entry["EventSourceArn"]
        if f":table/{d.settings.table_name}/stream/" not in source:
            resource = f"mapping {entry['UUID']} of function {name} on {source}"
            tags = lambda_.list_tags(Resource=entry["EventSourceMappingArn"])["Tags"]
            check_owner(resource, tags, owner, adopt=d.adopt or None)
    return entries
