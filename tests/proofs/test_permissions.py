"""The policy of `invoke permissions` suffices for the whole life of a pipeline, and each action in it is necessary.

`invoke dev.soak --only permissions` takes away each action of each statement; CI takes away some.
"""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import count as numbers
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from localaws import control, rehearsal
from localaws.iam import access_log
from pipeline import permissions, session
from pipeline.resources.change import UserError
from pipeline.settings import load
from tests.harness.project import ROOT, target_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof

ACCOUNT = "000000000000"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:notes"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:alarms"
BUCKET = "arn:aws:s3:::notes"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/theirs"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/theirs"
XRAY = "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess"
LAYER = "arn:aws:lambda:us-east-1:111111111111:layer:shared:2"
LIVES = {
    "own": {"ON_FAILURE": QUEUE, "ROLE_MANAGED_POLICY_ARNS": XRAY, "FUNCTION_LAYERS": LAYER, "TAGS": '{"team": "a"}'},
    "path": {
        "ALARM_TOPIC_ARN": TOPIC,
        "ON_FAILURE": BUCKET,
        "ROLE_OPTIONS": '{"Path": "/team/"}',
        "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "2",
    },
    "theirs": {"TABLE_ARN": TABLE, "ROLE_ARN": ROLE},
}
# The tasks do without these, and say so where it matters.
OPTIONAL = {
    "cloudwatch:GetMetricStatistics",  # pause: no IteratorAge is like one without data
    "iam:SimulatePrincipalPolicy",  # the policies that can be read decide
    "lambda:GetLayerVersion",  # a plan does not look for the layer then
}
# The same for the causes that smoke and doctor look for, for the notes that graph counts, and for the role of others.
OPTIONAL_FOR_CAUSES = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "iam:GetRole",
    "iam:ListAttachedRolePolicies",
    "logs:FilterLogEvents",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
}
# load looks for a cause that would keep records from the log, before it writes.
OPTIONAL_FOR_LOAD = {"iam:GetRole", "iam:ListAttachedRolePolicies"}


def connect(endpoint: str, access_key: str) -> Callable[..., Any]:
    return session.connect(load(None, {}, {}), endpoint, access_key=access_key)


def invoke(project: ForkedProject, *words: str, stdin: str = "", **settings: str) -> str:
    ended = project.invoke(*words, stdin=stdin, **settings).expect(0)
    assert "AccessDenied" not in ended.stdout + ended.stderr
    assert "cannot be" not in ended.stdout + ended.stderr
    return ended.stdout


def credentials(project: ForkedProject, name: str, policy: dict[str, Any]) -> dict[str, str]:
    """The access key of a user who may do what the policy allows."""
    iam = project.client("iam")
    iam.create_user(UserName=name)
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def policy_for(project: ForkedProject, group: str, settings: dict[str, str]) -> dict[str, Any]:
    return dict(json.loads(project.run("permissions", "--for", group, **settings)))


@pytest.mark.parametrize("name", LIVES)
def test_the_whole_life_runs_with_the_policy(project: ForkedProject, name: str) -> None:
    named = {**LIVES[name], "PIPELINE_NAME": name}
    for arn in rehearsal.named(str(named)):
        rehearsal.create(lambda owner: connect(project.endpoint, owner), ACCOUNT, arn)
    together = None if name == "own" else credentials(project, name, json.loads(project.run("permissions", **named)))
    account = {}
    for group in permissions.GROUPS:
        key = together or credentials(project, f"{name}-{group}", policy_for(project, group, named))
        account[group] = target_aws(project.endpoint, **named, **key)
    deployer, operator = account["deploy"], account["operate"]
    write = ("--write", "--yes") if "TABLE_ARN" in named else ()
    invoke(project, "deploy", "--yes", **deployer)
    invoke(project, "create-table", "create-role", "put-policy", "create-function", "map-stream", **deployer)
    invoke(project, "smoke", *write, **account["smoke"])
    assert "Denied" not in project.invoke("doctor", **account["status"]).stdout
    assert "last invocation" in invoke(project, "status", "--check", **account["status"])
    invoke(project, "graph", **account["status"])
    invoke(project, "adopt", **deployer)
    changed = {"BATCH_SIZE": "7", "FUNCTION_MEMORY_SIZE": "256", "TAGS": "{}", "LOG_RETENTION_IN_DAYS": "7"}
    invoke(project, "deploy", "--yes", **{**deployer, **changed})
    invoke(project, "adopt", "--write", "--yes", **deployer)
    (project.folder / ".env").unlink(missing_ok=True)
    invoke(project, "deploy", "--yes", **deployer)
    invoke(project, "put-item", "--item", '{"name": "a"}', "--yes", **operator)
    invoke(project, "put-item", "--yes", stdin='{"name": "b"}\n{"name": "c"}\n', **operator)
    for words in ("pause --yes", "resume --yes", "records", "fetch-logs", "replay --yes"):
        invoke(project, *words.split(), **operator)
    if "TABLE_ARN" not in named:
        invoke(project, "load", "--items", "2", "--yes", **operator)
    if "ON_FAILURE" in named:
        redrive_a_note(project, name, named["ON_FAILURE"], operator)
    invoke(project, "clean", "--yes", "--delete-data", "--backup", **account["clean"])
    assert name not in str(project.snapshot()["functions"])


