"""Confirmation before anything is written to a real account: show account, region and plan, and ask."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import report
from .resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .deployment import Deployment
    from .resources.change import Change


def confirm(d: Deployment, step: str, changes: Sequence[Change], words: tuple[str, ...], *, assume_yes: bool) -> None:
    """Show the planned changes on stderr, and return if a person types one of `words`. Otherwise raise UserError.

    `assume_yes` (--yes) and a plan without changes skip the question.
    """
    caller = d.caller_identity
    lines = [f"account {caller['Account']}, region {d.settings.aws_region}, as {caller['Arn']}"]
    lines += [report.line(step, change) for change in changes]
    sys.stderr.write("\n".join(lines) + "\n")
    if assume_yes or all(change.action == "unchanged" for change in changes):
        return
    if not sys.stdin.isatty():
        raise UserError("stdin is not a terminal, so there is no way to confirm: pass --yes. Nothing was changed.")
    sys.stderr.write(f"Type {words[0]} to continue: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() not in words:
        raise UserError("aborted. Nothing was changed.")
