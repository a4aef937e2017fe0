"""A function's settings: stored, shown and updated. Lambda API reference."""

from __future__ import annotations

import base64
import hashlib
import io
import urllib.request
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import REGION
from tests.localaws.deployed import TRUST, allow, deploy, make_role, policy, zipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What Lambda checks that the role may do.
CHECKED = allow(["xray:PutTraceSegments", "ec2:CreateNetworkInterface", "sqs:SendMessage", "sns:Publish"])
VPC = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": False}
FILE_SYSTEM = {
    "Arn": "arn:aws:elasticfilesystem:eu-west-1:000000000000:access-point/fsap-0123456789abcdef0",
    "LocalMountPath": "/mnt/data",
}
CREATE: Any = botocore.session.get_session().get_service_model("lambda").operation_model("CreateFunction").input_shape
MAXIMA = {
    "MemorySize": CREATE.members["MemorySize"].metadata["max"],
    "Timeout": CREATE.members["Timeout"].metadata["max"],
    "EphemeralStorage": CREATE.members["EphemeralStorage"].members["Size"].metadata["max"],
}
# Each setting: a value, another value, the empty value that removes it, and what AWS shows then.
SETTINGS: list[tuple[str, Any, Any, Any, Any]] = [
    ("Description", "one", "two", "", ""),
    ("Timeout", 5, 6, 3, 3),
    ("MemorySize", 256, 512, 128, 128),
    ("Environment", {"Variables": {"ONE": "1"}}, {"Variables": {"TWO": "2"}}, {}, None),
    ("EphemeralStorage", {"Size": 1024}, {"Size": 2048}, {"Size": 512}, {"Size": 512}),
    ("TracingConfig", {"Mode": "Active"}, {"Mode": "PassThrough"}, {"Mode": "PassThrough"}, {"Mode": "PassThrough"}),
    (
        "DeadLetterConfig",
        {"TargetArn": "arn:aws:sqs:eu-west-1:000000000000:a"},
        {"TargetArn": "arn:aws:sqs:eu-west-1:000000000000:b"},
        {"TargetArn": ""},
        None,
    ),
    ("KMSKeyArn", "arn:aws:kms:eu-west-1:000000000000:key/a", "arn:aws:kms:eu-west-1:000000000000:key/b", "", None),
    ("FileSystemConfigs", [FILE_SYSTEM], [{**FILE_SYSTEM, "LocalMountPath": "/mnt/other"}], [], None),
    (
        "LoggingConfig",
        {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO", "LogGroup": "one"},
        {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN", "LogGroup": "two"},
        {"LogFormat": "Text", "LogGroup": "two"},
        {"LogFormat": "Text", "LogGroup": "two"},
    ),
]


def configuration(client: Any, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = client("lambda").get_function_configuration(FunctionName=name)
    return answer


def error_of(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(("setting", "value"), [row[:2] for row in SETTINGS], ids=lambda value: str(value)[:20])
def test_create_function_stores_each_setting(client: Any, setting: str, value: Any) -> None:
    function = deploy(client, statements=(CHECKED,), **{setting: value})
    assert configuration(client, function.name)[setting] == value


@pytest.mark.parametrize(
    ("setting", "other"), [(row[0], row[2]) for row in SETTINGS], ids=lambda value: str(value)[:20]
)
def test_update_function_configuration_changes_each_setting(client: Any, setting: str, other: Any) -> None:
    function = deploy(client, statements=(CHECKED,))
    client("lambda").update_function_configuration(FunctionName=function.name, **{setting: other})
    assert configuration(client, function.name)[setting] == other


@pytest.mark.parametrize(
    ("setting", "value", "empty", "shown"), [(row[0], *row[2:]) for row in SETTINGS], ids=lambda value: str(value)[:20]
)
def test_empty_value_removes_a_setting(client: Any, setting: str, value: Any, empty: Any, shown: Any) -> None:
    function = deploy(client, statements=(CHECKED,), **{setting: value})
    client("lambda").update_function_configuration(FunctionName=function.name, **{setting: empty})
    assert configuration(client, function.name).get(setting) == shown


@pytest.mark.parametrize("setting", [row[0] for row in SETTINGS])
def test_update_leaves_other_settings(client: Any, setting: str) -> None:
    value = next(row[1] for row in SETTINGS if row[0] == setting)
    function = deploy(client, statements=(CHECKED,), **{setting: value})
    other = {"Timeout": 7} if setting != "Timeout" else {"MemorySize": 512}
    client("lambda").update_function_configuration(FunctionName=function.name, **other)
    assert configuration(client, function.name)[setting] == value


def test_layers_are_replaced_and_cleared(client: Any) -> None:
    arn = client("lambda").publish_layer_version(LayerName="one", Content={"ZipFile": zipped("")})["LayerVersionArn"]
    function = deploy(client)
    client("lambda").update_function_configuration(FunctionName=function.name, Layers=[arn])
    shown = configuration(client, function.name)["Layers"]
    client("lambda").update_function_configuration(FunctionName=function.name, Layers=[])
    assert ([layer["Arn"] for layer in shown], "Layers" in configuration(client, function.name)) == ([arn], False)


def test_vpc_config_is_stored_and_cleared(client: Any) -> None:
    function = deploy(
        client, statements=(CHECKED,), VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    )
    shown = configuration(client, function.name)["VpcConfig"]
    client("lambda").update_function_configuration(
        FunctionName=function.name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}
    )
    assert VPC.items() <= shown.items()
    assert configuration(client, function.name)["VpcConfig"]["SubnetIds"] == []


def test_json_log_format_defaults_both_levels_to_info(client: Any) -> None:
    function = deploy(client)
    client("lambda").update_function_configuration(FunctionName=function.name, LoggingConfig={"LogFormat": "JSON"})
    assert configuration(client, function.name)["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": f"/aws/lambda/{function.name}",
    }


def test_snap_start_is_stored_and_disabled(client: Any) -> None:
    function = deploy(client, SnapStart={"ApplyOn": "PublishedVersions"})
    shown = configuration(client, function.name)["SnapStart"]["ApplyOn"]
    client("lambda").update_function_configuration(FunctionName=function.name, SnapStart={"ApplyOn": "None"})
    assert (shown, configuration(client, function.name)["SnapStart"]["ApplyOn"]) == ("PublishedVersions", "None")


def test_update_function_code_changes_the_architecture(client: Any) -> None:
    function = deploy(client)
    client("lambda").update_function_code(FunctionName=function.name, ZipFile=zipped(""), Architectures=["arm64"])
    assert configuration(client, function.name)["Architectures"] == ["arm64"]


def test_code_sha_256_is_that_of_the_zip_file(client: Any) -> None:
    code = zipped("pass")
    function = deploy(client, Code={"ZipFile": code})
    digest = base64.b64encode(hashlib.sha256(code).digest()).decode()
    assert configuration(client, function.name)["CodeSha256"] == digest


def test_dry_run_of_update_function_code_changes_nothing(client: Any) -> None:
    function = deploy(client)
    before = configuration(client, function.name)
    client("lambda").update_function_code(
        FunctionName=function.name, ZipFile=zipped("pass"), Architectures=["arm64"], DryRun=True
    )
    after = configuration(client, function.name)
    assert [after[name] for name in ("CodeSha256", "Architectures", "RevisionId")] == [
        before[name] for name in ("CodeSha256", "Architectures", "RevisionId")
    ]


def test_create_returns_pending_and_then_the_function_is_active(client: Any) -> None:
    role = make_role(client)
    created = client("lambda").create_function(
        FunctionName="pending", Role=role, Runtime="python3.11", Handler="a.b", Code={"ZipFile": zipped("")}
    )
    assert (created["State"], created["StateReasonCode"]) == ("Pending", "Creating")
    assert configuration(client, "pending")["State"] == "Active"


def test_update_returns_in_progress_and_then_it_is_successful(client: Any) -> None:
    function = deploy(client)
    updated = client("lambda").update_function_configuration(FunctionName=function.name, Timeout=9)
    assert updated["LastUpdateStatus"] == "InProgress"
    assert configuration(client, function.name)["LastUpdateStatus"] == "Successful"


def test_get_function_shows_tags_and_reserved_concurrency(client: Any) -> None:
    function = deploy(client, Tags={"a": "b"})
    client("lambda").put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    shown = client("lambda").get_function(FunctionName=function.name)
    assert (shown["Tags"], shown["Concurrency"]) == ({"a": "b"}, {"ReservedConcurrentExecutions": 0})


def test_outdated_revision_id_is_refused(client: Any) -> None:
    function = deploy(client)
    code, _ = error_of(
        lambda: client("lambda").update_function_configuration(
            FunctionName=function.name, Timeout=9, RevisionId="00000000-0000-0000-0000-000000000000"
        )
    )
    assert code == "PreconditionFailedException"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"MemorySize": MAXIMA["MemorySize"] + 1}, "at 'memorySize' failed"),
        ({"Timeout": MAXIMA["Timeout"] + 1}, "at 'timeout' failed"),
        ({"EphemeralStorage": {"Size": MAXIMA["EphemeralStorage"] + 1}}, "at 'ephemeralStorage.size' failed"),
        ({"Runtime": "python1.0"}, "Value 'python1.0' at 'runtime' failed"),
        ({"Runtime": "python3.7"}, "The runtime parameter of python3.7 is no longer supported"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "Reserved keys used in this request: AWS_REGION"),
        ({"Environment": {"Variables": {"LONG": "x" * 4096}}}, "exceeded the 4KB limit"),
        # As users quote it in issues.
        ({"Environment": {"Variables": {"A": "one letter"}}}, "regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"),
        ({"Role": "arn:aws:iam::000000000000:role/absent"}, "cannot be assumed by Lambda."),
        ({"Role": "absent"}, "Value 'absent' at 'role' failed"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_setting_is_refused_by_create_and_update(client: Any, options: dict[str, Any], message: str) -> None:
    function = deploy(client)
    for call in (
        lambda: deploy(client, **options),
        lambda: client("lambda").update_function_configuration(FunctionName=function.name, **options),
    ):
        assert message in error_of(call)[1]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("MemorySize", MAXIMA["MemorySize"]),
        ("Timeout", MAXIMA["Timeout"]),
        ("EphemeralStorage", {"Size": MAXIMA["EphemeralStorage"]}),
    ],
)
def test_maximum_of_the_service_model_is_accepted(client: Any, setting: str, value: Any) -> None:
    function = deploy(client, **{setting: value})
    assert configuration(client, function.name)[setting] == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"Handler": ""},
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        (
            {"Runtime": ""},
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ),
        ({"Code": {}}, "Please provide a source for function code."),
        ({"FunctionName": "a" * 65}, "Member must have length less than or equal to 64"),
    ],
)
def test_create_function_needs_code_runtime_handler_and_a_short_name(
    client: Any, options: dict[str, Any], message: str
) -> None:
    """Lambda API reference, CreateFunction; error messages that users quote in issues."""
    needed = {"FunctionName": "needs", "Role": make_role(client), "Runtime": "python3.11", "Handler": "a.b"}
    parameters = {
        name: value for name, value in {**needed, "Code": {"ZipFile": zipped("")}, **options}.items() if value != ""
    }
    assert message in error_of(lambda: client("lambda").create_function(**parameters))[1]


