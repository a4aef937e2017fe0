"""The function: logs each record of the stream as one line of JSON."""

from __future__ import annotations

import json
from typing import Any


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:  # noqa: ARG001 - Lambda passes it
    """Handle the records in order, and report the first one that fails: the mapping retries from there.

    `event` is {"Records": [...]}. The mapping reads the response if FUNCTION_RESPONSE_TYPES is ReportBatchItemFailures:
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    """
    for record in event["Records"]:
        try:
            handle(record)
        except Exception as error:  # noqa: BLE001 - whatever the error is, the record failed
            sequence_number = record["dynamodb"]["SequenceNumber"]
            print(json.dumps({"failed": sequence_number, "error": repr(error)}))
            return {"batchItemFailures": [{"itemIdentifier": sequence_number}]}
    return {"batchItemFailures": []}


def handle(record: dict[str, Any]) -> None:
    """Handle one record. Replace this with your own code."""
    print(json.dumps(record, ensure_ascii=False))
