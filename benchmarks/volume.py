"""What `invoke bench --long` prints besides: many records through one stream, how fast and in how much memory.

python -m benchmarks.volume [ROUNDS]
"""

from __future__ import annotations

import http.client
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from benchmarks.speed import told
from localaws import control

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS, ITEMS_A_REQUEST = 4, 25
FAST, MANY, KEYS = 20_000, 1_000_000, 1000
COUNTS = """
import os
def handler(event, context):
    with open(os.environ["OUTPUT"], "a") as output:
        output.write("%d\\n" % len(event["Records"]))
"""
PRINTS = COUNTS + "    for record in event['Records']:\n        print(record)\n"
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def main() -> None:
    """Print one line a figure, as `benchmarks/speed.py` does."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    mapped: list[float] = []
    alone: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        aws = EmbeddedAws(Path(folder))
        try:
            for number in range(rounds):
                # Who goes first goes last in the next round.
                for with_mapping in (False, True) if number % 2 else (True, False):
                    name = f"fast-{number}-{with_mapping}"
                    (mapped if with_mapping else alone).append(aws.through(name, FAST, COUNTS if with_mapping else ""))
        finally:
            aws.stop()
    ratio = statistics.median(mapped) / statistics.median(alone)
    told(f"{FAST:,} records reach the function : are put without a mapping", f"{ratio:.2f}", "1.11")
    for what, code in (("prints nothing", COUNTS), ("prints each", PRINTS)):
        with tempfile.TemporaryDirectory() as folder:
            aws = EmbeddedAws(Path(folder))
            try:
                before = aws.megabytes()
                aws.through("many", MANY, code)
                grown = aws.megabytes() - before
            finally:
                aws.stop()
        told(f"{MANY:,} records to a function that {what}: memory grows", f"{grown:.0f} MB", "200 MB")


class EmbeddedAws:
    """One of the benchmark's own, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server, _ = control.start(folder, port=0, idle_hours=1)
        session: Any = boto3.Session("local", "local", region_name="us-east-1")
        self._client: Callable[[str], Any] = lambda service: session.client(service, endpoint_url=self._server.endpoint)
        iam = self._client("iam")
        role = iam.create_role(RoleName="role", AssumeRolePolicyDocument=policy(TRUST))["Role"]
        iam.put_role_policy(RoleName="role", PolicyName="all", PolicyDocument=policy(EVERYTHING))
        self._role = role["Arn"]

    def stop(self) -> None:
        """End it."""
        control.stop(self._folder)

    def megabytes(self) -> float:
        """The server's resident memory."""
        listed = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self._server.pid)], capture_output=True, text=True, check=True
        )
        return int(listed.stdout) / 1024

    def through(self, name: str, count: int, code: str) -> float:
        """Put `count` records into a new table; the seconds until a function of that code has them all.

        Without code there is no function, and the puts alone are timed.
        """
        output = self._folder / f"{name}.txt"
        output.touch()
        table = self._client("dynamodb").create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]
        mapping = self._map(name, table["LatestStreamArn"], code, output) if code else ""
        began = time.perf_counter()
        threads = [threading.Thread(target=self._put, args=(name, lane, count)) for lane in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while mapping and sum(map(int, output.read_text().split())) < count:
            time.sleep(0.01)
        took = time.perf_counter() - began
        if mapping:
            self._client("lambda").delete_event_source_mapping(UUID=mapping)
        self._client("dynamodb").delete_table(TableName=name)
        return took

    def _map(self, name: str, stream_arn: str, code: str, output: Path) -> str:
        """Create a warm function and its mapping; the mapping's UUID."""
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.writestr("handler.py", code)
        client = self._client("lambda")
        client.create_function(
            FunctionName=name,
            Role=self._role,
            Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
            Handler="handler.handler",
            Code={"ZipFile": zipped.getvalue()},
            Environment={"Variables": {"OUTPUT": str(output)}},
            Timeout=60,
        )
        client.invoke(FunctionName=name, Payload=b'{"Records": []}')
        mapping = client.create_event_source_mapping(
            FunctionName=name, EventSourceArn=stream_arn, StartingPosition="TRIM_HORIZON"
        )
        return str(mapping["UUID"])

    def _put(self, table: str, lane: int, count: int) -> None:
        """Put this connection's share, each time other values. Bare HTTP: it is not boto3 that is measured."""
        connection = http.client.HTTPConnection(self._server.endpoint.removeprefix("http://"))
        credential = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request"
        headers = {
            "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": f"{credential}, SignedHeaders=host, Signature=0",
        }
        keys = min(KEYS, count) // CONNECTIONS
        for first in range(0, count // CONNECTIONS, ITEMS_A_REQUEST):
            items = [
                {"name": {"S": f"{lane} {number % keys}"}, "n": {"N": str(number)}, "text": {"S": "x" * 100}}
                for number in range(first, first + ITEMS_A_REQUEST)
            ]
            requests = [{"PutRequest": {"Item": item}} for item in items]
            connection.request("POST", "/", json.dumps({"RequestItems": {table: requests}}), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.client.OK:
                raise SystemExit(f"BatchWriteItem answered {answer.status}: {body!r}")
        connection.close()


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


if __name__ == "__main__":
    main()
