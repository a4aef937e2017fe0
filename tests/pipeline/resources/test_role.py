from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import change, role
from pipeline.resources.change import Change, UserError, record
from tests.pipeline.conftest import altered

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]

TRUST: dict[str, Any] = {
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

DESIRED: dict[str, Any] = {
    "RoleName": "runs",
    "AssumeRolePolicyDocument": TRUST,
    "Tags": [{"Key": "pipeline", "Value": "demo"}],
}
TAGS = {"pipeline": "demo", "stage": "test"}

# A second value for each parameter that AWS can change in place, and the call that writes it.
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


def as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags.items()]


@pytest.fixture(autouse=True)
def _managed_policies(aws: Aws) -> None:
    for name in ("boundary", "managed"):
        aws("iam").create_policy(PolicyName=name, PolicyDocument=json.dumps(DOCUMENT))


def test_creates_a_role_that_does_not_exist(aws: Aws) -> None:
    change = role.ensure(aws("iam"), DESIRED)

    assert (change.resource, change.action) == ("role runs", "created")
    assert change.attributes["Arn"] == aws("iam").get_role(RoleName="runs")["Role"]["Arn"]


def test_creates_a_role_with_every_parameter(aws: Aws) -> None:
    desired = {**DESIRED, "Path": "/team/", **{setting: value for setting, (value, _) in DRIFTS.items()}}

    role.ensure(aws("iam"), desired)

    current = role.describe(aws("iam"), "runs")
    assert current
    assert {setting: current[setting] for setting in desired} == {**desired, "Tags": TAGS}


def test_reports_unchanged_if_nothing_differs(aws: Aws) -> None:
    role.ensure(aws("iam"), DESIRED)

    change = role.ensure(aws("iam"), DESIRED)

    assert (change.action, change.diffs) == ("unchanged", ())


def test_an_unchanged_role_takes_two_reads(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), DESIRED)
    calls.clear()

    role.ensure(aws("iam"), DESIRED)

    assert calls.operations == ["GetRole", "ListAttachedRolePolicies"]


def test_the_cases_below_cover_every_parameter() -> None:
    assert {*DRIFTS} == role.PARAMETERS - {"RoleName", "Path"}


@DRIFTED
def test_updates_only_the_parameter_that_differs(
    aws: Aws, calls: Calls, setting: str, value: Any, write: tuple[str, dict[str, Any]]
) -> None:
    role.ensure(aws("iam"), DESIRED)
    calls.clear()

    role.ensure(aws("iam"), {**DESIRED, setting: value})

    operation, parameters = write
    assert calls.writes == [(operation, {"RoleName": "runs", **parameters})]


@DRIFTED
def test_the_diff_names_the_parameter_that_differs(aws: Aws, setting: str, value: Any, write: Any) -> None:
    assert write
    role.ensure(aws("iam"), DESIRED)

    change = role.ensure(aws("iam"), {**DESIRED, setting: value})

    assert (change.action, [each.setting for each in change.diffs]) == ("updated", [setting])


@DRIFTED
def test_removing_an_option_resets_it_to_the_default(aws: Aws, setting: str, value: Any, write: Any) -> None:
    assert write
    role.ensure(aws("iam"), DESIRED)
    before = role.describe(aws("iam"), "runs")
    recorded = [{"Key": "pipeline", "Value": "demo"}, *as_list(record(["stage", MANAGED]))]
    role.ensure(aws("iam"), {**DESIRED, "Tags": recorded, setting: [*recorded, *value] if setting == "Tags" else value})

    role.ensure(aws("iam"), DESIRED)

    assert role.describe(aws("iam"), "runs") == before


