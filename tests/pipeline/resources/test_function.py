from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from pipeline.resources import change, function
from pipeline.resources.change import UserError

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

# Another value of each setting that UpdateFunctionConfiguration takes.
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
def wanted(role_arn: str, code: Zip) -> dict[str, Any]:
    return {
        "FunctionName": "test",
        "Role": role_arn,
        "Handler": "example.lambda_handler",
        "Runtime": "python3.13",
        "Code": {"ZipFile": code()},
        "Tags": {"pipeline": "demo"},
    }


def test_creates_when_absent(aws: Aws, wanted: dict[str, Any]) -> None:
    made = function.ensure(aws("lambda"), wanted)

    assert (made.resource, made.action, made.pending) == ("function test", "created", True)
    assert made.attributes["FunctionArn"] == aws("lambda").get_function(FunctionName="test")["Configuration"]["FunctionArn"]


def test_creates_with_reserved_concurrency(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**wanted, "ReservedConcurrentExecutions": 0})

    assert aws("lambda").get_function_concurrency(FunctionName="test")["ReservedConcurrentExecutions"] == 0


def test_says_unchanged_when_same(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), wanted)

    again = function.ensure(aws("lambda"), wanted)

    assert (again.action, again.diffs, again.pending) == ("unchanged", (), False)


def test_unchanged_takes_one_read(aws: Aws, calls: Calls, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), wanted)
    calls.clear()

    function.ensure(aws("lambda"), wanted)

    assert calls.operations == ["GetFunction"]


def test_the_grid_below_knows_every_setting() -> None:
    others = {"FunctionName", "Code", "Architectures", "ReservedConcurrentExecutions", "Tags", "PackageType"}

    assert {*CONFIGURATION} == function._KNOWN - others


# By the plan, as moto checks or ignores some of these.
@CONFIGURED
def test_changes_exactly_what_drifted(
    aws: Aws, plan: Aws, calls: Calls, wanted: dict[str, Any], setting: str, value: Any
) -> None:
    function.ensure(aws("lambda"), wanted)
    calls.clear()

    done = function.ensure(plan("lambda"), {**wanted, setting: value})

    assert calls.writes == [("UpdateFunctionConfiguration", {"FunctionName": "test", setting: value})]
    assert [difference.setting for difference in done.diffs] == [setting]


def test_new_code_is_sent_with_the_architecture(aws: Aws, calls: Calls, wanted: dict[str, Any], code: Zip) -> None:
    function.ensure(aws("lambda"), wanted)
    calls.clear()
    new = code("def lambda_handler(event, context): return 1\n")

    done = function.ensure(aws("lambda"), {**wanted, "Code": {"ZipFile": new}})

    parameters = {"FunctionName": "test", "ZipFile": new, "Architectures": ["x86_64"]}
    assert calls.writes == [("UpdateFunctionCode", parameters)]
    assert [difference.setting for difference in done.diffs] == ["CodeSha256"]


def test_another_architecture_is_sent_with_the_code(
    aws: Aws, plan: Aws, calls: Calls, wanted: dict[str, Any], code: Zip
) -> None:
    function.ensure(aws("lambda"), wanted)
    calls.clear()

    function.ensure(plan("lambda"), {**wanted, "Architectures": ["arm64"]})

    parameters = {"FunctionName": "test", "ZipFile": code(), "Architectures": ["arm64"]}
    assert calls.writes == [("UpdateFunctionCode", parameters)]


def test_code_is_updated_before_the_configuration_and_waited_for(
    aws: Aws, calls: Calls, wanted: dict[str, Any], code: Zip
) -> None:
    function.ensure(aws("lambda"), wanted)
    calls.clear()

    function.ensure(aws("lambda"), {**wanted, "Code": {"ZipFile": code("x = 1\n")}, "Timeout": 60})

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
def test_reserved_concurrency_is_put_and_taken_away(
    aws: Aws, calls: Calls, wanted: dict[str, Any], old: int | None, new: int | None, write: Any
) -> None:
    function.ensure(aws("lambda"), {**wanted, "ReservedConcurrentExecutions": old})
    calls.clear()

    function.ensure(aws("lambda"), {**wanted, "ReservedConcurrentExecutions": new})

    assert calls.writes == [write]


