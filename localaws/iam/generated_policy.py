"""The IAM policy that allows what a caller did according to the access log, and nothing else.

IAM Access Analyzer does the same with CloudTrail: IAM user guide, "IAM Access Analyzer policy generation".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from localaws.iam import access_log

if TYPE_CHECKING:
    from pathlib import Path

Conditions = tuple[tuple[str, tuple[str, ...]], ...]

# The parts of ARNs that AWS generates, so that they differ each time.
_GENERATED = (
    (re.compile(r"(:dynamodb:.*/(?:stream|backup)/).+"), r"\1*"),
    (re.compile(r"(:lambda:.*:event-source-mapping:).+"), r"\1*"),
    (re.compile(r"(:lambda:.*:function:[^:]+:)\d+"), r"\1*"),
    (re.compile(r"(:kms:.*:key/).+"), r"\1*"),
    (re.compile(r"(:s3:::.+/).+"), r"\1*"),
    # DescribeLogGroups has no name of a group.
    (re.compile(r"(:logs:.*:log-group:):.*"), r"\1*"),
    (re.compile(r"(:logs:.*:log-group:[^:*]+).*"), r"\1"),
)
# A policy to detach is any that was attached before. A mapping that was just deleted has no function.
_UNCONDITIONAL = ("iam:DetachRolePolicy", "lambda:GetEventSourceMapping")


def generate(directory: Path, caller: str) -> dict[str, Any]:
    """Generate the policy from the access log's entries about a caller, by ARN.

    There is one statement for resources with the same actions and conditions.
    """
    used: dict[tuple[str, str], set[tuple[tuple[str, str], ...]]] = {}
    for line in (directory / access_log.NAME).read_text().splitlines():
        entry = json.loads(line)
        if entry["caller"] == caller:
            action, context = entry["action"], tuple(sorted(entry["context"].items()))
            contexts = used.setdefault((_without_generated(entry["resource"]), action), set())
            contexts.add(() if action in _UNCONDITIONAL else context)
    statements: dict[tuple[str, Conditions], list[str]] = {}
    for (resource, action), contexts in used.items():
        statements.setdefault((resource, _conditions(contexts)), []).append(action)
    resources: dict[tuple[tuple[str, ...], Conditions], list[str]] = {}
    for (resource, conditions), actions in sorted(statements.items()):
        resources.setdefault((tuple(sorted(actions)), conditions), []).append(resource)
    sids: dict[str, int] = {}
    document = [_statement(arns, conditions, list(actions), sids) for (actions, conditions), arns in resources.items()]
    return {"Version": "2012-10-17", "Statement": document}


def _without_generated(arn: str) -> str:
    for pattern, replacement in _GENERATED:
        arn = pattern.sub(replacement, arn)
    return arn


def _conditions(contexts: set[tuple[tuple[str, str], ...]]) -> Conditions:
    """The values of each condition key. None if the caller made the request also without a key."""
    if () in contexts:
        return ()
    values: dict[str, set[str]] = {}
    for name, value in (pair for context in contexts for pair in context):
        values.setdefault(name, set()).add(value)
    return tuple((name, tuple(sorted(each))) for name, each in sorted(values.items()))


def _statement(arns: list[str], conditions: Conditions, actions: list[str], sids: dict[str, int]) -> dict[str, Any]:
    """A statement. Its Sid is its only action or names the resource's type. `sids` counts them: each must be unique."""
    kind = ["any", "resource"] if arns == ["*"] else _kind(arns[0])
    words = actions[0].split(":") if len(actions) == 1 else kind
    sid = "".join(word[:1].upper() + word[1:] for word in re.split(r"\W+", " ".join(words)))
    sids[sid] = sids.get(sid, 0) + 1
    # Some actions on log groups have a resource with a suffix, others one without.
    forms = [[arn, f"{arn}:*"] if re.search(r":log-group:[^*]+$", arn) else [arn] for arn in arns]
    resources = [form for each in forms for form in each]
    statement: dict[str, Any] = {
        "Sid": f"{sid}{sids[sid]}" if sids[sid] > 1 else sid,
        "Effect": "Allow",
        "Action": actions,
        "Resource": resources if len(resources) > 1 else resources[0],
    }
    if conditions:
        statement["Condition"] = {"StringEquals": {name: list(values) for name, values in conditions}}
    return statement


def _kind(arn: str) -> list[str]:
    """The service and the type of a resource: ["dynamodb", "table", "stream"]."""
    service, name = arn.split(":")[2], arn.split(":", 5)[5]
    if service == "s3":
        return [service, "object" if "/" in name else "bucket"]
    if service in ("sqs", "sns"):
        return [service, {"sqs": "queue", "sns": "topic"}[service]]
    kind = re.split("[:/]", name)[0]
    part = re.search("/(stream|backup)/", name) if service == "dynamodb" else None
    return [service, kind, *([part[1]] if part else [])]
