"""`adopt`: what a deploy would change in resources that exist already, and the settings that keep them as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from dotenv import set_key

from . import parameters, policies, steps
from .events import Changed, Result, Started
from .resources import function, log_group, mapping, role, table
from .resources.change import OWNER_TAG, Change, Diff, UserError, check_owner, retry
from .settings import DERIVED

if TYPE_CHECKING:
    from pathlib import Path

    from .deployment import Deployment
    from .events import Events
    from .settings import Settings

    Load = Callable[[Mapping[str, str]], Settings]

# Where the description of a resource has the value of each setting.
_PATHS = {
    "table": {
        "TABLE_BILLING_MODE": "BillingMode",
        "TABLE_READ_CAPACITY_UNITS": "ProvisionedThroughput.ReadCapacityUnits",
        "TABLE_WRITE_CAPACITY_UNITS": "ProvisionedThroughput.WriteCapacityUnits",
        "STREAM_VIEW_TYPE": "StreamSpecification.StreamViewType",
        "TABLE_DELETION_PROTECTION_ENABLED": "DeletionProtectionEnabled",
        "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled",
    },
    "role": {"ROLE_PERMISSIONS_BOUNDARY": "PermissionsBoundary", "ROLE_MANAGED_POLICY_ARNS": "ManagedPolicyArns"},
    "function": {
        "FUNCTION_RUNTIME": "Runtime",
        "FUNCTION_HANDLER": "Handler",
        "FUNCTION_MEMORY_SIZE": "MemorySize",
        "FUNCTION_TIMEOUT": "Timeout",
        "FUNCTION_ENVIRONMENT": "Environment.Variables",
        "FUNCTION_ARCHITECTURE": "Architectures",
        "FUNCTION_EPHEMERAL_STORAGE": "EphemeralStorage.Size",
        "FUNCTION_LAYERS": "Layers",
        "FUNCTION_TRACING": "TracingConfig.Mode",
        "FUNCTION_LOG_FORMAT": "LoggingConfig.LogFormat",
        "FUNCTION_LOG_LEVEL": "LoggingConfig.ApplicationLogLevel",
        "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "ReservedConcurrentExecutions",
    },
    "log_group": {"LOG_RETENTION_IN_DAYS": "retentionInDays"},
    "mapping": {
        "BATCH_SIZE": "BatchSize",
        "MAXIMUM_BATCHING_WINDOW_IN_SECONDS": "MaximumBatchingWindowInSeconds",
        "STARTING_POSITION": "StartingPosition",
        "MAXIMUM_RETRY_ATTEMPTS": "MaximumRetryAttempts",
        "MAXIMUM_RECORD_AGE_IN_SECONDS": "MaximumRecordAgeInSeconds",
        "BISECT_BATCH_ON_FUNCTION_ERROR": "BisectBatchOnFunctionError",
        "FUNCTION_RESPONSE_TYPES": "FunctionResponseTypes",
        "PARALLELIZATION_FACTOR": "ParallelizationFactor",
        "FILTER_CRITERIA": "FilterCriteria",
        "TUMBLING_WINDOW_IN_SECONDS": "TumblingWindowInSeconds",
        "ON_FAILURE": "DestinationConfig.OnFailure.Destination",
        "MAPPING_ENABLED": "Enabled",
    },
}
_MODULES: dict[str, Any] = {"table": table, "role": role, "function": function, "mapping": mapping}
_NAMES = ("PIPELINE_NAME", "TABLE_NAME", "ROLE_ARN", "ROLE_NAME", "POLICY_NAME", "FUNCTION_NAME")
# A plan checks the code in lambda_src/, which may not be that of the function.
_OF_CODE = ("FUNCTION_RUNTIME", "FUNCTION_HANDLER", "FUNCTION_ARCHITECTURE", "FUNCTION_LAYERS")
# The parameters that a plan without those settings changes, and what `write` writes.
_KEPT = ("Runtime", "Handler", "Architectures", "Layers", "Tags", "tags", "AssumeRolePolicyDocument", "PolicyDocument")


@dataclass(frozen=True)
class Adoption:
    """What a deploy would change, and what keeps it from that: lines of `.env`, and documents by file in policies/.

    `remaining` are the changes that a deploy makes in spite of the lines.
    """

    changes: list[Change]
    lines: dict[str, str]
    remaining: list[Change]
    documents: dict[str, Any]


def collect(d: Deployment, load: Load, load_file: Load) -> Adoption:
    """Read the resources that exist under the names in the settings, and plan a deploy.

    `load` returns the settings with these texts, by name, in place of others; `load_file` those of `.env` alone with
    them. Raises UserError if no resource exists, or if one belongs to another pipeline.
    """
    owner = d.settings.pipeline_name
    values = _values(d)
    texts = {name: _text(value) for name, value in values.items()}
    kept, base, in_file = load(texts), load_file({"PIPELINE_NAME": owner}), load_file({})
    lines = {}
    for name in (*_NAMES, *texts):
        value = getattr(kept, name.lower())
        if value != getattr(in_file if name == "PIPELINE_NAME" else base, name.lower()):
            lines[name] = _text(value)
    if "ROLE_ARN" in lines:
        lines.pop("ROLE_NAME", None)
    # A plan ends at a difference that a deploy cannot make.
    fixed = {name: text for name, text in texts.items() if name in ("TABLE_KEY", "TABLE_SORT_KEY", "POLICY_NAME")}
    if path := values.get("ROLE_OPTIONS", {}).get("Path"):
        fixed["ROLE_OPTIONS"] = _text({**d.settings.role_options, "Path": path})
    changes = _plan(d, load(fixed))
    remaining = _plan(d, load({name: text for name, text in texts.items() if name not in _OF_CODE}))
    documents = {}
    for change, diff in _updates(remaining):
        if diff.setting in ("Tags", "tags") and OWNER_TAG in diff.old:
            check_owner(change.resource, diff.old, owner)
        elif diff.setting == "AssumeRolePolicyDocument":
            documents[policies.TRUST] = diff.old
        elif diff.setting == "PolicyDocument" and change.attributes["PolicyName"] == kept.policy_name:
            documents[policies.EXECUTION] = diff.old
    for file, document in documents.items():
        policies.check(d.root / "policies" / file, document)
    return Adoption(changes, lines, remaining, documents)


def show(adoption: Adoption) -> Events[None]:
    """The changes of a deploy, then the lines and the files that prevent them."""
    yield Started("adopt")
    for change in adoption.changes:
        yield Changed("adopt", change)
    hidden = {"FUNCTION_ENVIRONMENT": "(not shown)"} if "FUNCTION_ENVIRONMENT" in adoption.lines else {}
    lines = {**adoption.lines, **hidden}
    files = [f"policies/{file}" for file in adoption.documents]
    text = [f"{name}={_quoted(value)}" for name, value in lines.items()]
    text += [f"# {file}: the document of the existing role" for file in files]
    text += [
        f"# A deploy still changes {diff.setting} of {change.resource}."
        for change, diff in _updates(adoption.remaining)
        if diff.setting not in _KEPT
    ]
    yield Result("\n".join(text), {"settings": lines, "files": files})


def write(d: Deployment, adoption: Adoption, env_file: Path) -> Events[None]:
    """Write the lines into `.env` and the documents into policies/, and tag the resources. Changes nothing else."""
    yield Started("adopt")
    for name, text in adoption.lines.items():
        set_key(env_file.resolve(), name, _quoted(text), quote_mode="never")
    yield Changed("adopt", Change(env_file.name, "updated" if adoption.lines else "unchanged"))
    for file, document in adoption.documents.items():
        policies.save(document, d.root / "policies" / file)
        yield Changed("adopt", Change(f"policies/{file}", "updated"))
    for change, diff in _updates(adoption.remaining):
        if diff.setting in ("Tags", "tags"):
            retry(partial(_tag, d, change, diff.new))
            yield Changed("adopt", replace(change, diffs=(diff,)))


def _tag(d: Deployment, change: Change, tags: Mapping[str, str]) -> None:
    pairs = parameters.tag_list(tags)
    if change.resource.startswith("table "):
        d.client("dynamodb").tag_resource(ResourceArn=change.arn, Tags=pairs)
    elif change.resource.startswith("role "):
        d.client("iam").tag_role(RoleName=change.attributes["RoleName"], Tags=pairs)
    elif change.resource.startswith("log group "):
        d.client("logs").tag_resource(resourceArn=change.arn, tags=tags)
    else:
        d.client("lambda").tag_resource(Resource=change.arn, Tags=tags)


def _plan(d: Deployment, settings: Settings) -> list[Change]:
    return steps.plan(replace(d, settings=replace(settings, aws_region=d.settings.aws_region), adopt=True))


def _updates(changes: Iterable[Change]) -> list[tuple[Change, Diff]]:
    return [(change, diff) for change in changes if change.action == "updated" for diff in change.diffs]


def _values(d: Deployment) -> dict[str, Any]:
    """The value of each setting that keeps the existing resources as they are. None is the setting's default."""
    found = _existing(d)
    values: dict[str, Any] = {}
    for kind, current in found.items():
        for name, path in _PATHS[kind].items():
            values[name] = reduce(lambda value, member: value and value.get(member), path.split("."), current)
        if module := _MODULES.get(kind):
            covered = {"Tags", *(path.partition(".")[0] for path in _PATHS[kind].values())}
            others = {name: current[name] for name in module.DEFAULTS if name not in covered}
            values[f"{kind.upper()}_OPTIONS"] = {n: each for n, each in others.items() if each != module.DEFAULTS[n]}
    if "log_group" in found:
        values["LOG_RETENTION_IN_DAYS"] = found["log_group"]["retentionInDays"] or 0
    if "table" in found:
        types = {each["AttributeName"]: each["AttributeType"] for each in found["table"]["AttributeDefinitions"]}
        keys = [f"{each['AttributeName']}:{types[each['AttributeName']]}" for each in found["table"]["KeySchema"]]
        values["TABLE_KEY"], values["TABLE_SORT_KEY"] = [*keys, ""][:2]
    if "function" in found:
        usual = {"LogGroup": f"/aws/lambda/{d.settings.function_name}", "SystemLogLevel": "INFO"}
        logging = found["function"]["LoggingConfig"].items()
        if unusual := {name: value for name, value in logging if name in usual and value != usual[name]}:
            values["FUNCTION_OPTIONS"]["LoggingConfig"] = unusual
    if "role" in found:
        names = role.inline_policy_names(d.client("iam"), d.settings.role_name)
        values["POLICY_NAME"] = names[0] if len(names) == 1 else d.settings.policy_name
    elif "function" in found and d.settings.role_name == DERIVED["role_name"](d.settings.pipeline_name):
        values["ROLE_ARN"] = found["function"]["Role"]
    return values


