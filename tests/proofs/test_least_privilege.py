"""Each action in policies/execution-policy.json is necessary, and together they are sufficient.

The local AWS enforces the role's policy.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof

POLICY = ROOT / "policies" / "execution-policy.json"
ACTIONS = [action for statement in json.loads(POLICY.read_text())["Statement"] for action in statement["Action"]]


@pytest.fixture
def deployed(project: ForkedProject) -> Iterator[None]:
    project.invoke("deploy").expect(0)
    yield
    project.invoke("clean").expect(0)


@pytest.fixture(scope="module")
def unmapped_stream(project: ForkedProject) -> str:
    """The ARN of the stream of another pipeline, whose mapping was deleted."""
    project.invoke("deploy", PIPELINE_NAME="unmapped").expect(0)
    lambda_ = project.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName="unmapped")["EventSourceMappings"]
    lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
    return str(mapping["EventSourceArn"])


def put_policy_without(project: ForkedProject, pipeline: str, action: str) -> None:
    """Put the pipeline's policy without one action."""
    stored = (project.folder / "build" / "policies" / POLICY.name).read_text()
    document = json.loads(stored)
    for statement in document["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each != action]
    assert action in stored
    project.client("iam").put_role_policy(
        RoleName=f"{pipeline}-role", PolicyName=f"{pipeline}-policy", PolicyDocument=json.dumps(document)
    )


@pytest.mark.usefixtures("deployed")
def test_the_actions_together_are_sufficient(project: ForkedProject) -> None:
    project.invoke("smoke").expect(0)


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("action", [each for each in ACTIONS if each.startswith("logs:")])
def test_nothing_is_logged_without_any_of_the_log_actions(project: ForkedProject, action: str) -> None:
    put_policy_without(project, "stream-demo", action)
    error = project.invoke("smoke", SMOKE_TIMEOUT="1").expect(1).stderr
    assert re.search(rf"role cannot write logs: the policies of role \S+ do not allow {action} on ", error)


@pytest.mark.parametrize("action", [each for each in ACTIONS if each.startswith("dynamodb:")])
def test_the_stream_cannot_be_mapped_without_any_of_the_stream_actions(
    project: ForkedProject, unmapped_stream: str, action: str
) -> None:
    project.invoke("put-policy", PIPELINE_NAME="unmapped").expect(0)
    put_policy_without(project, "unmapped", action)
    lambda_: Any = project.client("lambda")
    with pytest.raises(lambda_.exceptions.InvalidParameterValueException, match="ensure the role can perform"):
        lambda_.create_event_source_mapping(
            FunctionName="unmapped", EventSourceArn=unmapped_stream, StartingPosition="TRIM_HORIZON"
        )


def test_the_policy_has_only_log_and_stream_actions() -> None:
    assert {each.partition(":")[0] for each in ACTIONS} == {"dynamodb", "logs"}
