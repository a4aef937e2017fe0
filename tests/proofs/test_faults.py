"""deploy, smoke, status and clean while the network or AWS fails, or a person interrupts them.

`invoke dev.soak --only faults` runs 200 seeds with AWS's delays, and with faults that last up to 5 seconds of AWS's
time. Nothing is shortened: the local AWS is as late as AWS, and pauses and deadlines are those of a user. The proof is
affordable as many seeds run at the same time, each on a local AWS of its own, and most of the time wait. The clock of
each seed is right, or five minutes off either way.

A command that fails must print one clear error that `EXPLAINED` lists, and a second run without faults must end as if
there had been none. All commands of a seed together may take twice as long as without faults.

Single seeds and the other tests here do not measure time. They run on a project where time passes `QUICK` times as
fast: pauses and deadlines of the commands, delays and faults are that much shorter. What is computed is not, which
makes deadlines harder to meet, not easier.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.fault_proxy import FAULTS, fault_proxy
from tests.harness.forked import KillPoint, forked_project
from tests.harness.project import target_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.harness.fault_proxy import Faults
    from tests.harness.forked import ForkedProject, Outcome

pytestmark = pytest.mark.proof

QUICK = 5
WORKERS = 8  # they wait more than they compute: two cores bear as many
OFFSETS = ("0", "300", "-300")  # of the clock, in seconds
# All commands together may take so many times as long as with AWS's delays alone.
LONGEST = 2
# One error of a step: the step, what AWS said, what to try, and what exists.
CLEAR = re.compile(r"^[\w-]+: .+\n(  AWS said: .+\n)?(  try: .+\n)?(  [A-Z].+\n)?\Z")
# For a second deploy, which updates every resource.
CHANGES = {
    "BATCH_SIZE": "7",
    "FUNCTION_ARCHITECTURE": "arm64",
    "FUNCTION_MEMORY_SIZE": "256",
    "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "5",
    "LOG_RETENTION_IN_DAYS": "7",
    "ROLE_OPTIONS": '{"MaxSessionDuration": 7200}',
    "TABLE_OPTIONS": '{"TableClass": "STANDARD_INFREQUENT_ACCESS"}',
    "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": "true",
    "TAGS": '{"stage": "test"}',
}
# The errors that end a command at once, although the fault ends within seconds, and why.
EXPLAINED = {"Grant your credentials lambda:ListTags": "a missing permission is reported, not waited for"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedProject]:
    """A project without delays, whose commands do not pause long between attempts."""
    with forked_project(tmp_path_factory.mktemp("quick") / "project", speed=QUICK) as forked:
        yield forked


@pytest.fixture(scope="module")
def deployed(project: ForkedProject) -> Any:
    """The snapshot of a deployment without faults; the account is empty afterwards."""
    return snapshot_of_deployment(project)


def snapshot_of_deployment(project: ForkedProject) -> Any:
    project.invoke("deploy").expect(0)
    deployed = project.snapshot()
    project.invoke("clean").expect(0)
    return deployed


@pytest.fixture
def faults(project: ForkedProject) -> Iterator[Faults]:
    """A proxy that injects only the faults that the test asks for; the account is empty afterwards."""
    with fault_proxy(project.endpoint, rate=0, speed=QUICK) as faults:
        yield faults
    project.invoke("clean").expect(0)
    assert project.is_empty()


@dataclass
class Results:
    """How the commands of all seeds ended, which faults they met, and the seconds of each seed.

    `undisturbed` are the seconds of a run without faults, for each worker: on the same machine at the same time.
    """

    endings: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    undisturbed: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How many times as long the commands of a seed took as without faults, on average."""
        return mean(self.seconds) / mean(self.undisturbed)

    def figures(self) -> str:
        well = sum(times for ending, times in self.endings.items() if ending.endswith(" well"))
        alone = mean(self.undisturbed)
        slow = sum(each > LONGEST * alone for each in self.seconds)
        lines = [
            f"{len(self.seconds)} seeds, {self.kinds.total()} faults of {len(self.kinds)} of {len(FAULTS)} kinds:",
            f"{well} of {self.endings.total()} commands ended well at once, the rest on the second run;",
            f"all commands of a seed took {mean(self.seconds):.0f} s, {self.ratio:.2f} times the {alone:.0f} s without",
            f"faults; at most {max(self.seconds):.0f} s, {slow} of {len(self.seconds)} seeds over {LONGEST} times",
        ]
        lines += [f"  {times:>5}  {ending}" for ending, times in self.endings.most_common()]
        lines += [f"  {times:>5}  fault: {kind}" for kind, times in self.kinds.most_common()]
        return "\n".join(lines)