def redrive_a_note(project: ForkedProject, name: str, on_failure: str, operator: dict[str, str]) -> None:
    stream = project.client("dynamodb").describe_table(TableName=name)["Table"]["LatestStreamArn"]
    shown = json.loads(invoke(project, "records", "--last", "1", "--json", **operator))["result"]["records"]
    function = project.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    record = {**shown[0], "eventSourceARN": stream}
    rehearsal.leave_note(project.client, on_failure, function, record)
    assert "1 deleted" in invoke(project, "redrive", "--skip-superseded", "--yes", **operator)


@pytest.fixture
def missed(tmp_path: Path) -> Iterator[Callable[[str, dict[str, Any], dict[str, str], str], str]]:
    """Rehearse a group in an account of its own, with a policy that lacks an action.

    Returns why the rehearsal failed, "" if it did not. Asserts that the action was denied.
    """
    server, _ = control.start(tmp_path, port=0, idle_hours=1, access_log=True)
    accounts = numbers(300_000_000_000)

    def rehearse(group: str, policy: dict[str, Any], settings: dict[str, str], action: str) -> str:
        account = str(next(accounts))
        texts = {key: value.replace(ACCOUNT, account) for key, value in settings.items()}
        loaded, folder = load(None, {}, {"SMOKE_TIMEOUT": "20", **texts}), tmp_path / account

        def client_of(access_key: str) -> Callable[..., Any]:
            return session.connect(loaded, server.endpoint, access_key=access_key)

        admin = client_of(account)
        for arn in rehearsal.named(str(loaded)):
            rehearsal.create(client_of, account, arn)
        admin("iam").create_user(UserName="user")
        document = json.dumps(policy).replace(ACCOUNT, account)
        admin("iam").put_user_policy(UserName="user", PolicyName="p", PolicyDocument=document)
        key = admin("iam").create_access_key(UserName="user")["AccessKey"]["AccessKeyId"]
        failure = ""
        try:
            list(permissions.rehearse([group], loaded, ROOT, folder, rehearsal.leave_note, client_of(key), admin))
        except (BotoCoreError, ClientError, UserError) as error:
            failure = str(error)
        entries = map(json.loads, (tmp_path / access_log.NAME).read_text().splitlines())
        user = f"arn:aws:iam::{account}:user/user"
        assert action in {each["action"] for each in entries if each["denial"] and each["caller"] == user}
        return failure

    yield rehearse
    control.stop(tmp_path)


def test_each_action_is_necessary(
    project: ForkedProject,
    missed: Callable[[str, dict[str, Any], dict[str, str], str], str],
    count: Callable[[int, int], int],
    record_figures: Callable[[str], None],
) -> None:
    cases = []
    for name in ("own", "theirs")[: count(1, 2)]:
        for group in permissions.GROUPS:
            policy = policy_for(project, group, LIVES[name])
            for number, statement in enumerate(policy["Statement"]):
                for action in statement["Action"]:
                    lacking = deepcopy(policy)
                    lacking["Statement"][number]["Action"].remove(action)
                    lacking["Statement"] = [each for each in lacking["Statement"] if each["Action"]]
                    cases.append((group, lacking, LIVES[name], action))
    chosen = cases[:: max(1, len(cases) // count(6, len(cases)))]
    dispensable = []
    for group, policy, settings, action in chosen:
        causes = group in ("smoke", "status") or "ROLE_ARN" in settings
        optional = OPTIONAL | (OPTIONAL_FOR_CAUSES if causes else OPTIONAL_FOR_LOAD if group == "operate" else set())
        failed = missed(group, policy, settings, action)
        if not failed and action not in optional:
            dispensable.append(f"{action} for {group}")
    assert dispensable == []
    record_figures(f"{len(chosen)} of {len(cases)} actions were removed; each was needed")
