"""The steps that build the pipeline, and `deploy`, which chains them.

Each step is a generator of events. It builds the parameters, calls a resource module's `ensure`, and waits for AWS. In
a dry run the clients write nothing, and there is nothing to wait for.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from . import archive, external, items, log_reader, log_text, parameters, policies, role_check
from .deployment import Deployment
from .events import Changed, Events, Progress, Result, Started, Waiting, changes, finish
from .resources import alarm, alias, code_object, function, log_group, mapping, role, table
from .resources.change import Action, Change, UserError, check_owner, retag_in_lambda, retry
from .settings import Settings

# While logs are followed, an invocation that runs for longer is shown in parts.
_PART_SECONDS = 10.0

Show: TypeAlias = Callable[[log_reader.Invocation], str]


def deploy(d: Deployment) -> Events[None]:
    """Create or update everything to match the settings.

    Reports mistakes in the settings and policies, and an unusable TABLE_ARN, before the first write. Starts slow
    operations first and waits for them last: AWS creates the table while the role propagates.
    """
    current = (yield from create_table(d)) if d.settings.table_arn else None
    key_arn = external.table_key_arn(d, current or d.settings.table_options)
    code = yield from zip_code(d.settings, d.root, dry_run=d.dry_run)
    yield Started("deploy")
    check(d, key_arn)
    # Before the first write, because a role that someone else manages may lack permissions.
    role_arn = (yield from create_role(d, key_arn)) if d.settings.role_arn else ""
    yield from _upload(d, code)
    table_change = None if current else (yield from _start_table(d))
    role_arn = role_arn or (yield from create_role(d))
    yield from put_policy(d, role_arn, key_arn)
    current_function, retagged = yield from create_function(d, role_arn, code, tags=False)
    if table_change:
        current = yield from _finish_table(d, table_change)
    yield from map_stream(d, current, tags=retagged)
    if d.settings.alarm_topic_arn or parameters.ALARMS_TAG in current_function["Tags"]:
        yield from create_alarms(d, current_function)


def plan(d: Deployment) -> list[Change]:
    """The changes that `deploy` would make in AWS. Reads only."""
    return [change for change in changes(deploy(d.as_dry_run())) if not change.resource.startswith("zip ")]


def check(d: Deployment, key_arn: str = "") -> None:
    """Raise UserError for a mistake in policies/, in FILTER_CRITERIA, in an *_OPTIONS setting or in FUNCTION_LAYERS."""
    parameters.check(d.settings)
    tokens = partial(parameters.policy_tokens, d.settings, parameters.PLACEHOLDER_ARN)
    policies.trust_policy(d.root, tokens, write=False)
    policies.inline_policies(d.settings, d.root, tokens, key_arn=key_arn, write=False)
    for arn in d.settings.function_layers:
        _check_layer(d.client("lambda"), *arn.rsplit(":", 1))


def _check_layer(lambda_: Any, name: str, version: str) -> None:
    """Raise UserError if a layer version does not exist. A caller without permission to read it can still use it."""
    try:
        if version.isdigit():
            lambda_.get_layer_version(LayerName=name, VersionNumber=int(version))
    except lambda_.exceptions.ResourceNotFoundException:
        advice = f"list the versions that exist: aws lambda list-layer-versions --layer-name {name}"
        raise UserError(f"FUNCTION_LAYERS: {name}:{version} does not exist; {advice}") from None
    except lambda_.exceptions.ClientError as error:
        if not error.response["Error"]["Code"].startswith("AccessDenied"):
            raise


def zip_code(settings: Settings, root: Path, *, dry_run: bool = False) -> Events[bytes]:
    """Zip lambda_src/ into build/function.zip and check that it defines the handler. Returns the zip."""
    yield Started("zip-code")
    previous = archive.stored_sha256(root / "build")
    code = build_zip(settings, root, write=not dry_run)
    attributes = {"CodeSha256": archive.sha256(code), "CodeSize": len(code)}
    action: Action = "unchanged" if previous == attributes["CodeSha256"] else "updated" if previous else "created"
    yield Changed("zip-code", Change("zip build/function.zip", action, attributes=attributes))
    return code


def build_zip(settings: Settings, root: Path, *, write: bool = False) -> bytes:
    """Build the zip of lambda_src/ and check its handler. With `write`, also store the zip in build/."""
    runtime, architecture = settings.function_runtime, settings.function_architecture
    code = archive.build(root / "lambda_src", root / "build", runtime, architecture, write=write)
    archive.check_upload(code, settings.code_bucket)
    archive.check_handler(code, settings.function_handler, runtime, layers=bool(settings.function_layers))
    return code


def _upload(d: Deployment, code: bytes) -> Events[None]:
    """Upload the code to CODE_BUCKET, if it is too large for CreateFunction and the function does not have it yet."""
    desired = parameters.code_object(d.settings, code)
    current = function.describe(d.client("lambda"), d.settings.function_name) if desired else None
    if desired and (current is None or current["CodeSha256"] != archive.sha256(code)):
        yield Started("create-function")
        yield Changed("create-function", code_object.ensure(d.client("s3"), desired))


def create_table(d: Deployment) -> Events[Mapping[str, Any]]:
    """Create or update the table, wait until it is active, and return it. With TABLE_ARN, only check the table."""
    if d.settings.table_arn:
        return (yield from external.check_table(d))
    change = yield from _start_table(d)
    return (yield from _finish_table(d, change))


def _start_table(d: Deployment) -> Events[Change]:
    yield Started("create-table")
    desired = parameters.table(d.settings)
    encryption = desired.get("SSESpecification", {})
    if "alias/" in encryption.get("KMSMasterKeyId", ""):
        # AWS returns the key's ARN, which an alias does not equal.
        key = d.client("kms").describe_key(KeyId=encryption["KMSMasterKeyId"])["KeyMetadata"]["Arn"]
        desired["SSESpecification"] = {**encryption, "KMSMasterKeyId": key}
    return retry(lambda: table.ensure(d.client("dynamodb"), desired, adopt=d.adopt))


def _finish_table(d: Deployment, change: Change) -> Events[Mapping[str, Any]]:
    wait = partial(table.wait, d.client("dynamodb"), d.settings.table_name)
    yield from finish("create-table", change, "to become ACTIVE", wait)
    return change.attributes


def create_role(d: Deployment, key_arn: str = "") -> Events[str]:
    """Create or update the role that Lambda assumes. Returns its ARN, or a placeholder in a dry run.

    With ROLE_ARN, only check the role. `key_arn` is the ARN of the table's customer managed key, or "".
    """
    yield Started("create-role")
    if d.settings.role_arn:
        yield Changed("create-role", _check_role(d, key_arn))
        return d.settings.role_arn
    desired = parameters.role(d.settings, policies.trust_policy(d.root, _tokens(d)))
    change = retry(lambda: role.ensure(d.client("iam"), desired, adopt=d.adopt))
    yield Changed("create-role", change)
    return str(change.attributes["Arn"])


def _check_role(d: Deployment, key_arn: str) -> Change:
    role_arn, caller = d.settings.role_arn, d.caller_identity
    if role_arn.split(":")[4] != caller["Account"]:
        raise UserError(f"ROLE_ARN: {role_arn} is not in account {caller['Account']}; choose another AWS_PROFILE")
    documents = role_documents(d, role_arn, key_arn, write=False)
    return role_check.check(d.client("iam"), role_arn, d.settings.aws_region, documents)


def role_documents(d: Deployment, role_arn: str, key_arn: str = "", *, write: bool = True) -> dict[str, dict[str, Any]]:
    """The inline policies that the role needs, by name; see policies.inline_policies."""
    return policies.inline_policies(d.settings, d.root, _tokens(d, role_arn), key_arn=key_arn, write=write)


def put_policy(d: Deployment, role_arn: str = "", key_arn: str = "") -> Events[None]:
    """Put the role's inline policies, and delete the pipeline's policies whose document was removed.

    `key_arn` is the ARN of the table's customer managed key, or "". Without `role_arn`, reads both.
    """
    yield Started("put-policy")
    if d.settings.role_arn:
        yield Changed("put-policy", role_check.unmanaged(d.settings.role_arn))
        return
    if not role_arn:
        role_arn = existing(d, "role")["Arn"]
        key_arn = external.table_key_arn(d, existing(d, "table") if d.settings.table_arn else d.settings.table_options)
    documents = role_documents(d, role_arn, key_arn)
    put = partial(role.ensure_policies, d.client("iam"), d.settings.role_name, documents)
    for change in put(owner=d.settings.pipeline_name, adopt=d.adopt):
        yield Changed("put-policy", change)


def _tokens(d: Deployment, role_arn: str = "") -> Callable[[], Mapping[str, str]]:
    """The tokens of the policies. The role's ARN, if it is known, saves a call for the account ID."""
    known = role_arn.startswith("arn:")
    return lambda: parameters.policy_tokens(d.settings, role_arn if known else d.caller_identity["Arn"])


