"""Rehearsals of the tasks on a local AWS of their own, in every situation that takes other API calls.

`admin` brings the account into a situation, then `operator` runs the steps. What the operator calls needs a permission.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import archive, records, replay, smoke, status, steps, teardown
from .deployment import Deployment
from .events import Events, Progress, Started
from .resources import code_object
from .settings import Settings

Client = Callable[..., Any]

GROUPS = ("deploy", "smoke", "status", "clean", "operate")


def existing_resources(settings: Settings) -> list[str]:
    """The ARNs, and the aliases of KMS keys, in the settings: what no task creates."""
    arns = re.findall(r"arn:[\w-]+:[^\s'\"]+|(?<![\w/:])alias/[\w/-]+", str(settings))
    return [*dict.fromkeys(arns + [f"arn:aws:s3:::{name}" for name in [settings.code_bucket] if name])]


def rehearse(
    groups: Iterable[str],
    settings: Settings,
    root: Path,
    folder: Path,
    leave_note: Callable[[Client, str, str, records.Record], None],
    *clients: Client,
) -> Events[None]:
    """Run the tasks of each group of GROUPS. `clients` are those of operator and admin.

    `root` is the project's folder, `folder` one for copies with other code: a function that prints its event.
    `leave_note` puts a note about a record of the function with an ARN into ON_FAILURE.
    """
    yield Started("permissions")
    operator, admin = (_deployment(settings, root, folder / str(number), each) for number, each in enumerate(clients))
    if settings.code_bucket:
        (operator.root / "lambda_src" / "large").write_bytes(os.urandom(archive.DIRECT_UPLOAD_BYTES))
    # With these, records reach the function at once, and the table can be deleted.
    usable = {"filter_criteria": {}, "maximum_batching_window_in_seconds": 0, "mapping_enabled": True}
    usable |= {"tumbling_window_in_seconds": 0, "table_deletion_protection_enabled": False}
    for group in groups:
        yield Progress("permissions", f"rehearsing {group} on a local AWS of its own")
        if group == "deploy":
            _deploy(operator, admin)
            continue
        user, owner = (_with(each, **usable) for each in (operator, admin))
        _run(steps.deploy(owner), smoke.run(owner))
        if group == "smoke":
            _smoke(user, owner)
        elif group == "status":
            status.collect(user)
        elif group == "clean":
            _clean(user, owner)
        else:
            _operate(user, owner, leave_note)


def _deployment(settings: Settings, root: Path, folder: Path, client: Client) -> Deployment:
    shutil.copytree(root / "policies", folder / "policies")
    module, _, name = settings.function_handler.rpartition(".")
    path = folder / "lambda_src" / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True)
    # The code of the two differs, so that a deploy updates it.
    path.write_text(f"# {folder}\ndef {name}(event, context):\n    print(event)\n")
    return Deployment(settings, client, folder, adopt=True)


def _with(d: Deployment, **settings: Any) -> Deployment:
    return replace(d, settings=replace(d.settings, **settings))


def _run(*steps: Iterable[Any]) -> None:
    for events in steps:
        list(events)


def _deploy(operator: Deployment, admin: Deployment) -> None:
    """Create everything, and change everything that earlier settings, another pipeline or a person may have set."""
    s, policy = operator.settings, _any_policy(admin)
    concurrency, days = s.function_reserved_concurrent_executions, s.log_retention_in_days
    foreign = {"pipeline_name": "other", "tags": {"other": ""}, "log_retention_in_days": 0}
    foreign |= {"batch_size": s.batch_size % 2 + 1, "role_managed_policy_arns": ()}
    other = {
        "tags": {"other": ""},
        "table_deletion_protection_enabled": not s.table_deletion_protection_enabled,
        "table_point_in_time_recovery_enabled": not s.table_point_in_time_recovery_enabled,
        "policy_name": "other",
        "role_permissions_boundary": "" if s.role_permissions_boundary else policy,
        "role_managed_policy_arns": (policy,),
        "role_options": {**s.role_options, "Description": "other"},
        "function_memory_size": s.function_memory_size + 1,
        "function_reserved_concurrent_executions": 1 if concurrency is None else None,
        "log_retention_in_days": 1 if days != 1 else 3,
        "starting_position": "LATEST" if s.starting_position == "TRIM_HORIZON" else "TRIM_HORIZON",
    }
    _run(steps.deploy(operator))
    for settings in (other, foreign):
        _run(steps.deploy(_with(admin, **settings)))
        if not s.role_arn:
            document = json.dumps({**steps.existing(admin, "role")["AssumeRolePolicyDocument"], "Id": "other"})
            admin.client("iam").update_assume_role_policy(RoleName=s.role_name, PolicyDocument=document)
        _run(steps.deploy(operator))


def _any_policy(d: Deployment) -> str:
    return f"arn:{d.client('iam').meta.partition}:iam::aws:policy/ReadOnlyAccess"


def _smoke(operator: Deployment, admin: Deployment) -> None:
    """Put an item; then observe the record of another one."""
    table = steps.existing(admin, "table")
    _run(smoke.run(operator))
    put = {"TableName": table["TableName"], "Item": smoke.new_item(table, {})[0]}
    threading.Timer(1, admin.client("dynamodb").put_item, kwargs=put).start()
    _run(smoke.run(operator, observe=True))


def _operate(operator: Deployment, admin: Deployment, leave_note: Callable[..., None]) -> None:
    table, on_failure = steps.existing(admin, "table"), operator.settings.on_failure
    item = json.dumps(records.to_json(smoke.new_item(table, {})[0]))
    _run(steps.put_item(operator, [("item", item)]), records.records(operator), steps.pause(operator))
    _run(steps.fetch_logs(operator, since_ms=0, pattern="", request_id="", last=1, timeout=9))
    _run(steps.resume(operator), replay.replay(operator))
    if on_failure.split(":")[2:3] in (["sqs"], ["s3"]):
        function, record = steps.existing(admin, "function"), next(records.select(admin, table["LatestStreamArn"]))
        leave_note(admin.client, on_failure, function["FunctionArn"], record)
        images = table["StreamSpecification"]["StreamViewType"]
        _run(replay.redrive(operator, skip_superseded="NEW" in images))


def _clean(operator: Deployment, admin: Deployment) -> None:
    """Delete everything, also what earlier settings left: another table's mapping, uploaded code, attached policies."""
    s = operator.settings
    other = {"table_arn": "", "table_name": "other", "stream_view_type": s.stream_view_type or "NEW_AND_OLD_IMAGES"}
    _run(
        steps.deploy(_with(admin, **other)), steps.deploy(_with(admin, role_managed_policy_arns=(_any_policy(admin),)))
    )
    if s.code_bucket:
        code = {"Bucket": s.code_bucket, "Key": f"{s.pipeline_name}/{'0' * 64}.zip", "Body": b""}
        code_object.ensure(admin.client("s3"), code)
    _run(teardown.clean(operator.as_dry_run()), teardown.clean(operator, delete_data=True, back_up=True))
