"""Rehearse the tasks on a separate local AWS, in every situation that requires different API calls.

`admin` prepares a situation, then `operator` runs the steps. Each call of the operator requires a permission.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import archive, causes, graph, items, load, operations, records, replay, smoke, status, steps, teardown
from .deployment import Deployment
from .events import Events, Progress, Started
from .resources import code_object
from .settings import Settings

Client = Callable[..., Any]

GROUPS = ("deploy", "smoke", "status", "clean", "operate")


def rehearse(
    groups: Iterable[str], settings: Settings, root: Path, folder: Path, leave_note: Callable[..., None], *who: Client
) -> Events[None]:
    """Run the tasks of each group in GROUPS. `who` contains the clients of operator and admin.

    `root` is the project's folder, `folder` a folder for two projects with different code. `leave_note` puts a note
    about a record into ON_FAILURE. It takes clients, the ARN in ON_FAILURE, the function's ARN, and the record.
    """
    yield Started("permissions")
    operator, admin = (_deployment(settings, client, root, folder / str(number)) for number, client in enumerate(who))
    if settings.code_bucket:
        (operator.root / "lambda_src" / "large").write_bytes(os.urandom(archive.DIRECT_UPLOAD_BYTES))
    # With these, records reach the function at once, and the table can be deleted.
    usable = {"filter_criteria": {}, "maximum_batching_window_in_seconds": 0, "tumbling_window_in_seconds": 0}
    usable |= {"mapping_enabled": True, "table_deletion_protection_enabled": False}
    for group in groups:
        yield Progress("permissions", f"rehearsing {group} on a separate local AWS")
        user, owner = _with(operator, **usable), _with(admin, **usable)
        if group == "deploy":
            _run(steps.deploy(operator.as_dry_run()), steps.deploy(operator))
            for _ in _situations(admin):
                _run(steps.deploy(operator))
            continue
        if group == "status":
            status.collect(operator)  # before anything exists
        _run(steps.deploy(owner), smoke.run(owner))
        if group in ("smoke", "status"):  # doctor, and smoke if it fails
            _run(causes.find(user, causes.look(user)))
        if group == "smoke":
            _run(smoke.run(user))
        elif group == "operate":
            _operate(user, owner, leave_note)
        elif group == "clean":
            _clean(user, owner)
        else:
            _run(graph.draw(user, mermaid=False))
            for _ in _situations(admin):
                status.collect(operator)


def _deployment(settings: Settings, client: Client, root: Path, folder: Path) -> Deployment:
    """A project with the policies and a function that only prints its event. The real one may need more resources."""
    shutil.copytree(root / "policies", folder / "policies")
    module, _, name = settings.function_handler.rpartition(".")
    path = folder / "lambda_src" / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"# {folder}\ndef {name}(event, context):\n    print(event)\n")
    return Deployment(settings, client, folder, adopt=True)


def _with(d: Deployment, **settings: Any) -> Deployment:
    return replace(d, settings=replace(d.settings, **settings))


def _run(*steps: Iterable[Any]) -> None:
    for events in steps:
        list(events)


def _situations(admin: Deployment) -> Iterator[None]:
    """Deploy with other settings and as another pipeline, so that everything that a deploy updates differs."""
    s, iam = admin.settings, admin.client("iam")
    policy = f"arn:{iam.meta.partition}:iam::aws:policy/PowerUserAccess"
    other: dict[str, Any] = {
        "tags": {"other": ""},
        "table_deletion_protection_enabled": not s.table_deletion_protection_enabled,
        "table_point_in_time_recovery_enabled": not s.table_point_in_time_recovery_enabled,
        "policy_name": "other",
        "role_permissions_boundary": "" if s.role_permissions_boundary else policy,
        "role_managed_policy_arns": (policy,),
        "role_options": {**s.role_options, "Description": "other"},
        "function_timeout": s.function_timeout % 2 + 1,
        "function_reserved_concurrent_executions": 1 if s.function_reserved_concurrent_executions is None else None,
        "function_alias": "",
        "alarm_topic_arn": s.alarm_topic_arn or admin.client("sns").create_topic(Name="other")["TopicArn"],
        "starting_position": "LATEST" if s.starting_position == "TRIM_HORIZON" else "TRIM_HORIZON",
    }
    foreign: dict[str, Any] = {"pipeline_name": "other", "tags": {"other": ""}, "role_managed_policy_arns": ()}
    foreign |= {"alarm_topic_arn": "", "batch_size": s.batch_size % 2 + 1}
    foreign["log_retention_in_days"] = 0 if s.log_retention_in_days else 1
    # A list of mappings omits encrypted filters.
    key_arn = admin.client("kms").create_key()["KeyMetadata"]["Arn"]
    foreign["mapping_options"] = {**s.mapping_options, "KMSKeyArn": key_arn}
    for settings in (other, foreign):
        _run(steps.deploy(_with(admin, **settings)))
        if not s.role_arn:
            document = json.dumps({**steps.existing(admin, "role")["AssumeRolePolicyDocument"], "Id": "other"})
            iam.update_assume_role_policy(RoleName=s.role_name, PolicyDocument=document)
        yield


def _operate(operator: Deployment, admin: Deployment, leave_note: Callable[..., None]) -> None:
    table, on_failure = steps.existing(admin, "table"), operator.settings.on_failure
    lines = [("item", json.dumps(records.to_json(smoke.new_item(table, {})[0])))]
    for many in (lines, 2 * lines):  # a different call writes many items
        _run(steps.put_item(operator, items.Stored(many)))
    _run(records.records(operator), operations.pause(operator))
    _run(steps.fetch_logs(operator, timeout=9, since_ms=0, last=1))
    _run(operations.resume(operator), replay.replay(operator))
    if operator.settings.function_alias:
        timeout = operator.settings.function_timeout % 2 + 1
        _run(steps.deploy(_with(admin, function_timeout=timeout)), operations.rollback(operator))
    if not operator.settings.table_arn:
        _run(load.run(operator, total=1, rate=0, connections=1))
    if on_failure.split(":")[2:3] in (["sqs"], ["s3"]):
        record = next(records.select(admin, table["LatestStreamArn"]))
        leave_note(admin.client, on_failure, steps.existing(admin, "function")["FunctionArn"], record)
        images = table["StreamSpecification"]["StreamViewType"]
        _run(replay.redrive(operator, skip_superseded="NEW" in images))


def _clean(operator: Deployment, admin: Deployment) -> None:
    """Delete everything, including what earlier settings left: another table's mapping, attached policies, and code."""
    s = operator.settings
    other = {"table_arn": "", "table_name": "other", "stream_view_type": s.stream_view_type or "NEW_AND_OLD_IMAGES"}
    _run(steps.deploy(_with(admin, **other)))
    next(_situations(_with(admin, table_deletion_protection_enabled=True)))
    if s.code_bucket:
        code = {"Bucket": s.code_bucket, "Key": f"{s.pipeline_name}/{'0' * 64}.zip", "Body": b""}
        code_object.ensure(admin.client("s3"), code)
    _run(teardown.clean(operator.as_dry_run()), teardown.clean(operator, delete_data=True, back_up=True))
