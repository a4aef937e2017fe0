"""Rehearsals of the tasks on a local AWS of their own, in every situation that takes other API calls.

`admin` brings the account into a situation, then `operator` runs the steps. The calls of the operator are those that
need a permission.
"""

from __future__ import annotations

import json
import os
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

# With these, records reach the function, and the table can be deleted.
_RUNNABLE: dict[str, Any] = {
    "filter_criteria": {},
    "mapping_enabled": True,
    "maximum_batching_window_in_seconds": 0,
    "tumbling_window_in_seconds": 0,
    "table_deletion_protection_enabled": False,
    "smoke_timeout": 60,
}


def rehearse(groups: Iterable[str], settings: Settings, root: Path, folder: Path, **clients: Client) -> Events[None]:
    """Run the tasks of each group. `clients` are those of the `operator` and the `admin`, for the local AWS.

    `root` is the project's folder, `folder` one for a copy with other code: a function that only prints its event.
    """
    yield Started("permissions")
    deployments = {who: _deployment(settings, root, folder / who, client) for who, client in clients.items()}
    for group in groups:
        yield Progress("permissions", f"rehearsing {group} on a local AWS of its own")
        # The code of those differs, so that a deploy updates it.
        REHEARSALS[group](**deployments)


def existing_resources(settings: Settings) -> list[str]:
    """The ARNs of the resources that the settings name, and that no task creates."""
    bucket = settings.code_bucket and f"arn:aws:s3:::{settings.code_bucket}"
    key = settings.table_options.get("SSESpecification", {}).get("KMSMasterKeyId", "")
    alias = key.partition("alias/")[1:]
    arns = (
        settings.table_arn,
        settings.role_arn,
        settings.on_failure,
        bucket,
        alias[1] and f"arn:aws:kms:::{''.join(alias)}",
    )
    return list(dict.fromkeys(filter(None, [*arns, *settings.function_layers])))


def _deployment(settings: Settings, root: Path, folder: Path, client: Client) -> Deployment:
    shutil.copytree(root / "policies", folder / "policies")
    module, _, name = settings.function_handler.rpartition(".")
    path = folder / "lambda_src" / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"# {folder.name}\ndef {name}(event, context):\n    print(event)\n")
    if settings.code_bucket and folder.name == "operator":
        (folder / "lambda_src" / "large").write_bytes(os.urandom(archive.DIRECT_UPLOAD_BYTES))
    return Deployment(settings, client, folder, adopt=folder.name == "admin")


def _with(d: Deployment, **settings: Any) -> Deployment:
    return replace(d, settings=replace(d.settings, **settings))


def _run(*events: Iterable[Any]) -> None:
    for each in events:
        list(each)


def _deploy(operator: Deployment, admin: Deployment) -> None:
    """Create everything, and change everything that earlier settings, another pipeline or a person may have set."""
    for step in (steps.deploy, steps.create_table, steps.create_role, steps.put_policy, steps.create_function):
        _run(step(operator))
    _run(steps.map_stream(operator))
    s, policy = operator.settings, _some_policy(admin)
    other = {
        "tags": {"other": ""},
        "table_deletion_protection_enabled": not s.table_deletion_protection_enabled,
        "table_point_in_time_recovery_enabled": not s.table_point_in_time_recovery_enabled,
        "policy_name": "other",
        "role_permissions_boundary": "" if s.role_permissions_boundary else policy,
        "role_managed_policy_arns": (policy,),
        "role_options": {**s.role_options, "Description": "other"},
        "function_memory_size": s.function_memory_size + 1,
        "function_reserved_concurrent_executions": 1 if s.function_reserved_concurrent_executions is None else None,
        "log_retention_in_days": 1 if s.log_retention_in_days != 1 else 3,
        "starting_position": "LATEST" if s.starting_position == "TRIM_HORIZON" else "TRIM_HORIZON",
    }
    foreign = {"pipeline_name": "other", "tags": {"other": ""}, "log_retention_in_days": 0}
    for settings in (other, {**foreign, "role_managed_policy_arns": (), "batch_size": s.batch_size % 2 + 1}):
        _run(steps.deploy(_with(admin, **settings)))
        if not s.role_arn:
            document = json.dumps({**steps.existing(admin, "role")["AssumeRolePolicyDocument"], "Id": "other"})
            admin.client("iam").update_assume_role_policy(RoleName=s.role_name, PolicyDocument=document)
        _run(steps.deploy(replace(operator, adopt=True)))