def test_commands_end_well_or_with_one_clear_error_for_every_seed(
    tmp_path: Path, count: Callable[[int, int], int], record_figures: Callable[[str], None]
) -> None:
    seeds = range(count(1, 200))
    speed = QUICK if len(seeds) == 1 else 1
    results = Results()
    run = partial(run_seeds, results, speed)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(run, (seeds[n::WORKERS] for n in range(WORKERS)), (tmp_path / str(n) for n in range(WORKERS))))
    failed = "\n\n".join(results.failed)
    assert not failed, f"{len(results.failed)} of {len(seeds)} seeds failed:\n{failed}"
    figures = results.figures()
    assert speed > 1 or results.ratio <= LONGEST, figures
    record_figures(figures)


def run_seeds(results: Results, speed: float, seeds: Sequence[int], folder: Path) -> None:
    """Run the seeds, one after the other, in a project of their own."""
    if not seeds:
        return
    with forked_project(folder, speed=speed, delays=True) as project:
        deployed = snapshot_of_deployment(project)
        with fault_proxy(project.endpoint, rate=0) as none:
            results.undisturbed.append(run_through(project, none, deployed)[1])
        with fault_proxy(project.endpoint, speed=speed) as faults:
            for seed in seeds:
                faults.reseed(seed)
                try:
                    ended, took = run_through(project, faults, deployed)
                except AssertionError as error:
                    results.failed.append(f"seed {seed}, after {faults.injected}: {error}")
                    project.delete_everything()
                    continue
                results.endings.update(ended)
                results.kinds.update(each.partition(" (")[0] for each in faults.injected)
                results.seconds.append(took)


def run_through(project: ForkedProject, faults: Faults, deployed: Any) -> tuple[list[str], float]:
    """Run the commands through the proxy. Return how each ended, and the seconds that they took.

    With every other seed, the table holds an item when `clean` backs it up and deletes it.
    """
    settings = target_aws(faults.endpoint, CLOCK_OFFSET=OFFSETS[faults.seed % len(OFFSETS)])
    changed = {**settings, **CHANGES}
    ends: list[str] = []
    seconds = 0.0

    def run(command: str, *options: str, **settings: str) -> Outcome:
        nonlocal seconds
        yes = ("--yes",) if command in ("deploy", "clean") else ()
        outcome = project.invoke(command, *yes, *options, **settings)
        seconds += outcome.seconds
        again = {name: value for name, value in settings.items() if name in CHANGES}
        ends.append(ending_of(outcome, command, lambda: project.invoke(command, *options, **again)))
        return outcome

    run("deploy", **settings)
    run("smoke", **settings)
    assert project.snapshot() == deployed, "differs from a deployment without faults"
    run("deploy", **changed)
    run("smoke", **changed)
    project.snapshot()  # waits until AWS shows the changes
    plan = project.invoke("--dry", "deploy", **CHANGES).expect(0).stdout
    assert " 0 updated" in plan, f"the second deploy left differences:\n{plan}"
    status = run("status", **changed)
    assert not re.search(r"^[+~!-] ", status.stdout, re.MULTILINE), f"shows a difference:\n{status.stdout}"
    if faults.seed % 2:
        project.client("dynamodb").put_item(TableName="stream-demo", Item={"name": {"S": "an item"}})
    run("clean", *(("--backup", "--delete-data") if faults.seed % 2 else ()), **changed)
    assert project.is_empty(), "the account is not empty"
    return ends, seconds


def ending_of(outcome: Outcome, command: str, again: Callable[[], Outcome]) -> str:
    """Describe how the command ended; run a failed one again, without faults."""
    if outcome.returncode == 0:
        return f"{command} well"
    outcome.expect(1)
    steps = re.findall(r"^([\w-]+): ", outcome.stderr, re.MULTILINE)
    error = outcome.stderr[outcome.stderr.rindex(f"{steps[-1]}: ") :]
    assert CLEAR.match(error), f"not clear:\n{outcome.stderr}"
    reasons = [reason for text, reason in EXPLAINED.items() if text in error]
    assert reasons, f"needs a second run without a reason:\n{outcome.stderr}"
    again().expect(0)
    return f"{command} on the second run: {reasons[0]}"


def test_a_permission_that_is_missing_for_good_ends_in_one_error_that_names_it(
    project: ForkedProject, faults: Faults
) -> None:
    project.invoke("deploy").expect(0)
    faults.always["GET /functions/stream-demo"] = "tags error"
    for command in (("deploy", "--yes"), ("status",), ("clean", "--yes")):
        refused = project.invoke(*command, **target_aws(faults.endpoint)).expect(1)
        assert refused.stderr.count("lambda:ListTags") == 2, refused.stderr  # what AWS said, and the advice
        assert refused.stderr.rstrip().endswith("Grant your credentials lambda:ListTags."), refused.stderr
        assert refused.writes == []


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "failing", "cut before", "cut after"])
def test_status_outlasts_five_seconds_of_an_outage(project: ForkedProject, faults: Faults, fault: str) -> None:
    project.invoke("deploy").expect(0)
    faults.start("dynamodb DescribeTable", fault, 5)
    faults.start("iam GetRole", fault, 5)
    project.invoke("status", "--check", **target_aws(faults.endpoint)).expect(0)
    assert faults.calls["DescribeTable"] > 3


