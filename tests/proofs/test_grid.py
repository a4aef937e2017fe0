"""Every setting, and a sample of the *_OPTIONS: set, changed and cleared, each with a dry run first.

A dry run and the run after it make the same writes with the same parameters, and a second run makes none. A cleared
setting leaves no trace, as boto3 sees the account.
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

from pipeline import session, steps
from pipeline.deployment import Deployment
from pipeline.events import Changed
from pipeline.resources.change import UserError
from pipeline.settings import declarations, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.resources.change import Change
    from pipeline.settings import Settings
    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof

NAME = "grid"
PATTERN = '{"Filters": [{"Pattern": "{\\"eventName\\": [\\"INSERT\\"]}"}]}'
PROVISIONED = {"TABLE_BILLING_MODE": "PROVISIONED"}
QUEUE = "arn:aws:sqs:us-east-1:000000000000:given-up"
ALARMS = {"ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:operators"}
POLICY = "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess"
OTHER_POLICY = "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess"
OWN_LOG_GROUP = '{"LoggingConfig": {"LogGroup": "/own/group"}}'

# The setting, a value, another value, and the settings that it depends on.
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
    ("FUNCTION_TRACING", "Active", "Active", {"ROLE_MANAGED_POLICY_ARNS": POLICY}),
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
    ("FUNCTION_RESPONSE_TYPES", "ReportBatchItemFailures", "ReportBatchItemFailures", {}),
    ("PARALLELIZATION_FACTOR", "2", "3", {}),
    ("FILTER_CRITERIA", PATTERN, PATTERN.replace("INSERT", "REMOVE"), {}),
    ("TUMBLING_WINDOW_IN_SECONDS", "30", "60", {}),
    ("ON_FAILURE", QUEUE, f"{QUEUE}-2", {}),
    ("MAPPING_ENABLED", "false", "false", {}),
    ("ALARM_ITERATOR_AGE", "60000", "120000", ALARMS),
    ("ALARM_ERRORS", "2", "3", ALARMS),
    ("ALARM_THROTTLES", "2", "3", ALARMS),
    ("ALARM_NOTES", "2", "3", {**ALARMS, "ON_FAILURE": QUEUE}),
    ("MAPPING_OPTIONS", '{"MetricsConfig": {"Metrics": ["EventCount"]}}', '{"MetricsConfig": {"Metrics": []}}', {}),
]
# Not in the grid: names (another name is another resource; an alias and alarms are resources), keys (see below), and
# settings that no resource has.
NO_ATTRIBUTE = {
    "PIPELINE_NAME", "TARGET", "AWS_REGION", "AWS_PROFILE", "AWS_ACCOUNT_ID", "AWS_ENDPOINT_URL",
    "ROLE_ARN", "TABLE_ARN", "TABLE_NAME", "TABLE_KEY", "TABLE_SORT_KEY", "ROLE_NAME", "POLICY_NAME", "FUNCTION_NAME",
    "FUNCTION_ALIAS", "FUNCTION_VERSIONS_KEPT", "ALARM_TOPIC_ARN",
    "CODE_BUCKET", "SMOKE_TIMEOUT", "SMOKE_ITEM", "LOCAL_PORT", "LOCAL_IDLE_HOURS", "LOCAL_AWS_DELAYS",
    "LOCAL_DEBUG_PORT", "LOCAL_DEBUG_WAIT",
}  # fmt: skip


@dataclass
class Account:
    """The local AWS, with the pipeline deployed by the steps in this process."""

    project: ForkedProject
    layer_arn: str
    writes: list[tuple[str, str]] = field(default_factory=list)
    clients: dict[tuple[str, bool], Any] = field(default_factory=dict)

    def deploy(self, settings: Mapping[str, str] | None = None, *, dry_run: bool = False) -> list[Change]:
        """Deploy with these settings and return the changes; `writes` then holds the writing calls."""
        values = {name: value.replace("LAYER", self.layer_arn) for name, value in (settings or {}).items()}
        parsed = load(None, {"PIPELINE_NAME": NAME, **values}, {})
        client = partial(self._client, parsed, dry_run=dry_run)
        self.writes = []
        deployment = Deployment(parsed, client, self.project.folder, dry_run=dry_run)
        return [event.change for event in steps.deploy(deployment) if isinstance(event, Changed)]

    def _client(self, settings: Settings, service: str, *, dry_run: bool) -> Any:
        """Create each client once, since that takes longer than a deploy."""
        if (service, dry_run) not in self.clients:
            client = session.connect(settings, self.project.endpoint, dry_run=dry_run)(service)
            client.meta.events.register("provide-client-params", self._record_write)
            self.clients[service, dry_run] = client
        return self.clients[service, dry_run]

    def _record_write(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if not session.is_read(model.name):
            text = json.dumps(params, default=repr, sort_keys=True)
            # A dry run cannot know the ARNs that AWS generates.
            self.writes.append((model.name, re.sub(r"arn:[^\"]*|<\w+>", "ARN", text)))

    def snapshot(self) -> dict[str, Any]:
        """Return every resource in the account, without empty attributes."""
        document = json.dumps(self.project.snapshot(), default=str)
        return dict(json.loads(document, object_hook=without_empty_attributes))


def without_empty_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    # DynamoDB describes the standard class only after the table has had another one.
    empty: tuple[Any, ...] = ({}, [], "", None, {"TableClass": "STANDARD"})
    return {name: value for name, value in attributes.items() if value not in empty}


@pytest.fixture(scope="module")
def account(project: ForkedProject) -> Account:
    lambda_ = project.client("lambda")
    for number in (1, 2):
        content = {"ZipFile": _layer(number)}
        layer = lambda_.publish_layer_version(LayerName="shared", Content=content, CompatibleRuntimes=["python3.13"])
    for queue in ("given-up", "given-up-2"):
        project.client("sqs").create_queue(QueueName=queue)
    account = Account(project, layer["LayerArn"])
    # A log group that the function no longer uses stays, with its logs: create it before the first snapshot.
    account.deploy({"FUNCTION_OPTIONS": OWN_LOG_GROUP})
    account.deploy()
    return account


def _layer(number: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("python/shared.py", f"NUMBER = {number}\n")
    return buffer.getvalue()


def differences(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return what differs, by resource and attribute, which makes failures readable."""
    found: dict[str, Any] = {}
    for name in {*now, *before}:
        one, other = now.get(name), before.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found |= {f"{name}.{inner}": value for inner, value in differences(one, other).items()}
        elif one != other:
            found[name] = (one, other)
    return found