def create_function(
    d: Deployment, role_arn: str = "", code: bytes = b"", *, tags: bool = True
) -> Events[tuple[Mapping[str, Any], bool]]:
    """Create or update the function and its log group, and wait until the function is active.

    `code` is the zip, already in CODE_BUCKET if it has to be there. By default, it is built and uploaded. Returns the
    function, and whether the tags of an existing one changed. All resources have the same tags: with `tags=False` those
    of the log group are read only if the function's have changed, which saves a call; `status` reads them always.
    """
    yield Started("create-function")
    role_arn = role_arn or d.settings.role_arn or existing(d, "role")["Arn"]
    if not code:
        code = build_zip(d.settings, d.root, write=not d.dry_run)
        yield from _upload(d, code)
    desired = parameters.function(d.settings, role_arn, code)
    change = retry(lambda: function.ensure(d.client("lambda"), desired, adopt=d.adopt))
    retagged = any(diff.setting == "Tags" for diff in change.diffs) and change.action != "created"
    group = parameters.log_group(d.settings)
    # Our log group has a retention, `clean` can delete it, and the role does not need logs:CreateLogGroup.
    ensure_group = partial(log_group.ensure, d.client("logs"), group, adopt=d.adopt, tags=tags or retagged)
    yield Changed("create-function", retry(ensure_group))
    wait = partial(function.wait, d.client("lambda"), d.settings.function_name)
    yield from finish("create-function", change, "to become Active", wait)
    if d.settings.function_alias:
        yield from _publish(d, {diff.setting for diff in change.diffs})
    return change.attributes, retagged


