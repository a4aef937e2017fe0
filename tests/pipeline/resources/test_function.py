from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import change, function
from pipeline.resources.change import Diff, UserError
from tests.pipeline.conftest import altered

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]
    Zip = Callable[..., bytes]

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:dead"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:1"
FILES = [
    {
        "Arn": f"arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-{17 * '0'}",
        "LocalMountPath": "/mnt/x",
    }
]
NETWORK = {"SubnetIds": ["subnet-2", "subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": False}
OTHER_ROLE = "arn:aws:iam::123456789012:role/other"
LOGGING = {
    "LogFormat": "JSON",
    "ApplicationLogLevel": "DEBUG",
    "SystemLogLevel": "WARN",
    "LogGroup": "/aws/lambda/elsewhere",
}

# A second value for each parameter of UpdateFunctionConfiguration.
CONFIGURATION: dict[str, Any] = {
    "DeadLetterConfig": {"TargetArn": QUEUE},
    "Description": "new",
    "Environment": {"Variables": {"TOKEN": "s3cret"}},
    "EphemeralStorage": {"Size": 1024},
    "FileSystemConfigs": FILES,
    "Handler": "example.other",
    "KMSKeyArn": KEY,
    "Layers": [LAYER],
    "LoggingConfig": LOGGING,
    "MemorySize": 256,
    "Role": OTHER_ROLE,
    "Runtime": "python3.12",
    "SnapStart": {"ApplyOn": "PublishedVersions"},
    "Timeout": 60,
    "TracingConfig": {"Mode": "Active"},
    "VpcConfig": {**NETWORK, "SubnetIds": ["subnet-1", "subnet-2"]},
}
CONFIGURED = pytest.mark.parametrize(("setting", "value"), CONFIGURATION.items(), ids=CONFIGURATION)


@pytest.fixture
def desired(role_arn: str, code: Zip) -> dict[str, Any]:
    return {
        "FunctionName": "test",
        "Role": role_arn,
        "Handler": "example.lambda_handler",
        "Runtime": "python3.13",
        "Code": {"ZipFile": code()},
        "Tags": {"pipeline": "demo"},
    }


def test_creates_a_function_that_does_not_exist(aws: Aws, desired: dict[str, Any]) -> None:
    result = function.ensure(aws("lambda"), desired)

    assert (result.resource, result.action, result.pending) == ("function test", "created", True)
    assert (
        result.attributes["FunctionArn"]
        == aws("lambda").get_function(FunctionName="test")["Configuration"]["FunctionArn"]
    )


def test_creates_with_reserved_concurrency(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**desired, "ReservedConcurrentExecutions": 0})

    assert aws("lambda").get_function_concurrency(FunctionName="test")["ReservedConcurrentExecutions"] == 0


def test_reports_unchanged_if_nothing_differs(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), desired)

    result = function.ensure(aws("lambda"), desired)

    assert (result.action, result.diffs, result.pending) == ("unchanged", (), False)


def test_an_unchanged_function_takes_one_read(aws: Aws, calls: Calls, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), desired)
    calls.clear()

    function.ensure(aws("lambda"), desired)

    assert calls.operations == ["GetFunction"]


def test_the_cases_below_cover_every_parameter() -> None:
    others = {"FunctionName", "Code", "Architectures", "ReservedConcurrentExecutions", "Tags"}

    assert {*CONFIGURATION} == function.PARAMETERS - others


# In a dry run, as moto validates or ignores some of these.
@CONFIGURED
def test_updates_only_the_parameter_that_differs(
    aws: Aws, dry_run: Aws, calls: Calls, desired: dict[str, Any], setting: str, value: Any
) -> None:
    function.ensure(aws("lambda"), desired)
    calls.clear()

    result = function.ensure(dry_run("lambda"), {**desired, setting: value})

    assert calls.writes == [("UpdateFunctionConfiguration", {"FunctionName": "test", setting: value})]
    assert [each.setting for each in result.diffs] == [setting]


