"""Print the milliseconds from each put to the time of its log event: `puts.py ENDPOINT COUNT`, after a deploy."""

from __future__ import annotations

import sys
import time
from typing import Any

import boto3

NAME = "stream-demo"
endpoint, count = sys.argv[1], int(sys.argv[2])
session: Any = boto3.Session("local", "local", region_name="us-east-1")
dynamodb, logs = (session.client(service, endpoint_url=endpoint) for service in ("dynamodb", "logs"))

for number in range(count + 1):
    key = f"put {number} of {time.time_ns()}"
    began = time.time() * 1000
    dynamodb.put_item(TableName=NAME, Item={"name": {"S": key}})
    # Polling without a pause would slow down the server that it measures.
    time.sleep(0.05)
    while not (
        events := logs.filter_log_events(
            logGroupName=f"/aws/lambda/{NAME}", startTime=int(began), filterPattern=f'"{key}"'
        )["events"]
    ):
        time.sleep(0.05)
    if number:  # the first put starts the function
        print(events[0]["timestamp"] - began)
