"""A log group in CloudWatch Logs: look, compare, create or update, delete; and reading what a function logged.

To use it elsewhere, copy this file and `change.py` into one folder and import it from there
(`from steps import logs`). It needs boto3 and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import WaiterError
from botocore.waiter import WaiterModel, create_waiter_with_client

from .change import OWNER_TAG, Change, Refused, all_new, check_owner, differences, refuse_unknown, tag_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from types_boto3_logs import CloudWatchLogsClient

# What AWS takes for what is left out: compared like the rest, so that an option taken away is set back.
_DEFAULTS: dict[str, Any] = {
    "deletionProtectionEnabled": False,
    "kmsKeyId": "",
    "logGroupClass": "STANDARD",
    "retentionInDays": None,
    "tags": {},
}


def describe_group(logs: CloudWatchLogsClient, name: str, *, tags: bool = True) -> dict[str, Any] | None:
    """What AWS has of the log group under the names of CreateLogGroup's parameters, or None.

    Adds arn, storedBytes and retentionInDays (None: kept for ever); its `tags` take a call of their own.
    CloudWatch Logs API reference: DescribeLogGroups, ListTagsForResource.
    """
    # The shortest name with the prefix comes first, so one is enough.
    groups = logs.describe_log_groups(logGroupNamePrefix=name, limit=1)["logGroups"]
    if not groups or groups[0].get("logGroupName") != name:
        return None
    arn = groups[0]["arn"].removesuffix(":*")
    found: dict[str, Any] = {
        **_DEFAULTS,
        **{key: value for key, value in groups[0].items() if key in _DEFAULTS},
        "logGroupName": name,
        "arn": arn,
        "storedBytes": groups[0].get("storedBytes", 0),
    }
    if tags:
        found["tags"] = _tags(logs, arn)
    return found


def ensure_group(
    logs: CloudWatchLogsClient, wanted: Mapping[str, Any], *, adopt: bool = False, tags: bool = True
) -> Change:
    """Make the log group as wanted.

    `wanted` are CreateLogGroup's parameters, and retentionInDays as PutRetentionPolicy has it (None: kept for ever).
    What is left out is put to AWS's default. Without `tags`, these are looked at only when something else has changed.

    Raises Refused for a log group of another pipeline (unless `adopt`) and for another logGroupClass. CloudWatch Logs
    API reference: CreateLogGroup, PutRetentionPolicy, AssociateKmsKey, PutLogGroupDeletionProtection, TagResource.
    """
    name = wanted["logGroupName"]
    what = f"log group {name}"
    refuse_unknown(what, wanted, {*_DEFAULTS, "logGroupName"})
    complete = {**_DEFAULTS, **wanted}
    found = describe_group(logs, name, tags=tags)
    if found is None:
        return _create(logs, wanted, complete)
    if not tags:
        if not differences(found, {**complete, "tags": found["tags"]}):
            return Change(what, "unchanged", answer=found)
        found["tags"] = _tags(logs, found["arn"])
    check_owner(what, found["tags"], complete["tags"].get(OWNER_TAG, ""), adopt=adopt)
    changed = differences(found, complete)
    if not changed:
        return Change(what, "unchanged", answer=found)
    if found["logGroupClass"] != complete["logGroupClass"]:
        raise Refused(
            f"{what} has logGroupClass {found['logGroupClass']}, wanted is {complete['logGroupClass']}; AWS cannot "
            f"change it. Delete the log group, with its logs, and create it anew."
        )
    _update(logs, found, complete, {difference.setting for difference in changed})
    return Change(what, "updated", changed, answer={**found, **complete})


def delete_group(logs: CloudWatchLogsClient, name: str, *, owner: str = "") -> Change:
    """Delete the log group with its logs; Refused when it is of another pipeline, or protected from deletion.

    CloudWatch Logs API reference: DeleteLogGroup.
    """
    what = f"log group {name}"
    found = describe_group(logs, name)
    if found is None:
        return Change(what, "absent")
    check_owner(what, found["tags"], owner)
    if found["deletionProtectionEnabled"]:
        raise Refused(
            f"{what} is protected from deletion (deletionProtectionEnabled is true). To delete it, turn that off: "
            f"aws logs put-log-group-deletion-protection --log-group-identifier {name} --no-deletion-protection-enabled"
        )
    logs.delete_log_group(logGroupName=name)
    return Change(what, "deleted", answer=found)


def _tags(logs: CloudWatchLogsClient, arn: str) -> dict[str, str]:
    tags = logs.list_tags_for_resource(resourceArn=arn)["tags"]
    return {tag: value for tag, value in tags.items() if not tag.startswith("aws:")}


def wait_for_group(logs: CloudWatchLogsClient, name: str, timeout: float) -> None:
    """Wait until the log group exists, `timeout` seconds at most; raises Refused after them."""
    delay = 0.5
    model = WaiterModel(
        {
            "version": 2,
            "waiters": {
                "Exists": {
                    "operation": "DescribeLogGroups",
                    "delay": delay,
                    "maxAttempts": int(timeout / delay) + 1,
                    "acceptors": [
                        {
                            "state": "success",
                            "matcher": "pathAny",
                            "argument": "logGroups[].logGroupName",
                            "expected": name,
                        }
                    ],
                }
            },
        }
    )
    try:
        create_waiter_with_client("Exists", model, logs).wait(logGroupNamePrefix=name)
    except WaiterError as error:
        if "Error" in error.last_response:
            raise  # Denied, for one: that is not a matter of time.
        raise Refused(
            f"log group {name} is not there after {timeout:g} s; make it with: invoke create-function"
        ) from error


def fetch(
    logs: CloudWatchLogsClient, group: str, *, since_ms: int, pattern: str = "", request_id: str = ""
) -> Iterator[dict[str, Any]]:
    """The group's events across its log streams, in order of time, as FilterLogEvents answers them.

    `since_ms` is in milliseconds since 1970, `pattern` a filter pattern of CloudWatch Logs. With `request_id`, the
    lines of that invocation: also those that a handler printed without the id, between its START and its REPORT.
    CloudWatch Logs API reference: FilterLogEvents.
    """
    # AWS orders the streams' events by time anyway; other endpoints do when told to.
    parameters: dict[str, Any] = {"logGroupName": group, "startTime": since_ms, "interleaved": True}
    if request_id:
        marks = list(_events(logs, {**parameters, "filterPattern": f'"{request_id}"'}))
        if not marks:
            return
        parameters["logStreamNames"] = sorted({mark["logStreamName"] for mark in marks})
        parameters["startTime"] = min(mark["timestamp"] for mark in marks)
        parameters["endTime"] = max(mark["timestamp"] for mark in marks) + 1
    if pattern:
        parameters["filterPattern"] = pattern
    yield from _events(logs, parameters)


@dataclass(frozen=True)
class Invocation:
    """What one invocation logged. `request_id` is "" for lines that stand in none: of a filtered or cut-off reading."""

    request_id: str
    log_stream: str
    started_ms: int
    lines: tuple[str, ...]
    report: str = ""


def invocations(events: Iterable[Mapping[str, Any]]) -> list[Invocation]:
    """Group events by invocation, the newest last: START to REPORT of each log stream, with what was printed between.

    What a process logs before its first START (INIT_START, prints while importing) belongs to that first invocation.
    Lambda developer guide: "Using CloudWatch logs with Lambda".
    """
    streams: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        streams.setdefault(event["logStreamName"], []).append(event)
    found = [invocation for name, lines in streams.items() for invocation in _of_stream(name, lines)]
    return sorted(found, key=lambda invocation: invocation.started_ms)


def _of_stream(name: str, events: Iterable[Mapping[str, Any]]) -> Iterator[Invocation]:
    """A log stream is one process, which handles one invocation after the other."""
    lines: list[str] = []
    request_id, started = "", 0
    for event in events:
        mark, marked_id = _mark(event["message"])
        if mark == "start" and request_id:
            # Its REPORT is missing: not written yet, or out of what was read.
            yield Invocation(request_id, name, started, tuple(lines))
            lines, request_id = [], ""
        if mark == "start" or not lines:
            started = event["timestamp"]
        if mark:
            request_id = marked_id
        lines.append(event["message"].rstrip("\n"))
        if mark == "report":
            yield Invocation(request_id, name, started, tuple(lines), report=lines[-1])
            lines, request_id = [], ""
    if lines:
        yield Invocation(request_id, name, started, tuple(lines))


# What is written once for an invocation that failed: the runtime's word for an exception, Lambda's for a process that
# ended or took too long. A line that the function itself logs as an error has a tab, or "message", in that place.
FAILURE = re.compile(r'\[ERROR\] |"level": ?"ERROR", ?"errorMessage"|Error: Runtime exited |Task timed out after ')

# Lambda's own lines, as the text and as the JSON log format have them.
_TEXT_MARK = re.compile(r"(START|END|REPORT) RequestId: (\S+)")
_JSON_MARK = re.compile(r'\{"time":.*"type": ?"platform\.(start|runtimeDone|report)".*"requestId": ?"([^"]+)"')


def _mark(message: str) -> tuple[str, str]:
    """Which of Lambda's own lines this is ("start", "end", "report", or "" for none), and its request id."""
    mark = _TEXT_MARK.match(message) or _JSON_MARK.match(message)
    return (mark[1].lower(), mark[2]) if mark else ("", "")