def test_new_code_is_sent_with_the_architecture(aws: Aws, calls: Calls, desired: dict[str, Any], code: Zip) -> None:
    function.ensure(aws("lambda"), desired)
    calls.clear()
    new = code("def lambda_handler(event, context): return 1\n")

    result = function.ensure(aws("lambda"), {**desired, "Code": {"ZipFile": new}})

    parameters = {"FunctionName": "test", "ZipFile": new, "Architectures": ["x86_64"]}
    assert calls.writes == [("UpdateFunctionCode", parameters)]
    assert [each.setting for each in result.diffs] == ["CodeSha256"]


def test_a_new_architecture_is_sent_with_the_code(
    aws: Aws, dry_run: Aws, calls: Calls, desired: dict[str, Any], code: Zip
) -> None:
    function.ensure(aws("lambda"), desired)
    calls.clear()

    function.ensure(dry_run("lambda"), {**desired, "Architectures": ["arm64"]})

    parameters = {"FunctionName": "test", "ZipFile": code(), "Architectures": ["arm64"]}
    assert calls.writes == [("UpdateFunctionCode", parameters)]


def test_waits_between_the_updates_of_code_and_configuration(
    aws: Aws, calls: Calls, desired: dict[str, Any], code: Zip
) -> None:
    function.ensure(aws("lambda"), desired)
    calls.clear()

    function.ensure(aws("lambda"), {**desired, "Code": {"ZipFile": code("x = 1\n")}, "Timeout": 60})

    assert calls.operations[1:] == [
        "GetFunctionConfiguration",
        "UpdateFunctionCode",
        "GetFunctionConfiguration",
        "UpdateFunctionConfiguration",
    ]


@pytest.mark.parametrize(
    ("old", "new", "write"),
    [
        (None, 5, ("PutFunctionConcurrency", {"FunctionName": "test", "ReservedConcurrentExecutions": 5})),
        (5, 0, ("PutFunctionConcurrency", {"FunctionName": "test", "ReservedConcurrentExecutions": 0})),
        (5, None, ("DeleteFunctionConcurrency", {"FunctionName": "test"})),
    ],
)
def test_sets_and_removes_reserved_concurrency(
    aws: Aws, calls: Calls, desired: dict[str, Any], old: int | None, new: int | None, write: Any
) -> None:
    function.ensure(aws("lambda"), {**desired, "ReservedConcurrentExecutions": old})
    calls.clear()

    function.ensure(aws("lambda"), {**desired, "ReservedConcurrentExecutions": new})

    assert calls.writes == [write]


def test_waits_for_an_update_before_it_sets_concurrency_and_tags(
    aws: Aws, calls: Calls, desired: dict[str, Any]
) -> None:
    function.ensure(aws("lambda"), desired)
    calls.clear()
    tags = {**desired["Tags"], "stage": "test"}

    function.ensure(aws("lambda"), {**desired, "Timeout": 60, "ReservedConcurrentExecutions": 1, "Tags": tags})

    assert calls.operations[1:] == [
        "GetFunctionConfiguration",
        "UpdateFunctionConfiguration",
        "GetFunctionConfiguration",
        "PutFunctionConcurrency",
        "GetFunctionConfiguration",
        "TagResource",
    ]


def test_removes_a_tag_that_it_added_and_keeps_a_tag_of_others(aws: Aws, desired: dict[str, Any]) -> None:
    old = {"pipeline": "demo", "old": "1", **change.record(["old"])}
    new = {"pipeline": "demo", "new": "2", **change.record(["new"])}
    arn = function.ensure(aws("lambda"), {**desired, "Tags": old}).attributes["FunctionArn"]
    aws("lambda").tag_resource(Resource=arn, Tags={"cost-center": "42"})

    function.ensure(aws("lambda"), {**desired, "Tags": new})

    assert aws("lambda").get_function(FunctionName="test")["Tags"] == {**new, "cost-center": "42"}
    assert function.ensure(aws("lambda"), {**desired, "Tags": new}).action == "unchanged"