@DRIFTED
def test_a_dry_run_predicts_every_call(
    aws: Aws, dry_run: Aws, calls: Calls, setting: str, value: Any, write: Any
) -> None:
    assert write
    role.ensure(aws("iam"), DESIRED)
    calls.clear()

    planned = role.ensure(dry_run("iam"), {**DESIRED, setting: value})
    planned_calls = list(calls)
    calls.clear()

    assert planned == role.ensure(aws("iam"), {**DESIRED, setting: value})
    assert planned_calls == calls


def test_a_dry_run_creates_nothing(aws: Aws, dry_run: Aws) -> None:
    assert role.ensure(dry_run("iam"), {**DESIRED, "ManagedPolicyArns": [MANAGED]}).action == "created"

    assert role.describe(aws("iam"), "runs") is None


def test_rejects_another_path(aws: Aws) -> None:
    role.ensure(aws("iam"), DESIRED)

    with pytest.raises(UserError, match="role runs: cannot change Path from / to /team/"):
        role.ensure(aws("iam"), {**DESIRED, "Path": "/team/"})


def test_rejects_an_untagged_role(aws: Aws, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "TAGS_TIMEOUT", 0.1)
    role.ensure(aws("iam"), {**DESIRED, "Tags": []})
    calls.clear()

    with pytest.raises(UserError, match="role runs already exists and has no pipeline tag"):
        role.ensure(aws("iam"), DESIRED)

    assert calls.writes == []


def test_adopt_takes_over_a_role_of_another_pipeline(aws: Aws) -> None:
    role.ensure(aws("iam"), {**DESIRED, "Tags": [{"Key": "pipeline", "Value": "other"}]})

    role.ensure(aws("iam"), DESIRED, adopt=True)

    assert role.ensure(aws("iam"), DESIRED).action == "unchanged"


def test_raises_access_denied_as_aws_reports_it(aws: Aws) -> None:
    with Stubber(aws("iam")) as stub:
        stub.add_client_error("get_role", "AccessDenied", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            role.ensure(aws("iam"), DESIRED)


def put(iam: Any, documents: dict[str, Any], **options: Any) -> list[Change]:
    return list(role.ensure_policies(iam, "runs", documents, **options))


def test_puts_a_policy_that_does_not_exist_and_records_its_name(aws: Aws) -> None:
    role.ensure(aws("iam"), DESIRED)

    assert [each.action for each in put(aws("iam"), {"may": DOCUMENT}, owner="demo")] == ["created"]

    assert aws("iam").get_role_policy(RoleName="runs", PolicyName="may")["PolicyDocument"] == DOCUMENT
    current = role.describe(aws("iam"), "runs")
    assert current
    assert current["Tags"] == {"pipeline": "demo", **record(["may"], role.POLICIES_TAG)}


def test_unchanged_policies_take_one_read_each_and_one_list(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), DESIRED)
    put(aws("iam"), {"may": DOCUMENT, "too": DOCUMENT}, owner="demo")
    calls.clear()

    changes = put(aws("iam"), {"may": DOCUMENT, "too": DOCUMENT}, owner="demo")

    assert [each.action for each in changes] == ["unchanged", "unchanged"]
    assert calls.operations == ["ListRolePolicies", "GetRolePolicy", "GetRolePolicy"]


def test_a_policy_diff_shows_both_documents(aws: Aws) -> None:
    role.ensure(aws("iam"), DESIRED)
    put(aws("iam"), {"may": OTHER_DOCUMENT})

    (change,) = put(aws("iam"), {"may": DOCUMENT})

    assert [(each.setting, each.old, each.new) for each in change.diffs] == [
        ("PolicyDocument", OTHER_DOCUMENT, DOCUMENT)
    ]
    assert aws("iam").get_role_policy(RoleName="runs", PolicyName="may")["PolicyDocument"] == DOCUMENT


def test_a_dry_run_plans_a_policy_of_a_role_that_is_only_planned(dry_run: Aws) -> None:
    assert [each.action for each in put(dry_run("iam"), {"may": DOCUMENT}, owner="demo")] == ["created"]


