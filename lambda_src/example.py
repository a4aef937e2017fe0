"""The function: logs each record of the stream, one JSON line a record, so that a person can check what arrived."""

from __future__ import annotations

import json
from typing import Any


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:  # noqa: ARG001 - Lambda passes it
    """Handle each record and report those that failed, so that only they are tried again.

    `event` is what an event source mapping sends: {"Records": [...]}. Returns {"batchItemFailures": [...]}, which
    counts when the mapping has ReportBatchItemFailures:
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    """
    for record in event["Records"]:
        try:
            handle(record)
        except Exception as error:  # noqa: BLE001 - whatever fails, AWS is to send it again from this record on
            sequence_number = record["dynamodb"]["SequenceNumber"]
            print(json.dumps({"failed": sequence_number, "error": repr(error)}))
            return {"batchItemFailures": [{"itemIdentifier": sequence_number}]}
    return {"batchItemFailures": []}


def handle(record: dict[str, Any]) -> None:
    """Do the work for one record. Here: show it."""
    print(json.dumps(record, ensure_ascii=False))