def _publish(d: Deployment, changed: set[str]) -> Events[None]:
    """Publish a version if the function has changed, point the alias at it, and delete the oldest versions.

    `changed` contains the function's parameters that this run changed.
    """
    lambda_, kept, desired = d.client("lambda"), d.settings.function_versions_kept, parameters.alias(d.settings)
    publish = bool(changed - {"Tags", "ReservedConcurrentExecutions"})
    change = retry(lambda: alias.ensure(lambda_, desired, publish=publish, adopt=d.adopt))
    yield Changed("create-function", change)
    planned = int(change.attributes["FunctionVersion"] == alias.NEW)
    delete_versions = partial(alias.delete_versions, lambda_, d.settings.function_name, kept, planned=planned)
    for deleted in retry(lambda: list(delete_versions())):
        yield Changed("create-function", deleted)


def map_stream(d: Deployment, current_table: Mapping[str, Any] | None = None, *, tags: bool = True) -> Events[None]:
    """Create or update the mapping from the table's stream to the function, and wait until it is enabled."""
    yield Started("map-stream")
    if not current_table:
        current_table = existing(d, "table")
        # A mapping belongs to its function, so the function must be ours.
        check_owner(f"function {d.settings.function_name}", existing(d, "function")["Tags"], d.settings.pipeline_name)
        if d.settings.function_alias:
            alias.existing(d.client("lambda"), parameters.alias(d.settings))
    desired = parameters.mapping(d.settings, stream_of(d, current_table))
    change = external.map_stream(d, desired, tags=tags)
    if change.action in ("created", "replaced"):
        change = replace(change, note="; ".join(filter(None, (change.note, _crowded(d, current_table)))))
    goal = "to become Enabled" if desired["Enabled"] else "to become Disabled"
    yield from finish("map-stream", change, goal, lambda: mapping.wait(d.client("lambda"), change.attributes["UUID"]))
    if d.settings.function_alias or any(diff.setting == "FunctionName" for diff in change.diffs):
        # Last: until now, the mapping may have invoked an earlier FUNCTION_ALIAS.
        delete = partial(alias.delete_others, d.client("lambda"), d.settings.function_name)
        for deleted in retry(lambda: list(delete(d.settings.pipeline_name, d.settings.function_alias))):
            yield Changed("map-stream", deleted)


