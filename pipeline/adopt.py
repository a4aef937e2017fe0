"""`adopt`: what a deploy would change in existing resources, and the settings that prevent these changes."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dotenv import set_key

from . import external, items, parameters, policies, steps
from .deployment import Deployment
from .events import Changed, Events, Result, Started
from .resources import function, log_group, mapping, role, table
from .resources.change import OWNER_TAG, Change, Diff, UserError, check_owner, retry
from .settings import DERIVED, Settings, parameters_of

Load = Callable[[Mapping[str, str]], Settings]

_MODULES: dict[str, Any] = {"table": table, "role": role, "function": function, "mapping": mapping}
_NAMES = ("PIPELINE_NAME", "TABLE_ARN", "TABLE_NAME", "ROLE_ARN", "ROLE_NAME", "POLICY_NAME", "FUNCTION_NAME")
# A plan checks the code in lambda_src/, which may differ from the function's code.
_OF_CODE = ("FUNCTION_RUNTIME", "FUNCTION_HANDLER", "FUNCTION_ARCHITECTURE", "FUNCTION_LAYERS")


@dataclass(frozen=True)
class Adoption:
    """A deploy's changes, the lines for `.env` that prevent them, the remaining changes, and what `--write` writes."""

    changes: list[Change]
    lines: dict[str, str]
    unkept: list[str]
    writes: list[tuple[Change, Callable[[], Any]]]


def collect(d: Deployment, env_file: Path, load: Load, load_file: Load) -> Adoption:
    """Read the resources that exist under the names in the settings, and plan a deploy.

    `load` returns the settings with these texts, by name, in place of others. `load_file` does the same with only the
    settings in `env_file`. Raises UserError if no resource exists, or if one belongs to another pipeline.
    """
    values = _values(d)
    texts = {name: _text(value) for name, value in values.items()}
    lines = _missing_lines(load(texts), texts, load_file)
    # A plan ends at a change that a deploy cannot make.
    fixed = {name: text for name, text in texts.items() if name in ("TABLE_KEY", "TABLE_SORT_KEY", "POLICY_NAME")}
    if path := values.get("ROLE_OPTIONS", {}).get("Path"):
        fixed["ROLE_OPTIONS"] = _text({**d.settings.role_options, "Path": path})
    env = Change(env_file.name, "updated" if lines else "unchanged", note=", ".join(lines))
    adoption = Adoption(_plan(d, load(fixed)), lines, [], [(env, partial(_set, env_file, lines))])
    kept = load({name: text for name, text in texts.items() if name not in _OF_CODE})
    for change in _plan(d, kept):
        for diff in change.diffs if change.action == "updated" else ():
            if write := _write_for(d, kept, change, diff):
                adoption.writes.append(write)
            elif diff.setting not in (parameters_of("function")[name] for name in _OF_CODE):
                adoption.unkept.append(f"{diff.setting} of {change.resource}")
    # The function is last, because a plan reads other tags only if the function's tags differ.
    adoption.writes.sort(key=lambda each: each[0].resource.startswith("function "))
    return adoption


def _write_for(d: Deployment, kept: Settings, change: Change, diff: Diff) -> tuple[Change, Callable[[], Any]] | None:
    """The write that prevents a deploy from changing this parameter; None if there is none."""
    if diff.setting in ("Tags", "tags"):
        if OWNER_TAG in diff.old:
            check_owner(change.resource, diff.old, d.settings.pipeline_name)
        return replace(change, diffs=(diff,)), partial(_tag, d, change, diff.new)
    file = policies.TRUST if diff.setting == "AssumeRolePolicyDocument" else ""
    if diff.setting == "PolicyDocument" and change.attributes["PolicyName"] == kept.policy_name:
        file = policies.EXECUTION
    if not file:
        return None
    path = d.root / "policies" / file
    policies.check(path, diff.old)
    return Change(f"policies/{file}", "updated", note="copied from the role"), partial(policies.save, diff.old, path)


def _missing_lines(kept: Settings, texts: Mapping[str, str], load_file: Load) -> dict[str, str]:
    """The lines that `.env` lacks to prevent changes of the resources, and for names that are set elsewhere."""
    in_file, named = load_file({}), load_file({"PIPELINE_NAME": kept.pipeline_name})
    lines = {}
    for name in (*_NAMES, *texts):
        value = getattr(kept, name.lower())
        if value != getattr(in_file if name == "PIPELINE_NAME" else named, name.lower()):
            lines[name] = _text(value)
    for kind in ("TABLE", "ROLE"):
        if f"{kind}_ARN" in lines:
            lines.pop(f"{kind}_NAME", None)
    return lines


