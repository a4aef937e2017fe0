"""What a step found, did or would do: the one module that the nouns share.

Copy it along with a noun: `table.py` and `change.py` in one folder work on their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

OWNER_TAG = "pipeline"
ROLE_SECONDS = 60.0

# How Lambda words that it does not see a new role, or its policies, yet.
_ROLE_NOT_READY = (
    "cannot be assumed by Lambda",
    "execution role does not have permissions",
    "ensure the role can perform",
)

Answer = TypeVar("Answer")

Did = Literal["created", "updated", "replaced", "unchanged", "deleted", "absent"]


@dataclass(frozen=True)
class Difference:
    """One setting that is not as wanted, by AWS's parameter name."""

    setting: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Change:
    """The outcome of one step.

    `what` names the resource ("table stream-demo"), `answer` is what AWS has of it now, in AWS's words
    (of a planned creation: as far as it can be known before), `note` what a person should know about it.
    `pending` says that AWS is still at work on it: the noun's `wait` comes before anything is built on it.
    """

    what: str
    did: Did
    differences: tuple[Difference, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    pending: bool = False

    @property
    def arn(self) -> str:
        """The resource's ARN; "" for what has none, or none yet."""
        names = ("TableArn", "Arn", "EventSourceMappingArn", "FunctionArn", "arn")
        told = (str(self.answer.get(name, "")) for name in names)
        return next((arn for arn in told if arn.startswith("arn:")), "")


class Refused(Exception):  # noqa: N818 - a decision, not a fault
    """A step that must not go on. Its text names the thing, the value, what is allowed and what to try."""


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Each wanted setting whose value AWS has otherwise; settings that `wanted` does not name are left alone."""
    return tuple(
        Difference(setting, found.get(setting), value)
        for setting, value in wanted.items()
        if found.get(setting) != value
    )


def all_new(wanted: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Each wanted setting of what is not there yet."""
    return tuple(Difference(setting, None, value) for setting, value in wanted.items())


def planned(answer: Mapping[str, Any]) -> bool:
    """Whether a writing call was only planned (`invoke --dry`): then there is nothing to wait for."""
    return bool(answer.get("ResponseMetadata", {}).get("Planned"))


def check_owner(what: str, tags: Mapping[str, str], owner: str, *, adopt: bool = False) -> None:
    """Refuse to touch what stands already and is not `owner`'s, unless `adopt` says to take it over.

    `tags` are the resource's as name to value. An empty `owner` owns nothing and asks nothing: for a step that was
    copied out of its pipeline.
    """
    if not owner or adopt or tags.get(OWNER_TAG) == owner:
        return
    theirs = f"belongs to pipeline {tags[OWNER_TAG]!r}" if OWNER_TAG in tags else "carries no pipeline tag"
    raise Refused(
        f"{what} exists and {theirs}; only what is tagged {OWNER_TAG}={owner} is changed or deleted. "
        f"Choose another name in the settings, or take it over with --adopt."
    )


def tag_map(tags: Iterable[Any]) -> dict[str, str]:
    """AWS's list of tags as name to value, without those that AWS puts on by itself (`aws:...`)."""
    return {tag["Key"]: tag["Value"] for tag in tags if not tag["Key"].startswith("aws:")}


def tag_changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The names of tags to take off, and the tags to put on."""
    return [name for name in old if name not in new], {k: v for k, v in new.items() if old.get(k) != v}


def retag_in_lambda(lambda_: Any, arn: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Bring the tags of a function or mapping from `old` to `new`. Lambda API reference: UntagResource, TagResource."""
    gone, put = tag_changes(old, new)
    if gone:
        lambda_.untag_resource(Resource=arn, TagKeys=gone)
    if put:
        lambda_.tag_resource(Resource=arn, Tags=put)


def refuse_unknown(what: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    """Refuse parameters that could be set once but not be compared afterwards."""
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise Refused(
            f"{what}: {', '.join(unknown)} cannot be kept as wanted here; what can be: {', '.join(sorted(known))}. "
            f"Leave it out and set it by hand."
        )


def when_role_is_ready(lambda_: Any, call: Callable[[], Answer]) -> Answer:
    """Make a call to Lambda, again while Lambda does not see the role or its policies yet.

    IAM takes seconds to reach Lambda (IAM user guide, "Changes that I make are not always immediately visible").
    Only the texts that say so are waited for, `ROLE_SECONDS` at most; any other error is raised at once.
    """
    deadline = time.monotonic() + ROLE_SECONDS
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
