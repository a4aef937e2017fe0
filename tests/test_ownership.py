"""Resources that belong to others are neither changed nor deleted; --adopt takes them over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.project import target_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.forked import ForkedProject, Outcome

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ALLOWED = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:*:*:orders"}],
}
SPEED = 5  # a resource without tags is looked at for seconds: it may be ours
FOREIGN = {
    "table": ({"TABLE_NAME": "theirs"}, "table theirs"),
    "role": ({"ROLE_NAME": "theirs-role"}, "role theirs-role"),
    "function": ({"FUNCTION_NAME": "theirs"}, "function theirs"),
    "log group": ({"FUNCTION_NAME": "theirs-alone"}, "log group /aws/lambda/theirs-alone"),
}
# Clean and a real account stop at each kind in the same way; the proofs try them all.
ONE_AND_PROOFS = ["role", *(pytest.param(kind, marks=pytest.mark.proof) for kind in ("table", "function", "log group"))]


@pytest.fixture(scope="module")
def shared(project: ForkedProject) -> ForkedProject:
    """A project whose account has a pipeline of another name and a log group without tags."""
    project.invoke("deploy", PIPELINE_NAME="theirs").expect(0)
    project.client("logs").create_log_group(logGroupName="/aws/lambda/theirs-alone")
    return project


@pytest.fixture
def ours(shared: ForkedProject) -> Iterator[ForkedProject]:
    """The same project; our own pipeline is deleted after the test."""
    yield shared
    shared.invoke("clean", "--delete-data", "--adopt").expect(0)


def theirs(project: ForkedProject) -> dict[str, list[Any]]:
    """Return their resources. Ours may refer to them, but have our name as well."""
    return {
        kind: [each for each in resources if "theirs" in str(each) and "stream-demo" not in str(each)]
        for kind, resources in project.snapshot().items()
    }


def refusal(project: ForkedProject, *words: str, **settings: Any) -> Outcome:
    """Run a command and assert that it fails and leaves their resources as they were."""
    before = theirs(project)
    refused = project.invoke(*words, **settings).expect(1)
    assert theirs(project) == before
    return refused


@pytest.mark.parametrize("kind", FOREIGN)
def test_deploy_does_not_change_a_foreign_resource(ours: ForkedProject, kind: str) -> None:
    settings, name = FOREIGN[kind]
    error = refusal(ours, "deploy", **settings).stderr
    assert f"{name} already exists and " in error
    assert "take the resource over with --adopt" in error


@pytest.mark.parametrize("kind", ONE_AND_PROOFS)
def test_deploy_to_a_real_account_stops_at_a_foreign_resource_before_the_first_write(
    ours: ForkedProject, kind: str
) -> None:
    settings, name = FOREIGN[kind]
    refused = refusal(ours, "deploy", "--yes", **target_aws(ours.endpoint, **settings))
    assert f"{name} already exists and " in refused.stderr
    assert refused.writes == []


@pytest.mark.parametrize("kind", ONE_AND_PROOFS)
def test_clean_stops_at_a_foreign_resource_before_the_first_deletion(ours: ForkedProject, kind: str) -> None:
    settings, name = FOREIGN[kind]
    ours.invoke("deploy").expect(0)
    refused = refusal(ours, "clean", **settings)
    assert f"{name} already exists and " in refused.stderr
    assert "take the resource over with --adopt" not in refused.stderr
    assert refused.writes == []


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("put-policy", "role"),
        pytest.param("create-table", "table", marks=pytest.mark.proof),
        pytest.param("create-role", "role", marks=pytest.mark.proof),
        pytest.param("create-function", "log group", marks=pytest.mark.proof),
    ],
)
def test_a_step_does_not_change_a_foreign_resource(ours: ForkedProject, step: str, kind: str) -> None:
    settings, name = FOREIGN[kind]
    ours.invoke("create-role").expect(0)
    assert f"{name} already exists and " in refusal(ours, step, **settings).stderr


def test_map_stream_does_not_map_to_a_foreign_function(ours: ForkedProject) -> None:
    ours.invoke("create-table").expect(0)
    refused = refusal(ours, "map-stream", FUNCTION_NAME="theirs")
    assert "function theirs already exists and belongs to pipeline 'theirs'" in refused.stderr
    assert "--adopt" not in refused.stderr


def test_map_stream_does_not_move_a_foreign_mapping(ours: ForkedProject) -> None:
    refused = refusal(ours, "map-stream", TABLE_NAME="theirs", FUNCTION_NAME="theirs")
    assert "function theirs already exists and belongs to pipeline 'theirs'" in refused.stderr


@pytest.fixture
def other_source(ours: ForkedProject) -> Iterator[Callable[[dict[str, str]], str]]:
    """Maps their table's stream to our function, with these tags, and returns the mapping's UUID."""
    lambda_ = ours.client("lambda")
    created: list[str] = []
    reads = [f"dynamodb:{action}" for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")]
    statement = {"Effect": "Allow", "Action": reads, "Resource": "arn:aws:dynamodb:*:*:table/theirs/stream/*"}
    ours.invoke("deploy").expect(0)
    ours.client("iam").put_role_policy(
        RoleName="stream-demo-role",
        PolicyName="stream-demo-also",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )

    def map_their_stream(tags: dict[str, str]) -> str:
        stream = ours.client("dynamodb").describe_table(TableName="theirs")["Table"]["LatestStreamArn"]
        mapping = lambda_.create_event_source_mapping(
            FunctionName="stream-demo", EventSourceArn=stream, StartingPosition="LATEST", Tags=tags
        )
        created.append(mapping["UUID"])
        return created[-1]

    yield map_their_stream
    for each in lambda_.list_event_source_mappings(FunctionName="stream-demo")["EventSourceMappings"]:
        if each["UUID"] in created:
            lambda_.delete_event_source_mapping(UUID=each["UUID"])


def test_clean_stops_at_a_foreign_mapping_on_another_table(
    ours: ForkedProject, other_source: Callable[[dict[str, str]], str]
) -> None:
    uuid = other_source({})
    refused = refusal(ours, "clean")
    assert f"mapping {uuid} of function stream-demo on arn:aws:dynamodb" in refused.stderr
    assert "has no pipeline tag" in refused.stderr
    assert refused.writes == []


def test_clean_deletes_our_mapping_on_a_table_of_earlier_settings(
    ours: ForkedProject, other_source: Callable[[dict[str, str]], str]
) -> None:
    other_source({"pipeline": "stream-demo"})
    ours.invoke("clean").expect(0)
    assert ours.client("lambda").list_event_source_mappings(FunctionName="stream-demo")["EventSourceMappings"] == []


ATTACHED = "arn:aws:iam::aws:policy/ReadOnlyAccess"


@pytest.fixture
def by_hand(ours: ForkedProject) -> ForkedProject:
    """Our pipeline, with tags and policies that others added to its resources."""
    ours.invoke("deploy").expect(0)
    iam = ours.client("iam")
    iam.put_role_policy(RoleName="stream-demo-role", PolicyName="stream-demo-x", PolicyDocument=json.dumps(ALLOWED))
    iam.attach_role_policy(RoleName="stream-demo-role", PolicyArn=ATTACHED)
    iam.tag_role(RoleName="stream-demo-role", Tags=[{"Key": "cost-center", "Value": "42"}])
    table = ours.client("dynamodb").describe_table(TableName="stream-demo")["Table"]["TableArn"]
    ours.client("dynamodb").tag_resource(ResourceArn=table, Tags=[{"Key": "cost-center", "Value": "42"}])
    for arn in function_and_mapping(ours):
        ours.client("lambda").tag_resource(Resource=arn, Tags={"cost-center": "42"})
    return ours


def function_and_mapping(project: ForkedProject) -> tuple[str, str]:
    lambda_ = project.client("lambda")
    (mapping,) = lambda_.list_event_source_mappings(FunctionName="stream-demo")["EventSourceMappings"]
    return mapping["FunctionArn"], mapping["EventSourceMappingArn"]


def kinds_of_ours(project: ForkedProject) -> set[str]:
    """The kinds of which a resource of our name exists."""
    every = [(kind, str(each)) for kind, resources in project.snapshot().items() for each in resources]
    return {kind for kind, text in every if "stream-demo" in text and "theirs" not in text}


def test_deploy_leaves_what_others_added_when_it_changes_its_own(by_hand: ForkedProject) -> None:
    before = by_hand.snapshot()
    changed = {"TAGS": '{"stage": "test"}', "ROLE_MANAGED_POLICY_ARNS": "arn:aws:iam::aws:policy/job-function/Billing"}
    by_hand.invoke("deploy", **changed).expect(0)
    assert by_hand.snapshot() != before
    by_hand.invoke("deploy").expect(0)
    assert by_hand.snapshot() == before
    assert by_hand.invoke("deploy").expect(0).writes == []


def test_deploy_deletes_the_policy_of_a_removed_document(ours: ForkedProject) -> None:
    document = ours.folder / "policies" / "queue.json"
    document.write_text(json.dumps(ALLOWED))
    ours.invoke("deploy").expect(0)
    document.unlink()
    assert "- put-policy       policy stream-demo-queue of role" in ours.invoke("deploy").expect(0).stdout
    names = ours.client("iam").list_role_policies(RoleName="stream-demo-role")["PolicyNames"]
    assert names == ["stream-demo-policy"]


def test_status_shows_what_others_added(by_hand: ForkedProject) -> None:
    output = by_hand.run("status", "--check")
    tagged = ["table stream-demo", "role stream-demo-role", "function stream-demo"]
    shown = next(line for line in output.splitlines() if line.startswith("  foreign tags "))
    assert [name for name in tagged if f"cost-center on {name}" in shown] == tagged
    assert f"inline policy stream-demo-x; managed policy {ATTACHED}" in output


def test_clean_leaves_a_role_with_policies_of_others_and_deletes_the_rest(by_hand: ForkedProject) -> None:
    output = by_hand.run("clean")
    names = f"inline policy stream-demo-x, managed policy {ATTACHED}"
    assert f"role stream-demo-role  kept because someone else added {names}; to delete it, pass --adopt" in output
    assert "nothing remains except role stream-demo-role" in output
    assert kinds_of_ours(by_hand) == {"roles", "policies"}
    assert by_hand.client("iam").list_role_policies(RoleName="stream-demo-role")["PolicyNames"] == [
        "stream-demo-policy",
        "stream-demo-x",
    ]
    by_hand.run("deploy", "smoke")


def test_clean_deletes_a_role_with_policies_of_others_with_adopt(by_hand: ForkedProject) -> None:
    by_hand.run("clean", "--adopt")
    assert kinds_of_ours(by_hand) == set()


def test_adopt_takes_over_existing_resources(ours: ForkedProject) -> None:
    dynamodb, iam, logs = (ours.client(service) for service in ("dynamodb", "iam", "logs"))
    dynamodb.create_table(
        TableName="stream-demo",
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    iam.create_role(RoleName="stream-demo-role", AssumeRolePolicyDocument=json.dumps(TRUST))
    logs.create_log_group(logGroupName="/aws/lambda/stream-demo")
    assert "table stream-demo already exists and has no pipeline tag" in refusal(ours, "deploy").stderr
    ours.invoke("deploy", "--adopt").expect(0)
    ours.invoke("smoke").expect(0)
    ours.invoke("deploy").expect(0)
