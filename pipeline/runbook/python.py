"""`invoke runbook --format py`: runbook_tasks.py.tmpl filled in for the settings, as Invoke tasks on boto3 alone."""

from __future__ import annotations

import ast
import base64
import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.session

from pipeline import items, parameters, policies, role_check, steps
from pipeline.resources.change import UserError
from pipeline.runbook import EMBEDDED_BYTES, policies_tag
from pipeline.settings import Settings

_WIDTH = 120
_CONDITION = re.compile(r"^( *)#@if (not )?(\w+)\n(.*?)^\1#@end\n", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"^(.*?)\$(\w+)", re.MULTILINE)
_ELSEWHERE = {
    "AssumeRolePolicyDocument", "Code", "CodeSha256", "EventSourceArn", "ManagedPolicyArns",
    "PointInTimeRecoverySpecification", "ReservedConcurrentExecutions", "Role", "retentionInDays",
}  # fmt: skip


def tasks(settings: Settings, root: Path, task: str = "") -> str:
    """The Python file with all tasks; or one task, such as "create-table", with what it uses.

    `root` is the project's folder. Raises UserError for an unknown task.
    """
    values, text = _values(settings, root), Path(__file__).with_name("runbook_tasks.py.tmpl").read_text("utf-8")
    while _CONDITION.search(text):
        text = _CONDITION.sub(lambda match: match[4] if bool(values[match[3]]) != bool(match[2]) else "", text)
    text = _PLACEHOLDER.sub(lambda match: match[1] + _literal(values[match[2]], match[1]), text)
    text = re.sub(rf"^.{{{_WIDTH + 1},}}$", r"\g<0>  # noqa: E501", text, flags=re.MULTILINE)
    if not values["aws_account_id"]:
        text = text.replace("@task(check_account)", "@task").replace("@task(check_account, ", "@task(")
    if not settings.alarm_topic_arn:
        text = text.replace(", create_alarms)", ")")
    names = re.findall(r"^@task.*\ndef (?!check_account)(\w+)", text, re.MULTILINE)
    if task and task.replace("-", "_") not in names:
        raise UserError(f"--task: {task!r} is not allowed; allowed: {', '.join(names).replace('_', '-')}")
    return _needed(text, {task.replace("-", "_")}) if task else _needed(text, {"", *names})


def _values(settings: Settings, root: Path) -> dict[str, Any]:
    """The value of each placeholder and condition in the template: settings, and what is made of them."""
    names = ("pipeline_name", "table_name", "role_name", "function_name", "aws_region")
    # Unicode noncharacters, which no other text contains, enclose a Python variable within a text.
    variables: dict[str, Any] = {name: f"\ufdd0{name.upper()}\ufdd1" for name in names}
    named = replace(settings, **variables)
    partition = botocore.session.Session().get_partition_for_region(settings.aws_region)
    tokens = parameters.policy_tokens(named, f"arn:{partition}:iam::<ACCOUNT_ID>:root")
    trust_policy = policies.trust_policy(root, lambda: tokens, write=False)
    documents = policies.inline_policies(named, root, lambda: tokens, write=False)
    code = steps.build_zip(settings, root)
    function, table = parameters.function(named, "", code), parameters.table(named)
    role, mapping = parameters.role(named, {}), parameters.mapping(named, "")
    dictionaries = {"table": table, "role": role, "function": function, "mapping": mapping}
    elsewhere = {*_ELSEWHERE, "Environment" if settings.function_environment else ""}
    elsewhere.add("" if settings.role_permissions_boundary else "PermissionsBoundary")
    for kind, each in {**dictionaries, "log_group": parameters.log_group(named)}.items():
        dictionaries[kind] = {name: value for name, value in each.items() if name not in elsewhere}
    hash_key, *_ = kinds = items.key_types(table)
    extra = items.parse(json.dumps(settings.smoke_item), "SMOKE_ITEM") if settings.smoke_item else {}
    item = {**{name: {kind: "1" if kind == "N" else "hello"} for name, kind in kinds.items()}, **extra}
    return {
        **vars(settings),
        **dictionaries,
        "aws_account_id": settings.aws_account_id if settings.target == "aws" else "",
        "function_environment": list(settings.function_environment),  # without the values
        "trust_policy": trust_policy,
        "account_in_trust_policy": "<ACCOUNT_ID>" in json.dumps(trust_policy),
        "policies": documents,
        "policies_tag": policies_tag(settings, root, with_key=False),
        "policies_tag_with_key": policies_tag(settings, root, with_key=True),
        "permissions": role_check.simulations(documents, named.aws_region)[0],
        "recovery": table["PointInTimeRecoverySpecification"],
        "code": function["Code"],
        "in_bucket": "S3Bucket" in function["Code"],
        "alarms": parameters.alarms(named),
        "alarms_tag": " ".join(alarm["AlarmName"] for alarm in parameters.alarms(named)),
        "reserved": settings.function_reserved_concurrent_executions is not None,
        "item": item,
        "key": {**{name: item[name] for name in kinds}, hash_key: {kinds[hash_key]: "\ufdd0marker\ufdd1"}},
        "binary": kinds[hash_key] == "B",
        "zip": textwrap.wrap(base64.b64encode(code).decode(), 100) if len(code) <= EMBEDDED_BYTES else [],
    }