def test_tags_become_exactly_the_wanted_ones(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**wanted, "Tags": {"pipeline": "demo", "old": "1"}})

    function.ensure(aws("lambda"), {**wanted, "Tags": {"pipeline": "demo", "new": "2"}})

    assert aws("lambda").get_function(FunctionName="test")["Tags"] == {"pipeline": "demo", "new": "2"}


def test_plan_foretells_the_run_call_by_call(
    aws: Aws, plan: Aws, calls: Calls, wanted: dict[str, Any], code: Zip
) -> None:
    function.ensure(aws("lambda"), wanted)
    other = {**wanted, "Code": {"ZipFile": code("x = 1\n")}, "MemorySize": 512, "ReservedConcurrentExecutions": 1}
    calls.clear()

    foretold = function.ensure(plan("lambda"), other)
    planned_calls = list(calls)
    calls.clear()

    done = function.ensure(aws("lambda"), other)
    assert (foretold.action, foretold.diffs) == (done.action, done.diffs)
    assert planned_calls == calls


def test_plan_of_a_creation_writes_nothing(aws: Aws, plan: Aws, wanted: dict[str, Any]) -> None:
    made = function.ensure(plan("lambda"), {**wanted, "Role": "<RoleArn>", "ReservedConcurrentExecutions": 1})

    assert (made.action, made.pending) == ("created", False)
    assert function.describe(aws("lambda"), "test") is None


def test_values_of_the_environment_are_told_nowhere(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**wanted, "Environment": {"Variables": {"TOKEN": "s3cret-1", "SAME": "s3cret-3"}}})

    changed = function.ensure(
        aws("lambda"), {**wanted, "Environment": {"Variables": {"TOKEN": "s3cret-2", "SAME": "s3cret-3"}}}
    )

    told = repr(changed) + repr(function.describe(aws("lambda"), "test"))
    assert "s3cret" not in told


def test_a_changed_environment_names_the_variables(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**wanted, "Environment": {"Variables": {"A": "1", "B": "1"}}})

    changed = function.ensure(aws("lambda"), {**wanted, "Environment": {"Variables": {"A": "2", "C": "1"}}})

    [difference] = changed.diffs
    assert (difference.old, difference.new) == (["A", "B"], ["A (changed)", "C"])


def test_refuses_another_package_type(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), wanted)

    with pytest.raises(UserError, match="function test has PackageType Zip, wanted is Image"):
        function.ensure(aws("lambda"), {**wanted, "PackageType": "Image"})


def test_refuses_a_parameter_that_it_could_not_compare(aws: Aws, calls: Calls, wanted: dict[str, Any]) -> None:
    calls.clear()

    with pytest.raises(UserError, match="function test: Publish cannot be kept"):
        function.ensure(aws("lambda"), {**wanted, "Publish": True})

    assert calls == []


def test_refuses_the_function_of_another_pipeline(aws: Aws, calls: Calls, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**wanted, "Tags": {"pipeline": "other"}})
    calls.clear()

    with pytest.raises(UserError, match="function test exists and belongs to pipeline 'other'"):
        function.ensure(aws("lambda"), wanted)

    assert calls.writes == []


def test_adopt_takes_over(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), {**wanted, "Tags": {}})

    function.ensure(aws("lambda"), wanted, adopt=True)

    assert function.ensure(aws("lambda"), wanted).action == "unchanged"