def summary(changes: list[Change]) -> list[tuple[str, str, str]]:
    """Return each change without ARNs: a dry run cannot know the ARN of a resource that does not exist."""
    return [(each.resource, each.action, re.sub(r"arn:[^']*|<\w+>", "ARN", str(each.diffs))) for each in changes]


def deploy_as_planned(account: Account, settings: Mapping[str, str] | None = None) -> list[str]:
    """Dry-run, run, and run again; assert that the runs agree and the last does nothing; return the actions."""
    planned = account.deploy(settings, dry_run=True)
    planned_writes = account.writes
    changes = account.deploy(settings)
    assert account.writes == planned_writes
    assert summary(changes) == summary(planned)
    again = account.deploy(settings)
    assert ({change.action for change in again}, account.writes) == ({"unchanged"}, [])
    return sorted(change.action for change in changes if change.action != "unchanged")


@pytest.mark.parametrize(("setting", "value", "other", "others"), CASES, ids=[case[0] for case in CASES])
def test_a_setting_is_set_changed_and_cleared_as_planned(
    account: Account, setting: str, value: str, other: str, others: dict[str, str]
) -> None:
    account.deploy(others)
    before = account.snapshot()
    assert deploy_as_planned(account, {setting: value, **others})
    changed = account.snapshot()
    assert changed != before
    if other != value:
        assert deploy_as_planned(account, {setting: other, **others}) or other == "example.lambda_handler"
        assert account.snapshot() != changed
    account.deploy(others)
    assert differences(account.snapshot(), before) == {}


def test_the_first_deploy_is_as_planned(account: Account) -> None:
    names = dict.fromkeys(("TABLE_NAME", "FUNCTION_NAME", "ROLE_NAME"), "grid-first")
    assert deploy_as_planned(account, names) == ["created"] * 6


def test_the_grid_has_every_setting_of_a_resource() -> None:
    assert {setting.name for setting in declarations()} - NO_ATTRIBUTE == {case[0] for case in CASES}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"TABLE_KEY": "id:N"}, "table grid: cannot change KeySchema from "),
        ({"TABLE_SORT_KEY": "at:N"}, "Copy the items to a table with another name, or delete the table"),
        ({"FUNCTION_OPTIONS": '{"Code": {"S3Bucket": "bucket"}}'}, "FUNCTION_OPTIONS: Code has a dedicated setting"),
        ({"MAPPING_OPTIONS": '{"Topics": ["x"]}'}, "MAPPING_OPTIONS: Topics not supported; supported: BatchSize"),
    ],
)
def test_an_impossible_setting_is_refused_before_the_first_write(
    account: Account, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        account.deploy(settings)
    assert account.writes == []


def test_another_document_in_policies_becomes_another_inline_policy(account: Account) -> None:
    path = account.project.folder / "policies" / "read-orders.json"
    allowed = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "arn:aws:dynamodb:*:*:table/orders"}
    before = account.snapshot()
    try:
        path.write_text(json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
        assert deploy_as_planned(account) == ["created"]
        assert f"{NAME}-read-orders" in str(account.snapshot()["policies"])
    finally:
        path.unlink()
    assert deploy_as_planned(account) == ["deleted"]
    assert account.snapshot() == before


def test_deploy_reverts_changes_made_by_hand(account: Account) -> None:
    before = account.snapshot()
    account.project.client("lambda").update_function_configuration(FunctionName=NAME, MemorySize=1024, Layers=[])
    assert deploy_as_planned(account) == ["updated"]
    assert account.snapshot() == before


def test_deploy_leaves_a_policy_made_by_hand(account: Account) -> None:
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    )
    iam = account.project.client("iam")
    iam.put_role_policy(RoleName=f"{NAME}-role", PolicyName="by-hand", PolicyDocument=document)
    account.deploy()
    assert "by-hand" in str(account.snapshot()["policies"])
    iam.delete_role_policy(RoleName=f"{NAME}-role", PolicyName="by-hand")


def test_no_change_shows_a_value_of_the_environment(account: Account) -> None:
    settings = {"FUNCTION_ENVIRONMENT": '{"PASSWORD": "hunter2"}'}
    for changes in (account.deploy(settings, dry_run=True), account.deploy(settings), account.deploy()):
        assert "hunter2" not in repr(changes)
