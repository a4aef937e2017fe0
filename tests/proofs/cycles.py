"""Create, use and delete a whole pipeline again and again: the embedded AWS keeps no thread, file, process or memory.

`python -m soak.cycles [COUNT]`: so many times; 1000 by default. Linux only, for it reads /proc.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from localaws import control
from tests.forks import count_argument

if TYPE_CHECKING:
    from collections.abc import Callable

TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
MEGABYTES_A_THOUSAND = 60


def main() -> None:
    """Print what the server holds after the first cycle and after the last."""
    if sys.platform != "linux":
        print("not proved here: this reads /proc, which only Linux has")
        return
    with tempfile.TemporaryDirectory() as folder:
        before, after = prove(Path(folder), count_argument(1000))
    print(f"after the first cycle: {before}\nafter the last: {after}")


def prove(folder: Path, count: int) -> tuple[dict[str, int], dict[str, int]]:
    """Run so many cycles on an embedded AWS in `folder`; what it held after the first and after the last.

    Raises AssertionError when that is more.
    """
    server, _ = control.start(folder, port=0, idle_hours=1)
    session: Any = boto3.Session("local", "local", region_name="us-east-1")
    services = ("dynamodb", "iam", "lambda", "logs")
    clients = {name: session.client(name, endpoint_url=server.endpoint) for name in services}
    try:
        cycle(clients.__getitem__, "first")
        before = settled(lambda: held(server.pid, folder))
        for number in range(count):
            cycle(clients.__getitem__, f"cycle-{number}")
        after = settled(lambda: held(server.pid, folder), before)
    finally:
        control.stop(folder)
    for what, most in before.items():
        allowed = most + (20 + count * MEGABYTES_A_THOUSAND // 1000 if what == "megabytes" else 0)
        assert after[what] <= allowed, f"{what}: {most} before, {after[what]} after {count} cycles"
    return before, after


def cycle(client: Callable[[str], Any], name: str) -> None:
    """Create all of a pipeline, see one record go through, delete all of it."""
    dynamodb, iam, functions = client("dynamodb"), client("iam"), client("lambda")
    table = dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(EVERYTHING))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        # The same bytes each time: unpacked code is kept until the server ends, once each.
        archive.writestr(zipfile.ZipInfo("code.py"), "def handler(event, context): print(event)")
    functions.create_function(
        FunctionName=name, Role=role, Runtime="python3.13", Handler="code.handler", Code={"ZipFile": zipped.getvalue()}
    )
    mapping = functions.create_event_source_mapping(
        FunctionName=name, EventSourceArn=table["LatestStreamArn"], StartingPosition="TRIM_HORIZON"
    )["UUID"]
    dynamodb.put_item(TableName=name, Item={"name": {"S": "a"}})
    while functions.get_event_source_mapping(UUID=mapping)["LastProcessingResult"] != "OK":
        time.sleep(0.01)
    functions.delete_event_source_mapping(UUID=mapping)
    functions.delete_function(FunctionName=name)
    client("logs").delete_log_group(logGroupName=f"/aws/lambda/{name}")
    iam.delete_role_policy(RoleName=name, PolicyName="all")
    iam.delete_role(RoleName=name)
    dynamodb.delete_table(TableName=name)


def held(process_id: int, folder: Path) -> dict[str, int]:
    """What the server has of each."""
    process = Path("/proc") / str(process_id)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    children = (process / "task" / str(process_id) / "children").read_text().split()
    return {
        "threads": int(status["Threads"]),
        "open files": sum(1 for _ in (process / "fd").iterdir()),
        "processes": len(children),
        "files": sum(1 for _ in folder.rglob("*")),
        "megabytes": int(status["VmRSS"].split()[0]) // 1024,
    }


def settled(look: Callable[[], dict[str, int]], most: dict[str, int] | None = None) -> dict[str, int]:
    """What is held once threads and processes that are about to end have ended, five seconds at most."""
    deadline = time.monotonic() + 5
    last: dict[str, int] = {}
    while (seen := look()) != last or (most and any(seen[what] > most[what] for what in most if what != "megabytes")):
        if time.monotonic() > deadline:
            break
        last = seen
        time.sleep(0.2)
    return seen


def policy(statement: dict[str, Any]) -> str:
    """A document of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


if __name__ == "__main__":
    main()