def test_a_dry_run_predicts_every_call(
    aws: Aws, dry_run: Aws, calls: Calls, desired: dict[str, Any], code: Zip
) -> None:
    function.ensure(aws("lambda"), desired)
    other = {**desired, "Code": {"ZipFile": code("x = 1\n")}, "MemorySize": 512, "ReservedConcurrentExecutions": 1}
    calls.clear()

    planned = function.ensure(dry_run("lambda"), other)
    planned_calls = list(calls)
    calls.clear()

    result = function.ensure(aws("lambda"), other)
    assert (planned.action, planned.diffs) == (result.action, result.diffs)
    assert planned_calls == calls


def test_a_dry_run_creates_nothing(aws: Aws, dry_run: Aws, desired: dict[str, Any]) -> None:
    result = function.ensure(dry_run("lambda"), {**desired, "Role": "<RoleArn>", "ReservedConcurrentExecutions": 1})

    assert (result.action, result.pending) == ("created", False)
    assert function.describe(aws("lambda"), "test") is None


def test_never_shows_the_values_of_environment_variables(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**desired, "Environment": {"Variables": {"TOKEN": "s3cret-1", "SAME": "s3cret-3"}}})

    result = function.ensure(
        aws("lambda"), {**desired, "Environment": {"Variables": {"TOKEN": "s3cret-2", "SAME": "s3cret-3"}}}
    )

    shown = repr(result) + repr(function.describe(aws("lambda"), "test"))
    assert "s3cret" not in shown


def test_an_environment_diff_names_the_variables(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**desired, "Environment": {"Variables": {"ONE": "1", "TWO": "1"}}})

    result = function.ensure(aws("lambda"), {**desired, "Environment": {"Variables": {"ONE": "2", "THREE": "1"}}})

    [difference] = result.diffs
    assert (difference.old, difference.new) == (["ONE", "TWO"], ["ONE (changed)", "THREE"])


def test_rejects_an_unsupported_parameter_before_any_call(aws: Aws, calls: Calls, desired: dict[str, Any]) -> None:
    calls.clear()

    with pytest.raises(UserError, match="function test: Publish not supported"):
        function.ensure(aws("lambda"), {**desired, "Publish": True})

    assert calls == []


def test_rejects_a_function_of_another_pipeline(aws: Aws, calls: Calls, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**desired, "Tags": {"pipeline": "other"}})
    calls.clear()

    with pytest.raises(UserError, match="function test already exists and belongs to pipeline 'other'"):
        function.ensure(aws("lambda"), desired)

    assert calls.writes == []


def test_adopt_takes_over_an_untagged_function(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**desired, "Tags": {}})

    function.ensure(aws("lambda"), desired, adopt=True)

    assert function.ensure(aws("lambda"), desired).action == "unchanged"