def _existing(d: Deployment) -> dict[str, Any]:
    """The resources that exist, by kind."""
    settings, lambda_ = d.settings, d.client("lambda")
    found: dict[str, Any] = {
        "table": table.describe(d.client("dynamodb"), settings.table_name),
        "role": not settings.role_arn and role.describe(d.client("iam"), settings.role_name),
        "function": function.describe_with_secrets(lambda_, settings.function_name),
    }
    group = found["function"]["LoggingConfig"]["LogGroup"] if found["function"] else parameters.log_group_name(settings)
    found["log_group"] = log_group.describe(d.client("logs"), group)
    if stream := found["table"] and found["table"]["LatestStreamArn"]:
        entry = mapping.describe(lambda_, settings.function_name, stream)
        get = lambda_.get_event_source_mapping  # a list may omit the filters
        found["mapping"] = entry and mapping.to_create_parameters(get(UUID=entry["UUID"]))
    found = {kind: current for kind, current in found.items() if current}
    if not found:
        names = f"table {settings.table_name}, role {settings.role_name} nor function {settings.function_name}"
        raise UserError(f"neither {names} exists; set TABLE_NAME, ROLE_NAME and FUNCTION_NAME to existing ones")
    return found


def _text(value: Any) -> str:
    """A value as `.env` has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return ",".join(value) if isinstance(value, (list, tuple)) else "" if value is None else str(value)


def _quoted(text: str) -> str:
    if re.fullmatch(r"[\w.:/,@+=-]*", text, re.ASCII):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
