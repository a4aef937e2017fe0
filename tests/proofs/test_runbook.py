"""Runbooks of made-up settings create what `invoke deploy` creates, attribute by attribute, and delete all of it.

`invoke dev.soak --only runbook` compares 50 settings. A shell script takes half a minute: the AWS CLI starts some fifty
times. The tasks to paste (`--format py`) run every part twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from tests.harness.forked import forked_project
from tests.harness.script import Script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof


def names(more: str, shortest: int, longest: int) -> st.SearchStrategy[str]:
    """Generate names of letters, digits and `more`, often as short or as long as AWS accepts."""
    letters = st.sampled_from("abcXYZ019" + more)
    lengths = st.sampled_from([shortest, longest]) | st.integers(shortest, longest)
    return lengths.flatmap(lambda length: st.text(letters, min_size=length, max_size=length))


TAGS = st.dictionaries(
    st.text("abc ü_.:/=+-@1", min_size=1, max_size=20), st.text("abc ü_.:/=+-@1", max_size=20), max_size=3
)
VARIABLES = st.dictionaries(
    st.from_regex(r"V[A-Za-z0-9_]{1,8}", fullmatch=True),
    st.text(st.characters(codec="utf-8", min_codepoint=32) | st.sampled_from("\t\n\r'\"$`\\"), max_size=20),
    max_size=3,
)
DESCRIPTION = st.text("abc '\"$`\\!~-<>&|;()é", max_size=30)
PATTERN = st.sampled_from(
    ['{"eventName": ["INSERT"]}', '{"dynamodb": {"Keys": {"k": {"S": ["it\'s", "a\\\\b", "ü"]}}}}']
)
AWS_POLICY = "arn:aws:iam::aws:policy/"
X_RAY = f"{AWS_POLICY}AWSXRayDaemonWriteAccess"


def consistent(settings: dict[str, str]) -> dict[str, str]:
    """Settings that Lambda takes together."""
    window, tracing = (settings.get(name) for name in ("TUMBLING_WINDOW_IN_SECONDS", "FUNCTION_TRACING"))
    settings |= {"PARALLELIZATION_FACTOR": "1"} if window == "900" else {}
    return settings | ({"ROLE_MANAGED_POLICY_ARNS": X_RAY} if tracing == "Active" else {})


SETTINGS = st.fixed_dictionaries(
    {
        "PIPELINE_NAME": names("-_", 3, 50),
        "TABLE_NAME": names("-_.", 3, 255),
        "ROLE_NAME": names("_+=,.@-", 1, 64),
        "POLICY_NAME": names("_+=,.@-", 1, 128),
        "FUNCTION_NAME": names("-_", 1, 64),
    },
    optional={
        "TABLE_KEY": st.builds("{}:{}".format, st.text("a b'\"$`\\ü-", min_size=1, max_size=9), st.sampled_from("SNB")),
        "TABLE_SORT_KEY": st.builds("sort {}:{}".format, st.text("ab'\"$`ü", max_size=9), st.sampled_from("SNB")),
        "TABLE_BILLING_MODE": st.sampled_from(["PAY_PER_REQUEST", "PROVISIONED"]),
        "TABLE_DELETION_PROTECTION_ENABLED": st.sampled_from(["true", "false"]),
        "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": st.sampled_from(["true", "false"]),
        "STREAM_VIEW_TYPE": st.sampled_from(["NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"]),
        "TAGS": TAGS.map(json.dumps),
        "TABLE_OPTIONS": st.just(json.dumps({"TableClass": "STANDARD_INFREQUENT_ACCESS"})),
        "ROLE_PERMISSIONS_BOUNDARY": st.just(f"{AWS_POLICY}AdministratorAccess"),
        "ROLE_MANAGED_POLICY_ARNS": st.just(X_RAY),
        "ROLE_OPTIONS": st.builds(lambda text: json.dumps({"Description": text}), DESCRIPTION),
        "FUNCTION_OPTIONS": st.builds(lambda text: json.dumps({"Description": text}), DESCRIPTION),
        "FUNCTION_ENVIRONMENT": VARIABLES.map(json.dumps),
        "FUNCTION_MEMORY_SIZE": st.integers(128, 10240).map(str),
        "FUNCTION_TIMEOUT": st.integers(1, 900).map(str),
        "FUNCTION_ARCHITECTURE": st.sampled_from(["x86_64", "arm64"]),
        "FUNCTION_EPHEMERAL_STORAGE": st.integers(512, 10240).map(str),
        "FUNCTION_TRACING": st.sampled_from(["Active", "PassThrough"]),
        "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": st.integers(0, 10).map(str),
        "FUNCTION_ALIAS": names("-_", 1, 128).filter(lambda name: not name.isdigit()),
        "FUNCTION_LOG_FORMAT": st.sampled_from(["Text", "JSON"]),
        "LOG_RETENTION_IN_DAYS": st.sampled_from(["0", "1", "3653"]),
        "BATCH_SIZE": st.integers(1, 10000).map(str),
        "MAXIMUM_RETRY_ATTEMPTS": st.integers(-1, 10000).map(str),
        "MAXIMUM_RECORD_AGE_IN_SECONDS": st.sampled_from(["-1", "60", "604800"]),
        "BISECT_BATCH_ON_FUNCTION_ERROR": st.sampled_from(["true", "false"]),
        "FUNCTION_RESPONSE_TYPES": st.sampled_from(["ReportBatchItemFailures", "none"]),
        "PARALLELIZATION_FACTOR": st.integers(1, 10).map(str),
        "TUMBLING_WINDOW_IN_SECONDS": st.sampled_from(["0", "900"]),
        "ON_FAILURE": st.sampled_from(["arn:aws:sqs:us-east-1:000000000000:given-up", "arn:aws:s3:::given-up"]),
        "ALARM_TOPIC_ARN": st.just("arn:aws:sns:us-east-1:000000000000:on-call"),
        "ALARM_ITERATOR_AGE": st.integers(1, 86400000).map(str),
        "ALARM_ERRORS": st.integers(1, 10**12 - 1).map(str),
        "MAPPING_ENABLED": st.sampled_from(["true", "false"]),
        "STARTING_POSITION": st.sampled_from(["LATEST", "TRIM_HORIZON"]),
        "FILTER_CRITERIA": PATTERN.map(lambda pattern: json.dumps({"Filters": [{"Pattern": pattern}]})),
    },
)


@pytest.mark.parametrize(
    ("form", "file", "shell", "times", "kind"),
    [("sh", "runbook.sh", "sh", 1, "runbooks"), ("py", "tasks.py", "invoke", 2, "files of tasks")],
)
def test_the_runbook_of_any_settings_creates_and_deletes_what_deploy_and_clean_do(
    project: ForkedProject,
    tmp_path: Path,
    count: Callable[[int, int], int],
    record_figures: Callable[[str], None],
    form: str,
    file: str,
    shell: str,
    times: int,
    kind: str,
) -> None:
    compared = 0

    @hypothesis.settings(
        max_examples=count(2, 50),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(settings=SETTINGS.map(consistent))
    def compare(settings: dict[str, str]) -> None:
        nonlocal compared
        project.run("deploy", **settings)
        deployed = project.snapshot()
        unprotect(project, settings)
        project.run("clean", **settings)
        script = Script(tmp_path / file, project.endpoint)
        script.path.write_text(project.run("runbook", "--format", form, **settings), encoding="utf-8")
        for _ in range(times):
            script.run(shell, "deploy", **json.loads(settings.get("FUNCTION_ENVIRONMENT", "{}")))
            assert project.snapshot() == deployed, settings
        unprotect(project, settings)
        for _ in range(times):
            script.run(shell, "clean")
            assert project.is_empty(), settings
        compared += 1

    compare()
    record_figures(f"{compared} {kind} created what deploy creates, attribute by attribute, and left nothing")


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_every_part_runs_in_every_shell(project: ForkedProject, tmp_path: Path, shell: str) -> None:
    script = Script(tmp_path / "runbook.sh", project.endpoint)
    settings = {"PIPELINE_NAME": f"parts-{shell}", "FUNCTION_ALIAS": "live"}
    script.path.write_text(project.run("runbook", **settings), encoding="utf-8")
    steps = ("create-role", "put-policy", "create-function", "create-table", "map-stream", "smoke")
    parts = [*(("--step", step) for step in steps), ("deploy",), ("--check",), ("status",), ("logs",), ("logs", "5")]
    for part in [*parts, ("pause",), ("resume",), ("--check",), ("smoke",)]:
        assert "differs" not in script.run(shell, *part)
    script.path.write_text(project.run("runbook", **settings, FUNCTION_TIMEOUT="9"), encoding="utf-8")
    for part in [("--step", "create-function"), ("rollback",), ("rollback", "2"), ("clean",), ("clean",)]:
        assert "differs" not in script.run(shell, *part)
    assert project.is_empty()


@pytest.mark.parametrize(("form", "file", "shell"), [("sh", "runbook.sh", "sh"), ("py", "tasks.py", "invoke")])
def test_the_runbook_waits_for_an_aws_that_is_late(tmp_path: Path, form: str, file: str, shell: str) -> None:
    settings = {
        "FUNCTION_ALIAS": "live",
        "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "3",
        "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:on-call",
        "ROLE_MANAGED_POLICY_ARNS": f"{AWS_POLICY}AWSXRayDaemonWriteAccess",
        "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": "true",
    }
    with forked_project(tmp_path, delays=True) as project:
        script = Script(tmp_path / file, project.endpoint)
        script.path.write_text(project.run("runbook", "--format", form, **settings), encoding="utf-8")
        for part in ("deploy", "smoke", "clean"):
            script.run(shell, part)
        assert project.is_empty()


def unprotect(project: ForkedProject, settings: dict[str, str]) -> None:
    """Allow the deletion of the table, as an operator does by hand."""
    if settings.get("TABLE_DELETION_PROTECTION_ENABLED") == "true":
        name = settings["TABLE_NAME"]
        project.client("dynamodb").update_table(TableName=name, DeletionProtectionEnabled=False)
