"""What a step found, did or would do: the one module that the nouns share.

Copy it along with a noun: `table.py` and `change.py` in one folder work on their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

OWNER_TAG = "pipeline"

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
    """

    what: str
    did: Did
    differences: tuple[Difference, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


class Refused(Exception):  # noqa: N818 - a decision, not a fault
    """A step that must not go on. Its text names the thing, the value, what is allowed and what to try."""


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Each wanted setting whose value AWS has otherwise; settings that `wanted` does not name are left alone."""
    return tuple(
        Difference(setting, found.get(setting), value)
        for setting, value in wanted.items()
        if found.get(setting) != value
    )


def planned(answer: Mapping[str, Any]) -> bool:
    """Whether a writing call was only planned (`invoke --dry`): then there is nothing to wait for."""
    return bool(answer["ResponseMetadata"].get("Planned"))


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
