"""Shared by the resource modules: the Change that each call returns, diffs, ownership, tags, waiters and retries.

To reuse a resource module, copy it and this file into one folder (`from steps import table`). They need only boto3.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

OWNER_TAG = "pipeline"
# Records what else the pipeline added to a resource, so that it never removes what others added.
RECORD_TAG = "pipeline:added"

SETTLE_TIMEOUT = 120.0  # seconds
TAGS_TIMEOUT = 10.0

# AWS's temporary errors, as "CODE: MESSAGE". Sources: botocore's models and AWS's API references.
_NOT_YET = (
    # An earlier change is in progress.
    "BackupInUse|ConcurrentModification|EntityTemporarilyUnmodifiable|OperationAborted|ResourceConflict|ResourceInUse|"
    "TableInUse|LimitExceededException: .*(simultaneously|tags are being updated)|"
    # An earlier change is not visible yet.
    "ContinuousBackupsUnavailable|DeleteConflict|NoSuchEntity: .*role with name|ResourceNotFound|TableNotFound|"
    # An earlier attempt succeeded, but its response was lost; or another change came in between.
    "EntityAlreadyExists|ResourceAlreadyExists|PreconditionFailed|"
    # Too many calls.
    "Throttling|TooManyRequests"
)
# Lambda's errors while it does not see a new function or role, or the role's policies or grants, or waits for EC2.
_ROLE_NOT_READY = (
    "InvalidParameterValueException: .*(cannot be assumed by Lambda|execution role does not have permissions|"
    "ensure the role can perform|KMS key is invalid for CreateGrant|Function does not exist|throttled by EC2)"
)
# For `wait_until`: not every AWS server knows a new resource yet.
NOT_FOUND_YET = {"state": "retry", "matcher": "error", "expected": "ResourceNotFoundException"}

Response = TypeVar("Response")

Action = Literal["created", "updated", "replaced", "unchanged", "deleted", "absent"]


@dataclass(frozen=True)
class Diff:
    """A parameter whose value differs, under AWS's name."""

    setting: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Change:
    """The result of one call on one resource.

    `resource` is its kind and name ("table stream-demo"). `attributes` contains its known values under AWS's names.
    While `pending` is true, AWS is still working on the change: call `wait` before you use the resource.
    """

    resource: str
    action: Action
    diffs: tuple[Diff, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    pending: bool = False

    @property
    def arn(self) -> str:
        """The resource's ARN, or "" if it has none yet."""
        names = ("TableArn", "Arn", "EventSourceMappingArn", "FunctionArn", "AliasArn", "AlarmArn", "arn")
        values = (str(self.attributes.get(name, "")) for name in names)
        return next((arn for arn in values if arn.startswith("arn:")), "")


class UserError(Exception):
    """An error that the user can fix. The message names the resource, the value, what is allowed and what to try."""


def diff(current: Mapping[str, Any], desired: Mapping[str, Any]) -> tuple[Diff, ...]:
    """Return each parameter in `desired` whose current value differs. `current` is {} for a new resource."""
    return tuple(Diff(name, current.get(name), new) for name, new in desired.items() if current.get(name) != new)


def is_dry_run(response: Mapping[str, Any]) -> bool:
    """Whether the response is a prediction (`invoke --dry`). AWS does nothing, so there is nothing to wait for."""
    return bool(response.get("ResponseMetadata", {}).get("DryRun"))


def check_owner(resource: str, tags: Mapping[str, str], owner: str, *, adopt: bool | None = None) -> None:
    """Raise UserError if the resource's tags do not name `owner`, unless `adopt` is true.

    If `adopt` is None, the message does not suggest --adopt. An empty `owner` skips the check.
    """
    if not owner or adopt or tags.get(OWNER_TAG) == owner:
        return
    reason = f"belongs to pipeline {tags[OWNER_TAG]!r}" if OWNER_TAG in tags else "has no pipeline tag"
    raise UserError(
        f"{resource} already exists and {reason}; tasks change or delete only resources tagged {OWNER_TAG}={owner}. "
        f"Choose another name in the settings{'' if adopt is None else ', or take the resource over with --adopt'}."
    )


def wait_for_tags(
    current: dict[str, Any], desired: Mapping[str, Any], describe: Callable[[], Any], tags: str = "Tags"
) -> dict[str, Any]:
    """Return `current` with its tags, which AWS may show only seconds after it created a resource.

    Waits up to `TAGS_TIMEOUT` if only the tags differ, because an interrupted run may have created the resource.
    """
    if current[tags] or not desired.get(tags) or diff(current, {**desired, tags: current[tags]}):
        return current
    for pause in backoff(TAGS_TIMEOUT):
        time.sleep(pause)
        current = describe() or current
        if current[tags]:
            break
    return current


def record(names: Iterable[str], tag: str = RECORD_TAG) -> dict[str, str]:
    """Return the tag that lists `names` as added by the pipeline. No names give no tag."""
    digests = " ".join(sorted(map(_digest, names)))
    return {tag: digests} if digests else {}


def is_recorded(name: str, tags: Mapping[str, str], tag: str = RECORD_TAG) -> bool:
    """Whether the tags list `name` as added by the pipeline."""
    return _digest(name) in tags.get(tag, "").split()


def _digest(name: str) -> str:
    """Four characters, so that a tag of 256 characters can list more names than the 50 tags of a resource."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest())[:4].decode()


def own_tags(current: Mapping[str, str], desired: Mapping[str, str]) -> dict[str, str]:
    """Return the current tags without those that others added."""
    ours = {OWNER_TAG, RECORD_TAG, *desired}
    return {name: value for name, value in current.items() if name in ours or is_recorded(name, current)}


def reject_unsupported(resource: str, desired: Iterable[str], supported: Iterable[str]) -> None:
    """Raise UserError for parameters that this module cannot compare and therefore cannot update."""
    if unsupported := ", ".join(sorted({*desired} - {*supported})):
        advice = "Remove it from the settings. If you need it, set it by hand."
        raise UserError(f"{resource}: {unsupported} not supported; supported: {', '.join(sorted(supported))}. {advice}")


def reject_immutable(resource: str, diffs: Iterable[Diff], immutable: Mapping[str, str]) -> None:
    """Raise UserError if an immutable parameter differs. `immutable` maps each one to what the user can do instead."""
    changed = {each.setting: each for each in diffs}
    for setting, advice in immutable.items():
        if each := changed.get(setting):
            raise UserError(f"{resource}: cannot change {setting} from {each.old} to {each.new}. {advice}.")


def tag_map(tags: Iterable[Any]) -> dict[str, str]:
    """Return AWS's list of tags as a mapping, without the tags that AWS adds (`aws:...`)."""
    return {tag["Key"]: tag["Value"] for tag in tags if not tag["Key"].startswith("aws:")}


def tag_changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the names of the tags to remove, and the tags to add."""
    return [name for name in old if name not in new], {k: v for k, v in new.items() if old.get(k) != v}


def retag_in_lambda(lambda_: Any, arn: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Change the tags of a function or mapping. Lambda API reference: UntagResource, TagResource."""
    removed, put = tag_changes(old, new)
    if removed:
        lambda_.untag_resource(Resource=arn, TagKeys=removed)
    if put:
        lambda_.tag_resource(Resource=arn, Tags=put)


def wait_until(
    client: Any, name: str, operation: str, *acceptors: Mapping[str, Any], timeout: float, delay: float = 1, **call: Any
) -> None:
    """Call `operation` with the parameters in `call` every `delay` seconds until an acceptor ends the wait.

    An acceptor has state (success, retry, failure), matcher (path, pathAny, status, error), expected and argument.
    """
    from botocore.waiter import WaiterModel, create_waiter_with_client  # noqa: PLC0415 - slow to import

    attempts = int(timeout / delay) + 1
    waiter = {"operation": operation, "delay": delay, "maxAttempts": attempts, "acceptors": list(acceptors)}
    model = WaiterModel({"version": 2, "waiters": {name: waiter}})
    create_waiter_with_client(name, model, client).wait(**call)


def is_not_yet(error: ClientError, refusals: str = _NOT_YET) -> bool:
    """Whether the error is temporary. `refusals` is a pattern of "CODE: MESSAGE"."""
    said = f"{error.response['Error']['Code']}: {error.response['Error'].get('Message', '')}"
    return re.match(refusals, said, re.DOTALL) is not None


def retry(call: Callable[[], Response], refusals: str = _NOT_YET, longest_pause: float = 5) -> Response:
    """Make a call. Retry temporary errors for up to `SETTLE_TIMEOUT`, and raise any other error."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - slow to import

    for pause in backoff(SETTLE_TIMEOUT, longest_pause):
        try:
            return call()
        except ClientError as error:
            if not is_not_yet(error, refusals):
                raise
        time.sleep(pause)
    return call()


def retry_while_role_propagates(call: Callable[[], Response]) -> Response:
    """Call Lambda, and retry while it does not see a new role or policy yet. IAM user guide: "Troubleshoot IAM"."""
    return retry(call, _ROLE_NOT_READY, longest_pause=0.3)  # a deploy waits for nothing else


def backoff(timeout: float, longest: float = 5) -> Iterator[float]:
    """Yield pauses that grow to `longest` seconds, as long as the next one ends within `timeout`."""
    deadline = time.monotonic() + timeout
    pause = 0.1
    while time.monotonic() + pause < deadline:
        yield pause
        pause = min(2 * pause, longest)
