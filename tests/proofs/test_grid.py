"""Every setting, and a sample of the *_OPTIONS: set, changed and taken away again, each planned before it is done.

A plan and the run after it make the same writing calls with the same parameters, a second run makes none, and what was
taken away is as if it had never been there: told by boto3, not by the steps themselves.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import chains, session
from pipeline.resources.change import UserError
from pipeline.report import Report
from pipeline.settings import declarations, load
from pipeline.steps import Run
from tests.snapshot import everything

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.settings import Settings
    from tests.project import Project

pytestmark = pytest.mark.proof

NAME = "grid"
PATTERN = '{"Filters": [{"Pattern": "{\\"eventName\\": [\\"INSERT\\"]}"}]}'
PROVISIONED = {"TABLE_BILLING_MODE": "PROVISIONED"}
QUEUE = "arn:aws:sqs:us-east-1:000000000000:given-up"
POLICY = "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess"
OTHER_POLICY = "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess"
OWN_LOG_GROUP = '{"LoggingConfig": {"LogGroup": "/own/group"}}'

# The setting, a value, another value, and what must be set with it.
CASES: list[tuple[str, str, str, dict[str, str]]] = [
    ("TAGS", '{"stage": "test"}', '{"stage": "prod"}', {}),
    ("TABLE_BILLING_MODE", "PROVISIONED", "PROVISIONED", {}),
    ("TABLE_READ_CAPACITY_UNITS", "2", "3", PROVISIONED),
    ("TABLE_WRITE_CAPACITY_UNITS", "2", "3", PROVISIONED),
    ("STREAM_VIEW_TYPE", "KEYS_ONLY", "NEW_IMAGE", {}),
    ("TABLE_DELETION_PROTECTION_ENABLED", "true", "true", {}),
    ("TABLE_POINT_IN_TIME_RECOVERY_ENABLED", "true", "true", {}),
    ("TABLE_OPTIONS", '{"TableClass": "STANDARD_INFREQUENT_ACCESS"}', '{"SSESpecification": {"Enabled": true}}', {}),
    ("ROLE_PERMISSIONS_BOUNDARY", POLICY, OTHER_POLICY, {}),
    ("ROLE_MANAGED_POLICY_ARNS", POLICY, f"{POLICY},{OTHER_POLICY}", {}),
    ("ROLE_OPTIONS", '{"MaxSessionDuration": 7200}', '{"Description": "ours"}', {}),
    ("FUNCTION_RUNTIME", "python3.12", "python3.11", {}),
    ("FUNCTION_HANDLER", "example.handle", "example.lambda_handler", {}),
    ("FUNCTION_MEMORY_SIZE", "256", "512", {}),
    ("FUNCTION_TIMEOUT", "10", "20", {}),
    ("FUNCTION_ENVIRONMENT", '{"STAGE": "test"}', '{"STAGE": "prod", "MORE": "1"}', {}),
    ("FUNCTION_ARCHITECTURE", "arm64", "arm64", {}),
    ("FUNCTION_EPHEMERAL_STORAGE", "1024", "2048", {}),
    ("FUNCTION_LAYERS", "LAYER:1", "LAYER:2", {}),
    ("FUNCTION_TRACING", "Active", "Active", {}),
    ("FUNCTION_LOG_FORMAT", "JSON", "JSON", {}),
    ("FUNCTION_LOG_LEVEL", "WARN", "DEBUG", {"FUNCTION_LOG_FORMAT": "JSON"}),
    ("FUNCTION_RESERVED_CONCURRENT_EXECUTIONS", "5", "0", {}),
    ("FUNCTION_OPTIONS", '{"Description": "ours"}', OWN_LOG_GROUP, {}),
    ("LOG_RETENTION_IN_DAYS", "7", "0", {}),
    ("BATCH_SIZE", "10", "20", {}),
    ("MAXIMUM_BATCHING_WINDOW_IN_SECONDS", "1", "2", {}),
    ("STARTING_POSITION", "LATEST", "LATEST", {}),
    ("MAXIMUM_RETRY_ATTEMPTS", "3", "-1", {}),
    ("MAXIMUM_RECORD_AGE_IN_SECONDS", "60", "120", {}),
    ("BISECT_BATCH_ON_FUNCTION_ERROR", "false", "false", {}),
    ("FUNCTION_RESPONSE_TYPES", "none", "none", {}),
    ("PARALLELIZATION_FACTOR", "2", "3", {}),
    ("FILTER_CRITERIA", PATTERN, PATTERN.replace("INSERT", "REMOVE"), {}),
    ("TUMBLING_WINDOW_IN_SECONDS", "30", "60", {}),
    ("ON_FAILURE", QUEUE, f"{QUEUE}-2", {}),
    ("MAPPING_ENABLED", "false", "false", {}),
    ("MAPPING_OPTIONS", '{"MetricsConfig": {"Metrics": ["EventCount"]}}', '{"MetricsConfig": {"Metrics": []}}', {}),
]
# Not in the grid: names (another name is another resource), the key (refused, below), and what no resource has.
NO_ATTRIBUTE = {
    "PIPELINE_NAME", "TARGET", "AWS_REGION", "AWS_PROFILE", "AWS_ACCOUNT_ID", "AWS_ENDPOINT_URL",
    "TABLE_NAME", "TABLE_KEY", "TABLE_SORT_KEY", "ROLE_NAME", "POLICY_NAME", "FUNCTION_NAME",
    "SMOKE_TIMEOUT", "SMOKE_ITEM", "LOCAL_PORT", "LOCAL_IDLE_HOURS", "LOCAL_AWS_DELAYS",
}  # fmt: skip


@dataclass
class Account:
    """The embedded AWS, with the pipeline deployed by the steps in this process."""

    project: Project
    layer: str
    calls: list[tuple[str, str]] = field(default_factory=list)
    clients: dict[tuple[str, bool], Any] = field(default_factory=dict)

    def deploy(self, settings: Mapping[str, str] | None = None, *, dry: bool = False) -> Report:
        """Deploy with these settings; `calls` then has the writing ones, with their parameters."""
        chosen = {name: value.replace("LAYER", self.layer) for name, value in (settings or {}).items()}
        parsed = load(None, {"PIPELINE_NAME": NAME, **chosen}, {})
        report = Report("deploy", planned=dry, quiet=True)
        self.calls = []
        chains.deploy(Run(parsed, partial(self._client, parsed, dry=dry), self.project.folder, dry=dry), report)
        return report

    def _client(self, settings: Settings, service: str, *, dry: bool) -> Any:
        """A client as the tasks have it; making one takes longer than a deploy, so each is made once."""
        if (service, dry) not in self.clients:
            made = session.connect(settings, self.project.endpoint, dry=dry)(service)
            made.meta.events.register("provide-client-params", self._record)
            self.clients[service, dry] = made
        return self.clients[service, dry]

    def _record(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if not session.is_read(model.name):
            shown = json.dumps(params, default=repr, sort_keys=True)
            # What a plan cannot know: the ARN that AWS will make.
            self.calls.append((model.name, re.sub(r"arn:[^\"]*|<\w+>", "ARN", shown)))

    def snapshot(self) -> dict[str, Any]:
        """What AWS tells of every resource, without what differs each time."""
        told = everything(self.project.client)
        return dict(json.loads(json.dumps(told, default=str), object_hook=without_what_is_empty))


def without_what_is_empty(entry: dict[str, Any]) -> dict[str, Any]:
    # AWS tells the ordinary class only once there was another.
    nothing: tuple[Any, ...] = ({}, [], "", None, {"TableClass": "STANDARD"})
    return {key: value for key, value in entry.items() if value not in nothing}


@pytest.fixture(scope="module")
def account(project: Project) -> Account:
    project.run("local.start")
    lambda_ = project.client("lambda")
    for number in (1, 2):
        content = {"ZipFile": _layer(number)}
        made = lambda_.publish_layer_version(LayerName="shared", Content=content, CompatibleRuntimes=["python3.13"])
    for queue in ("given-up", "given-up-2"):
        project.client("sqs").create_queue(QueueName=queue)
    account = Account(project, made["LayerArn"])
    # A log group that the function writes to no more stays, with its logs: let it be there from the beginning.
    account.deploy({"FUNCTION_OPTIONS": OWN_LOG_GROUP})
    account.deploy()
    return account


def _layer(number: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("python/shared.py", f"NUMBER = {number}\n")
    return buffer.getvalue()


def differing(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What differs, by resource and attribute, so that a failure can be read."""
    found: dict[str, Any] = {}
    for name in {*now, *before}:
        one, other = now.get(name), before.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found |= {f"{name}.{inner}": value for inner, value in differing(one, other).items()}
        elif one != other:
            found[name] = (one, other)
    return found


