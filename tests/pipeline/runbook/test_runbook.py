"""What `runbook.script` and `runbook.page` write for different settings."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline import archive, runbook
from pipeline.resources.change import OWNER_TAG, UserError
from pipeline.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "pipeline" / "runbook" / "runbook.sh"
TOPIC = "arn:aws:sns:us-east-1:123456789012:on-call"


def script(**settings: str) -> str:
    return runbook.script(load(None, settings, {}), ROOT)


def page(**settings: str) -> str:
    return runbook.page(load(None, settings, {}), ROOT)


def shellcheck(path: Path) -> str:
    command = [str(Path(sys.executable).with_name("shellcheck")), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def commands(text: str) -> list[str]:
    """Every line with an `aws` command, with its continuation lines."""
    lines = re.sub(r" \\\n *", " ", text).splitlines()
    return sorted(
        line.strip() for line in lines if re.search(r"(^|[ (])aws [a-z0-9]+ [a-z-]+ ", line) and "`" not in line
    )


def test_shellcheck_accepts_the_template() -> None:
    assert shellcheck(TEMPLATE) == ""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"TABLE_KEY": "id:B", "TABLE_SORT_KEY": "n:N", "TABLE_BILLING_MODE": "PROVISIONED"},
        {
            "FUNCTION_ENVIRONMENT": '{"SECRET": "x", "STAGE": ""}',
            "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "1",
            "FUNCTION_ALIAS": "live",
            "ON_FAILURE": "arn:aws:s3:::notes",
            "ALARM_TOPIC_ARN": TOPIC,
            "ROLE_PERMISSIONS_BOUNDARY": "arn:aws:iam::123456789012:policy/boundary",
            "ROLE_MANAGED_POLICY_ARNS": "arn:aws:iam::123456789012:policy/a,arn:aws:iam::123456789012:policy/b",
            "ROLE_OPTIONS": '{"Description": "it\'s `id` $HOME"}',
            "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": "true",
        },
        {"TABLE_ARN": "arn:aws:dynamodb:us-east-1:123456789012:table/orders"},
    ],
    ids=["defaults", "binary and number keys", "all commands", "a table of others"],
)
def test_shellcheck_accepts_the_script(settings: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "runbook.sh"
    path.write_text(script(**settings))
    assert shellcheck(path) == ""
    assert re.findall(r"(?<!\$)@[a-z_]+", path.read_text()) == []


def test_the_page_leads_from_a_bad_deploy_to_rollback_if_there_is_an_alias() -> None:
    assert "**A bad deploy**: run `rollback`" in page(FUNCTION_ALIAS="live")
    assert "**A bad deploy**: run `pause`" in page()


def test_a_command_has_the_parameters_that_the_step_sends() -> None:
    written = script(FUNCTION_TIMEOUT="7", LOG_RETENTION_IN_DAYS="90", FUNCTION_RESERVED_CONCURRENT_EXECUTIONS="3")
    assert 'put-retention-policy --log-group-name="$log_group_name" --retention-in-days 90' in written
    assert 'put-function-concurrency --function-name="$function_name" --reserved-concurrent-executions 3' in written
    assert written.count("--timeout 7 ") == 2


def test_a_command_without_a_setting_for_it_is_left_out() -> None:
    written = script(LOG_RETENTION_IN_DAYS="0")
    optional = [
        "put-retention-policy", "put-function-concurrency", "put-role-permissions-boundary", "update-role ",
        "attach-role-policy", "update-continuous-backups",
    ]  # fmt: skip
    assert [command for command in optional if command in written] == []


def test_a_command_is_repeated_for_each_policy() -> None:
    arns = [f"arn:aws:iam::123456789012:policy/{name}" for name in ("a", "b")]
    written = script(ROLE_MANAGED_POLICY_ARNS=",".join(arns), ON_FAILURE="arn:aws:s3:::notes")
    assert re.findall(r"\n    aws iam attach-role-policy .* --policy-arn (\S+)", written) == arns
    assert re.findall(r"\n    put_inline_policy (\S+)", written) == [
        "stream-demo-policy",
        '"$pipeline_name-on-failure"',
    ]
    assert written.count("ask aws iam delete-role-policy ") == 2


def test_names_account_and_region_are_variables_within_documents_and_arguments() -> None:
    written = script(PIPELINE_NAME="orders", AWS_REGION="cn-north-1")
    assert '"arn:aws-cn:dynamodb:$AWS_REGION:$account_id:table/$table_name/stream/*"' in written
    assert 'log_group_name="/aws/lambda/$function_name"' in written
    assert written.count("orders") == len(["pipeline", "table", "role", "function", *["policy"] * 4])


def test_a_deletion_protected_table_has_a_runbook() -> None:
    assert " --deletion-protection-enabled " in script(TABLE_DELETION_PROTECTION_ENABLED="true").replace("\n", " ")


def test_the_script_checks_the_account_of_the_settings() -> None:
    assert "expected_account=123456789012\n" in script(
        TARGET="aws", AWS_REGION="us-east-1", AWS_ACCOUNT_ID="123456789012"
    )


def test_resources_of_others_in_the_settings_need_not_exist() -> None:
    settings = {
        "FUNCTION_LAYERS": "arn:aws:lambda:us-east-1:123456789012:layer:theirs:7",
        "ROLE_PERMISSIONS_BOUNDARY": "arn:aws:iam::123456789012:policy/boundary",
        "ROLE_MANAGED_POLICY_ARNS": "arn:aws:iam::123456789012:policy/managed",
    }
    written = script(**settings)
    assert [arn for arn in settings.values() if arn not in written] == []


def test_a_value_of_the_functions_environment_is_never_written() -> None:
    settings = {"FUNCTION_ENVIRONMENT": json.dumps({"SECRET": "hunter-two"})}
    for written in (script(**settings), page(**settings)):
        assert "hunter" not in written
        assert '{"Variables": {"SECRET": "\'"$(json_text "$SECRET")"\'"}}' in written
        assert "the function's variables: SECRET" in written


@pytest.mark.parametrize("name", ["answer", "mapping_uuid", "FUNCTION_ZIP", "AWS_PAGER", "PATH"])
def test_a_variable_of_the_script_cannot_be_one_of_the_function(name: str) -> None:
    with pytest.raises(UserError, match=f"FUNCTION_ENVIRONMENT: '{name}' is a variable of the runbook's script too"):
        script(FUNCTION_ENVIRONMENT=json.dumps({name: "42"}))


def test_code_above_one_megabyte_is_a_file_beside_the_script(tmp_path: Path) -> None:
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    (tmp_path / "lambda_src").mkdir()
    (tmp_path / "lambda_src" / "example.py").write_text("def lambda_handler(event, context): pass\n")
    small = runbook.script(load(None, {}, {}), tmp_path)
    (tmp_path / "lambda_src" / "data.bin").write_bytes(random.Random(1).randbytes(1024 * 1024))  # noqa: S311
    large = runbook.script(load(None, {}, {}), tmp_path)
    assert re.search(r"<<'ZIP'\nUEsDB", small)
    assert "<<'ZIP'\nZIP\n" in large
    assert len(large) < len(small)


def test_code_above_50_mb_is_uploaded_to_the_bucket_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "DIRECT_UPLOAD_BYTES", 100)
    path = tmp_path / "runbook.sh"
    path.write_text(script(CODE_BUCKET="code"))
    found = re.sub(r" \\\n *", " ", path.read_text())
    digest = re.findall(r'aws s3 cp "\$work/function.zip" "s3://code/\$pipeline_name/([0-9a-f]{64})\.zip"', found)[0]
    assert f'--s3-bucket code --s3-key="$pipeline_name/{digest}.zip"' in found
    assert f"""--code '{{"S3Bucket": "code", "S3Key": "'"$pipeline_name"'/{digest}.zip"}}'""" in found
    assert "--zip-file" not in found
    assert shellcheck(path) == ""


def test_the_owner_tag_of_the_script_is_that_of_the_tasks() -> None:
    assert re.findall(r"[Tt]ags(?:\[\?Key=='|\.)(\w+)", TEMPLATE.read_text()) == [OWNER_TAG] * 5


def test_without_a_topic_nothing_is_said_about_alarms() -> None:
    assert [word for word in ("alarm", "sns") if word in script() + page()] == []


def test_the_page_has_every_command_of_the_script() -> None:
    settings = {"FUNCTION_ENVIRONMENT": '{"SECRET": "x"}', "ON_FAILURE": "arn:aws:s3:::notes", "ALARM_TOPIC_ARN": TOPIC}
    assert commands(page(**settings)) == commands(script(**settings))


def test_the_page_has_a_heading_a_reason_and_what_to_expect_for_each_step() -> None:
    written = page(PIPELINE_NAME="orders")
    steps = ["create-role", "put-policy", "create-function", "create-table", "map-stream", "smoke"]
    parts = [*steps, "status", "fetch-logs", "pause", "resume", "clean"]
    assert written.startswith("# Runbook: orders\n")
    assert re.findall(r"With this project: `invoke (\S+)`\.", written) == parts
    assert [written.count(f"\n{note}: ") for note in ("Expect", "If it fails", "Undo")] == [len(parts)] * 3
    assert re.findall(r"^## (\d|Roll back)", written, re.MULTILINE) == [*"123456", "Roll back"]


def test_the_page_leads_from_each_alarm_to_its_symptom() -> None:
    opening = page(ALARM_TOPIC_ARN=TOPIC).split("## Before the first step")[0]
    assert re.findall(r"`(\S+)`: see", opening) == ["iterator-age", "errors", "throttles", "notes"]


def test_the_page_opens_with_the_symptoms() -> None:
    opening = page().split("## Before the first step")[0]
    symptoms = [
        "belong to another account",
        "Nothing arrives",
        "Lag",
        "Throttled",
        "Poison record",
        "Failed records",
        "bad deploy",
    ]
    assert [symptom for symptom in symptoms if symptom not in opening] == []
    assert "`invoke redrive`" in opening
    assert "`invoke replay " in opening


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"TABLE_ARN": "arn:aws:dynamodb:us-east-1:123456789012:table/orders"},
        {"ROLE_ARN": "arn:aws:iam::123456789012:role/service"},
        {"ALARM_TOPIC_ARN": TOPIC},
    ],
    ids=["own", "a table of others", "a role of others", "alarms"],
)
def test_the_page_shows_an_answer_with_the_names_of_the_settings_for_each_part(settings: dict[str, str]) -> None:
    written = page(FUNCTION_NAME="order-handler", **settings)
    assert written.count("```text\n") == written.count("\nExpect: ")
    assert "\nfunction order-handler: no differences\n" in written
    assert not re.findall(r"the-(?:pipeline|table|role|function)", written)


def test_each_step_of_the_page_ends_with_the_command_that_verifies_it() -> None:
    steps = re.findall(r"\n## [1-5]\. .*?```sh\n(.*?)```", page(), re.DOTALL)
    assert [re.findall(r"^\w+", step, re.MULTILINE)[-1].partition("_")[0] for step in steps] == ["verify"] * 5


def test_a_file_that_is_up_to_date_passes_the_check(tmp_path: Path) -> None:
    path = tmp_path / "runbook.sh"
    path.write_text(script())
    runbook.compare(path, script(), "invoke runbook")


def test_the_check_shows_the_lines_in_which_a_file_is_out_of_date(tmp_path: Path) -> None:
    path = tmp_path / "runbook.md"
    path.write_text(page(LOG_RETENTION_IN_DAYS="7"))
    with pytest.raises(UserError, match="is out of date") as caught:
        runbook.compare(path, page(LOG_RETENTION_IN_DAYS="90"), "invoke runbook --format md")
    assert f"write it again: invoke runbook --format md > {path}\n" in str(caught.value)
    assert re.search(r"\n  -.*--retention-in-days 7\n.*\n?  \+.*--retention-in-days 90", str(caught.value))
    assert len(str(caught.value).splitlines()) < 20


# --- A table of others ------------------------------------------------------------------------------------------------

ORDERS = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"


@pytest.mark.parametrize("write", [script, page])
def test_no_command_writes_to_a_table_of_others(write: Callable[..., str]) -> None:
    calls = {words[2] for words in map(str.split, re.findall(r"aws dynamodb [a-z-]+", write(TABLE_ARN=ORDERS)))}
    assert calls == {"describe-table", "update-table"}  # the latter is printed for the table's owner


def test_the_check_of_a_table_of_others_is_the_first_step_of_the_page() -> None:
    assert "\n## 1. Check the table and its stream.\n" in page(TABLE_ARN=ORDERS)


KEY_ID = "0a1b2c3d"


def encrypted(key: str) -> str:
    return script(TABLE_OPTIONS=json.dumps({"SSESpecification": {"SSEType": "KMS", "KMSMasterKeyId": key}}))


@pytest.mark.parametrize("prefix", ["", "arn:aws:kms:us-east-1:123456789012:key/"])
def test_the_role_may_use_the_customer_managed_key_of_the_table(prefix: str) -> None:
    arn = (prefix or "arn:aws:kms:$AWS_REGION:$account_id:key/") + KEY_ID
    statement = f'"Effect": "Allow",\n      "Action": [\n        "kms:Decrypt"\n      ],\n      "Resource": "{arn}"'
    assert statement in encrypted(prefix + KEY_ID)


def test_the_role_needs_no_policy_for_the_key_of_aws() -> None:
    assert "kms:Decrypt" not in encrypted("alias/aws/dynamodb")


def test_an_alias_of_a_key_is_refused() -> None:
    with pytest.raises(UserError, match="KMSMasterKeyId 'alias/mine': the runbook needs the ID or the ARN of the key"):
        encrypted("alias/mine")
