"""AWS for the tests of the nouns: moto in this process, moto in plan mode, and the embedded AWS on a port."""

from __future__ import annotations

import io
import json
import zipfile
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
    """What was asked of AWS, as (operation, parameters), in order."""

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.append((model.name, dict(params)))

    @property
    def writes(self) -> list[tuple[str, dict[str, Any]]]:
        return [call for call in self if not session.is_read(call[0])]

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self]


@pytest.fixture(scope="session")
def _noted() -> Calls:
    return Calls()


@pytest.fixture(scope="session")
def _clients(_noted: Calls) -> Callable[[str], Any]:
    """Made once, as botocore reads its models for each; moto answers them while a test has it switched on."""
    made = boto3.Session("test", "test", region_name=REGION)
    made.events.register("provide-client-params", _noted.note)
    return cache(made.client)


@pytest.fixture(scope="session")
def _dry_clients(_noted: Calls) -> Callable[[str], Any]:
    connected = session.connect(settings.load(None, {}, {"aws_region": REGION}), None, dry=True)

    @cache
    def client(service: str) -> Any:
        made = connected(service)
        made.meta.events.register("provide-client-params", _noted.note)
        return made

    return client


@pytest.fixture
def calls(_noted: Calls) -> Calls:
    """What the test has asked of `aws` and of `plan` so far."""
    _noted.clear()
    return _noted


@pytest.fixture
def aws(_clients: Callable[[str], Any]) -> Iterator[Callable[[str], Any]]:
    """boto3 clients of moto, empty for each test: `aws("dynamodb")`."""
    with mock_aws():
        yield _clients


@pytest.fixture
def plan(aws: Callable[[str], Any], _dry_clients: Callable[[str], Any]) -> Callable[[str], Any]:  # noqa: ARG001 - moto
    """Clients of the same moto in the mode of `invoke --dry`: what writes is answered without being sent."""
    return _dry_clients


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """boto3 clients of an embedded AWS, for what moto alone does not do."""
    directory = tmp_path_factory.mktemp("localaws")
    server, _ = control.start(directory, port=0, idle_hours=1)
    made = boto3.Session("local", "local", region_name=REGION)
    yield cache(lambda service: made.client(service, endpoint_url=server.endpoint))
    control.stop(directory)


@pytest.fixture
def role_arn(aws: Callable[[str], Any]) -> str:
    """A role in moto that Lambda may assume."""
    return create_role(aws)


@pytest.fixture(scope="session")
def embedded_role_arn(embedded: Callable[[str], Any]) -> str:
    return create_role(embedded)


def create_role(aws: Callable[[str], Any]) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    role = aws("iam").create_role(RoleName="runs-lambda", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    aws("iam").put_role_policy(RoleName="runs-lambda", PolicyName="all", PolicyDocument=json.dumps(everything))
    return str(role["Arn"])


@pytest.fixture
def code() -> Callable[[str], bytes]:
    """A zip with the given source as example.py; the same source gives the same bytes."""

    def zipped(source: str = "def lambda_handler(event, context): return None\n") -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo("example.py"), source)
        return buffer.getvalue()

    return zipped
