"""Rehearsals of the tasks, in every situation that takes other API calls: what the operator has to be allowed.

`operator` and `admin` are deployments on a local AWS of their own. Each rehearsal brings the account into a state as
`admin`, and runs the steps as `operator`, whose calls the local AWS logs.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from . import archive, policies, records, replay, smoke, status, steps, teardown
from .deployment import Deployment
from .resources.change import UserError
from .settings import Settings

_KEPT_LOGS_MS = 0
# With these, a record reaches the function, and the table can be deleted.
_RUNNABLE = {
    "filter_criteria": {},
    "mapping_enabled": True,
    "maximum_batching_window_in_seconds": 0,
    "tumbling_window_in_seconds": 0,
    "table_deletion_protection_enabled": False,
    "smoke_timeout": 60,
}


def write_project(settings: Settings, root: Path, folder: Path) -> None:
    """Copy policies/, and write a function that prints its event. The code for a CODE_BUCKET is as large as it needs."""
    shutil.copytree(root / "policies", folder / "policies")
    module, _, name = settings.function_handler.rpartition(".")
    path = folder / "lambda_src" / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"def {name}(event, context):\n    print(event)\n")
    if settings.code_bucket:
        (folder / "lambda_src" / "large").write_bytes(os.urandom(archive.DIRECT_UPLOAD_BYTES))


def existing_resources(settings: Settings) -> list[str]:
    """The ARNs of the resources that the settings name, and that no task creates."""
    key = settings.table_options.get("SSESpecification", {}).get("KMSMasterKeyId", "")
    bucket = settings.code_bucket and f"arn:aws:s3:::{settings.code_bucket}"
    alias = key if key.startswith("arn:") else f"arn:aws:kms:::{key}"
    arns = (settings.table_arn, settings.role_arn, settings.on_failure, bucket, "alias/" in key and alias)
    return list(dict.fromkeys(filter(None, [*arns, *settings.function_layers])))


def _run(*steps: Iterable[Any]) -> None:
    for events in steps:
        list(events)


def _with(d: Deployment, **settings: Any) -> Deployment:
    return replace(d, settings=replace(d.settings, **settings), adopt=True)


def _deploy(operator: Deployment, admin: Deployment) -> None:
    """Create everything, and change everything that earlier settings, another pipeline or a person may have set."""
    s = operator.settings
    _run(steps.deploy(operator), steps.create_table(operator), steps.create_role(operator), steps.put_policy(operator))
    _run(steps.create_function(operator), steps.map_stream(operator))
    arn = f"arn:{admin.caller_identity['Arn'].split(':')[1]}:iam::aws:policy/ReadOnlyAccess"
    others = {
        "tags": {"other": "value"},
        "table_deletion_protection_enabled": not s.table_deletion_protection_enabled,
        "table_point_in_time_recovery_enabled": not s.table_point_in_time_recovery_enabled,
        "policy_name": "other",
        "role_permissions_boundary": "" if s.role_permissions_boundary else arn,
        "role_managed_policy_arns": (arn,),
        "role_options": {**s.role_options, "Description": "other"},
        "function_memory_size": s.function_memory_size + 1,
        "function_architecture": "x86_64" if s.function_architecture == "arm64" else "arm64",
        "function_reserved_concurrent_executions": 1 if s.function_reserved_concurrent_executions is None else None,
        "log_retention_in_days": 1 if s.log_retention_in_days != 1 else 3,
        "starting_position": "LATEST" if s.starting_position == "TRIM_HORIZON" else "TRIM_HORIZON",
    }
    bare = {"pipeline_name": "other", "tags": {"other": ""}, "role_managed_policy_arns": (), "log_retention_in_days": 0}
    for each in (others, {**bare, "batch_size": s.batch_size % 2 + 1}):
        _run(steps.deploy(_with(admin, **each)))
        if not s.role_arn:
            trust = policies.trust_policy(admin.root, lambda: {"AWS::AccountId": "", "AWS::Partition": ""}, write=False)
            document = json.dumps({**trust, "Id": "other"})
            admin.client("iam").update_assume_role_policy(RoleName=s.role_name, PolicyDocument=document)
        _run(steps.deploy(replace(operator, adopt=True)))


def _status(operator: Deployment, admin: Deployment) -> None:
    _run(steps.deploy(admin), smoke.run(admin))
    status.collect(operator)


def _smoke(operator: Deployment, admin: Deployment) -> None:
    _run(steps.deploy(admin), smoke.run(operator))
    table = steps.existing(admin, "table")
    item = {"TableName": table["TableName"], "Item": smoke.new_item(table, {})[0]}
    threading.Timer(1, admin.client("dynamodb").put_item, kwargs=item).start()
    _run(smoke.run(operator, observe=True))


def _operate(operator: Deployment, admin: Deployment) -> None:
    """Pause, look, replay and redrive, with a note about a record where ON_FAILURE keeps them."""
    _run(steps.deploy(admin), smoke.run(admin))
    table, function = steps.existing(admin, "table"), steps.existing(admin, "function")
    item = json.dumps(records.to_json(smoke.new_item(table, {})[0]))
    _run(steps.put_item(operator, [("item", item)]), records.records(operator), steps.pause(operator))
    _run(steps.fetch_logs(operator, since_ms=0, pattern="", request_id="", last=1, timeout=9))
    _run(steps.resume(operator), replay.replay(operator))
    if operator.settings.on_failure.split(":")[2:3] in (["sqs"], ["s3"]):
        _leave_note(admin, table["LatestStreamArn"], function["FunctionArn"])
        skip = "NEW" in table["StreamSpecification"]["StreamViewType"]
        _run(replay.redrive(operator, skip_superseded=skip))


def _leave_note(d: Deployment, stream: str, function: str) -> None:
    """Put a note about the oldest record of the stream, as Lambda does."""
    shards = d.client("dynamodbstreams").describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
    record = next(records.select(d, stream))
    ends = dict.fromkeys(("startSequenceNumber", "endSequenceNumber"), records.number_of(record))
    place = {"streamArn": stream, "shardId": shards[0]["ShardId"], "batchSize": 1, **ends}
    batch = {**place, "approximateArrivalOfFirstRecord": ""}
    payload = {"Records": [record]}
    note = json.dumps(
        {"requestContext": {"functionArn": function}, "DDBStreamBatchInfo": batch, "payload": payload}
    )
    *_, service, _, account, name = d.settings.on_failure.split(":")
    if service == "s3":
        d.client("s3").put_object(Bucket=name, Key="aws/lambda/note", Body=note)
    else:
        url = d.client("sqs").get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        d.client("sqs").send_message(QueueUrl=url, MessageBody=note)


def _clean(operator: Deployment, admin: Deployment) -> None:
    """Delete everything, also what earlier settings left: another table's mapping, attached policies."""
    s = operator.settings
    arn = f"arn:{admin.caller_identity['Arn'].split(':')[1]}:iam::aws:policy/ReadOnlyAccess"
    view_type = s.stream_view_type or "NEW_AND_OLD_IMAGES"
    _run(steps.deploy(_with(admin, table_arn="", table_name="other-table", stream_view_type=view_type)))
    _run(steps.deploy(_with(admin, role_managed_policy_arns=(arn,))), teardown.clean(operator.as_dry_run()))
    _run(teardown.clean(operator, delete_data=True, back_up=True))


REHEARSALS: dict[str, Callable[[Deployment, Deployment], None]] = {
    "deploy": _deploy,
    "smoke": _smoke,
    "status": _status,
    "clean": _clean,
    "operate": _operate,
}


def rehearse(group: str, operator: Deployment, admin: Deployment) -> None:
    """Run the tasks of a group."""
    if group != "deploy":
        operator, admin = (replace(d, settings=replace(d.settings, **_RUNNABLE)) for d in (operator, admin))
    REHEARSALS[group](operator, admin)
