"""One local AWS for all tests of `localaws`, in a process of its own. The tests call it with boto3."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REGION = "eu-west-1"


def start(directory: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a local AWS on a free port and return its process and endpoint URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "localaws", "--port", "0", "--directory", str(directory), *arguments],
    )
    record = directory / "server.json"
    deadline = time.monotonic() + 20
    while not record.exists():
        assert process.poll() is None, "the local AWS exited before it was ready"
        assert time.monotonic() < deadline, "the local AWS was not ready within 20 s"
        time.sleep(0.02)
    return process, json.loads(record.read_text())["endpoint"]


def clients(url: str, **options: Any) -> Callable[[str], Any]:
    """boto3 clients of the local AWS at `url`: `clients(url)("lambda")`. Creating one takes longer than a call."""
    session: Any = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=REGION)
    return cache(lambda service: session.client(service, endpoint_url=url, **options))


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start(tmp_path_factory.mktemp("localaws"))
    yield url
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(scope="session")
def client(endpoint: str) -> Callable[[str], Any]:
    """boto3 clients of the local AWS: `client("lambda")`."""
    return clients(endpoint)


@pytest.fixture(scope="session")
def unchecked_client(endpoint: str) -> Callable[[str], Any]:
    """boto3 clients that send what they are given: `unchecked_client("lambda")`."""
    return clients(endpoint, config=Config(parameter_validation=False, retries={"max_attempts": 0}))
