from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import role
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
OTHER_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
DOCUMENT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}]}
OTHER_DOCUMENT = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}]}
BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"
MANAGED = "arn:aws:iam::123456789012:policy/managed"

WANTED: dict[str, Any] = {
    "RoleName": "runs",
    "AssumeRolePolicyDocument": TRUST,
    "Tags": [{"Key": "pipeline", "Value": "demo"}],
}
TAGS = {"pipeline": "demo", "stage": "test"}

# Another value of each setting that AWS changes in place, and the writing call that brings it about.
DRIFTS: dict[str, tuple[Any, tuple[str, dict[str, Any]]]] = {
    "AssumeRolePolicyDocument": (
        OTHER_TRUST,
        ("UpdateAssumeRolePolicy", {"PolicyDocument": json.dumps(OTHER_TRUST)}),
    ),
    "Description": ("new", ("UpdateRole", {"Description": "new", "MaxSessionDuration": 3600})),
    "ManagedPolicyArns": ([MANAGED], ("AttachRolePolicy", {"PolicyArn": MANAGED})),
    "MaxSessionDuration": (7200, ("UpdateRole", {"Description": "", "MaxSessionDuration": 7200})),
    "PermissionsBoundary": (BOUNDARY, ("PutRolePermissionsBoundary", {"PermissionsBoundary": BOUNDARY})),
    "Tags": (
        [{"Key": name, "Value": value} for name, value in TAGS.items()],
        ("TagRole", {"Tags": [{"Key": "stage", "Value": "test"}]}),
    ),
}
DRIFTED = pytest.mark.parametrize(("setting", "value", "write"), [(s, *d) for s, d in DRIFTS.items()], ids=DRIFTS)


@pytest.fixture(autouse=True)
def _managed_policies(aws: Aws) -> None:
    for name in ("boundary", "managed"):
        aws("iam").create_policy(PolicyName=name, PolicyDocument=json.dumps(DOCUMENT))


def test_creates_when_absent(aws: Aws) -> None:
    change = role.ensure(aws("iam"), WANTED)

    assert (change.resource, change.action) == ("role runs", "created")
    assert change.attributes["Arn"] == aws("iam").get_role(RoleName="runs")["Role"]["Arn"]


def test_creates_with_every_setting(aws: Aws) -> None:
    wanted = {**WANTED, "Path": "/team/", **{setting: value for setting, (value, _) in DRIFTS.items()}}

    role.ensure(aws("iam"), wanted)

    found = role.describe(aws("iam"), "runs")
    assert found
    assert {setting: found[setting] for setting in wanted} == {**wanted, "Tags": TAGS}


def test_says_unchanged_when_same(aws: Aws) -> None:
    role.ensure(aws("iam"), WANTED)

    change = role.ensure(aws("iam"), WANTED)

    assert (change.action, change.diffs) == ("unchanged", ())


def test_unchanged_takes_two_reads(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), WANTED)
    calls.clear()

    role.ensure(aws("iam"), WANTED)

    assert calls.operations == ["GetRole", "ListAttachedRolePolicies"]


def test_the_grid_below_knows_every_setting() -> None:
    assert {*DRIFTS} == role._KNOWN - {"RoleName", "Path"}


@DRIFTED
def test_changes_exactly_what_drifted(
    aws: Aws, calls: Calls, setting: str, value: Any, write: tuple[str, dict[str, Any]]
) -> None:
    role.ensure(aws("iam"), WANTED)
    calls.clear()

    role.ensure(aws("iam"), {**WANTED, setting: value})

    operation, parameters = write
    assert calls.writes == [(operation, {"RoleName": "runs", **parameters})]


@DRIFTED
def test_names_what_drifted(aws: Aws, setting: str, value: Any, write: Any) -> None:
    assert write
    role.ensure(aws("iam"), WANTED)

    change = role.ensure(aws("iam"), {**WANTED, setting: value})

    assert (change.action, [difference.setting for difference in change.diffs]) == ("updated", [setting])


@DRIFTED
def test_an_option_taken_away_goes_back_to_the_default(aws: Aws, setting: str, value: Any, write: Any) -> None:
    assert write
    role.ensure(aws("iam"), WANTED)
    before = role.describe(aws("iam"), "runs")
    role.ensure(aws("iam"), {**WANTED, setting: value})

    role.ensure(aws("iam"), WANTED)

    assert role.describe(aws("iam"), "runs") == before


@DRIFTED
def test_plan_foretells_the_run_call_by_call(
    aws: Aws, plan: Aws, calls: Calls, setting: str, value: Any, write: Any
) -> None:
    assert write
    role.ensure(aws("iam"), WANTED)
    calls.clear()

    foretold = role.ensure(plan("iam"), {**WANTED, setting: value})
    planned_calls = list(calls)
    calls.clear()

    assert foretold == role.ensure(aws("iam"), {**WANTED, setting: value})
    assert planned_calls == calls


def test_plan_of_a_creation_writes_nothing(aws: Aws, plan: Aws) -> None:
    assert role.ensure(plan("iam"), {**WANTED, "ManagedPolicyArns": [MANAGED]}).action == "created"

    assert role.describe(aws("iam"), "runs") is None


