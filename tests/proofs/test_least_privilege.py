"""policies/execution-policy.json, enforced by the embedded AWS: each action is needed, and together they are enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.forks import forking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.forks import Forks

pytestmark = pytest.mark.proof

POLICY = Path(__file__).resolve().parents[1] / "policies" / "execution-policy.json"
ACTIONS = [action for statement in json.loads(POLICY.read_text())["Statement"] for action in statement["Action"]]


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forking(tmp_path_factory.mktemp("policies") / "project", SMOKE_TIMEOUT="1") as started:
        yield started


@pytest.fixture
def deployed(forks: Forks) -> Iterator[None]:
    forks.invoke("deploy").expect(0)
    yield
    forks.invoke("clean").expect(0)


@pytest.fixture(scope="module")
def unmapped(forks: Forks) -> str:
    """The ARN of the stream of a pipeline of its own, unmapped, whose mapping was deleted."""
    forks.invoke("deploy", PIPELINE_NAME="unmapped").expect(0)
    lambda_ = forks.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName="unmapped")["EventSourceMappings"]
    lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
    return str(mapping["EventSourceArn"])


def allow_all_but(forks: Forks, pipeline: str, action: str) -> None:
    """Give the pipeline's role its policy without one action."""
    stored = (forks.folder / "build" / "policies" / POLICY.name).read_text()
    document = json.loads(stored)
    for statement in document["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each != action]
    assert action in stored
    forks.client("iam").put_role_policy(
        RoleName=f"{pipeline}-role", PolicyName=f"{pipeline}-policy", PolicyDocument=json.dumps(document)
    )


@pytest.mark.usefixtures("deployed")
def test_the_actions_together_are_enough(forks: Forks) -> None:
    forks.invoke("smoke").expect(0)


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("action", [each for each in ACTIONS if each.startswith("logs:")])
def test_without_an_action_on_the_log_nothing_is_logged(forks: Forks, action: str) -> None:
    allow_all_but(forks, "stream-demo", action)
    assert "Nothing was logged" in forks.invoke("smoke").expect(1).stderr


@pytest.mark.parametrize("action", [each for each in ACTIONS if each.startswith("dynamodb:")])
def test_without_an_action_on_the_stream_it_cannot_be_mapped(forks: Forks, unmapped: str, action: str) -> None:
    forks.invoke("put-policy", PIPELINE_NAME="unmapped").expect(0)
    allow_all_but(forks, "unmapped", action)
    lambda_: Any = forks.client("lambda")
    with pytest.raises(lambda_.exceptions.InvalidParameterValueException, match="ensure the role can perform"):
        lambda_.create_event_source_mapping(
            FunctionName="unmapped", EventSourceArn=unmapped, StartingPosition="TRIM_HORIZON"
        )


def test_there_is_no_other_kind_of_action() -> None:
    assert {each.partition(":")[0] for each in ACTIONS} == {"dynamodb", "logs"}
