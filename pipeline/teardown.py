"""Removing all that a deploy makes, and saying what is there."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from . import backup, function, logs, mapping, role, smoke, table, parameters
from .resources.change import Change, check_owner
from .steps import our_policy_names, surely

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .steps import Run

# How long AWS may still tell of what it has deleted: IAM user guide, "Changes that I make are not always immediately
# visible".
STILL_TOLD_SECONDS = 15.0


def clean(
    run: Run, *, delete_data: bool = False, backup_first: bool = False, keep_logs: bool = False
) -> Iterator[Change]:
    """Remove everything, in the order in which nothing comes back and nothing dangles, each waited for.

    A table that holds items stays, unless `delete_data`; `backup_first` backs it up before anything goes. What must not
    go, as it is not ours or protected, raises UserError: run it `planned` first, and that is before anything is gone.
    """
    settings, owner = run.settings, run.settings.pipeline_name
    lambda_, dynamodb, logs_ = run.aws("lambda"), run.aws("dynamodb"), run.aws("logs")
    kept = None if delete_data else _kept_table(run)
    if backup_first and table.describe(dynamodb, settings.table_name):
        yield _backed_up(run)
    for entry in _mappings(run):
        gone = surely(partial(mapping.delete, lambda_, entry["UUID"]))
        if gone.pending:
            mapping.wait_until_deleted(lambda_, entry["UUID"])
        yield gone
    yield surely(lambda: function.delete(lambda_, settings.function_name, owner=owner))
    # After the function, whose last lines would make the group anew.
    group = parameters.log_group_name(settings)
    if keep_logs and logs.describe(logs_, group):
        yield Change(f"log group {group}", "unchanged", note="kept, as --keep-logs says")
    else:
        yield surely(lambda: logs.delete(logs_, group, owner=owner))
    yield surely(lambda: _delete_role(run))
    if kept:
        yield kept
        return
    gone = surely(lambda: table.delete(dynamodb, settings.table_name, owner=owner))
    if gone.pending:
        table.wait_until_deleted(dynamodb, settings.table_name)
    yield gone


def _delete_role(run: Run) -> Change:
    return role.delete(
        run.aws("iam"),
        run.settings.role_name,
        owner=run.settings.pipeline_name,
        policy_names=our_policy_names(run),
        managed_policy_arns=run.settings.role_managed_policy_arns,
    )


def _kept_table(run: Run) -> Change | None:
    """That the table stays, since it holds items that smoke did not write; None when it may go."""
    name, dynamodb = run.settings.table_name, run.aws("dynamodb")
    found = table.describe(dynamodb, name)
    if found is None or found["TableStatus"] in ("CREATING", "DELETING"):
        return None
    check_owner(f"table {name}", found["Tags"], run.settings.pipeline_name)
    if not smoke.others(dynamodb, name):
        return None
    return Change(
        f"table {name}", "unchanged", attributes=found, note="kept, as it holds items; --delete-data deletes them"
    )


def _backed_up(run: Run) -> Change:
    dynamodb = run.aws("dynamodb")
    made = backup.create(dynamodb, run.settings.table_name)
    if made.pending:
        backup.wait(dynamodb, made.attributes["BackupArn"])
    return made


def not_gone(run: Run, kept: Collection[str]) -> list[str]:
    """What AWS still has beside what was `kept`, when it still has it after a while."""
    deadline = time.monotonic() + STILL_TOLD_SECONDS
    while (left := [what for what in left_over(run) if what not in kept]) and time.monotonic() < deadline:
        time.sleep(1)
    return left


def left_over(run: Run) -> list[str]:
    """What AWS still has of the pipeline, asked resource by resource; a role's policies go with it."""
    settings = run.settings
    group = parameters.log_group_name(settings)
    asked = {
        f"function {settings.function_name}": function.describe(run.aws("lambda"), settings.function_name),
        f"log group {group}": logs.describe(run.aws("logs"), group),
        f"role {settings.role_name}": role.describe(run.aws("iam"), settings.role_name),
        f"table {settings.table_name}": table.describe(run.aws("dynamodb"), settings.table_name),
    }
    mappings = mapping.of_function(run.aws("lambda"), settings.function_name)
    return [f"mapping {each['UUID']}" for each in mappings] + [what for what, found in asked.items() if found]


def standing(run: Run) -> str:
    """What there is of the pipeline, in words: for a person who has interrupted a task."""
    try:
        there = ", ".join(left_over(run)) or "nothing"
    except (BotoCoreError, ClientError):
        return ". What there is now could not be asked; invoke status tells it"
    return f". There is now: {there}. Go on with: invoke deploy; remove it with: invoke clean"


def _mappings(run: Run) -> list[dict[str, Any]]:
    """The function's mappings, also on streams that are no more; UserError when the function or one of them is not ours.

    A mapping on our table is its function's. One on another table is ours by its tag: the setting was another then.
    """
    settings, lambda_ = run.settings, run.aws("lambda")
    found = function.describe(lambda_, settings.function_name)
    if found:
        check_owner(f"function {settings.function_name}", found["Tags"], settings.pipeline_name)
    entries = mapping.of_function(lambda_, settings.function_name)
    for entry in entries:
        source = entry["EventSourceArn"]
        if f":table/{settings.table_name}/stream/" not in source:
            what = f"mapping {entry['UUID']} of function {settings.function_name} on {source}"
            owned = lambda_.list_tags(Resource=entry["EventSourceMappingArn"])["Tags"]
            check_owner(what, owned, settings.pipeline_name)
    return entries