def test_tags_that_are_left_out_are_read_by_another_call(project: ForkedProject, faults: Faults) -> None:
    project.invoke("deploy").expect(0)
    faults.always["GET /functions/stream-demo"] = "without tags"
    deployed = project.invoke("deploy", "--yes", **target_aws(faults.endpoint)).expect(0)
    assert deployed.writes == []
    assert "ListTags" in deployed.calls


@pytest.mark.parametrize("fault", ["throttled", "cut before", "cut after"])
def test_deploy_succeeds_when_every_write_fails_once(
    project: ForkedProject, faults: Faults, deployed: Any, fault: str
) -> None:
    writes = ["CreateTable", "CreateRole", "PutRolePolicy", "CreateLogGroup", "PutRetentionPolicy"]
    faults.once = dict.fromkeys([*writes, "POST /functions", "POST /event-source-mappings"], fault)
    project.invoke("deploy", "--yes", **target_aws(faults.endpoint)).expect(0)
    assert len(faults.injected) == 7
    assert project.snapshot() == deployed


@pytest.mark.parametrize("fault", ["cut before", "cut after"])
def test_clean_succeeds_when_every_write_fails_once(project: ForkedProject, faults: Faults, fault: str) -> None:
    project.invoke("deploy").expect(0)
    writes = ["DeleteRolePolicy", "DeleteRole", "DeleteLogGroup", "DeleteTable"]
    faults.once = dict.fromkeys([*writes, "DELETE /functions/stream-demo", "DELETE /event-source-mappings"], fault)
    project.invoke("clean", "--yes", **target_aws(faults.endpoint)).expect(0)
    assert len(faults.injected) == 6
    assert project.is_empty()


@pytest.mark.parametrize("fault", ["cut before", "cut after"])
def test_smoke_succeeds_when_every_write_fails_once(project: ForkedProject, faults: Faults, fault: str) -> None:
    project.invoke("deploy").expect(0)
    faults.once = dict.fromkeys(["PutItem", "DeleteItem"], fault)
    project.invoke("smoke", **target_aws(faults.endpoint)).expect(0)
    assert len(faults.injected) == 2
    assert project.client("dynamodb").scan(TableName="stream-demo")["Count"] == 0


def test_deploy_waits_until_lambda_can_assume_the_role(project: ForkedProject, faults: Faults, deployed: Any) -> None:
    faults.once["POST /functions"] = "role not assumable"
    project.invoke("deploy", "--yes", **target_aws(faults.endpoint)).expect(0)
    assert faults.injected == ["role not assumable"]
    assert project.snapshot() == deployed


@pytest.mark.parametrize(
    ("changed", "call"),
    [({"FUNCTION_MEMORY_SIZE": "256"}, "configuration"), ({"FUNCTION_ARCHITECTURE": "arm64"}, "code")],
)
def test_deploy_waits_for_an_update_in_progress(
    project: ForkedProject, faults: Faults, changed: dict[str, Any], call: str
) -> None:
    project.invoke("deploy").expect(0)
    faults.once[f"PUT /functions/stream-demo/{call}"] = "update in progress"
    project.invoke("deploy", "--yes", **target_aws(faults.endpoint, **changed)).expect(0)
    assert faults.injected == ["update in progress"]
    again = project.invoke("--dry", "deploy", **changed).expect(0)
    assert "0 updated" in again.stdout


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ("CreateTable", 400, "AccessDeniedException"),
        ("CreateRole", 403, "AccessDenied"),
        ("POST /functions", 400, "InvalidParameterValueException"),
        ("POST /event-source-mappings", 403, "AccessDeniedException"),
    ],
)
def test_a_refusal_is_reported_without_a_retry(
    project: ForkedProject, faults: Faults, call: str, status: int, code: str
) -> None:
    faults.always[call] = (status, code, "You are not authorized to do this")
    refused = project.invoke("deploy", "--yes", **target_aws(faults.endpoint)).expect(1)
    assert f"failed\n  AWS said: {code}: You are not authorized to do this\n  try: " in refused.stderr
    assert faults.calls[call] == 1


@pytest.mark.parametrize(
    ("command", "point", "existing"),
    [
        ("deploy", KillPoint("after", "CreateTable"), "table stream-demo"),
        ("deploy", KillPoint("after", "CreateEventSourceMapping"), "mapping "),
        ("clean", KillPoint("after", "DeleteFunction"), "role stream-demo-role"),
    ],
)
def test_ctrl_c_prints_one_line_with_what_exists_and_deploy_completes_the_rest(
    project: ForkedProject, faults: Faults, deployed: Any, command: str, point: KillPoint, existing: str
) -> None:
    if command != "deploy":
        project.invoke("deploy").expect(0)
    stopped = project.kill_at(point, command, by=signal.SIGINT).expect(130)
    assert len(stopped.stderr.splitlines()) == 1
    assert ": interrupted. Existing resources: " in stopped.stderr
    assert existing in stopped.stderr
    assert faults.injected == []
    project.invoke("deploy").expect(0)
    assert project.snapshot() == deployed
