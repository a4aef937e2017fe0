"""The outcome of a step on one resource, and what the resource modules share.

Copy this file along with a resource module: `table.py` and `change.py` in one folder work on their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

OWNER_TAG = "pipeline"
IAM_PROPAGATION_TIMEOUT = 60.0  # seconds

# The texts with which Lambda says that it does not see a new role, or its policies, yet.
_ROLE_NOT_READY = (
    "cannot be assumed by Lambda",
    "execution role does not have permissions",
    "ensure the role can perform",
)

Response = TypeVar("Response")

Action = Literal["created", "updated", "replaced", "unchanged", "deleted", "absent"]


@dataclass(frozen=True)
class Diff:
    """One parameter that differs, by AWS's name for it."""

    setting: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Change:
    """The outcome of one step on one resource.

    `resource` names it ("table stream-demo"). `attributes` are what AWS has of it now, under AWS's names; of a planned
    creation, as far as they are known beforehand. `note` is what a person should know about the change. `pending`
    means that AWS is still working on it: call the resource's `wait` before you build on it.
    """

    resource: str
    action: Action
    diffs: tuple[Diff, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    pending: bool = False

    @property
    def arn(self) -> str:
        """The resource's ARN, or "" if it has none (yet)."""
        names = ("TableArn", "Arn", "EventSourceMappingArn", "FunctionArn", "arn")
        values = (str(self.attributes.get(name, "")) for name in names)
        return next((arn for arn in values if arn.startswith("arn:")), "")


class UserError(Exception):
    """A step cannot go on, and a person can fix it. The text names the thing, the value, what is allowed, what to try."""


def diff(current: Mapping[str, Any], desired: Mapping[str, Any]) -> tuple[Diff, ...]:
    """Each desired parameter whose current value differs. Parameters that `desired` does not name are left alone."""
    return tuple(
        Diff(setting, current.get(setting), value) for setting, value in desired.items() if current.get(setting) != value
    )


def added(desired: Mapping[str, Any]) -> tuple[Diff, ...]:
    """Each parameter of a resource that does not exist yet."""
    return tuple(Diff(setting, None, value) for setting, value in desired.items())


def is_dry_run(response: Mapping[str, Any]) -> bool:
    """Whether the response is a predicted one (`invoke --dry`): then there is nothing to wait for."""
    return bool(response.get("ResponseMetadata", {}).get("DryRun"))


def check_owner(resource: str, tags: Mapping[str, str], owner: str, *, adopt: bool = False) -> None:
    """Raise UserError for an existing resource that is not `owner`'s, unless `adopt` takes it over.

    `tags` are the resource's, as name to value. An empty `owner` checks nothing: for a step that was copied out of its
    pipeline.
    """
    if not owner or adopt or tags.get(OWNER_TAG) == owner:
        return
    reason = f"belongs to pipeline {tags[OWNER_TAG]!r}" if OWNER_TAG in tags else "has no pipeline tag"
    raise UserError(
        f"{resource} already exists and {reason}; only resources tagged {OWNER_TAG}={owner} are changed or deleted. "
        f"Choose another name in the settings, or take it over with --adopt."
    )


def tag_map(tags: Iterable[Any]) -> dict[str, str]:
    """AWS's list of tags as name to value, without the tags that AWS adds itself (`aws:...`)."""
    return {tag["Key"]: tag["Value"] for tag in tags if not tag["Key"].startswith("aws:")}


def tag_changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The names of the tags to remove, and the tags to add."""
    return [name for name in old if name not in new], {k: v for k, v in new.items() if old.get(k) != v}


def retag_in_lambda(lambda_: Any, arn: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Change the tags of a function or mapping from `old` to `new`. Lambda API reference: UntagResource, TagResource."""
    removed, put = tag_changes(old, new)
    if removed:
        lambda_.untag_resource(Resource=arn, TagKeys=removed)
    if put:
        lambda_.tag_resource(Resource=arn, Tags=put)


def reject_unsupported(resource: str, desired: Iterable[str], supported: Iterable[str]) -> None:
    """Raise UserError for parameters that could be set at creation but not be compared afterwards."""
    unsupported = sorted(set(desired) - set(supported))
    if unsupported:
        raise UserError(
            f"{resource}: {', '.join(unsupported)} not supported; supported: {', '.join(sorted(supported))}. "
            f"Leave it out and set it by hand."
        )


def retry_while_role_propagates(lambda_: Any, call: Callable[[], Response]) -> Response:
    """Make a call to Lambda, and retry it while Lambda does not see the role or its policies yet.

    IAM changes take seconds to reach Lambda (IAM user guide, "Changes that I make are not always immediately visible").
    Only the texts that say so are retried, for at most `IAM_PROPAGATION_TIMEOUT`; any other error is raised at once.
    """
    deadline = time.monotonic() + IAM_PROPAGATION_TIMEOUT
    pause = 0.25
    while True:
        try:
            return call()
        except lambda_.exceptions.InvalidParameterValueException as error:
            not_ready = any(text in error.response["Error"]["Message"] for text in _ROLE_NOT_READY)
            if not not_ready or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 5)