def _some_policy(d: Deployment) -> str:
    return f"arn:{d.client('iam').meta.partition}:iam::aws:policy/ReadOnlyAccess"


def _status(operator: Deployment, admin: Deployment) -> None:
    _deployed(admin)
    status.collect(operator)


def _deployed(admin: Deployment) -> dict[str, Any]:
    """Deploy, and let the function log something. Returns an item of smoke's for the table."""
    admin = _with(admin, **_RUNNABLE)
    _run(steps.deploy(admin), smoke.run(admin))
    return smoke.new_item(steps.existing(admin, "table"), {})[0]


def _smoke(operator: Deployment, admin: Deployment) -> None:
    operator, item = _with(operator, **_RUNNABLE), _deployed(admin)
    put = {"TableName": operator.settings.table_arn or operator.settings.table_name, "Item": item}
    _run(smoke.run(operator))
    threading.Timer(1, admin.client("dynamodb").put_item, kwargs=put).start()
    _run(smoke.run(operator, observe=True))


def _operate(operator: Deployment, admin: Deployment) -> None:
    item = json.dumps(records.to_json(_deployed(admin)))
    _run(steps.put_item(operator, [("item", item)]), records.records(operator), steps.pause(operator))
    _run(steps.fetch_logs(operator, since_ms=0, pattern="", request_id="", last=1, timeout=9))
    _run(steps.resume(operator), replay.replay(operator))
    if operator.settings.on_failure.split(":")[2:3] in (["sqs"], ["s3"]):
        _leave_note(admin)
        images = steps.existing(admin, "table")["StreamSpecification"]["StreamViewType"]
        _run(replay.redrive(operator, skip_superseded="NEW" in images))


def _leave_note(d: Deployment) -> None:
    """Put a note about the oldest record into ON_FAILURE, as Lambda does."""
    stream = steps.existing(d, "table")["LatestStreamArn"]
    shards = d.client("dynamodbstreams").describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
    record = next(records.select(d, stream))
    batch: dict[str, Any] = {"streamArn": stream, "shardId": shards[0]["ShardId"], "batchSize": 1}
    batch |= dict.fromkeys(("startSequenceNumber", "endSequenceNumber"), records.number_of(record))
    batch["approximateArrivalOfFirstRecord"] = ""
    context = {"functionArn": steps.existing(d, "function")["FunctionArn"]}
    payload = {"Records": [record]}
    note = json.dumps({"requestContext": context, "DDBStreamBatchInfo": batch, "payload": payload})
    service, _, account, name = d.settings.on_failure.split(":")[2:]
    if service == "s3":
        d.client("s3").put_object(Bucket=name, Key="aws/lambda/note", Body=note)
    else:
        url = d.client("sqs").get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        d.client("sqs").send_message(QueueUrl=url, MessageBody=note)


def _clean(operator: Deployment, admin: Deployment) -> None:
    """Delete everything, also what earlier settings left: another table's mapping, uploaded code, attached policies."""
    operator, admin = _with(operator, **_RUNNABLE), _with(admin, **_RUNNABLE)
    s = operator.settings
    view_type = s.stream_view_type or "NEW_AND_OLD_IMAGES"
    _run(steps.deploy(_with(admin, table_arn="", table_name="other-table", stream_view_type=view_type)))
    _run(steps.deploy(_with(admin, role_managed_policy_arns=(_some_policy(admin),))))
    if s.code_bucket:
        code = {"Bucket": s.code_bucket, "Key": f"{s.pipeline_name}/{'0' * 64}.zip", "Body": b""}
        code_object.ensure(admin.client("s3"), code)
    _run(teardown.clean(operator.as_dry_run()), teardown.clean(operator, delete_data=True, back_up=True))


REHEARSALS: dict[str, Callable[..., None]] = {
    "deploy": _deploy,
    "smoke": _smoke,
    "status": _status,
    "clean": _clean,
    "operate": _operate,
}
