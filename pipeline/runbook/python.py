"""`invoke runbook --format py`: runbook_tasks.py.tmpl filled in for the settings, as Invoke tasks on boto3 alone."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import items
from pipeline.resources.change import UserError
from pipeline.runbook import common_values, template
from pipeline.settings import Settings

_WIDTH = 120
_PLACEHOLDER = re.compile(r"^(.*?)\$(\w+)", re.MULTILINE)
_ELSEWHERE = {
    "AssumeRolePolicyDocument", "Code", "CodeSha256", "EventSourceArn", "ManagedPolicyArns",
    "PointInTimeRecoverySpecification", "ReservedConcurrentExecutions", "Role", "retentionInDays",
}  # fmt: skip


def tasks(settings: Settings, root: Path, task: str = "") -> str:
    """The file with all tasks, or with one such as "create-table" and what that uses. Raises UserError if unknown."""
    values = _values(settings, root)
    text = template("runbook_tasks.py.tmpl", values)
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
    """The value of each placeholder and condition in the template."""
    names = ("pipeline_name", "table_name", "role_name", "function_name", "aws_region")
    # Unicode noncharacters, which no other text contains, enclose a Python variable within a text.
    variables: dict[str, Any] = {name: f"\ufdd0{name.upper()}\ufdd1" for name in names}
    named = replace(settings, **variables)
    values = common_values(settings, named, root, "<ACCOUNT_ID>")
    table, code = values["table"], values["function"]["Code"]
    elsewhere = {*_ELSEWHERE, "Environment" if settings.function_environment else ""}
    elsewhere.add("" if settings.role_permissions_boundary else "PermissionsBoundary")
    for kind in ("table", "role", "function", "mapping", "log_group"):
        values[kind] = {name: value for name, value in values[kind].items() if name not in elsewhere}
    hash_key, *_ = kinds = items.key_types(table)
    item = {**{name: {kind: "1" if kind == "N" else "hello"} for name, kind in kinds.items()}, **values["smoke_item"]}
    return {
        **vars(settings),
        **values,
        "function_environment": list(settings.function_environment),  # without the values
        "account_in_trust_policy": "<ACCOUNT_ID>" in json.dumps(values["trust_policy"]),
        "recovery": table["PointInTimeRecoverySpecification"],
        "code": code,
        "in_bucket": "S3Bucket" in code,
        "alarms_tag": " ".join(alarm["AlarmName"] for alarm in values["alarms"]),
        "reserved": settings.function_reserved_concurrent_executions is not None,
        "item": item,
        "key": {**{name: item[name] for name in kinds}, hash_key: {kinds[hash_key]: "\ufdd0marker\ufdd1"}},
        "binary": kinds[hash_key] == "B",
    }


def _literal(value: Any, before: str, width: float = _WIDTH) -> str:
    """The value as ruff formats it after `before`. A top-level collection takes several lines."""
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
    """A string, or an f-string if it contains variables, in double quotes unless it contains any."""
    literal = repr(text) if '"' in text else '"' + repr(f"'{text}")[2:]
    if "\ufdd0" not in text:
        return literal
    literal = literal.replace("{", "{{").replace("}", "}}").replace(r"\ufdd0", "{").replace(r"\ufdd1", "}")
    variable = re.fullmatch(r'"\{(\w+)\}"', literal)
    return variable[1] if variable else f"f{literal}"


def _needed(text: str, names: set[str]) -> str:
    """The statements of a Python file that define these names and everything that they use; "" is the docstring."""
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
