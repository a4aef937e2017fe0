"""The question before anything is written to a real account: account, region and plan, and a person's word for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import report
from .resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .resources.change import Change
    from .steps import Run


def ask(run: Run, step: str, planned: Iterable[Change], words: tuple[str, ...], *, answered: bool) -> None:
    """Show on stderr what `step` is about to do, and return when a person types one of `words`; otherwise UserError.

    `answered`: --yes was given. Where nothing is to be done, nothing is asked.
    """
    planned = [change for change in planned if change.action != "absent"]
    lines = [f"account {run.caller['Account']}, region {run.settings.aws_region}, as {run.caller['Arn']}"]
    lines += [report.line(step, change) for change in planned]
    sys.stderr.write("\n".join(lines) + "\n")
    if answered or all(change.action == "unchanged" for change in planned):
        return
    if not sys.stdin.isatty():
        raise UserError("this is about a real account, and there is no terminal to ask on; say --yes. Nothing was done.")
    sys.stderr.write(f"Type {words[0]} to do this: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() not in words:
        raise UserError(f"{words[0]} was not typed. Nothing was done.")
