"""Confirmation before anything is written to a real account: show the plan, and ask."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import report
from .resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .resources.change import Change


def confirm(step: str, changes: Sequence[Change], words: tuple[str, ...], *, assume_yes: bool) -> None:
    """Show the planned changes on stderr, and return if a person types one of `words`. Otherwise raise UserError.

    `assume_yes` (--yes) skips the question.
    """
    sys.stderr.write("".join(report.line(step, change) + "\n" for change in changes))
    if assume_yes:
        return
    if not sys.stdin.isatty():
        raise UserError("stdin is not a terminal, so there is no way to confirm: pass --yes. Nothing was changed.")
    sys.stderr.write(f"Type {words[0]} to continue: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() not in words:
        raise UserError("aborted. Nothing was changed.")