def test_refuses_another_path(aws: Aws) -> None:
    role.ensure(aws("iam"), WANTED)

    with pytest.raises(UserError, match="role runs has Path /, wanted is /team/"):
        role.ensure(aws("iam"), {**WANTED, "Path": "/team/"})


def test_refuses_the_role_of_another_pipeline(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), {**WANTED, "Tags": []})
    calls.clear()

    with pytest.raises(UserError, match="role runs exists and carries no pipeline tag"):
        role.ensure(aws("iam"), WANTED)

    assert calls.writes == []


def test_adopt_takes_over(aws: Aws) -> None:
    role.ensure(aws("iam"), {**WANTED, "Tags": [{"Key": "pipeline", "Value": "other"}]})

    role.ensure(aws("iam"), WANTED, adopt=True)

    assert role.ensure(aws("iam"), WANTED).action == "unchanged"


def test_denied_surfaces_as_aws_said_it(aws: Aws) -> None:
    with Stubber(aws("iam")) as stub:
        stub.add_client_error("get_role", "AccessDenied", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            role.ensure(aws("iam"), WANTED)


def test_policy_is_created_when_absent(aws: Aws) -> None:
    role.ensure(aws("iam"), WANTED)

    assert role.ensure_policy(aws("iam"), "runs", "may", DOCUMENT, owner="demo").action == "created"

    assert aws("iam").get_role_policy(RoleName="runs", PolicyName="may")["PolicyDocument"] == DOCUMENT


def test_policy_that_is_as_wanted_takes_one_read(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), WANTED)
    role.ensure_policy(aws("iam"), "runs", "may", DOCUMENT, owner="demo")
    calls.clear()

    assert role.ensure_policy(aws("iam"), "runs", "may", DOCUMENT, owner="demo").action == "unchanged"

    assert calls.operations == ["GetRolePolicy"]


def test_policy_that_drifted_shows_both_documents(aws: Aws) -> None:
    role.ensure(aws("iam"), WANTED)
    role.ensure_policy(aws("iam"), "runs", "may", OTHER_DOCUMENT)

    change = role.ensure_policy(aws("iam"), "runs", "may", DOCUMENT)

    assert [(each.setting, each.old, each.new) for each in change.diffs] == [
        ("PolicyDocument", OTHER_DOCUMENT, DOCUMENT)
    ]
    assert aws("iam").get_role_policy(RoleName="runs", PolicyName="may")["PolicyDocument"] == DOCUMENT


def test_policy_of_a_role_that_is_only_planned_can_be_planned(plan: Aws) -> None:
    assert role.ensure_policy(plan("iam"), "runs", "may", DOCUMENT, owner="demo").action == "created"


def test_policy_of_a_foreign_role_is_refused(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), WANTED)
    calls.clear()

    with pytest.raises(UserError, match="role runs exists and belongs to pipeline 'demo'"):
        role.ensure_policy(aws("iam"), "runs", "may", DOCUMENT, owner="mine")

    assert calls.writes == []


def test_policy_is_deleted(aws: Aws) -> None:
    role.ensure(aws("iam"), WANTED)
    role.ensure_policy(aws("iam"), "runs", "may", DOCUMENT)

    assert role.delete_policy(aws("iam"), "runs", "may", owner="demo").action == "deleted"

    assert role.delete_policy(aws("iam"), "runs", "may", owner="demo").action == "absent"


def test_delete_takes_our_policies_along(aws: Aws) -> None:
    role.ensure(aws("iam"), {**WANTED, "ManagedPolicyArns": [MANAGED]})
    role.ensure_policy(aws("iam"), "runs", "may", DOCUMENT)

    role.delete(aws("iam"), "runs", owner="demo", policy_names=["may"], managed_policy_arns=[MANAGED])

    assert role.describe(aws("iam"), "runs") is None


def test_delete_says_absent_when_absent(aws: Aws) -> None:
    assert role.delete(aws("iam"), "runs", owner="demo").action == "absent"


def test_delete_refuses_a_role_with_an_inline_policy_that_is_not_ours(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), WANTED)
    role.ensure_policy(aws("iam"), "runs", "may", DOCUMENT)
    role.ensure_policy(aws("iam"), "runs", "theirs", DOCUMENT)
    calls.clear()

    with pytest.raises(UserError, match="role runs has what this pipeline did not give it: inline policy theirs"):
        role.delete(aws("iam"), "runs", owner="demo", policy_names=["may"])

    assert calls.writes == []


def test_delete_refuses_a_role_with_an_attachment_that_is_not_ours(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), {**WANTED, "ManagedPolicyArns": [MANAGED]})
    calls.clear()

    with pytest.raises(UserError, match=f"managed policy {MANAGED}"):
        role.delete(aws("iam"), "runs", owner="demo")

    assert calls.writes == []


def test_delete_refuses_a_role_in_an_instance_profile(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), WANTED)
    aws("iam").create_instance_profile(InstanceProfileName="machine")
    aws("iam").add_role_to_instance_profile(InstanceProfileName="machine", RoleName="runs")
    calls.clear()

    with pytest.raises(UserError, match="instance profile machine"):
        role.delete(aws("iam"), "runs", owner="demo")

    assert calls.writes == []


def test_delete_refuses_the_role_of_another_pipeline(aws: Aws) -> None:
    role.ensure(aws("iam"), WANTED)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        role.delete(aws("iam"), "runs", owner="mine")