def test_update_function_code_needs_code(client: Any) -> None:
    """Lambda API reference, UpdateFunctionCode; the error message that users quote in issues."""
    function = deploy(client)
    refused = error_of(lambda: client("lambda").update_function_code(FunctionName=function.name))
    assert refused == ("InvalidParameterValueException", "Please provide a source for function code.")


@pytest.mark.parametrize("call", ["get_function", "delete_function", "invoke"])
def test_function_of_another_region_is_not_reachable(client: Any, call: str) -> None:
    """Recorded: LocalStack, tests/aws/services/lambda_/test_lambda_api.snapshot.json."""
    arn = deploy(client).arn.replace(REGION, "us-west-2")
    refused = error_of(lambda: getattr(client("lambda"), call)(FunctionName=arn))
    message = f"Functions from 'us-west-2' are not reachable in this region ('{REGION}')"
    assert refused == ("ResourceNotFoundException", message)


@pytest.mark.parametrize("call", ["get_function", "invoke"])
def test_two_qualifiers_have_to_be_the_same(client: Any, call: str) -> None:
    """EventBridge Scheduler guide, "Troubleshooting universal targets", "Mismatching qualifiers"."""
    name = f"{deploy(client).name}:1"
    refused = error_of(lambda: getattr(client("lambda"), call)(FunctionName=name, Qualifier="2"))
    message = "The derived qualifier from the function name does not match the specified qualifier."
    assert refused == ("InvalidParameterValueException", message)


