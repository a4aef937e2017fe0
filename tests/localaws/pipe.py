"""A table with a stream, a role, and a function that writes each event to a file: the mappings' test fixture."""

from __future__ import annotations

import io
import json
import textwrap
import time
import uuid
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_SECONDS = 15
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
ACTIONS = ["dynamodb:*", "logs:*", "sqs:*", "sns:*", "s3:*"]


@dataclass
class Pipe:
    """The names of the resources, and the calls that tests make."""

    client: Callable[[str], Any]
    table: str
    role: str
    function: str
    output: Path

    @property
    def stream_arn(self) -> str:
        arn: str = self.client("dynamodb").describe_table(TableName=self.table)["Table"]["LatestStreamArn"]
        return arn

    def put(self, *names: str, **attributes: dict[str, Any]) -> None:
        for name in names:
            self.client("dynamodb").put_item(TableName=self.table, Item={"name": {"S": name}, **attributes})

    def map(self, **options: Any) -> dict[str, Any]:
        """Create a mapping, by default from the beginning of the stream, and return the response."""
        if "EventSourceArn" not in options:
            options["EventSourceArn"] = self.stream_arn
        defaults = {"FunctionName": self.function, "StartingPosition": "TRIM_HORIZON"}
        answer: dict[str, Any] = self.client("lambda").create_event_source_mapping(**defaults | options)
        return answer

    def mapping(self, mapping_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.client("lambda").get_event_source_mapping(UUID=mapping_id)
        return answer

    def events(self) -> list[dict[str, Any]]:
        """The events that the function has received."""
        text = self.output.read_text() if self.output.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def batches(self) -> list[list[str]]:
        """The names of the items in each event."""
        return [[name_of(record) for record in event["Records"]] for event in self.events()]

    def wait_for(self, *names: str) -> list[list[str]]:
        """Wait until each of these items has arrived, and return all batches."""
        until(lambda: set(names) <= {name for batch in self.batches() for name in batch})
        return self.batches()


def name_of(record: dict[str, Any]) -> str:
    name: str = record["dynamodb"]["Keys"]["name"]["S"]
    return name


def until(condition: Callable[[], Any]) -> Any:
    """Call until the result is true, and return it. Fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not true within {DEADLINE_SECONDS} s"
        time.sleep(0.01)
    return result


def build(
    client: Callable[[str], Any],
    folder: Path,
    behavior: str = "return None",
    *,
    actions: list[str] = ACTIONS,
    view_type: str = "NEW_AND_OLD_IMAGES",
    timeout: int = 10,
) -> Pipe:
    """Create the resources. `behavior` is the body of the handler, and can use `event`, `records` and `names`."""
    unique = uuid.uuid4().hex[:12]
    pipe = Pipe(client, f"table-{unique}", f"role-{unique}", f"function-{unique}", folder / f"{unique}.jsonl")
    client("dynamodb").create_table(
        TableName=pipe.table,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": view_type},
    )
    role = client("iam").create_role(RoleName=pipe.role, AssumeRolePolicyDocument=policy(TRUST))["Role"]
    allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    document = {"RoleName": pipe.role, "PolicyName": "allowed", "PolicyDocument": policy(allowed)}
    until(lambda: _succeeds(lambda: client("iam").put_role_policy(**document), "NoSuchEntity"))
    function = {
        "FunctionName": pipe.function,
        "Runtime": "python3.12",
        "Role": role["Arn"],
        "Handler": "handler.handler",
        "Code": {"ZipFile": _zipped(behavior)},
        "Timeout": timeout,
        "Environment": {"Variables": {"OUTPUT": str(pipe.output)}},
    }
    until(lambda: _succeeds(lambda: client("lambda").create_function(**function), "cannot be assumed by Lambda"))
    return pipe


def _succeeds(call: Callable[[], Any], not_yet: str) -> bool:
    """Make a call. Return False if it fails because an earlier change is not visible yet."""
    try:
        call()
    except ClientError as error:
        if not_yet not in str(error):
            raise
        return False
    return True


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _zipped(behavior: str) -> bytes:
    source = f"""
import json, os, time

def handler(event, context):
    with open(os.environ["OUTPUT"], "a") as output:
        output.write(json.dumps(event) + "\\n")
    records = event["Records"]
    names = [record["dynamodb"]["Keys"]["name"]["S"] for record in records]
{textwrap.indent(textwrap.dedent(behavior), "    ")}
"""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", source)
    return content.getvalue()