def _events(logs: CloudWatchLogsClient, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for page in logs.get_paginator("filter_log_events").paginate(**parameters):
        for event in page["events"]:
            yield {**event}


def _create(logs: CloudWatchLogsClient, wanted: Mapping[str, Any], complete: Mapping[str, Any]) -> Change:
    name = wanted["logGroupName"]
    logs.create_log_group(**{key: value for key, value in wanted.items() if value and key != "retentionInDays"})
    if complete["retentionInDays"]:
        logs.put_retention_policy(logGroupName=name, retentionInDays=complete["retentionInDays"])
    return Change(f"log group {name}", "created", all_new(wanted), answer=complete)


def _update(
    logs: CloudWatchLogsClient, found: Mapping[str, Any], wanted: Mapping[str, Any], settings: set[str]
) -> None:
    name = found["logGroupName"]
    if "retentionInDays" in settings and wanted["retentionInDays"]:
        logs.put_retention_policy(logGroupName=name, retentionInDays=wanted["retentionInDays"])
    elif "retentionInDays" in settings:
        logs.delete_retention_policy(logGroupName=name)
    if "kmsKeyId" in settings and wanted["kmsKeyId"]:
        logs.associate_kms_key(logGroupName=name, kmsKeyId=wanted["kmsKeyId"])
    elif "kmsKeyId" in settings:
        logs.disassociate_kms_key(logGroupName=name)
    if "deletionProtectionEnabled" in settings:
        logs.put_log_group_deletion_protection(
            logGroupIdentifier=name, deletionProtectionEnabled=wanted["deletionProtectionEnabled"]
        )
    gone, put = tag_changes(found["tags"], wanted["tags"])
    if gone:
        logs.untag_resource(resourceArn=found["arn"], tagKeys=gone)
    if put:
        logs.tag_resource(resourceArn=found["arn"], tags=put)