def show(adoption: Adoption) -> Events[None]:
    """Show the changes of a deploy, what `--write` would write, and what a deploy would still change."""
    yield Started("adopt")
    for change in adoption.changes:
        yield Changed("adopt", change)
    lines = {name: "(not shown)" if name == "FUNCTION_ENVIRONMENT" else value for name, value in adoption.lines.items()}
    files = [change.resource for change, _ in adoption.writes if change.resource.startswith("policies/")]
    text = [f"{name}={_quoted(value)}" for name, value in lines.items()]
    text += [f"# {file}: --write stores the policy of the existing role here." for file in files]
    text += [f"# A deploy still changes {each}." for each in adoption.unkept]
    yield Result("\n".join(text), {"settings": lines, "files": files, "unkept": adoption.unkept})


def write(adoption: Adoption) -> Events[None]:
    """Write the lines and the policies, and tag the resources. Changes nothing else."""
    yield Started("adopt")
    for change, make in adoption.writes:
        retry(make)
        yield Changed("adopt", change)


def _set(env_file: Path, lines: Mapping[str, str]) -> None:
    for name, text in lines.items():
        set_key(env_file.resolve(), name, _quoted(text), quote_mode="never")


def _tag(d: Deployment, change: Change, tags: Mapping[str, str]) -> None:
    pairs = parameters.tag_list(tags)
    if change.resource.startswith("table "):
        d.client("dynamodb").tag_resource(ResourceArn=change.arn, Tags=pairs)
    elif change.resource.startswith("role "):
        d.client("iam").tag_role(RoleName=change.attributes["RoleName"], Tags=pairs)
    elif change.resource.startswith("alarm "):
        d.client("cloudwatch").tag_resource(ResourceARN=change.arn, Tags=pairs)
    elif change.resource.startswith("log group "):
        d.client("logs").tag_resource(resourceArn=change.arn, tags=tags)
    else:
        d.client("lambda").tag_resource(Resource=change.arn, Tags=tags)


def _plan(d: Deployment, settings: Settings) -> list[Change]:
    return steps.plan(replace(d, settings=replace(settings, aws_region=d.settings.aws_region), adopt=True))


def _values(d: Deployment) -> dict[str, Any]:
    """The value of each setting that matches the existing resources. None is the setting's default."""
    found = _existing(d)
    values: dict[str, Any] = {}
    for kind, current in found.items():
        values |= parameters.to_settings(kind, current)
        if module := _MODULES.get(kind):
            covered = {"Tags", *(path.partition(".")[0] for path in parameters_of(kind).values())}
            others = {name: current[name] for name in module.DEFAULTS if name not in covered}
            values[f"{kind.upper()}_OPTIONS"] = {n: each for n, each in others.items() if each != module.DEFAULTS[n]}
    if "log_group" in found:
        values["LOG_RETENTION_IN_DAYS"] = found["log_group"]["retentionInDays"] or 0
    if "table" in found:
        keys = [f"{name}:{kind}" for name, kind in items.key_types(found["table"]).items()]
        values["TABLE_KEY"], values["TABLE_SORT_KEY"] = [*keys, ""][:2]
    if "function" in found:
        usual = {"LogGroup": f"/aws/lambda/{d.settings.function_name}", "SystemLogLevel": "INFO"}
        logging = found["function"]["LoggingConfig"].items()
        if unusual := {name: value for name, value in logging if name in usual and value != usual[name]}:
            values["FUNCTION_OPTIONS"]["LoggingConfig"] = unusual
    if "role" in found:
        names = role.inline_policy_names(d.client("iam"), d.settings.role_name)
        values["POLICY_NAME"] = names[0] if len(names) == 1 else d.settings.policy_name
    elif "function" in found and d.settings.role_name == d.settings.pipeline_name + DERIVED["role_name"]:
        values["ROLE_ARN"] = found["function"]["Role"]
    return values


def _existing(d: Deployment) -> dict[str, Any]:
    """The resources that exist, by kind."""
    settings, lambda_ = d.settings, d.client("lambda")
    found: dict[str, Any] = {
        "table": not settings.table_arn and table.describe(d.client("dynamodb"), settings.table_name),
        "role": not settings.role_arn and role.describe(d.client("iam"), settings.role_name),
        "function": function.describe(lambda_, settings.function_name, secrets=True),
    }
    group = found["function"]["LoggingConfig"]["LogGroup"] if found["function"] else parameters.log_group_name(settings)
    found["log_group"] = log_group.describe(d.client("logs"), group)
    current = external.describe_table(d) if settings.table_arn else found["table"]
    found["mapping"] = current and mapping.describe(lambda_, settings.function_name, current["LatestStreamArn"])
    found = {kind: current for kind, current in found.items() if current}
    if not found:
        names = f"table {settings.table_name}, role {settings.role_name} nor function {settings.function_name}"
        raise UserError(f"neither {names} exists; set TABLE_NAME, ROLE_NAME and FUNCTION_NAME to existing ones")
    return found


def _text(value: Any) -> str:
    """A value in the form of `.env`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return ",".join(value) if isinstance(value, (list, tuple)) else "" if value is None else str(value)


def _quoted(text: str) -> str:
    if re.fullmatch(r"[\w.:/,@+=-]*", text, re.ASCII):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