def told(report: Report) -> list[tuple[str, str, str]]:
    """What was said of each resource, with ARNs left out: those of what is not there yet no plan can know."""
    return [(each.resource, each.action, re.sub(r"arn:[^']*|<\w+>", "ARN", str(each.diffs))) for each in report.changes]


def as_planned(account: Account, settings: Mapping[str, str] | None = None) -> list[str]:
    """Plan, run, run again; what was done to what differed. Plan and run must agree, and the second run do nothing."""
    planned = account.deploy(settings, dry=True)
    planned_calls = account.calls
    done = account.deploy(settings)
    assert account.calls == planned_calls
    assert told(done) == told(planned)
    again = account.deploy(settings)
    assert ({change.action for change in again.changes}, account.calls) == ({"unchanged"}, [])
    return sorted(change.action for change in done.changes if change.action != "unchanged")


@pytest.mark.parametrize(("setting", "value", "other", "beside"), CASES, ids=[case[0] for case in CASES])
def test_a_setting_is_set_changed_and_cleared_as_planned(
    account: Account, setting: str, value: str, other: str, beside: dict[str, str]
) -> None:
    account.deploy(beside)
    before = account.snapshot()
    assert as_planned(account, {setting: value, **beside})
    changed = account.snapshot()
    assert changed != before
    if other != value:
        assert as_planned(account, {setting: other, **beside}) or other == "example.lambda_handler"
        assert account.snapshot() != changed
    account.deploy(beside)
    assert differing(account.snapshot(), before) == {}