def test_role_that_lambda_cannot_assume_is_refused(client: Any) -> None:
    other = {**TRUST, "Principal": {"Service": "ec2.amazonaws.com"}}
    role = client("iam").create_role(RoleName="not-for-lambda", AssumeRolePolicyDocument=policy(other))["Role"]["Arn"]
    assert error_of(lambda: deploy(client, Role=role)) == (
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    )


@pytest.mark.parametrize(
    ("options", "lacking"),
    [
        ({"TracingConfig": {"Mode": "Active"}}, "PutTraceSegments on XRAY"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "CreateNetworkInterface on EC2"),
        ({"DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:000000000000:a"}}, "SendMessage on SQS"),
        ({"DeadLetterConfig": {"TargetArn": f"arn:aws:sns:{REGION}:000000000000:a"}}, "Publish on SNS"),
    ],
)
def test_what_the_role_has_no_permission_for_is_refused(client: Any, options: dict[str, Any], lacking: str) -> None:
    """As users report it, for example in github.com/serverless/serverless/issues/6931."""
    refusal = f"The provided execution role does not have permissions to call {lacking}"
    assert error_of(lambda: deploy(client, **options)) == ("InvalidParameterValueException", refusal)
    name, update = deploy(client).name, client("lambda").update_function_configuration
    assert error_of(lambda: update(FunctionName=name, **options)) == ("InvalidParameterValueException", refusal)
    update(FunctionName=name, Role=make_role(client, CHECKED), **options)


