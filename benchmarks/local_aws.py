"""A local AWS to measure, and the parts of a pipeline in as few calls as possible."""

from __future__ import annotations

import io
import json
import socket
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from localaws import control

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
ALLOW_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@dataclass(frozen=True)
class LocalAws:
    """A local AWS of one's own, with its process id and its clients."""

    folder: Path
    endpoint: str
    pid: int
    clients: dict[str, Any]

    def create_table(self, name: str) -> str:
        """Create a table with a stream; return the stream's ARN."""
        return create_table(self.clients["dynamodb"], name)

    def create_role(self, name: str) -> str:
        """Create a role that Lambda can assume and that may do everything; return its ARN."""
        iam = self.clients["iam"]
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(TRUST))["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=_policy(ALLOW_ALL))
        return str(role["Arn"])

    def create_function(self, name: str, role_arn: str, code: str, **environment: str) -> None:
        """Create a function with a `handler`."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            # A fixed date: the local AWS unpacks equal bytes once, and keeps them until it ends.
            archive.writestr(zipfile.ZipInfo("code.py"), code)
        self.clients["lambda"].create_function(
            FunctionName=name,
            Role=role_arn,
            Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
            Handler="code.handler",
            Code={"ZipFile": content.getvalue()},
            Environment={"Variables": environment},
            Timeout=60,
        )

    def map_stream(self, name: str, stream_arn: str, batch_size: int = 100) -> str:
        """Map the stream to the function; return the mapping's UUID."""
        mapping = self.clients["lambda"].create_event_source_mapping(
            FunctionName=name, EventSourceArn=stream_arn, StartingPosition="TRIM_HORIZON", BatchSize=batch_size
        )
        return str(mapping["UUID"])


@contextmanager
def local_aws(folder: Path) -> Iterator[LocalAws]:
    """Run a local AWS in `folder`."""
    server, _ = control.start(folder, port=0, idle_hours=1)
    services = ("dynamodb", "iam", "lambda", "logs")
    try:
        clients = {service: client_for(service, server.endpoint) for service in services}
        yield LocalAws(folder, server.endpoint, server.pid, clients)
    finally:
        control.stop(folder)


def client_for(service: str, endpoint: str) -> Any:
    """A boto3 client for a local AWS."""
    session: Any = boto3.Session("local", "local", region_name="us-east-1")
    return session.client(service, endpoint_url=endpoint)


def create_table(dynamodb: Any, name: str) -> str:
    """Create a table with a stream; return the stream's ARN."""
    description = dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    return str(description["LatestStreamArn"])


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
