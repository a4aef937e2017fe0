"""Tests of all resource modules together."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import parameters, settings
from pipeline.resources import function, log_group, mapping, role, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.conftest import Calls

    Aws = Callable[[str], Any]
    Zip = Callable[..., bytes]

ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}]}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


# A statement that holds for each module.
COPIED = {
    "table": 'table.describe(boto3.client("dynamodb"), "none") is None',
    "backup": 'backup.create(boto3.client("dynamodb"), "backed-up").action == "created"',
    "role": 'role.delete(boto3.client("iam"), "none").action == "absent"',
    "function": 'function.delete(boto3.client("lambda"), "none").action == "absent"',
    "mapping": 'mapping.of_function(boto3.client("lambda"), "none") == []',
    "alarm": 'alarm.delete(boto3.client("cloudwatch"), "none").action == "absent"',
    "log_group": 'log_group.ensure(boto3.client("logs"), {"logGroupName": "copied"}).action == "created"',
}


@pytest.mark.parametrize("module", COPIED)
def test_a_resource_module_needs_only_change_py(local_aws: Aws, tmp_path: Path, module: str) -> None:
    steps, endpoint = tmp_path / "steps", local_aws("dynamodb").meta.endpoint_url
    steps.mkdir()
    for name in (module, "change"):
        shutil.copy(Path(table.__file__).with_name(f"{name}.py"), steps)
    if module == "backup":
        key = {"AttributeName": "id", "AttributeType": "S"}
        schema = [{"AttributeName": "id", "KeyType": "HASH"}]
        parameters = {"AttributeDefinitions": [key], "KeySchema": schema, "BillingMode": "PAY_PER_REQUEST"}
        local_aws("dynamodb").create_table(TableName="backed-up", **parameters)

    subprocess.run(
        [sys.executable, "-c", f"import boto3; from steps import {module}; assert {COPIED[module]}"],
        cwd=tmp_path,
        env={
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "HOME": str(tmp_path),
        },
        check=True,
    )


def test_an_unchanged_pipeline_takes_eleven_reads_and_no_write(aws: Aws, calls: Calls, code: Zip) -> None:
    configured = settings.load(None, {}, {})

    def deploy() -> set[str]:
        stream = table.ensure(aws("dynamodb"), parameters.table(configured))
        trusted = role.ensure(aws("iam"), parameters.role(configured, TRUST))
        documents = {configured.policy_name: ALLOWED}
        (allowed,) = role.ensure_policies(aws("iam"), configured.role_name, documents, owner="stream-demo")
        group = log_group.ensure(aws("logs"), parameters.log_group(configured))
        runs = function.ensure(aws("lambda"), parameters.function(configured, trusted.attributes["Arn"], code()))
        mapped = mapping.ensure(aws("lambda"), parameters.mapping(configured, stream.attributes["LatestStreamArn"]))
        return {change.action for change in (stream, trusted, allowed, group, runs, mapped)}

    deploy()
    calls.clear()

    assert deploy() == {"unchanged"}
    assert (len(calls), calls.writes) == (11, [])
