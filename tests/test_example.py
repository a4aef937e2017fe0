"""An example to copy: a test of your own handler on the local AWS. It needs only pytest, boto3 and this project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.proof  # leave this out in your own tests


@pytest.fixture
def local_aws(tmp_path: Path) -> Iterator[str]:
    """Start a local AWS of the test's own, give its endpoint, and end it."""
    command = [sys.executable, "-m", "localaws", "--port", "0", "--directory", str(tmp_path)]
    with subprocess.Popen(command) as server:
        ready = tmp_path / "server.json"
        while not ready.exists():
            assert server.poll() is None
            time.sleep(0.01)
        yield json.loads(ready.read_text())["endpoint"]
        server.terminate()


def test_the_handler_logs_the_record_of_an_item(local_aws: str) -> None:
    settings = {**os.environ, "TARGET": "aws", "AWS_ENDPOINT_URL": local_aws, "AWS_REGION": "us-east-1"}
    settings |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "PIPELINE_NAME": "example"}
    subprocess.run([sys.executable, "-m", "invoke", "deploy", "--yes"], env=settings, check=True)
    session: Any = boto3.Session("x", "x", region_name="us-east-1")
    session.client("dynamodb", endpoint_url=local_aws).put_item(TableName="example", Item={"name": {"S": "order-7"}})
    logs = session.client("logs", endpoint_url=local_aws)
    deadline = time.monotonic() + 20
    while not logs.filter_log_events(logGroupName="/aws/lambda/example", filterPattern='"order-7"')["events"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
