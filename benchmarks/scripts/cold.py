"""Print the milliseconds of first invocations in a new process: `cold.py ENDPOINT COUNT`, after a deploy."""

from __future__ import annotations

import sys
import time
from typing import Any

import boto3

NAME = "stream-demo"
endpoint, count = sys.argv[1], int(sys.argv[2])
session: Any = boto3.Session("local", "local", region_name="us-east-1")
client = session.client("lambda", endpoint_url=endpoint)

for number in range(count + 1):
    client.update_function_configuration(FunctionName=NAME, Description=f"revision {number}")
    began = time.perf_counter()
    client.invoke(FunctionName=NAME, Payload=b'{"Records": []}')
    if number:  # the first call opens the connection
        print((time.perf_counter() - began) * 1000)