def test_raises_access_denied_as_aws_reports_it(aws: Aws, desired: dict[str, Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_client_error("get_function", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            function.ensure(aws("lambda"), desired)


def add_not_found(stub: Stubber) -> None:
    stub.add_client_error("get_function", "ResourceNotFoundException", "Function not found")


def test_retries_while_lambda_cannot_assume_a_new_role(aws: Aws, desired: dict[str, Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        add_not_found(stub)
        text = "The role defined for the function cannot be assumed by Lambda."
        stub.add_client_error("create_function", "InvalidParameterValueException", text)
        stub.add_response("create_function", {"FunctionArn": "arn:x"})

        assert function.ensure(aws("lambda"), desired).action == "created"


def test_raises_the_error_of_a_role_that_stays_unassumable_at_the_deadline(
    aws: Aws, desired: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "SETTLE_TIMEOUT", 0)

    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        function.ensure(aws("lambda"), {**desired, "Role": "arn:aws:iam::123456789012:role/unknown"})


def test_raises_any_other_invalid_parameter_at_once(aws: Aws, calls: Calls, desired: dict[str, Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        add_not_found(stub)
        stub.add_client_error("create_function", "InvalidParameterValueException", "Unzipped size must be smaller")

        with pytest.raises(ClientError, match="Unzipped size"):
            function.ensure(aws("lambda"), desired)

    assert calls.operations.count("CreateFunction") == 1


@pytest.mark.parametrize(
    ("configuration", "text"),
    [
        ({"State": "Failed", "StateReason": "no subnet"}, "State is Failed: no subnet"),
        (
            {"State": "Active", "LastUpdateStatus": "Failed", "LastUpdateStatusReason": "no key"},
            "LastUpdateStatus is Failed: no key",
        ),
    ],
)
def test_wait_reports_why_a_function_failed(aws: Aws, configuration: dict[str, Any], text: str) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("get_function_configuration", configuration)
        stub.add_response("get_function_configuration", configuration)

        with pytest.raises(UserError, match=text):
            function.wait(aws("lambda"), "test")


def test_wait_goes_on_while_not_every_server_knows_the_new_function(aws: Aws) -> None:
    with Stubber(aws("lambda")) as stub:
        for _ in range(2):
            stub.add_client_error("get_function_configuration", "ResourceNotFoundException")
            stub.add_response("get_function_configuration", {"State": "Active"})

        function.wait(aws("lambda"), "test")


@pytest.mark.parametrize("status", [{"State": "Pending"}, {"LastUpdateStatus": "InProgress"}], ids=str)
def test_an_unchanged_function_is_pending_while_aws_works_on_it(
    aws: Aws, desired: dict[str, Any], status: dict[str, str]
) -> None:
    function.ensure(aws("lambda"), desired)
    current = aws("lambda").get_function(FunctionName="test")
    current["Configuration"].update(status)
    with Stubber(aws("lambda")) as stub:
        stub.add_response("get_function", current)

        assert function.ensure(aws("lambda"), desired).pending


def test_a_function_whose_last_update_failed_is_updated_again(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), desired)
    current = aws("lambda").get_function(FunctionName="test")
    settled = {"State": "Active", "LastUpdateStatus": "Failed", "LastUpdateStatusReason": "no key"}
    current["Configuration"].update(settled)
    with Stubber(aws("lambda")) as stub:
        stub.add_response("get_function", current)
        stub.add_response("get_function_configuration", settled)
        update = {"FunctionName": "test", "Description": desired.get("Description", "")}
        stub.add_response("update_function_configuration", current["Configuration"], update)

        result = function.ensure(aws("lambda"), desired)

    assert (result.action, result.pending) == ("updated", True)
    assert result.diffs == (Diff("LastUpdateStatus", "Failed", "Successful"),)


def test_a_function_whose_creation_failed_is_replaced(aws: Aws, desired: dict[str, Any], calls: Calls) -> None:
    """Lambda guide, "Lambda function states": it has to be deleted and created again."""
    function.ensure(aws("lambda"), desired)
    failed = {"State": "Failed", "StateReason": "no subnet"}
    calls.clear()

    with altered(aws("lambda"), "GetFunction", lambda parsed: parsed["Configuration"].update(failed)):
        result = function.ensure(aws("lambda"), {**desired, "Timeout": 9})

    assert (result.action, result.note, result.pending) == ("replaced", "its creation failed: no subnet", True)
    assert [operation for operation, _ in calls.writes] == ["DeleteFunction", "CreateFunction"]
    current = function.describe(aws("lambda"), "test")
    assert current
    assert current["Timeout"] == 9


def test_deletes_a_function(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), desired)

    assert function.delete(aws("lambda"), "test", owner="demo").action == "deleted"

    assert function.describe(aws("lambda"), "test") is None


def test_delete_reports_absent_if_there_is_no_function(aws: Aws) -> None:
    assert function.delete(aws("lambda"), "test", owner="demo").action == "absent"


def test_delete_rejects_a_function_of_another_pipeline(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), desired)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        function.delete(aws("lambda"), "test", owner="mine")


@CONFIGURED
def test_an_option_can_be_set_and_removed_again(
    local_aws: Aws, local_role_arn: str, code: Zip, setting: str, value: Any
) -> None:
    lambda_ = local_aws("lambda")
    if setting == "Layers":
        layer = lambda_.publish_layer_version(LayerName="tools", Content={"ZipFile": code()})
        value = [layer["LayerVersionArn"]]
    if setting == "Role":
        value = local_role_arn
    name = f"set-{setting}"
    desired = {
        "FunctionName": name,
        "Role": local_role_arn,
        "Handler": "example.lambda_handler",
        "Runtime": "python3.13",
        "Code": {"ZipFile": code()},
    }
    function.ensure(lambda_, desired)
    before = function.describe(lambda_, name)

    function.ensure(lambda_, {**desired, setting: value})
    assert function.ensure(lambda_, {**desired, setting: value}).action == "unchanged"

    function.ensure(lambda_, desired)
    assert function.describe(lambda_, name) == before


DENIED = {"ErrorCode": "AccessDeniedException", "Message": "User: me is not authorized to perform: lambda:ListTags"}


@pytest.mark.parametrize("adopt", [False, True])
def test_tags_that_may_not_be_read_are_no_missing_tags(aws: Aws, desired: dict[str, Any], adopt: bool) -> None:
    function.ensure(aws("lambda"), desired)

    def hide_tags(parsed: dict[str, Any]) -> None:
        parsed.pop("Tags")
        parsed["TagsError"] = DENIED

    with altered(aws("lambda"), "GetFunction", hide_tags), pytest.raises(UserError) as raised:
        function.ensure(aws("lambda"), desired, adopt=adopt)

    assert f"AWS said: {DENIED['Message']}. Grant your credentials lambda:ListTags." in str(raised.value)
    assert "--adopt" not in str(raised.value)


def test_tags_that_get_function_leaves_out_are_listed(aws: Aws, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), desired)

    with altered(aws("lambda"), "GetFunction", lambda parsed: parsed.pop("Tags")):
        assert function.ensure(aws("lambda"), desired).action == "unchanged"


def test_an_environment_that_may_not_be_decrypted_is_no_difference(
    aws: Aws, calls: Calls, desired: dict[str, Any]
) -> None:
    desired = {**desired, "Environment": {"Variables": {"TOKEN": "s3cret"}}}
    function.ensure(aws("lambda"), desired)
    error = {"Error": {"ErrorCode": "AccessDeniedException", "Message": "not authorized to perform: kms:Decrypt"}}
    calls.clear()

    with altered(aws("lambda"), "GetFunction", lambda parsed: parsed["Configuration"].update(Environment=error)):
        result = function.ensure(aws("lambda"), desired)

    assert (result.action, calls.writes) == ("unchanged", [])
    assert result.note == "AWS does not return the environment variables: not authorized to perform: kms:Decrypt"


def test_a_function_in_a_vpc_is_detached_before_it_is_deleted(aws: Aws, calls: Calls, desired: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), desired)
    calls.clear()

    with altered(aws("lambda"), "GetFunction", lambda parsed: parsed["Configuration"].update(VpcConfig=NETWORK)):
        result = function.delete(aws("lambda"), "test")

    assert (result.action, result.note) == ("deleted", "detached from its VPC first")
    empty: dict[str, Any] = {"SubnetIds": [], "SecurityGroupIds": []}
    detached = ("UpdateFunctionConfiguration", {"FunctionName": "test", "VpcConfig": empty})
    assert calls.writes == [detached, ("DeleteFunction", {"FunctionName": "test"})]
