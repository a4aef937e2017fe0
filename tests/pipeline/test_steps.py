"""Steps: generators of events, dry runs, and the settings that each step reads."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.client import BaseClient

import tasks
from localaws import control
from pipeline import items, operations, records, replay, session, smoke, status, steps
from pipeline.deployment import Deployment
from pipeline.events import Changed, Started, Waiting
from pipeline.settings import DERIVED, load
from tests.harness import snapshot
from tests.pipeline.conftest import altered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.events import Events
    from tests.pipeline.conftest import Calls

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def deployment(local_aws: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Deployment]:
    """Return deployments in the local AWS, each in a folder of its own, by the name of their pipeline."""
    endpoint = local_aws("dynamodb").meta.endpoint_url

    def create(pipeline: str, **overrides: str) -> Deployment:
        settings = load(None, {}, {"PIPELINE_NAME": pipeline, "AWS_REGION": "eu-west-1", **overrides})
        folder = tmp_path_factory.mktemp(pipeline)
        for name in ("lambda_src", "policies"):
            shutil.copytree(ROOT / name, folder / name)
        return Deployment(settings, session.connect(settings, endpoint), folder)

    return create


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the operations that are sent to AWS."""
    client: Any = BaseClient
    operations: list[str] = []
    make_request = client._make_request

    def record(self: Any, model: Any, *rest: Any) -> Any:
        operations.append(model.name)
        return make_request(self, model, *rest)

    monkeypatch.setattr(client, "_make_request", record)
    return operations


def described(events: Events[Any]) -> Iterator[tuple[str, ...]]:
    """Describe each event by its kind, its step, and the resource or the text."""
    for event in events:
        if isinstance(event, Started):
            yield "started", event.step
        elif isinstance(event, Waiting):
            yield "waiting", event.step, event.text
        elif isinstance(event, Changed):
            yield event.change.action, event.step, event.change.resource


ZIP = ("zip-code", "zip build/function.zip")


def test_deploy_starts_what_takes_time_first_and_waits_for_it_last(deployment: Callable[..., Deployment]) -> None:
    d = deployment("in-order")
    assert list(described(steps.deploy(d))) == [
        ("started", "zip-code"),
        ("created", *ZIP),
        ("started", "deploy"),
        ("started", "create-table"),
        ("started", "create-role"),
        ("created", "create-role", "role in-order-role"),
        ("started", "put-policy"),
        ("created", "put-policy", "policy in-order-policy of role in-order-role"),
        ("started", "create-function"),
        ("created", "create-function", "log group /aws/lambda/in-order"),
        ("waiting", "create-function", "function in-order to become Active"),
        ("created", "create-function", "function in-order"),
        ("waiting", "create-table", "table in-order to become ACTIVE"),
        ("created", "create-table", "table in-order"),
        ("started", "map-stream"),
        ("waiting", "map-stream", "mapping in-order -> in-order to become Enabled"),
        ("created", "map-stream", "mapping in-order -> in-order"),
    ]


def test_a_deploy_with_nothing_to_change_waits_for_nothing(deployment: Callable[..., Deployment]) -> None:
    d = deployment("unchanged")
    list(steps.deploy(d))
    assert {event[0] for event in described(steps.deploy(d))} == {"started", "unchanged"}


def test_deploy_does_nothing_before_its_first_event_is_requested(deployment: Callable[..., Deployment]) -> None:
    d = deployment("lazy")
    events = steps.deploy(d)
    assert next(events) == Started("zip-code")
    assert not (d.root / "build").exists()


def test_a_plan_makes_only_reading_calls(
    deployment: Callable[..., Deployment], local_aws: Callable[[str], Any], sent: list[str]
) -> None:
    d = deployment("planned")
    before = snapshot.take(local_aws)
    sent.clear()
    changes = steps.plan(d)
    operations = [*sent]
    assert {change.action for change in changes} == {"created"}
    assert operations
    assert [operation for operation in operations if not session.is_read(operation)] == []
    assert snapshot.take(local_aws) == before
    assert not (d.root / "build" / "function.zip").exists()


def test_a_plan_lists_the_changes_that_deploy_makes(deployment: Callable[..., Deployment]) -> None:
    d = deployment("as-planned")
    planned = [(change.resource, change.action) for change in steps.plan(d)]
    events = list(steps.deploy(d))
    changed = [event for event in events if isinstance(event, Changed) and event.step != "zip-code"]
    assert planned == [(event.change.resource, event.change.action) for event in changed]


# --- `invoke --help STEP` names the settings that the step reads ------------------------------------------------------


