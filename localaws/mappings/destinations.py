"""Sends discarded batches to the OnFailure destination of a mapping.

Lambda developer guide, "Retain discarded records for a DynamoDB event source in Lambda".
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from localaws.iam import policies
from localaws.mappings.batches import event_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws.lambda_.environment import InvocationResult
    from localaws.lambda_.functions import Functions
    from localaws.mappings.batches import Batch
    from localaws.mappings.state import EventSourceMapping

_log = logging.getLogger(__name__)


class Destinations:
    """Sends on-failure records through the server's own port, with the permissions of the function's role.

    `endpoint()` is the URL of that port.
    """

    def __init__(self, functions: Functions, endpoint: Callable[[], str]) -> None:
        self._functions = functions
        self._endpoint = endpoint
        self._session = boto3.Session()
        # By service, region and role. Threads must not share a session, so the lock guards it.
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._lock = threading.Lock()

    def discard(
        self, mapping: EventSourceMapping, batch: Batch, condition: str, result: InvocationResult | None
    ) -> None:
        """Send a discarded batch to the mapping's destination, if it has one.

        `condition` is AWS's word for the reason. `result` is the function's last result, or None if it never ran. If
        the role may not use the destination, nothing is sent, as on AWS. The server's log says so.
        """
        arn = mapping.options["DestinationConfig"]["OnFailure"].get("Destination")
        if not arn or not batch.records:
            return
        document = _document(mapping, batch, condition, result)
        try:
            self._send(arn, document, mapping, batch)
        except (BotoCoreError, ClientError) as error:
            _log.warning("mapping %s: %d records not sent to %s: %s", mapping.uuid, len(batch.records), arn, error)

    def _send(self, arn: str, document: dict[str, Any], mapping: EventSourceMapping, batch: Batch) -> None:
        _, _, service, region, account, name = arn.split(":", 5)
        client = self._client(service, region or mapping.stream.region, mapping)
        if service == "sqs":
            # Build the URL: a GetQueueUrl call would need a permission that Lambda does not need.
            client.send_message(QueueUrl=f"{self._endpoint()}/{account}/{name}", MessageBody=json.dumps(document))
        elif service == "sns":
            client.publish(TopicArn=arn, Message=json.dumps(document))
        else:
            event = event_json(batch, mapping.stream, mapping.options["TumblingWindowInSeconds"], {})
            body = json.dumps(document | {"payload": event})
            client.put_object(Bucket=name, Key=_object_key(mapping), Body=body.encode())

    def _client(self, service: str, region: str, mapping: EventSourceMapping) -> Any:
        function = self._functions.find(mapping.function_arn)
        key = (service, region, function.role if function else "")
        with self._lock:
            if key not in self._clients:
                credentials = policies.credentials(function.role) if function else {}
                self._clients[key] = self._session.client(
                    service,  # type: ignore[call-overload] # one of three, known at run time only
                    region_name=region,
                    endpoint_url=self._endpoint(),
                    aws_access_key_id=credentials.get("AccessKeyId"),
                    aws_secret_access_key=credentials.get("SecretAccessKey"),
                    aws_session_token=credentials.get("SessionToken"),
                )
            return self._clients[key]


def _document(
    mapping: EventSourceMapping, batch: Batch, condition: str, result: InvocationResult | None
) -> dict[str, Any]:
    stream, first, last = mapping.stream, batch.records[0], batch.records[-1]
    response = result and {"statusCode": 200, "executedVersion": result.version, "functionError": result.error or None}
    return {
        "requestContext": {
            "requestId": result.request_id if result else str(uuid.uuid4()),
            "functionArn": mapping.function_arn,
            "condition": condition,
            "approximateInvokeCount": batch.invocations,
        },
        **({"responseContext": response} if response else {}),
        "version": "1.0",
        "timestamp": _iso(datetime.now(timezone.utc).timestamp(), "milliseconds"),
        "DDBStreamBatchInfo": {
            "shardId": stream.shard_id,
            "startSequenceNumber": stream.sequence_number(first.offset),
            "endSequenceNumber": stream.sequence_number(last.offset),
            "approximateArrivalOfFirstRecord": _iso(int(first.created), "seconds"),
            "approximateArrivalOfLastRecord": _iso(int(last.created), "seconds"),
            "batchSize": len(batch.records),
            "streamArn": stream.arn,
        },
    }


def _object_key(mapping: EventSourceMapping) -> str:
    now = datetime.now(timezone.utc)
    name = f"{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
    return f"aws/lambda/{mapping.uuid}/{mapping.stream.shard_id}/{now:%Y/%m/%d}/{name}"


def _iso(seconds: float, precision: str) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec=precision).replace("+00:00", "Z")
