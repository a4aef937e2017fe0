"""deploy, smoke and clean while the network or AWS fails, or a person interrupts them.

`invoke dev.soak --only faults` runs 200 seeds. A command that fails must print one clear error, and a second run
without faults must end as if there had been none.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.fault_proxy import fault_proxy
from tests.harness.forked import KillPoint
from tests.harness.project import target_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.fault_proxy import Faults
    from tests.harness.forked import ForkedProject, Outcome

pytestmark = pytest.mark.proof

# One error of a step: the step, what AWS said, and what to try.
CLEAR = re.compile(r"^[\w-]+: .+\n(  AWS said: .+\n)?(  try: .+\n)?\Z")


@pytest.fixture(scope="module")
def deployed(project: ForkedProject) -> Any:
    """The snapshot of a deployment without faults; the account is empty afterwards."""
    project.invoke("deploy").expect(0)
    deployed = project.snapshot()
    project.invoke("clean").expect(0)
    return deployed


@pytest.fixture
def faults(project: ForkedProject) -> Iterator[Faults]:
    """A proxy that injects only the faults that the test asks for; the account is empty afterwards."""
    with fault_proxy(project.endpoint, rate=0) as faults:
        yield faults
    project.invoke("clean").expect(0)
    assert project.is_empty()


def test_commands_end_well_or_with_one_clear_error_for_every_seed(
    project: ForkedProject, deployed: Any, count: Callable[[int, int], int], record_figures: Callable[[str], None]
) -> None:
    seeds = range(count(1, 200))
    endings: Counter[str] = Counter()
    injected = 0
    with fault_proxy(project.endpoint) as faults:
        for seed in seeds:
            faults.reseed(seed)
            try:
                endings.update(run_through(project, faults, deployed))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, after {faults.injected}: {error}") from error
            injected += len(faults.injected)
    well = sum(times for ending, times in endings.items() if ending.endswith("well"))
    summary = f"{well} of {3 * len(seeds)} commands ended well at once, the rest on the second run"
    details = "\n".join(f"  {times:>5}  {ending}" for ending, times in endings.most_common())
    record_figures(f"{len(seeds)} seeds, {injected} faults: {summary}\n{details}")


def run_through(project: ForkedProject, faults: Faults, deployed: Any) -> list[str]:
    """Run the three commands through the proxy; how each ended."""
    settings = target_aws(faults.endpoint, SMOKE_TIMEOUT="60")
    first = project.invoke("deploy", "--yes", **settings)
    endings = [ending_of(project, first, "deploy")]
    assert project.snapshot() == deployed, f"differs from a deployment without faults:\n{first.stdout}{first.stderr}"
    endings.append(ending_of(project, project.invoke("smoke", **settings), "smoke"))
    endings.append(ending_of(project, project.invoke("clean", "--yes", **settings), "clean"))
    assert project.is_empty(), "the account is not empty"
    return endings


def ending_of(project: ForkedProject, outcome: Outcome, command: str) -> str:
    """Describe how the command ended; run a failed one again, without faults."""
    if outcome.returncode == 0:
        return f"{command} well"
    outcome.expect(1)
    steps = re.findall(r"^([\w-]+): ", outcome.stderr, re.MULTILINE)
    error = outcome.stderr[outcome.stderr.rindex(f"{steps[-1]}: ") :]
    assert CLEAR.match(error), f"not clear:\n{outcome.stderr}"
    project.invoke(command).expect(0)
    return f"{command}: {' '.join(error.split())[:90]}"


@pytest.mark.parametrize("fault", ["throttled", "cut before", "cut after"])
def test_deploy_succeeds_when_every_write_fails_once(
    project: ForkedProject, faults: Faults, deployed: Any, fault: str
) -> None:
    writes = ["CreateTable", "CreateRole", "PutRolePolicy", "CreateLogGroup", "PutRetentionPolicy"]
    faults.once = dict.fromkeys([*writes, "POST /functions", "POST /event-source-mappings"], fault)
    faults.once["POST /functions/"] = fault
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
    faults.once["POST /functions"] = "not ready"
    project.invoke("deploy", "--yes", **target_aws(faults.endpoint)).expect(0)
    assert faults.injected == ["not ready"]
    assert project.snapshot() == deployed


@pytest.mark.parametrize(
    ("changed", "call"),
    [({"FUNCTION_MEMORY_SIZE": "256"}, "configuration"), ({"FUNCTION_ARCHITECTURE": "arm64"}, "code")],
)
def test_deploy_waits_for_an_update_in_progress(
    project: ForkedProject, faults: Faults, changed: dict[str, Any], call: str
) -> None:
    project.invoke("deploy").expect(0)
    faults.once[f"PUT /functions/stream-demo/{call}"] = "not ready"
    project.invoke("deploy", "--yes", **target_aws(faults.endpoint, **changed)).expect(0)
    assert faults.injected == ["not ready"]
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