def _literal(value: Any, before: str, width: float = _WIDTH) -> str:
    """The value as ruff formats it behind `before` in its line. A collection takes several lines at the top."""
    if isinstance(value, bytes):
        return f'bytes.fromhex("{value.hex()}")'
    if not isinstance(value, (dict, list, tuple)):
        return _text(value) if isinstance(value, str) else repr(value)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    pairs = value.items() if isinstance(value, dict) else [("", each) for each in value]
    rows = [(f"{_text(name)}: " if isinstance(value, dict) else "", each) for name, each in pairs]
    flat = opening + ", ".join(head + _literal(each, " ", float("inf")) for head, each in rows) + closing
    indent = " " * (len(before) - len(before.lstrip(" ")))
    if not value or (indent and len(before + flat) < width):
        return flat
    lines = [f"{indent}    {head}{_literal(each, f'{indent}    {head}')},\n" for head, each in rows]
    return f"{opening}\n{''.join(lines)}{indent}{closing}"


def _text(text: str) -> str:
    """A string, or an f-string if it has variables: between double quotes, unless it has some."""
    literal = repr(text) if '"' in text else '"' + repr(f"'{text}")[2:]
    if "\ufdd0" not in text:
        return literal
    literal = literal.replace("{", "{{").replace("}", "}}").replace(r"\ufdd0", "{").replace(r"\ufdd1", "}")
    variable = re.fullmatch(r'"\{(\w+)\}"', literal)
    return variable[1] if variable else f"f{literal}"


def _needed(text: str, names: set[str]) -> str:
    """The statements of a Python file that define these names, and what those use; "" is the docstring."""
    lines, nodes, sources, end = text.splitlines(), {}, {}, 0
    for node in ast.parse(text).body:
        defined = re.match(r"(?:@.*\n)?(?:(?:from \S+ )?import (?:\w+, )*|def |)(\w*)", ast.unparse(node))
        name = defined[1] if defined else ""
        nodes[name], sources[name] = node, "\n".join(lines[end : node.end_lineno])
        end = node.end_lineno or 0
    needed, todo = set(), [*names, "annotations"]
    while todo:
        if (name := todo.pop()) in nodes and name not in needed:
            needed.add(name)
            todo += [each.id for each in ast.walk(nodes[name]) if isinstance(each, ast.Name)]
    text = "\n".join(source for name, source in sources.items() if name in needed).lstrip("\n")
    # The blank lines that ruff expects.
    text = re.sub(r"(import annotations)\n+", r"\1\n\n", text, count=1)
    text = re.sub(r"\n+(import boto3|from invoke)", r"\n\n\1", text, count=1)
    text = re.sub(r"(from invoke .*)\n+", r"\1\n\n", text, count=1)
    return re.sub(r"\n+((?:#.*\n)?(?:@task.*\n)?def )", r"\n\n\n\1", text) + "\n"
