"""The function: logs each record of the stream as one line of JSON."""

from __future__ import annotations

import json
from typing import Any


def lambda_handler(event: dict[str, Any], context: object) -> str:  # noqa: ARG001 - Lambda passes it
    """Handle the records in order. An exception fails the batch: the mapping splits and retries it.

    `event` is {"Records": [...]}. The mapping ignores the response, unless FUNCTION_RESPONSE_TYPES is
    ReportBatchItemFailures; then return {"batchItemFailures": [{"itemIdentifier": SEQUENCE_NUMBER}]} instead:
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    """
    for record in event["Records"]:
        handle(record)
    return "Successfully processed."


def handle(record: dict[str, Any]) -> None:
    """Handle one record. Replace this with your own code."""
    print(json.dumps(record, ensure_ascii=False))
