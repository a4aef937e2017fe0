"""Mistakes that `deploy` reports before its first write, also into an empty account; and large code by way of S3."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import archive, echo, parameters, session, settings, steps, teardown
from pipeline.deployment import Deployment
from pipeline.events import Changed, Started
from pipeline.resources import code_object
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pipeline.conftest import Calls

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-west-1"
LAYER = f"arn:aws:lambda:{REGION}:123456789012:layer:shared"


@pytest.fixture
def deployment(aws: Callable[[str], Any], tmp_path: Path) -> Callable[..., Deployment]:
    """A deployment of the example to an empty moto, with these settings."""
    for part in ("lambda_src", "policies"):
        shutil.copytree(ROOT / part, tmp_path / part)

    def make(**values: str) -> Deployment:
        return Deployment(settings.load(None, {}, {"AWS_REGION": REGION, **values}), aws, tmp_path)

    return make


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TABLE_OPTIONS", {"GlobalTableSourceArn": "arn:x"}, "TABLE_OPTIONS: GlobalTableSourceArn"),
        ("ROLE_OPTIONS", {"Colour": "red"}, "ROLE_OPTIONS: Colour is not a parameter of CreateRole"),
        ("FUNCTION_OPTIONS", {"Publish": True}, "FUNCTION_OPTIONS: Publish not supported; supported: Architectures"),
        ("MAPPING_OPTIONS", {"Topics": ["x"]}, "MAPPING_OPTIONS: Topics not supported; supported: "),
        ("FILTER_CRITERIA", {"Filters": [{"Pattern": "{"}]}, "FILTER_CRITERIA: Pattern '{' is not allowed"),
        ("FILTER_CRITERIA", {"Filters": [{"Pattern": "[]"}]}, r"Pattern '\[\]' is not allowed; allowed: a JSON object"),
        ("FILTER_CRITERIA", {"Filters": [{"Pattern": "{}"}, {"Pattern": '"x"'}]}, "Pattern '\"x\"' is not allowed"),
    ],
)
def test_a_mistake_in_a_setting_is_reported_before_the_first_write(
    deployment: Callable[..., Deployment], calls: Calls, name: str, value: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        list(steps.deploy(deployment(**{name: json.dumps(value)})))
    assert calls.writes == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("execution-policy.json", "ReadTheStream", "Read the stream", "Sid 'Read the stream' is not allowed"),
        ("trust-policy.json", "lambda.amazonaws.com", "ec2.amazonaws.com", "is not allowed to assume the role"),
        ("execution-policy.json", "logs:PutLogEvents", "logs:" + "x" * 10_240, "of a role: 10240"),
    ],
)
def test_a_mistake_in_a_policy_is_reported_before_the_first_write(
    deployment: Callable[..., Deployment], calls: Calls, file: str, old: str, new: str, message: str
) -> None:
    d = deployment()
    path = d.root / "policies" / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        list(steps.deploy(d))
    assert calls.writes == []


def test_a_layer_that_does_not_exist_is_reported_before_the_first_write(
    deployment: Callable[..., Deployment], aws: Callable[[str], Any], code: Callable[[], bytes], calls: Calls
) -> None:
    aws("lambda").publish_layer_version(LayerName="shared", Content={"ZipFile": code()})
    steps.check(deployment(FUNCTION_LAYERS=f"{LAYER}:1"))
    calls.clear()
    for arn in (f"{LAYER}:2", f"{LAYER}s:1"):
        with pytest.raises(UserError, match=f"FUNCTION_LAYERS: {arn} does not exist; list the versions that exist"):
            list(steps.deploy(deployment(FUNCTION_LAYERS=f"{LAYER}:1,{arn}")))
    assert calls.writes == []


def test_a_layer_that_may_not_be_read_is_accepted(
    deployment: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    with denied(aws("lambda"), "GetLayerVersion", "AccessDeniedException"):
        steps.check(deployment(FUNCTION_LAYERS=f"{LAYER}:2"))


@pytest.mark.parametrize(
    "tags",
    [
        {"team": "a, b"},
        {"team!": "a"},
        {"team": "a\tb"},
        {"team": "a&b"},
        {"Team": "a", "team": "b"},
        {"Pipeline": "x"},
        {"pipeline:added": "x"},
        {"AWS:x": "y"},
    ],
    ids=str,
)
def test_tags_that_aws_refuses_are_refused(tags: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"TAGS: .* is not allowed; allowed: "):
        settings.load(None, {}, {"TAGS": json.dumps(tags)})


def test_tags_with_all_characters_of_aws_are_accepted() -> None:
    tags = {"Équipe 2": "語 _.:/=+-@", "pipelines": ""}
    assert settings.load(None, {}, {"TAGS": json.dumps(tags)}).tags == tags


@pytest.fixture
def large(deployment: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Deployment]:
    """A deployment of code above the limit of a direct upload, which is 2 MB here."""

    def make(seed: int = 1, **values: str) -> Deployment:
        monkeypatch.setattr(archive, "DIRECT_UPLOAD_BYTES", 2**21)
        d = deployment(**values)
        (d.root / "lambda_src" / "data.bin").write_bytes(random.Random(seed).randbytes(2**22))  # noqa: S311
        return d

    return make


@contextmanager
def denied(client: Any, operation: str, code: str) -> Iterator[None]:
    """AWS denies the caller this operation."""

    def deny(**_: Any) -> tuple[SimpleNamespace, dict[str, Any]]:
        return SimpleNamespace(status_code=403), {"Error": {"Code": code, "Message": "not authorized"}}

    event = f"before-call.{client.meta.service_model.service_name}.{operation}"
    client.meta.events.register(event, deny)
    try:
        yield
    finally:
        client.meta.events.unregister(event, deny)


def keys(aws: Callable[[str], Any]) -> list[str]:
    return [entry["Key"] for entry in aws("s3").list_objects_v2(Bucket="code").get("Contents", [])]


@pytest.fixture
def bucket(aws: Callable[[str], Any]) -> None:
    aws("s3").create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})


@pytest.mark.usefixtures("bucket")
def test_large_code_is_uploaded_once_and_deployed_from_the_bucket(
    large: Callable[..., Deployment], aws: Callable[[str], Any], calls: Calls
) -> None:
    events = list(steps.deploy(large(CODE_BUCKET="code")))
    changes = [event.change for event in events if isinstance(event, Changed)]
    for number, event in enumerate(events):
        assert not isinstance(event, Changed) or Started(event.step) in events[:number]
    digest = changes[0].attributes["CodeSha256"]
    assert aws("lambda").get_function(FunctionName="stream-demo")["Configuration"]["CodeSha256"] == digest
    assert [change.action for change in changes if change.resource.startswith("object ")] == ["created"]
    assert next(change for change in changes if change.resource == "function stream-demo").action == "created"
    aws("s3").delete_object(Bucket="code", Key=keys(aws)[0])  # as a lifecycle rule may do: Lambda has its copy
    calls.clear()
    list(steps.deploy(large(CODE_BUCKET="code")))
    assert calls.writes == []


@pytest.mark.usefixtures("bucket")
def test_changed_large_code_is_uploaded_beside_the_old_one(
    large: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    list(steps.deploy(large(CODE_BUCKET="code")))
    d = large(seed=2, CODE_BUCKET="code")
    list(steps.create_function(d))
    digest = archive.sha256((d.root / "build" / "function.zip").read_bytes())
    assert aws("lambda").get_function(FunctionName="stream-demo")["Configuration"]["CodeSha256"] == digest
    assert len(keys(aws)) == 2


@pytest.mark.usefixtures("bucket")
def test_clean_deletes_the_pipelines_code_and_leaves_the_bucket_with_all_else(
    large: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    list(steps.deploy(large(CODE_BUCKET="code")))
    others = ["stream-demo/notes.zip", "stream-demo2/" + "0" * 64 + ".zip", "x/stream-demo/" + "0" * 64 + ".zip"]
    for key in others:
        aws("s3").put_object(Bucket="code", Key=key)
    list(teardown.clean(large(CODE_BUCKET="code")))
    assert keys(aws) == others


@pytest.mark.usefixtures("bucket")
def test_clean_names_the_code_that_the_caller_may_not_delete(
    large: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    list(steps.deploy(large(CODE_BUCKET="code")))
    with denied(aws("s3"), "DeleteObject", "AccessDenied"):
        events = list(teardown.clean(large(CODE_BUCKET="code")))
    assert isinstance(events[-1], Changed)
    assert events[-1].change.note == "nothing remains except code in s3://code/stream-demo/"


def test_clean_needs_no_code_bucket(deployment: Callable[..., Deployment]) -> None:
    actions = [
        event.change.action for event in teardown.clean(deployment(CODE_BUCKET="nowhere")) if isinstance(event, Changed)
    ]
    assert actions == ["absent"]


@pytest.mark.parametrize("step", [steps.deploy, steps.create_function])
def test_large_code_without_code_bucket_is_one_error_that_names_it(
    large: Callable[..., Deployment], calls: Calls, role_arn: str, step: Any
) -> None:
    calls.clear()
    d = large()
    with pytest.raises(UserError, match=r"4\.0 MB zipped; allowed without CODE_BUCKET: 2 MB\. Set CODE_BUCKET"):
        list(step(d) if step is steps.deploy else step(d, role_arn))
    assert calls.writes == []


def test_a_code_bucket_that_does_not_exist_is_reported_before_anything_is_created(
    large: Callable[..., Deployment], calls: Calls
) -> None:
    with pytest.raises(UserError, match="bucket nowhere does not exist; create it: aws s3 mb s3://nowhere"):
        list(steps.deploy(large(CODE_BUCKET="nowhere")))
    assert calls.writes == []


@pytest.mark.usefixtures("bucket")
def test_a_caller_who_may_not_list_the_bucket_uploads_the_code(
    large: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    d = large(CODE_BUCKET="code")
    desired = parameters.code_object(d.settings, steps.build_zip(d.settings, d.root))
    with denied(aws("s3"), "ListObjectsV2", "AccessDenied"):
        assert code_object.ensure(aws("s3"), desired).action == "created"
    assert keys(aws) == [desired["Key"]]


@pytest.mark.usefixtures("bucket")
def test_echo_prints_the_upload_as_a_command(large: Callable[..., Deployment], aws: Callable[[str], Any]) -> None:
    d = large(CODE_BUCKET="code")
    code = steps.build_zip(d.settings, d.root, write=True)
    lines: list[str] = []
    printer = echo.printer(d.root / "build", lines.append)
    client = session.connect(replace(d.settings, target="aws", aws_region=REGION), None, echo=printer)("s3")
    code_object.ensure(client, parameters.code_object(d.settings, code))
    key = keys(aws)[0]
    assert lines[-1] == f"aws s3api put-object --bucket code --key {key} --body build/function.zip --region {REGION}\n"


@pytest.mark.usefixtures("bucket")
def test_a_dry_run_uploads_nothing(
    large: Callable[..., Deployment], aws: Callable[[str], Any], dry_run: Callable[[str], Any]
) -> None:
    d = large(CODE_BUCKET="code")
    planned = Deployment(d.settings, dry_run, d.root, dry_run=True)
    changes = [event.change for event in steps.deploy(planned) if isinstance(event, Changed)]
    assert [change.action for change in changes if change.resource.startswith("object ")] == ["created"]
    assert keys(aws) == []
