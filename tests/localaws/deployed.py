"""A function with its role, for one test, and the calls that Lambda's tests make."""

from __future__ import annotations

import base64
import io
import json
import textwrap
import uuid
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LOGS = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


@dataclass
class Result:
    """A response of Invoke: the parsed payload, the function error, the tail of the log."""

    payload: Any
    error: str
    log: str
    request_id: str
    answer: dict[str, Any]


@dataclass
class Deployed:
    """A function, by name."""

    client: Callable[[str], Any]
    name: str
    role: str

    @property
    def arn(self) -> str:
        arn: str = self.client("lambda").get_function_configuration(FunctionName=self.name)["FunctionArn"]
        return arn

    def invoke(self, event: Any = None, **options: Any) -> Result:
        options = {"FunctionName": self.name, "Payload": json.dumps(event or {}), "LogType": "Tail", **options}
        answer = self.client("lambda").invoke(**options)
        return Result(
            json.loads(answer["Payload"].read() or b"null"),
            answer.get("FunctionError", ""),
            base64.b64decode(answer.get("LogResult", "")).decode(),
            answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"],
            answer,
        )

    def streams(self, group: str = "") -> list[str]:
        """The names of its log streams; none if the group does not exist."""
        logs = self.client("logs")
        try:
            found = logs.describe_log_streams(logGroupName=group or f"/aws/lambda/{self.name}")["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [stream["logStreamName"] for stream in found]

    def lines(self, group: str = "") -> list[str]:
        """The messages of all its log events, stream by stream."""
        group = group or f"/aws/lambda/{self.name}"
        events = (
            self.client("logs").get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
            for stream in self.streams(group)
        )
        return [event["message"] for some in events for event in some]


def zipped(code: str, *, name: str = "code.py") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, textwrap.dedent(code))
    return content.getvalue()


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: list[str], resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def make_role(client: Callable[[str], Any], *statements: dict[str, Any]) -> str:
    """Create a role that Lambda can assume, with these permissions, and return its ARN."""
    iam, name = client("iam"), f"role-{uuid.uuid4().hex[:12]}"
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(TRUST))["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="allowed", PolicyDocument=policy(*statements))
    return arn


def deploy(
    client: Callable[[str], Any],
    code: str = "def handler(event, context): return event",
    *,
    statements: tuple[dict[str, Any], ...] = (allow(LOGS),),
    **options: Any,
) -> Deployed:
    """Create a function with this code. `options` are those of CreateFunction."""
    name = f"function-{uuid.uuid4().hex[:12]}"
    role = options.pop("Role", "") or make_role(client, *statements)
    defaults = {"Runtime": "python3.11", "Handler": "code.handler", "Code": {"ZipFile": zipped(code)}}
    client("lambda").create_function(FunctionName=name, Role=role, **{**defaults, **options})
    return Deployed(client, name, role)
