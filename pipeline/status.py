"""What stands: every resource, its state, and what differs from the settings; the stream, the last run, the errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from . import chains, logs, mapping, table, parameters
from .report import SIGNS, described, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .resources.change import Change
    from .steps import Run

_METRICS_MINUTES = 15
_EVENTS_LOOKED_AT = 1000


@dataclass(frozen=True)
class Status:
    """`changes` are those that a deploy would make; `facts` are by name, for a person and for `--json`."""

    changes: list[Change]
    facts: dict[str, Any]

    @property
    def drifted(self) -> list[Change]:
        """What is not as the settings say."""
        return [change for change in self.changes if change.action != "unchanged"]

    def lines(self) -> Iterator[str]:
        """All of it, for a person."""
        for change in self.changes:
            yield f"{SIGNS[change.action]} {change.resource:<52} {state(change):<9} {change.arn}".rstrip()
            for difference in change.diffs if change.action != "created" else ():
                yield f"    {told(difference)}"
        for name, value in self.facts.items():
            yield f"  {name:<14} {'; '.join(value) or 'none' if isinstance(value, list) else value}"

    def document(self) -> dict[str, Any]:
        """All of it, for a program."""
        resources = [{**described(change), "state": state(change)} for change in self.changes]
        return {"drift": bool(self.drifted), "resources": resources, "facts": self.facts}


def state(change: Change) -> str:
    """The resource's state in AWS's word, where it has one."""
    if change.action in ("created", "deleted"):
        return "missing" if change.action == "created" else "left over"
    return str(change.attributes.get("TableStatus") or change.attributes.get("State") or "present")


def look(run: Run) -> Status:
    """Plan a deploy, without a word, and ask what else is worth knowing. Reading calls only."""
    # The zip lies on this machine; whether it is what runs, the function's CodeSha256 tells.
    changes = [change for change in chains.plan(run) if not change.resource.startswith("zip ")]
    # A plan answers what there will be; this is about what there is.
    found = table.describe(run.aws("dynamodb"), run.settings.table_name)
    mappings = mapping.of_function(run.aws("lambda"), run.settings.function_name)
    stream = str(found["LatestStreamArn"]) if found else ""
    ours = next((entry for entry in mappings if entry["EventSourceArn"] == stream), None)
    facts: dict[str, Any] = {}
    if found:
        facts["items"] = found["ItemCount"]
        facts["stream"] = _stream(run, stream)
    if ours:
        facts["last result"] = ours["LastProcessingResult"]
        changes = [replace(each, attributes=ours) if each.resource.startswith("mapping ") else each for each in changes]
    # On streams that are no more, or made by hand.
    others = [entry for entry in mappings if entry is not ours]
    facts["other mappings"] = [f"{each['UUID']} on {each['EventSourceArn']}: {each['State']}" for each in others]
    if any(each.resource.startswith("function ") and each.action != "created" for each in changes):
        facts |= _metrics(run)
        facts |= _last_run(run)
    return Status(changes, facts)


def _stream(run: Run, arn: str) -> str:
    client = run.aws("dynamodbstreams")
    if not arn:
        return "none"
    try:
        described = client.describe_stream(StreamArn=arn)["StreamDescription"]
    except client.exceptions.ResourceNotFoundException:  # turned off a day ago
        return "none"
    return f"{described['StreamStatus']}, {described['StreamViewType']}, shards: {len(described['Shards'])}"


def _metrics(run: Run) -> dict[str, Any]:
    """The function's figures of the last minutes, as CloudWatch has them; empty when it has none."""
    now = datetime.now(timezone.utc)
    wanted_figures = {
        "iterator age": ("IteratorAge", "Maximum"),
        "runs": ("Invocations", "Sum"),
        "errors": ("Errors", "Sum"),
    }
    figures: dict[str, Any] = {}
    for name, (metric, statistic) in wanted_figures.items():
        points = run.aws("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": run.settings.function_name}],
            StartTime=now - timedelta(minutes=_METRICS_MINUTES),
            EndTime=now,
            Period=_METRICS_MINUTES * 60,
            Statistics=[statistic],
        )["Datapoints"]
        if points:
            value = max(point[statistic] for point in points)
            figures[name] = f"{value:.0f}{' ms' if metric == 'IteratorAge' else ''} in {_METRICS_MINUTES} min"
    return figures


def _last_run(run: Run) -> dict[str, Any]:
    """The newest invocation that was logged, and the newest that failed, of the newest log stream."""
    client, group = run.aws("logs"), parameters.log_group_name(run.settings)
    try:
        newest = client.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    except client.exceptions.ResourceNotFoundException:
        return {}
    if not newest["logStreams"]:
        return {"last run": "none was logged"}
    name = newest["logStreams"][0]["logStreamName"]
    events = client.get_log_events(
        logGroupName=group, logStreamName=name, startFromHead=False, limit=_EVENTS_LOOKED_AT
    )["events"]
    runs = logs.invocations([{**event, "logStreamName": name} for event in events])
    failed = [(each, line) for each in runs for line in each.lines if logs.FAILURE.search(line)]
    last: dict[str, Any] = {"last run": _told(runs[-1])} if runs else {}
    return last | ({"last error": f"{_told(failed[-1][0])}: {failed[-1][1].splitlines()[0]}"} if failed else {})


def _told(invocation: Any) -> str:
    when = datetime.fromtimestamp(invocation.started_ms / 1000, timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%SZ}, request id {invocation.request_id}"
