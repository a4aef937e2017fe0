"""Many records through one stream, and how much memory a million of them take: `python -m benchmarks.volume`."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.local_aws import LocalAws, local_aws

CONNECTIONS, ITEMS_PER_REQUEST = 4, 25
MANY, KEYS = 1_000_000, 1000
COUNTS = """
import os
def handler(event, context):
    with open(os.environ["OUTPUT"], "a") as output:
        output.write("%d\\n" % len(event["Records"]))
"""
PRINTS = COUNTS + "    for record in event['Records']:\n        print(record)\n"


def main() -> None:
    """Print how much the memory grows."""
    for what, code in (("prints nothing", COUNTS), ("prints each", PRINTS)):
        with tempfile.TemporaryDirectory() as folder, local_aws(Path(folder)) as aws:
            role_arn = aws.create_role("role")
            before = megabytes(aws.pid)
            put_records(aws, role_arn, "many", MANY, code)
            growth = megabytes(aws.pid) - before
        print(f"{MANY:,} records to a function that {what}: memory grows by {growth:.0f} MB")


def megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    listed = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(listed.stdout) / 1024


def put_records(aws: LocalAws, role_arn: str, name: str, count: int, code: str, batch_size: int = 100) -> float:
    """Put `count` items into a new table; return the seconds until a function of that code has received all records.

    Without code there is no function, and only the puts are timed.
    """
    output = aws.folder / f"{name}.txt"
    output.touch()
    stream_arn = aws.create_table(name)
    if code:
        create_warm_function(aws, role_arn, name, code, output)
    mapping = aws.map_stream(name, stream_arn, batch_size) if code else ""
    began = time.perf_counter()
    threads = [
        threading.Thread(target=put_items, args=(aws.endpoint, name, lane, count)) for lane in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while mapping and sum(map(int, output.read_text().split())) < count:
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    if mapping:
        aws.clients["lambda"].delete_event_source_mapping(UUID=mapping)
    aws.clients["dynamodb"].delete_table(TableName=name)
    return seconds


def create_warm_function(aws: LocalAws, role_arn: str, name: str, code: str, output: Path) -> None:
    """Create a function, and invoke it once."""
    aws.create_function(name, role_arn, code, OUTPUT=str(output))
    aws.clients["lambda"].invoke(FunctionName=name, Payload=b'{"Records": []}')


def put_items(
    endpoint: str, table: str, lane: int, count: int, connections: int = CONNECTIONS, keys: int = KEYS
) -> None:
    """Put this connection's share of the items. Plain HTTP, since boto3 would take most of the time."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"))
    credential = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request"
    headers = {
        "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": f"{credential}, SignedHeaders=host, Signature=0",
    }
    keys, share = min(keys, count) // connections, count // connections
    for first in range(0, share, ITEMS_PER_REQUEST):
        items = [
            {"name": {"S": f"{lane} {number % keys}"}, "n": {"N": str(number)}, "text": {"S": "x" * 100}}
            for number in range(first, min(first + ITEMS_PER_REQUEST, share))
        ]
        requests = [{"PutRequest": {"Item": item}} for item in items]
        connection.request("POST", "/", json.dumps({"RequestItems": {table: requests}}), headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise SystemExit(f"BatchWriteItem returned {response.status}: {body!r}")
    connection.close()


if __name__ == "__main__":
    main()