def test_denied_surfaces_as_aws_said_it(aws: Aws, wanted: dict[str, Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_client_error("get_function", "AccessDeniedException", "not authorized")

        with pytest.raises(ClientError, match="not authorized"):
            function.ensure(aws("lambda"), wanted)


def absent(stub: Stubber) -> None:
    stub.add_client_error("get_function", "ResourceNotFoundException", "Function not found")


def test_a_role_that_is_not_assumable_yet_is_tried_again(aws: Aws, wanted: dict[str, Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        absent(stub)
        text = "The role defined for the function cannot be assumed by Lambda."
        stub.add_client_error("create_function", "InvalidParameterValueException", text)
        stub.add_response("create_function", {"FunctionArn": "arn:x"})

        assert function.ensure(aws("lambda"), wanted).action == "created"


def test_a_role_that_never_becomes_assumable_surfaces_at_the_deadline(
    aws: Aws, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "IAM_PROPAGATION_TIMEOUT", 0)

    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        function.ensure(aws("lambda"), {**wanted, "Role": "arn:aws:iam::123456789012:role/unknown"})


def test_any_other_invalid_parameter_surfaces_at_once(aws: Aws, calls: Calls, wanted: dict[str, Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        absent(stub)
        stub.add_client_error("create_function", "InvalidParameterValueException", "Unzipped size must be smaller")

        with pytest.raises(ClientError, match="Unzipped size"):
            function.ensure(aws("lambda"), wanted)

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
def test_wait_tells_why_it_failed(aws: Aws, configuration: dict[str, Any], text: str) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_response("get_function_configuration", configuration)
        stub.add_response("get_function_configuration", configuration)

        with pytest.raises(UserError, match=text):
            function.wait(aws("lambda"), "test")


@pytest.mark.parametrize("status", [{"State": "Pending"}, {"LastUpdateStatus": "InProgress"}], ids=str)
def test_an_unchanged_function_that_aws_is_still_at_is_pending(
    aws: Aws, wanted: dict[str, Any], status: dict[str, str]
) -> None:
    function.ensure(aws("lambda"), wanted)
    found = aws("lambda").get_function(FunctionName="test")
    found["Configuration"].update(status)
    with Stubber(aws("lambda")) as stub:
        stub.add_response("get_function", found)

        assert function.ensure(aws("lambda"), wanted).pending


def test_an_unchanged_function_whose_last_update_failed_says_so(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), wanted)
    found = aws("lambda").get_function(FunctionName="test")
    found["Configuration"].update(LastUpdateStatus="Failed", LastUpdateStatusReason="no key")
    with Stubber(aws("lambda")) as stub:
        stub.add_response("get_function", found)

        done = function.ensure(aws("lambda"), wanted)

    assert (done.action, done.note) == ("unchanged", "LastUpdateStatus is Failed: no key")


def test_deletes(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), wanted)

    assert function.delete(aws("lambda"), "test", owner="demo").action == "deleted"

    assert function.describe(aws("lambda"), "test") is None


def test_delete_says_absent_when_absent(aws: Aws) -> None:
    assert function.delete(aws("lambda"), "test", owner="demo").action == "absent"


def test_delete_refuses_the_function_of_another_pipeline(aws: Aws, wanted: dict[str, Any]) -> None:
    function.ensure(aws("lambda"), wanted)

    with pytest.raises(UserError, match="belongs to pipeline 'demo'"):
        function.delete(aws("lambda"), "test", owner="mine")


@CONFIGURED
def test_an_option_is_set_and_taken_away_again(
    embedded: Aws, embedded_role_arn: str, code: Zip, setting: str, value: Any
) -> None:
    lambda_ = embedded("lambda")
    if setting == "Layers":
        layer = lambda_.publish_layer_version(LayerName="tools", Content={"ZipFile": code()})
        value = [layer["LayerVersionArn"]]
    if setting == "Role":
        value = embedded_role_arn
    name = f"set-{setting}"
    wanted = {
        "FunctionName": name,
        "Role": embedded_role_arn,
        "Handler": "example.lambda_handler",
        "Runtime": "python3.13",
        "Code": {"ZipFile": code()},
    }
    function.ensure(lambda_, wanted)
    before = function.describe(lambda_, name)

    function.ensure(lambda_, {**wanted, setting: value})
    assert function.ensure(lambda_, {**wanted, setting: value}).action == "unchanged"

    function.ensure(lambda_, wanted)
    assert function.describe(lambda_, name) == before
