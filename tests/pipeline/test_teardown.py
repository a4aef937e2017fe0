"""What `clean` says is left: what AWS still has after a while, not what it still tells of for a moment."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import teardown
from pipeline.settings import load
from pipeline.steps import Run

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def run(aws: Callable[[str], Any]) -> Run:
    """A pipeline of which the role is there and nothing else."""
    aws("iam").create_role(RoleName="stream-demo-role", AssumeRolePolicyDocument="{}")
    return Run(load(None, {}, {}), aws, Path())


def test_what_is_told_of_for_a_moment_is_not_left(run: Run) -> None:
    gone = threading.Timer(0.5, run.aws("iam").delete_role, kwargs={"RoleName": "stream-demo-role"})
    gone.start()
    assert teardown.wait_until_gone(run, ()) == []
    gone.join()


def test_what_stays_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teardown, "STILL_TOLD_SECONDS", 0)
    assert teardown.wait_until_gone(run, ()) == ["role stream-demo-role"]


def test_what_was_kept_on_purpose_is_not_left(run: Run) -> None:
    assert teardown.wait_until_gone(run, {"role stream-demo-role"}) == []
