"""deploy, smoke and clean when the network or AWS fails them, or a person stops them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.proofs import faults as soak
from tests.forks import forking
from tests.fault_proxy import in_front_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.forks import Forks
    from tests.fault_proxy import Faults

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forking(tmp_path_factory.mktemp("faults") / "project") as started:
        yield started


@pytest.fixture(scope="module")
def deployed(forks: Forks) -> Any:
    """What a deploy makes that meets no fault; removed again."""
    forks.invoke("deploy").expect(0)
    state = forks.state()
    forks.invoke("clean").expect(0)
    return state


@pytest.fixture
def faults(forks: Forks) -> Iterator[Faults]:
    """No faults but those that the test asks for; the account is left empty."""
    with in_front_of(forks.endpoint, rate=0) as proxy:
        yield proxy
    forks.invoke("clean").expect(0)
    assert forks.holds_nothing()


def through(proxy: Faults, **settings: Any) -> dict[str, Any]:
    return {**soak.REAL, "AWS_ENDPOINT_URL": proxy.url, **settings}


def test_a_few_seeds_of_the_soak_end_well_or_with_one_clear_error(forks: Forks) -> None:
    soak.prove(forks, range(1000, 1001))


@pytest.mark.parametrize("fault", ["throttled", "cut before", "cut after"])
def test_a_deploy_whose_every_writing_call_fails_once_ends_well(
    forks: Forks, faults: Faults, deployed: Any, fault: str
) -> None:
    creates = ["CreateTable", "CreateRole", "PutRolePolicy", "CreateLogGroup", "PutRetentionPolicy"]
    faults.once = dict.fromkeys([*creates, "POST /functions", "POST /event-source-mappings"], fault)
    faults.once["POST /functions/"] = fault
    forks.invoke("deploy", "--yes", **through(faults)).expect(0)
    assert len(faults.met) == 7
    assert forks.state() == deployed


@pytest.mark.parametrize("fault", ["cut before", "cut after"])
def test_a_clean_whose_every_writing_call_fails_once_ends_well(forks: Forks, faults: Faults, fault: str) -> None:
    forks.invoke("deploy").expect(0)
    deletes = ["DeleteRolePolicy", "DeleteRole", "DeleteLogGroup", "DeleteTable"]
    faults.once = dict.fromkeys([*deletes, "DELETE /functions/stream-demo", "DELETE /event-source-mappings"], fault)
    forks.invoke("clean", "--yes", **through(faults)).expect(0)
    assert len(faults.met) == 6
    assert forks.holds_nothing()


@pytest.mark.parametrize("fault", ["cut before", "cut after"])
def test_a_smoke_whose_every_writing_call_fails_once_ends_well(forks: Forks, faults: Faults, fault: str) -> None:
    forks.invoke("deploy").expect(0)
    faults.once = dict.fromkeys(["PutItem", "DeleteItem"], fault)
    forks.invoke("smoke", **through(faults)).expect(0)
    assert len(faults.met) == 2
    assert forks.client("dynamodb").scan(TableName="stream-demo")["Count"] == 0


def test_a_role_that_lambda_cannot_assume_yet_is_waited_for(forks: Forks, faults: Faults, deployed: Any) -> None:
    faults.once["POST /functions"] = "not ready"
    forks.invoke("deploy", "--yes", **through(faults)).expect(0)
    assert faults.met == ["not ready"]
    assert forks.state() == deployed


@pytest.mark.parametrize(
    ("changed", "call"),
    [({"FUNCTION_MEMORY_SIZE": "256"}, "configuration"), ({"FUNCTION_ARCHITECTURE": "arm64"}, "code")],
)
def test_an_update_that_is_under_way_is_waited_for(
    forks: Forks, faults: Faults, changed: dict[str, Any], call: str
) -> None:
    forks.invoke("deploy").expect(0)
    faults.once[f"PUT /functions/stream-demo/{call}"] = "not ready"
    forks.invoke("deploy", "--yes", **through(faults, **changed)).expect(0)
    assert faults.met == ["not ready"]
    again = forks.invoke("--dry", "deploy", **changed).expect(0)
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
def test_a_real_refusal_is_told_at_once(forks: Forks, faults: Faults, call: str, status: int, code: str) -> None:
    faults.always[call] = (status, code, "You are not authorized to do this")
    refused = forks.invoke("deploy", "--yes", **through(faults)).expect(1)
    assert f"failed\n  AWS said: {code}: You are not authorized to do this\n  try: " in refused.stderr
    assert faults.asked[call] == 1


@pytest.mark.parametrize(
    ("command", "at", "there"),
    [
        ("deploy", ("after", 1, "CreateTable"), "table stream-demo"),
        ("deploy", ("after", 1, "CreateEventSourceMapping"), "mapping "),
        ("clean", ("after", 1, "DeleteFunction"), "role stream-demo-role"),
    ],
)
def test_ctrl_c_says_in_one_line_what_there_is_and_deploy_picks_up(
    forks: Forks, faults: Faults, deployed: Any, command: str, at: tuple[str, int, str], there: str
) -> None:
    if command != "deploy":
        forks.invoke("deploy").expect(0)
    stopped = forks.stop(at, command, by=signal.SIGINT).expect(130)
    assert len(stopped.stderr.splitlines()) == 1
    assert ": interrupted. There is now: " in stopped.stderr
    assert there in stopped.stderr
    assert faults.met == []
    forks.invoke("deploy").expect(0)
    assert forks.state() == deployed
