"""`status`: the state and the differences of every resource, and facts about the stream and the function."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from . import log_reader, metrics, parameters, policies, steps
from .deployment import Deployment
from .log_reader import Invocation
from .report import SIGNS, diff_text, document_of
from .resources import alias, mapping, role, table
from .resources.change import Change, own_tags


@dataclass(frozen=True)
class Status:
    """`changes` contains the changes that a deploy would make, `facts` the facts by name."""

    changes: list[Change]
    facts: dict[str, Any]

    @property
    def drifted(self) -> list[Change]:
        """The resources that differ from the settings."""
        return [change for change in self.changes if change.action != "unchanged"]

    def lines(self) -> Iterator[str]:
        """The status as lines of text."""
        for change in self.changes:
            about = f"{state(change):<9} {change.arn}  {change.note}"
            yield f"{SIGNS[change.action]} {change.resource:<52} {about}".rstrip()
            for diff in change.diffs if change.action != "created" else ():
                yield f"    {diff_text(diff)}"
        for name, value in self.facts.items():
            yield f"  {name:<15} {'; '.join(value) or 'none' if isinstance(value, list) else value}"

    def document(self) -> dict[str, Any]:
        """The status as a JSON document."""
        resources = [{**document_of(change), "state": state(change)} for change in self.changes]
        return {"drift": bool(self.drifted), "resources": resources, "facts": self.facts}


def state(change: Change) -> str:
    """The resource's state. Uses AWS's name if AWS has one."""
    if change.action in ("created", "deleted", "absent"):
        return "obsolete" if change.action == "deleted" else "missing"
    names = ("TableStatus", "State", "StateValue")
    return str(next((state for name in names if (state := change.attributes.get(name))), "present"))


def collect(d: Deployment) -> Status:
    """Plan a deploy and read the facts. Makes only read calls."""
    changes = steps.plan(d)
    # The plan, which has already checked TABLE_ARN, contains the attributes after a deploy. These are the current ones.
    current = table.describe(d.client("dynamodb"), d.settings.table_arn or d.settings.table_name, tags=False)
    mappings = mapping.of_function(d.client("lambda"), d.settings.function_name)
    stream = str(current["LatestStreamArn"]) if current else ""
    ours = next((entry for entry in mappings if entry["EventSourceArn"] == stream), None)
    facts: dict[str, Any] = {}
    if current:
        facts["items"] = current["ItemCount"]
        if d.settings.target == "aws":
            facts["items as of"] = "up to six hours ago"
        facts["stream"] = _stream(d, stream)
    if ours:
        facts["last result"] = ours["LastProcessingResult"]
        changes = [replace(each, attributes=ours) if each.resource.startswith("mapping ") else each for each in changes]
    if d.settings.function_alias:
        versions = alias.versions(d.client("lambda"), d.settings.function_name)[1:]
        facts["versions"] = [alias.summary(each) for each in versions]
    facts |= _foreign(d, changes)
    # On deleted streams, or created by hand.
    others = [entry for entry in mappings if entry is not ours]
    facts["other mappings"] = [f"{each['UUID']} on {each['EventSourceArn']}: {each['State']}" for each in others]
    if any(each.resource.startswith("function ") and each.action != "created" for each in changes):
        facts |= function_metrics(d)
        facts |= _last_invocation(d)
    return Status(changes, facts)


def _foreign(d: Deployment, changes: list[Change]) -> dict[str, list[str]]:
    """The tags and policies that others added to our resources."""
    ours = parameters.tags(d.settings)
    tags = []
    for change in changes:
        current: dict[str, str] = change.attributes.get("Tags") or change.attributes.get("tags") or {}
        if change.action != "created" and isinstance(current, dict):
            foreign = current.keys() - own_tags(current, ours).keys() - {role.POLICIES_TAG, parameters.ALARMS_TAG}
            tags += [f"{name} on {change.resource}" for name in sorted(foreign)]
    names = policies.inline_policy_names(d.settings, d.root)
    arns = d.settings.role_managed_policy_arns
    added = [] if d.settings.role_arn else role.foreign_policies(d.client("iam"), d.settings.role_name, names, arns)
    return {name: value for name, value in (("foreign tags", tags), ("foreign policies", added)) if value}


def _stream(d: Deployment, arn: str) -> str:
    client = d.client("dynamodbstreams")
    if not arn:
        return "none"
    try:
        stream = client.describe_stream(StreamArn=arn)["StreamDescription"]
    except client.exceptions.ResourceNotFoundException:  # turned off more than a day ago
        return "none"
    except client.exceptions.ClientError as error:
        if not d.settings.table_arn or error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return "access denied"  # the owner allows the function's role
    more = " or more" if stream.get("LastEvaluatedShardId") else ""
    return f"{stream['StreamStatus']}, {stream['StreamViewType']}, shards: {len(stream['Shards'])}{more}"


def function_metrics(d: Deployment) -> dict[str, Any]:
    """The function's CloudWatch metrics of the last minutes; empty if there are none."""
    facts: dict[str, Any] = {}
    for name, metric in (("iterator age", "IteratorAge"), ("invocations", "Invocations"), ("errors", "Errors")):
        statistic, unit = ("Maximum", " ms") if metric == "IteratorAge" else ("Sum", "")
        if values := [point[statistic] for point in metrics.datapoints(d, metric, statistic)]:
            facts[name] = f"{max(values) if unit else sum(values):.0f}{unit} in {metrics.MINUTES} min"
    return facts


def _last_invocation(d: Deployment) -> dict[str, Any]:
    """The newest invocation and the newest failed invocation of the newest log stream."""
    invocations = log_reader.latest(d.client("logs"), parameters.log_group_name(d.settings))
    if not invocations:
        return {"last invocation": "none logged"}
    facts = {"last invocation": _summary(invocations[-1])}
    failed = [invocation for invocation in invocations if invocation.failure]
    if failed:
        facts["last error"] = f"{_summary(failed[-1])}: {failed[-1].failure.splitlines()[0]}"
    if d.settings.target == "aws":
        # DescribeLogStreams, lastEventTimestamp.
        facts["logs as of"] = "up to an hour ago, if another log stream is newer"
    return facts


def _summary(invocation: Invocation) -> str:
    started = datetime.fromtimestamp(invocation.started_ms / 1000, timezone.utc)
    return f"{started:%Y-%m-%dT%H:%M:%SZ}, request ID {invocation.request_id}"