def test_update_with_a_disabled_key_fails_and_changes_nothing(client: Any) -> None:
    key = client("kms").create_key()["KeyMetadata"]
    function = deploy(client, KMSKeyArn=key["Arn"])
    client("kms").disable_key(KeyId=key["KeyId"])
    client("lambda").update_function_configuration(FunctionName=function.name, MemorySize=256)
    current = configuration(client, function.name)
    assert (current["State"], current["LastUpdateStatus"], current["MemorySize"]) == ("Active", "Failed", 128)
    assert current["LastUpdateStatusReasonCode"] == "DisabledKMSKey"
    client("kms").enable_key(KeyId=key["KeyId"])
    client("lambda").update_function_configuration(FunctionName=function.name, MemorySize=256)
    assert configuration(client, function.name)["LastUpdateStatus"] == "Successful"


def test_container_image_is_refused(client: Any) -> None:
    with pytest.raises(ClientError, match="PackageType Image is not supported here"):
        client("lambda").create_function(
            FunctionName="image", Role=make_role(client), PackageType="Image", Code={"ImageUri": "registry/image:tag"}
        )


def test_code_that_is_not_a_zip_file_is_refused(client: Any) -> None:
    code, message = error_of(lambda: deploy(client, Code={"ZipFile": b"no zip"}))
    assert code == "InvalidParameterValueException"
    assert message == "Could not unzip uploaded file. Please check your file, then try to upload again."