class RecordingSettings:
    """Settings that record the names of those that are read."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name.upper())
        return getattr(self._settings, name)


# Settings that some steps read only with these.
VARIANTS = {
    "reads-defaults": {},
    "reads-more": {
        "TABLE_BILLING_MODE": "PROVISIONED",
        "FUNCTION_LOG_FORMAT": "JSON",
        "FUNCTION_ALIAS": "live",
        "ON_FAILURE": "arn:aws:sqs:eu-west-1:000000000000:discarded",
        "ALARM_TOPIC_ARN": "arn:aws:sns:eu-west-1:000000000000:on-call",
    },
    "reads-others": {"TABLE_ARN": "arn:aws:dynamodb:eu-west-1:000000000000:table/reads-defaults"},
}
STEPS: dict[str, Callable[[Deployment], Events[Any]]] = {
    "zip-code": lambda d: steps.zip_code(d.settings, d.root),
    "create-table": steps.create_table,
    "create-role": steps.create_role,
    "put-policy": steps.put_policy,
    "create-function": steps.create_function,
    "map-stream": steps.map_stream,
    "create-alarms": steps.create_alarms,
    "put-item": lambda d: steps.put_item(d, items.Stored([("--item", '{"name": "test3"}')])),
    "fetch-logs": lambda d: steps.fetch_logs(d, since_ms=0, pattern="", request_id="", last=1, timeout=30),
    "smoke": smoke.run,
    "records": records.records,
    "replay": replay.replay,
    "redrive": lambda d: replay.redrive(d) if d.settings.on_failure else operations.resume(d),
    "pause": operations.pause,
    "resume": operations.resume,
    "rollback": lambda d: operations.rollback(d, version=publish(d)) if d.settings.function_alias else (_ for _ in ()),
}


def publish(d: Deployment) -> str:
    """Publish a version, and return it."""
    lambda_, name = d.client("lambda"), d.settings.function_name
    lambda_.update_function_configuration(FunctionName=name, Description="changed")
    return str(lambda_.publish_version(FunctionName=name)["Version"])


@pytest.fixture(scope="module")
def deployed(deployment: Callable[..., Deployment]) -> list[Deployment]:
    """Deploy the pipelines whose settings are recorded."""
    deployments = [deployment(name, **overrides) for name, overrides in VARIANTS.items()]
    for d in deployments:
        list(steps.deploy(d))
    d.client("sqs").create_queue(QueueName="discarded")
    return deployments


def documented(task: str) -> list[str]:
    """Return the settings that the help of a task names."""
    _, _, listed = str(tasks.namespace[task].body.__doc__).partition("Settings:")
    return re.findall(r"[A-Z]+(?:_[A-Z]+)*", re.sub(r"\b[a-z]+\b", "", listed))


@pytest.mark.parametrize("step", STEPS)
def test_the_help_of_a_step_names_exactly_the_settings_that_it_reads(deployed: list[Deployment], step: str) -> None:
    read: set[str] = set()
    for d in deployed:
        recording: Any = RecordingSettings(d.settings)
        list(STEPS[step](replace(d, settings=recording)))
        read |= recording.read
    if read & {name.upper() for name in DERIVED}:
        read.add("PIPELINE_NAME")  # the default of each name comes from it
    names = documented(step)
    assert set(names) == read
    assert len(names) == len(set(names))


def test_the_help_of_local_start_names_exactly_the_settings_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "start", lambda *_: (None, False))
    monkeypatch.setattr(control, "set_debugger", lambda *_, **__: None)
    recording: Any = RecordingSettings(load(None, {}, {}))
    tasks._start_local_aws(recording, "local.start")
    assert set(documented("local.start")) == recording.read


@pytest.fixture
def in_moto(aws: Callable[[str], Any]) -> Callable[..., Deployment]:
    """Return deployments in moto, for the services that the local AWS lacks."""

    def create(**overrides: str) -> Deployment:
        return Deployment(load(None, {}, overrides), lambda service, **_: aws(service), ROOT)

    return create


def test_an_alias_of_a_key_is_compared_as_the_arn_of_the_key(
    in_moto: Callable[..., Deployment], aws: Callable[[str], Any], calls: Calls
) -> None:
    key = aws("kms").create_key()["KeyMetadata"]["Arn"]
    aws("kms").create_alias(AliasName="alias/items", TargetKeyId=key)
    encryption = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/items"}
    d = in_moto(TABLE_OPTIONS=json.dumps({"SSESpecification": encryption}))
    list(steps.create_table(d))
    (created,) = [parameters for operation, parameters in calls if operation == "CreateTable"]
    assert created["SSESpecification"]["KMSMasterKeyId"] == key
    calls.clear()
    assert ("unchanged", "create-table", "table stream-demo") in described(steps.create_table(d))
    assert calls.writes == []


def test_status_sums_the_counts_of_periods_and_takes_the_highest_age(
    in_moto: Callable[..., Deployment], aws: Callable[[str], Any]
) -> None:
    points = [{"Sum": 2.0, "Maximum": 300.0}, {"Sum": 3.0, "Maximum": 200.0}]
    with altered(aws("cloudwatch"), "GetMetricStatistics", lambda parsed: parsed.update(Datapoints=points)):
        facts = status.function_metrics(in_moto())
    assert facts == {"iterator age": "300 ms in 15 min", "invocations": "5 in 15 min", "errors": "5 in 15 min"}