def test_rejects_a_policy_of_another_pipelines_role(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), DESIRED)
    calls.clear()

    with pytest.raises(UserError, match="role runs already exists and belongs to pipeline 'demo'"):
        put(aws("iam"), {"may": DOCUMENT}, owner="mine")

    assert calls.writes == []


def test_deletes_a_policy_that_it_put_and_keeps_a_policy_of_others(aws: Aws) -> None:
    role.ensure(aws("iam"), DESIRED)
    put(aws("iam"), {"may": DOCUMENT, "too": DOCUMENT}, owner="demo")
    aws("iam").put_role_policy(RoleName="runs", PolicyName="theirs", PolicyDocument=json.dumps(DOCUMENT))

    changes = put(aws("iam"), {"may": DOCUMENT}, owner="demo")

    actions = [(each.resource, each.action) for each in changes]
    assert actions == [("policy may of role runs", "unchanged"), ("policy too of role runs", "deleted")]
    assert role.inline_policy_names(aws("iam"), "runs") == ["may", "theirs"]
    current = role.describe(aws("iam"), "runs")
    assert current
    assert current["Tags"] == {"pipeline": "demo", **record(["may"], role.POLICIES_TAG)}


def test_detaches_a_managed_policy_that_it_attached_and_keeps_one_of_others(aws: Aws) -> None:
    theirs = "arn:aws:iam::123456789012:policy/boundary"
    recorded = [*DESIRED["Tags"], *as_list(record([MANAGED]))]
    role.ensure(aws("iam"), {**DESIRED, "ManagedPolicyArns": [MANAGED], "Tags": recorded})
    aws("iam").attach_role_policy(RoleName="runs", PolicyArn=theirs)
    assert role.ensure(aws("iam"), {**DESIRED, "ManagedPolicyArns": [MANAGED], "Tags": recorded}).action == "unchanged"

    role.ensure(aws("iam"), DESIRED)

    current = role.describe(aws("iam"), "runs")
    assert current
    assert (current["ManagedPolicyArns"], current["Tags"]) == ([theirs], {"pipeline": "demo"})


def test_delete_removes_the_listed_and_the_recorded_policies_first(aws: Aws) -> None:
    role.ensure(aws("iam"), {**DESIRED, "ManagedPolicyArns": [MANAGED]})
    put(aws("iam"), {"recorded": DOCUMENT}, owner="demo")
    aws("iam").put_role_policy(RoleName="runs", PolicyName="listed", PolicyDocument=json.dumps(DOCUMENT))

    role.delete(aws("iam"), "runs", ["listed"], [MANAGED], owner="demo")

    assert role.describe(aws("iam"), "runs") is None


def test_delete_reports_absent_if_there_is_no_role(aws: Aws) -> None:
    assert role.delete(aws("iam"), "runs", owner="demo").action == "absent"


def test_delete_leaves_a_role_with_policies_of_others_unless_it_adopts(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), {**DESIRED, "ManagedPolicyArns": [MANAGED]})
    put(aws("iam"), {"may": DOCUMENT}, owner="demo")
    aws("iam").put_role_policy(RoleName="runs", PolicyName="theirs", PolicyDocument=json.dumps(DOCUMENT))
    calls.clear()

    change = role.delete(aws("iam"), "runs", owner="demo")

    assert (change.action, calls.writes) == ("unchanged", [])
    assert change.note == (
        f"kept because someone else added inline policy theirs, managed policy {MANAGED}; to delete it, pass --adopt"
    )
    assert role.delete(aws("iam"), "runs", owner="demo", adopt=True).action == "deleted"


def test_delete_rejects_a_role_in_an_instance_profile(aws: Aws, calls: Calls) -> None:
    role.ensure(aws("iam"), DESIRED)
    aws("iam").create_instance_profile(InstanceProfileName="machine")
    aws("iam").add_role_to_instance_profile(InstanceProfileName="machine", RoleName="runs")
    calls.clear()

    with pytest.raises(UserError, match="instance profile machine"):
        role.delete(aws("iam"), "runs", owner="demo")

    assert calls.writes == []


