"""Put the items of a file with boto3's batch_writer, one after the other: `batch_writer.py ENDPOINT FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3

session: Any = boto3.Session("local", "local", region_name="us-east-1")
table = session.resource("dynamodb", endpoint_url=sys.argv[1]).Table("stream-demo")
with table.batch_writer() as batch, Path(sys.argv[2]).open(encoding="utf-8") as lines:
    for line in lines:
        batch.put_item(Item=json.loads(line))