def _crowded(d: Deployment, current: Mapping[str, Any]) -> str:
    """A note if the stream has more readers than AWS recommends: two per shard, or one for a global table.

    Lambda developer guide: "Using AWS Lambda with Amazon DynamoDB".
    """
    if current["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return ""  # a new table, which has no other readers
    names = mapping.readers(d.client("lambda"), current["LatestStreamArn"], besides=d.settings.function_name)
    most = "one reader of a global table's stream" if current["Replicas"] else "two readers per shard"
    crowded = len(names) >= (1 if current["Replicas"] else 2)
    return f"the stream has other readers: {', '.join(names)}; AWS recommends at most {most}" if crowded else ""


def create_alarms(d: Deployment, current_function: Mapping[str, Any] | None = None) -> Events[None]:
    """Create or update the alarms, and delete obsolete ones. Without ALARM_TOPIC_ARN, delete all alarms.

    A tag of the function lists the alarms. It is written first, so that an interruption leaves no unlisted alarm.
    """
    yield Started("create-alarms")
    if not current_function:
        current_function = existing(d, "function")
        check_owner(f"function {d.settings.function_name}", current_function["Tags"], d.settings.pipeline_name)
    desired = {each["AlarmName"]: each for each in parameters.alarms(d.settings)}
    listed = current_function["Tags"].get(parameters.ALARMS_TAG, "").split()
    stale = [name for name in listed if name not in desired]
    _list_alarms(d, current_function, listed, [*desired, *stale])
    cloudwatch, owner = d.client("cloudwatch"), d.settings.pipeline_name
    note = "" if ":sqs:" in d.settings.on_failure else "no alarm on notes, because ON_FAILURE is not an SQS queue"
    for each in desired.values():
        change = retry(partial(alarm.ensure, cloudwatch, each, adopt=d.adopt))
        yield Changed("create-alarms", replace(change, note=note))
        note = ""  # once
    for name in stale:
        yield Changed("create-alarms", retry(partial(alarm.delete, cloudwatch, name, owner=owner, adopt=d.adopt)))
    _list_alarms(d, current_function, [*desired, *stale], [*desired])
    if not desired and not stale:
        yield Changed("create-alarms", Change("alarms", "unchanged", note="none, because ALARM_TOPIC_ARN is empty"))


def _list_alarms(d: Deployment, current_function: Mapping[str, Any], old: list[str], new: list[str]) -> None:
    tags = [{parameters.ALARMS_TAG: " ".join(names)} if names else {} for names in (old, new)]
    retry(partial(retag_in_lambda, d.client("lambda"), current_function["FunctionArn"], *tags))


def put_item(d: Deployment, stored: items.Stored) -> Events[None]:
    """Check all items, then put them into the table."""
    yield Started("put-item")
    current = existing(d, "table")
    for where, item in stored:
        items.check(item, current, where)
    total = stored.count
    for count in items.put(d.client("dynamodb"), current, (item for _, item in stored), total):
        yield Progress("put-item", f"{count} of {total} items written", count, total)
    resource = f"{total} item{'s' if total > 1 else ''} in table {current['TableName']}"
    yield Changed("put-item", Change(resource, "created"))


def fetch_logs(d: Deployment, *, timeout: int, show: Show = log_text.text, **selection: Any) -> Events[None]:
    """Show the invocations that log_reader.select selects.

    `timeout` is in seconds: how long to wait for a log group that does not exist yet.
    """
    logs, group = d.client("logs"), parameters.log_group_name(d.settings)
    yield Started("fetch-logs")
    yield Waiting("fetch-logs", f"log group {group} to exist")
    log_group.wait(logs, group, timeout)
    invocations = iter(log_reader.select(logs, group, **selection))
    while some := list(islice(invocations, 100)):  # printing one by one takes longer
        yield Result("\n".join(map(show, some)), {"invocations": [vars(each) for each in some]})
    yield Result("", {"invocations": []})


def follow_logs(d: Deployment, *, request_id: str, show: Show, **selection: Any) -> Events[None]:
    """Show invocations as they end (see log_reader.follow), and long-running invocations in parts."""
    logs, group = d.client("logs"), parameters.log_group_name(d.settings)
    yield Started("fetch-logs")
    exists = log_group.describe(logs, group, tags=False)
    yield Progress("fetch-logs", f"log group {group}{'' if exists else ' does not exist yet'}; Ctrl-C ends")
    summary = log_text.Summary()
    polls = log_reader.follow(logs, group, **selection)
    for invocation in log_reader.grouped(polls, patience=0 if selection["pattern"] else _PART_SECONDS):
        if request_id in ("", invocation.request_id):
            summary.add(invocation)
            yield Result(show(invocation), vars(invocation))
    yield Progress("fetch-logs", str(summary))


_MODULES: Any = {"role": (role, "iam"), "table": (table, "dynamodb"), "function": (function, "lambda")}


def existing(d: Deployment, kind: str) -> dict[str, Any]:
    """Describe the "role", "table", or "function". If it does not exist, UserError names the task that creates it."""
    if kind == "table" and d.settings.table_arn:
        return external.describe_table(d)
    module, service = _MODULES[kind]
    name = getattr(d.settings, f"{kind}_name")
    current: dict[str, Any] | None = module.describe(d.client(service), name)
    if current is None:
        raise UserError(f"{kind} {name} does not exist; create it with: invoke create-{kind}")
    return current


def stream_of(d: Deployment, current: Mapping[str, Any]) -> str:
    """The ARN of the stream of an existing table. Raises UserError if the stream is off."""
    if d.settings.table_arn:
        external.check_stream(d, current)
    if not current["StreamSpecification"]["StreamEnabled"]:
        raise UserError(f"table {current['TableName']} has no stream; enable it with: invoke create-table")
    return str(current["LatestStreamArn"])
