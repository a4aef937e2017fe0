"""policies/execution-policy.json, enforced by the embedded AWS: each action is needed, and together they are enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from soak.forks import forking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from soak.forks import Forks

POLICY = Path(__file__).resolve().parents[1] / "policies" / "execution-policy.json"
ACTIONS = [action for statement in json.loads(POLICY.read_text())["Statement"] for action in statement["Action"]]
NAMES = {"RoleName": "stream-demo-role", "PolicyName": "stream-demo-policy"}


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forking(tmp_path_factory.mktemp("policies") / "project", SMOKE_TIMEOUT="1") as started:
        yield started


@pytest.fixture
def without(forks: Forks) -> Iterator[Callable[[str], None]]:
    """A pipeline that is deployed, and how to take an action away from its role; it is removed afterwards."""
    forks.invoke("deploy").expect(0)
    iam = forks.project.client("iam")

    def take_away(action: str) -> None:
        document = iam.get_role_policy(**NAMES)["PolicyDocument"]
        for statement in document["Statement"]:
            statement["Action"] = [each for each in statement["Action"] if each != action]
        iam.put_role_policy(**NAMES, PolicyDocument=json.dumps(document))

    yield take_away
    forks.invoke("clean").expect(0)


@pytest.mark.usefixtures("without")
def test_the_actions_together_are_enough(forks: Forks) -> None:
    forks.invoke("smoke").expect(0)


@pytest.mark.parametrize("action", [each for each in ACTIONS if each.startswith("dynamodb:")])
def test_without_an_action_on_the_stream_it_cannot_be_mapped(
    forks: Forks, without: Callable[[str], None], action: str
) -> None:
    lambda_: Any = forks.project.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName="stream-demo")["EventSourceMappings"]
    lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
    without(action)
    again = {"FunctionName": "stream-demo", "EventSourceArn": mapping["EventSourceArn"]}
    with pytest.raises(lambda_.exceptions.InvalidParameterValueException, match="ensure the role can perform"):
        lambda_.create_event_source_mapping(**again, StartingPosition="TRIM_HORIZON")


@pytest.mark.parametrize("action", [each for each in ACTIONS if each.startswith("logs:")])
def test_without_an_action_on_the_log_nothing_is_logged(
    forks: Forks, without: Callable[[str], None], action: str
) -> None:
    without(action)
    assert "Nothing was logged" in forks.invoke("smoke").expect(1).err


def test_there_is_no_other_kind_of_action() -> None:
    assert {each.partition(":")[0] for each in ACTIONS} == {"dynamodb", "logs"}
