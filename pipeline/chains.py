"""The steps with their waits, alone and chained: what the tasks, the plan and `status` have in common.

A step tells its changes through `tell`, which `Report.step` gives. It waits for what AWS is still at work on; of a plan
nothing is, and nothing is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import function, mapping, steps, table
from .report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from .resources.change import Change

    Tell = Callable[[Change], None]


def deploy(run: steps.Run, report: Report) -> None:
    """Build everything, or change what is not as parameters.

    What is wrong with what is here is told before anything is written. What takes AWS time is started first and waited
    for last: the table is made while the role spreads.
    """
    with report.step("zip-code") as tell:
        zipped, code = steps.zip_code(run.settings, run.root, dry=run.dry)
        tell(zipped)
    report.now = "deploy"
    steps.check(run, code)
    with report.step("create-table") as tell_table:
        made = steps.create_table(run)
    with report.step("create-role") as tell:
        role_arn = create_role(run, tell)
    with report.step("put-policy") as tell:
        put_policy(run, role_arn, tell)
    with report.step("create-function") as tell:
        retagged = create_function(run, role_arn, code, tell, tags=False)
    report.now = "create-table"
    _wait_for_table(run, made)
    tell_table(made)
    with report.step("map-stream") as tell:
        map_stream(run, str(made.attributes["LatestStreamArn"]), tell, tags=retagged)


def plan(run: steps.Run) -> list[Change]:
    """What a deploy would do, without a word. Reading calls only."""
    report = Report("deploy", planned=True, quiet=True)
    deploy(run.planned(), report)
    return report.changes


def create_table(run: steps.Run, tell: Tell) -> None:
    """The table, active."""
    made = steps.create_table(run)
    _wait_for_table(run, made)
    tell(made)


def create_role(run: steps.Run, tell: Tell) -> str:
    """The role; its ARN, or what stands for it in a plan."""
    made = steps.create_role(run)
    tell(made)
    return str(made.attributes["Arn"])


def put_policy(run: steps.Run, role_arn: str, tell: Tell) -> None:
    """The role's inline policies."""
    for made in steps.put_policies(run, role_arn):
        tell(made)


def create_function(run: steps.Run, role_arn: str, code: bytes, tell: Tell, *, tags: bool = True) -> bool:
    """The function, active, and its log group; whether the function's tags were changed.

    All that is made has the same tags. With `tags=False` those of the log group are looked at only when the function's
    were changed: that spares a call, and one changed by hand in the console shows in `status`.
    """
    made = steps.create_function(run, role_arn, code)
    retagged = any(difference.setting == "Tags" for difference in made.diffs) and made.action != "created"
    tell(steps.create_log_group(run, tags=tags or retagged))
    if made.pending:
        function.wait(run.aws("lambda"), run.settings.function_name)
    tell(made)
    return retagged


def map_stream(run: steps.Run, stream_arn: str, tell: Tell, *, tags: bool = True) -> None:
    """The mapping, enabled or disabled as parameters."""
    made = steps.map_stream(run, stream_arn, tags=tags)
    if made.pending:
        mapping.wait(run.aws("lambda"), str(made.attributes["UUID"]))
    tell(made)


def _wait_for_table(run: steps.Run, made: Change) -> None:
    if made.pending:
        table.wait(run.aws("dynamodb"), run.settings.table_name)