def test_delete_rejects_a_role_of_another_pipeline(aws: Aws) -> None:
    role.ensure(aws("iam"), DESIRED)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        role.delete(aws("iam"), "runs", owner="mine")


def hide_tags(parsed: dict[str, Any]) -> None:
    parsed["Role"].pop("Tags", None)


def test_a_role_of_ours_whose_tags_are_not_visible_yet_is_ours(aws: Aws) -> None:
    role.ensure(aws("iam"), DESIRED)

    with altered(aws("iam"), "GetRole", hide_tags, times=3):
        assert role.ensure(aws("iam"), DESIRED).action == "unchanged"

    with altered(aws("iam"), "GetRole", hide_tags, times=3):
        assert [each.action for each in put(aws("iam"), {"may": DOCUMENT}, owner="demo")] == ["created"]


def test_a_policy_is_put_once_iam_sees_the_new_role(aws: Aws) -> None:
    with Stubber(aws("iam")) as stub:
        stub.add_client_error("list_role_policies", "NoSuchEntity")
        stub.add_client_error("get_role", "NoSuchEntity")
        for operation in ("tag_role", "put_role_policy"):
            message = "The role with name runs cannot be found."
            stub.add_client_error(operation, "NoSuchEntity", message)
            stub.add_response(operation, {})

        assert [each.action for each in put(aws("iam"), {"may": DOCUMENT}, owner="demo")] == ["created"]
        stub.assert_no_pending_responses()


def test_a_trust_policy_in_the_form_that_iam_stores_is_no_difference(aws: Aws, calls: Calls) -> None:
    def trusts(**principal: Any) -> dict[str, Any]:
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        return {"Version": "2012-10-17", "Statement": [statement]}

    written = trusts(Service=["lambda.amazonaws.com"], AWS=["210987654321", "arn:aws:iam::123456789012:root"])
    roots = ["arn:aws:iam::123456789012:root", "arn:aws:iam::210987654321:root"]
    stored = trusts(Service="lambda.amazonaws.com", AWS=roots)
    role.ensure(aws("iam"), {**DESIRED, "AssumeRolePolicyDocument": written})
    calls.clear()

    with altered(
        aws("iam"), "GetRole", lambda parsed: parsed["Role"].update(AssumeRolePolicyDocument=json.dumps(stored))
    ):
        change = role.ensure(aws("iam"), {**DESIRED, "AssumeRolePolicyDocument": written})

    assert (change.diffs, calls.writes) == ((), [])


def test_conditions_of_a_trust_policy_keep_their_account_ids(aws: Aws) -> None:
    condition = {"StringEquals": {"aws:SourceAccount": "123456789012", "aws:PrincipalAccount": ["123456789012"]}}
    (statement,) = TRUST["Statement"]
    role.ensure(
        aws("iam"), {**DESIRED, "AssumeRolePolicyDocument": {"Statement": [{**statement, "Condition": condition}]}}
    )

    current = role.describe(aws("iam"), "runs")

    condition["StringEquals"]["aws:PrincipalAccount"] = "123456789012"
    assert current
    assert current["AssumeRolePolicyDocument"]["Statement"][0]["Condition"] == condition


def test_an_account_id_in_a_trust_policy_is_the_root_user_of_the_partition() -> None:
    document = {"Statement": [{"Principal": {"AWS": ["210987654321"]}, "NotPrincipal": {"AWS": "123456789012"}}]}

    (statement,) = role.normalize_trust(document, "aws-cn")["Statement"]

    roots = ["arn:aws-cn:iam::210987654321:root", "arn:aws-cn:iam::123456789012:root"]
    assert [statement[name]["AWS"] for name in ("Principal", "NotPrincipal")] == roots