def test_code_can_come_from_a_bucket(client: Any) -> None:
    client("s3").create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
    client("s3").put_object(Bucket="code", Key="a.zip", Body=zipped("def handler(event, context): return 'a'"))
    function = deploy(client, Code={"S3Bucket": "code", "S3Key": "a.zip"})
    assert function.invoke().payload == "a"


def test_invalid_code_in_a_bucket_leaves_the_old_code(client: Any) -> None:
    function = deploy(client, "def handler(event, context): return 'old'")
    client("s3").create_bucket(Bucket="broken", CreateBucketConfiguration={"LocationConstraint": REGION})
    client("s3").put_object(Bucket="broken", Key="a.zip", Body=b"no zip")
    error_of(
        lambda: client("lambda").update_function_code(FunctionName=function.name, S3Bucket="broken", S3Key="a.zip")
    )
    assert function.invoke().payload == "old"


def test_code_can_be_downloaded_from_its_location(client: Any) -> None:
    code = zipped("pass")
    function = deploy(client, Code={"ZipFile": code})
    location = client("lambda").get_function(FunctionName=function.name)["Code"]["Location"]
    with urllib.request.urlopen(location) as answer:  # noqa: S310 - of this server
        assert answer.read() == code


def zip_of(*entries: tuple[str, str, bool]) -> bytes:
    """A zip file of entries: the name, the text, and whether it is a link."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text, is_link in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if is_link else 0o100644) << 16
            archive.writestr(info, text)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("/etc/absolute", ""),
        ("../above", ""),
        ("folder/../../above", ""),
        ("link", "/etc/passwd"),
        ("link", ".."),
        ("folder/link", "../../above"),
    ],
)
def test_zip_entry_that_leaves_its_folder_is_refused(client: Any, name: str, target: str) -> None:
    code, message = error_of(lambda: deploy(client, Code={"ZipFile": zip_of((name, target, bool(target)))}))
    assert (code, name in message) == ("InvalidParameterValueException", True)


HANDLER = ("code.py", "import os\ndef handler(event, context): return eval(event)", False)


def test_links_in_a_package_are_unpacked(client: Any) -> None:
    links = [("lib/a.so", "a.so.1", True), ("lib/a.so.1", "text", False), ("all", "lib", True)]
    function = deploy(client, Code={"ZipFile": zip_of(HANDLER, *links)})
    assert function.invoke("[os.readlink('lib/a.so'), open('all/a.so').read()]").payload == ["a.so.1", "text"]


# By their names, both links stay in the folder. Through the first one, the second leads to the root of the machine.
HERE, ROOT = ("s", ".", True), ("root", "s/" * 20 + "../" * 20, True)


@pytest.mark.parametrize("links", [[HERE, ROOT], [ROOT, HERE]], ids=["earlier", "later"])
def test_link_that_leaves_its_folder_through_another_is_refused(client: Any, links: Any) -> None:
    with pytest.raises(ClientError, match="The entry 'root' leaves the folder"):
        deploy(client, Code={"ZipFile": zip_of(HANDLER, *links)}).invoke("1")


def test_no_file_is_written_through_a_link_that_leaves_the_folder(client: Any, tmp_path: Path) -> None:
    code = zip_of(HANDLER, HERE, ROOT, (f"root{tmp_path}/new", "", False))
    with pytest.raises(ClientError, match="leaves the folder"):
        deploy(client, Code={"ZipFile": code}).invoke("1")
    assert not (tmp_path / "new").exists()


def test_file_replaces_an_earlier_link_of_its_name(client: Any) -> None:
    entries = [("a", "old", False), ("b", "a", True), ("b", "new", False)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that occurs twice
        function = deploy(client, Code={"ZipFile": zip_of(HANDLER, *entries)})
    assert function.invoke("open('a').read() + open('b').read()").payload == "oldnew"