def test_the_first_deploy_is_as_planned(account: Account) -> None:
    names = dict.fromkeys(("TABLE_NAME", "FUNCTION_NAME", "ROLE_NAME"), "grid-first")
    assert as_planned(account, names) == ["created"] * 6


def test_every_setting_of_a_resource_stands_in_the_grid() -> None:
    assert {setting.name for setting in declarations()} - NO_ATTRIBUTE == {case[0] for case in CASES}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"TABLE_KEY": "id:N"}, "no step changes that, as data would be lost. By hand: copy the items"),
        ({"TABLE_SORT_KEY": "at:N"}, "no step changes that, as data would be lost"),
        ({"TABLE_OPTIONS": '{"TabelClass": "STANDARD"}'}, 'TABLE_OPTIONS: Unknown parameter in input: "TabelClass"'),
        ({"TABLE_OPTIONS": '{"TableClass": 1}'}, "TABLE_OPTIONS: Invalid type for parameter TableClass"),
        ({"TABLE_OPTIONS": '{"BillingMode": "PROVISIONED"}'}, "TABLE_OPTIONS: BillingMode has a setting of its own"),
        ({"ROLE_OPTIONS": '{"MaxSessionDuration": "1h"}'}, "ROLE_OPTIONS: Invalid type"),
        (
            {"FUNCTION_OPTIONS": '{"VpcConfig": {"Subnets": []}}'},
            'FUNCTION_OPTIONS: Unknown parameter in VpcConfig: "Subnets"',
        ),
        ({"FUNCTION_OPTIONS": '{"Code": {"S3Bucket": "bucket"}}'}, "can be: ZipFile"),
        ({"MAPPING_OPTIONS": '{"Queues": "x"}'}, "MAPPING_OPTIONS: Invalid type"),
        ({"MAPPING_OPTIONS": '{"Topics": ["x"]}'}, "Topics cannot be kept as wanted here"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    account: Account, settings: dict[str, str], told: str
) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        account.deploy(settings)
    assert account.calls == []


def test_a_further_document_in_policies_is_an_inline_policy_of_its_own(account: Account) -> None:
    path = account.project.folder / "policies" / "read-orders.json"
    allowed = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "arn:aws:dynamodb:*:*:table/orders"}
    before = account.snapshot()
    try:
        path.write_text(json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
        assert as_planned(account) == ["created"]
        assert f"{NAME}-read-orders" in str(account.snapshot()["policies"])
    finally:
        path.unlink()
    assert as_planned(account) == ["deleted"]
    assert account.snapshot() == before


def test_what_someone_changed_by_hand_is_put_back(account: Account) -> None:
    before = account.snapshot()
    account.project.client("lambda").update_function_configuration(FunctionName=NAME, MemorySize=1024, Layers=[])
    assert as_planned(account) == ["updated"]
    assert account.snapshot() == before


def test_a_policy_that_someone_made_by_hand_is_left_alone(account: Account) -> None:
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    )
    iam = account.project.client("iam")
    iam.put_role_policy(RoleName=f"{NAME}-role", PolicyName="by-hand", PolicyDocument=document)
    account.deploy()
    assert "by-hand" in str(account.snapshot()["policies"])
    iam.delete_role_policy(RoleName=f"{NAME}-role", PolicyName="by-hand")


def test_values_of_the_environment_are_in_no_plan(account: Account) -> None:
    settings = {"FUNCTION_ENVIRONMENT": '{"PASSWORD": "hunter2"}'}
    for report in (account.deploy(settings, dry=True), account.deploy(settings), account.deploy()):
        assert "hunter2" not in repr(report)
