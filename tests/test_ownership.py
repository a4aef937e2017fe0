"""What stands already and is not ours is never changed or deleted; --adopt takes it over on purpose."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.session import is_read
from tests.proofs.faults import REAL
from tests.forks import forking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.forks import Ended, Forks

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ALLOWED = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:*:*:orders"}],
}
FOREIGN = {
    "table": ({"TABLE_NAME": "theirs"}, "table theirs"),
    "role": ({"ROLE_NAME": "theirs-role"}, "role theirs-role"),
    "function": ({"FUNCTION_NAME": "theirs"}, "function theirs"),
    "log group": ({"FUNCTION_NAME": "theirs-alone"}, "log group /aws/lambda/theirs-alone"),
}


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """A project whose account has a pipeline of another name, and a log group that nobody tagged."""
    with forking(tmp_path_factory.mktemp("owners") / "project") as started:
        started.invoke("deploy", PIPELINE_NAME="theirs").expect(0)
        started.client("logs").create_log_group(logGroupName="/aws/lambda/theirs-alone")
        yield started


@pytest.fixture
def ours(forks: Forks) -> Iterator[Forks]:
    """The same; what our own pipeline has made is removed afterwards."""
    yield forks
    forks.invoke("clean", "--delete-data").expect(0)


def theirs(forks: Forks) -> dict[str, list[Any]]:
    """All that is theirs; what is ours may name it, but bears our name as well."""
    return {
        kind: [each for each in held if "theirs" in str(each) and "stream-demo" not in str(each)]
        for kind, held in forks.state().items()
    }


def refusal(forks: Forks, *words: str, **settings: Any) -> Ended:
    """A command that is refused and writes nothing of theirs."""
    before = theirs(forks)
    refused = forks.invoke(*words, **settings).expect(1)
    assert theirs(forks) == before
    return refused


@pytest.mark.parametrize("kind", FOREIGN)
def test_deploy_does_not_touch_what_is_foreign(ours: Forks, kind: str) -> None:
    settings, name = FOREIGN[kind]
    told = refusal(ours, "deploy", **settings).stderr
    assert f"{name} exists and " in told
    assert "take it over with --adopt" in told


@pytest.mark.parametrize("kind", FOREIGN)
def test_deploy_to_a_real_account_stops_at_what_is_foreign_before_it_has_made_anything(ours: Forks, kind: str) -> None:
    settings, name = FOREIGN[kind]
    account = {**REAL, "AWS_ENDPOINT_URL": ours.endpoint}
    refused = refusal(ours, "deploy", "--yes", **account, **settings)
    assert f"{name} exists and " in refused.stderr
    assert [operation for operation in refused.calls if not is_read(operation)] == []


@pytest.mark.parametrize("kind", FOREIGN)
def test_clean_stops_at_what_is_foreign_before_it_has_deleted_anything(ours: Forks, kind: str) -> None:
    settings, name = FOREIGN[kind]
    ours.invoke("deploy").expect(0)
    refused = refusal(ours, "clean", **settings)
    assert f"{name} exists and " in refused.stderr
    assert [operation for operation in refused.calls if not is_read(operation)] == []


@pytest.mark.parametrize(
    ("step", "kind"),
    [("create-table", "table"), ("create-role", "role"), ("put-policy", "role"), ("create-function", "log group")],
)
def test_a_step_does_not_touch_what_is_foreign(ours: Forks, step: str, kind: str) -> None:
    settings, name = FOREIGN[kind]
    ours.invoke("create-role").expect(0)
    assert f"{name} exists and " in refusal(ours, step, **settings).stderr


def test_map_stream_does_not_touch_a_foreign_functions_mappings(ours: Forks) -> None:
    ours.invoke("create-table").expect(0)
    assert (
        "function theirs exists and belongs to pipeline 'theirs'"
        in refusal(ours, "map-stream", FUNCTION_NAME="theirs").stderr
    )


def test_map_stream_does_not_move_a_foreign_mapping_of_a_foreign_table(ours: Forks) -> None:
    refused = refusal(ours, "map-stream", TABLE_NAME="theirs", FUNCTION_NAME="theirs")
    assert "function theirs exists and belongs to pipeline 'theirs'" in refused.stderr


@pytest.fixture
def other_source(ours: Forks) -> Iterator[Callable[[dict[str, str]], str]]:
    """Maps their table's stream to our function, deployed, with tags: the mapping's UUID. It is removed afterwards."""
    lambda_ = ours.client("lambda")
    made: list[str] = []
    reading = [f"dynamodb:{action}" for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")]
    statement = {"Effect": "Allow", "Action": reading, "Resource": "arn:aws:dynamodb:*:*:table/theirs/stream/*"}
    ours.invoke("deploy").expect(0)
    ours.client("iam").put_role_policy(
        RoleName="stream-demo-role",
        PolicyName="stream-demo-also",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )

    def make(tags: dict[str, str]) -> str:
        stream = ours.client("dynamodb").describe_table(TableName="theirs")["Table"]["LatestStreamArn"]
        answer = lambda_.create_event_source_mapping(
            FunctionName="stream-demo", EventSourceArn=stream, StartingPosition="LATEST", Tags=tags
        )
        made.append(answer["UUID"])
        return made[-1]

    yield make
    for each in lambda_.list_event_source_mappings(FunctionName="stream-demo")["EventSourceMappings"]:
        if each["UUID"] in made:
            lambda_.delete_event_source_mapping(UUID=each["UUID"])


def test_clean_stops_at_a_mapping_on_another_table_that_is_not_ours(
    ours: Forks, other_source: Callable[[dict[str, str]], str]
) -> None:
    uuid = other_source({})
    refused = refusal(ours, "clean")
    assert f"mapping {uuid} of function stream-demo on arn:aws:dynamodb" in refused.stderr
    assert "carries no pipeline tag" in refused.stderr
    assert [operation for operation in refused.calls if not is_read(operation)] == []


def test_clean_removes_a_mapping_on_a_table_that_the_settings_named_before(
    ours: Forks, other_source: Callable[[dict[str, str]], str]
) -> None:
    other_source({"pipeline": "stream-demo"})
    ours.invoke("clean").expect(0)
    assert ours.client("lambda").list_event_source_mappings(FunctionName="stream-demo")["EventSourceMappings"] == []


def test_a_role_with_a_policy_that_is_not_ours_stops_clean_before_it_has_deleted_anything(ours: Forks) -> None:
    ours.invoke("deploy").expect(0)
    iam = ours.client("iam")
    iam.put_role_policy(RoleName="stream-demo-role", PolicyName="by-hand", PolicyDocument=json.dumps(ALLOWED))
    refused = refusal(ours, "clean")
    assert "role stream-demo-role has what this pipeline did not give it: inline policy by-hand" in refused.stderr
    assert [operation for operation in refused.calls if not is_read(operation)] == []
    iam.delete_role_policy(RoleName="stream-demo-role", PolicyName="by-hand")


def test_a_role_with_an_attachment_that_is_not_ours_stops_clean_before_it_has_deleted_anything(ours: Forks) -> None:
    ours.invoke("deploy").expect(0)
    iam, arn = ours.client("iam"), "arn:aws:iam::aws:policy/ReadOnlyAccess"
    iam.attach_role_policy(RoleName="stream-demo-role", PolicyArn=arn)
    refused = refusal(ours, "clean")
    assert f"role stream-demo-role has what this pipeline did not give it: managed policy {arn}" in refused.stderr
    assert [operation for operation in refused.calls if not is_read(operation)] == []
    iam.detach_role_policy(RoleName="stream-demo-role", PolicyArn=arn)


def test_adopt_takes_over_all_that_stands_already(ours: Forks) -> None:
    dynamodb, iam, logs = (ours.client(service) for service in ("dynamodb", "iam", "logs"))
    dynamodb.create_table(
        TableName="stream-demo",
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    iam.create_role(RoleName="stream-demo-role", AssumeRolePolicyDocument=json.dumps(TRUST))
    logs.create_log_group(logGroupName="/aws/lambda/stream-demo")
    assert "table stream-demo exists and carries no pipeline tag" in refusal(ours, "deploy").stderr
    ours.invoke("deploy", "--adopt").expect(0)
    ours.invoke("smoke").expect(0)
    ours.invoke("deploy").expect(0)
