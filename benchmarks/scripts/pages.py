"""Read all pages of a log group, and print nothing: `pages.py ENDPOINT GROUP`."""

from __future__ import annotations

import sys
from typing import Any

import boto3

session: Any = boto3.Session("local", "local", region_name="us-east-1")
logs = session.client("logs", endpoint_url=sys.argv[1])
for _ in logs.get_paginator("filter_log_events").paginate(logGroupName=sys.argv[2], startTime=0, interleaved=True):
    pass
