"""AWS for the tests of the pipeline's modules: moto in this process, a dry run on it, and the local AWS on a port."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from localaws import control
from pipeline import session, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REGION = "eu-west-1"


class Calls(list[tuple[str, dict[str, Any]]]):
    """The calls to AWS as (operation, parameters), in order."""

    def record(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.append((model.name, dict(params)))

    @property
    def writes(self) -> list[tuple[str, dict[str, Any]]]:
        return [call for call in self if not session.is_read(call[0])]

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self]


@contextmanager
def altered(
    client: Any, operation: str, alter: Callable[[dict[str, Any]], object], times: int = 1000
) -> Iterator[None]:
    """Alter the first `times` responses to an operation, for what AWS answers and moto does not."""
    count = itertools.count()

    def hook(parsed: dict[str, Any], **_: Any) -> None:
        if next(count) < times:
            alter(parsed)

    event = f"after-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register(event, hook)
    try:
        yield
    finally:
        client.meta.events.unregister(event, hook)


def connect_dry_run(endpoint_url: str | None) -> Callable[[str], Any]:
    """Return the clients of `invoke --dry`, which answer writes without sending them."""
    return session.connect(settings.load(None, {}, {"AWS_REGION": REGION}), endpoint_url, dry_run=True)


@pytest.fixture(scope="session")
def _recorded() -> Calls:
    return Calls()


@pytest.fixture(scope="session")
def _clients(_recorded: Calls) -> Callable[[str], Any]:
    """Create each client once, as botocore loads its models for each. moto answers them inside `mock_aws`."""
    boto_session = boto3.Session("test", "test", region_name=REGION)
    boto_session.events.register("provide-client-params", _recorded.record)
    return cache(boto_session.client)


@pytest.fixture(scope="session")
def _dry_run_clients(_recorded: Calls) -> Callable[[str], Any]:
    connect = connect_dry_run(None)

    @cache
    def client(service: str) -> Any:
        connected = connect(service)
        connected.meta.events.register("provide-client-params", _recorded.record)
        return connected

    return client


@pytest.fixture
def calls(_recorded: Calls) -> Calls:
    """The test's calls to `aws` and `dry_run` so far."""
    _recorded.clear()
    return _recorded


@pytest.fixture
def aws(_clients: Callable[[str], Any]) -> Iterator[Callable[[str], Any]]:
    """boto3 clients of moto, which is empty for each test: `aws("dynamodb")`."""
    with mock_aws():
        yield _clients


@pytest.fixture
def dry_run(aws: Callable[[str], Any], _dry_run_clients: Callable[[str], Any]) -> Callable[[str], Any]:  # noqa: ARG001 - moto
    """Clients of the same moto as in `invoke --dry`: they answer writes without sending them."""
    return _dry_run_clients


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """boto3 clients of a local AWS, for what moto alone lacks."""
    directory = tmp_path_factory.mktemp("localaws")
    server, _ = control.start(directory, port=0, idle_hours=1)
    boto_session = boto3.Session("local", "local", region_name=REGION)
    yield cache(lambda service: boto_session.client(service, endpoint_url=server.endpoint))
    control.stop(directory)


@pytest.fixture(scope="session")
def local_dry_run(local_aws: Callable[[str], Any]) -> Callable[[str], Any]:
    """Clients of the local AWS as in `invoke --dry`."""
    return connect_dry_run(local_aws("dynamodb").meta.endpoint_url)


@pytest.fixture
def role_arn(aws: Callable[[str], Any]) -> str:
    """The ARN of a role in moto that Lambda can assume."""
    return create_role(aws)


@pytest.fixture(scope="session")
def local_role_arn(local_aws: Callable[[str], Any]) -> str:
    """The ARN of a role in the local AWS that Lambda can assume."""
    return create_role(local_aws)


def create_role(aws: Callable[[str], Any]) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    role = aws("iam").create_role(RoleName="lambda-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    aws("iam").put_role_policy(RoleName="lambda-role", PolicyName="all", PolicyDocument=json.dumps(everything))
    return str(role["Arn"])


@pytest.fixture
def code() -> Callable[[str], bytes]:
    """Return a zip with the given source as example.py. The same source gives the same bytes."""

    def zipped(source: str = "def lambda_handler(event, context): return None\n") -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo("example.py"), source)
        return buffer.getvalue()

    return zipped
