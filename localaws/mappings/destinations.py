"""Where batches go that are given up: the OnFailure destination of a mapping.

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
from localaws.mappings.batches import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws.lambda_.functions import Answer, Functions
    from localaws.mappings.batches import Batch
    from localaws.mappings.options import Mapping

_log = logging.getLogger(__name__)


class Destinations:
    """Sends what a mapping gives up, through this server's own port and with the rights of the function's role.

    `endpoint` tells the URL of that port; it is asked when something is sent.
    """

    def __init__(self, functions: Functions, endpoint: Callable[[], str]) -> None:
        self._functions = functions
        self._endpoint = endpoint
        self._session = boto3.Session()
        # By service, region and role. A session is not to be used by two threads at once.
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._lock = threading.Lock()

    def discard(self, mapping: Mapping, batch: Batch, condition: str, answer: Answer | None) -> None:
        """Tell the mapping's destination of a batch that is given up; without one nobody is told.

        `condition` is AWS's word for the reason, `answer` what the function said last (None: it was not asked).
        A destination that the role may not use gets nothing, as on AWS; the server's log says so.
        """
        arn = mapping.options["DestinationConfig"]["OnFailure"].get("Destination")
        if not arn or not batch.entries:
            return
        document = _document(mapping, batch, condition, answer)
        try:
            self._send(arn, document, mapping, batch)
        except (BotoCoreError, ClientError) as error:
            _log.warning("mapping %s: %d records not sent to %s: %s", mapping.uuid, len(batch.entries), arn, error)

    def _send(self, arn: str, document: dict[str, Any], mapping: Mapping, batch: Batch) -> None:
        _, _, service, region, account, name = arn.split(":", 5)
        client = self._client(service, region or mapping.journal.region, mapping)
        if service == "sqs":
            # Its URL is known: to ask for it would need a permission that Lambda does not need.
            client.send_message(QueueUrl=f"{self._endpoint()}/{account}/{name}", MessageBody=json.dumps(document))
        elif service == "sns":
            client.publish(TopicArn=arn, Message=json.dumps(document))
        else:
            seconds = mapping.options["TumblingWindowInSeconds"]
            whole = document | {"payload": event(batch, mapping.journal, seconds, {})}
            client.put_object(Bucket=name, Key=_key(mapping), Body=json.dumps(whole).encode())

    def _client(self, service: str, region: str, mapping: Mapping) -> Any:
        function = self._functions.find(mapping.function_arn, mapping.journal.region)
        key = (service, region, function.role if function else "")
        with self._lock:
            if key not in self._clients:
                held = policies.credentials(function.role) if function else {}
                self._clients[key] = self._session.client(
                    service,  # type: ignore[call-overload] # one of three, known at run time only
                    region_name=region,
                    endpoint_url=self._endpoint(),
                    aws_access_key_id=held.get("AccessKeyId"),
                    aws_secret_access_key=held.get("SecretAccessKey"),
                    aws_session_token=held.get("SessionToken"),
                )
            return self._clients[key]


def _document(mapping: Mapping, batch: Batch, condition: str, answer: Answer | None) -> dict[str, Any]:
    journal, first, last = mapping.journal, batch.entries[0], batch.entries[-1]
    context: dict[str, Any] = {
        "requestContext": {
            "requestId": answer.request_id if answer else str(uuid.uuid4()),
            "functionArn": mapping.function_arn,
            "condition": condition,
            "approximateInvokeCount": batch.invocations,
        }
    }
    if answer:
        context["responseContext"] = {
            "statusCode": 200,
            "executedVersion": answer.version,
            "functionError": answer.error or None,
        }
    return context | {
        "version": "1.0",
        "timestamp": _iso(datetime.now(timezone.utc).timestamp(), "milliseconds"),
        "DDBStreamBatchInfo": {
            "shardId": journal.shard_id,
            "startSequenceNumber": journal.sequence_number(first.place),
            "endSequenceNumber": journal.sequence_number(last.place),
            "approximateArrivalOfFirstRecord": _iso(int(first.created), "seconds"),
            "approximateArrivalOfLastRecord": _iso(int(last.created), "seconds"),
            "batchSize": len(batch.entries),
            "streamArn": journal.arn,
        },
    }


def _key(mapping: Mapping) -> str:
    now = datetime.now(timezone.utc)
    name = f"{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
    return f"aws/lambda/{mapping.uuid}/{mapping.journal.shard_id}/{now:%Y/%m/%d}/{name}"


def _iso(seconds: float, to: str) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec=to).replace("+00:00", "Z")
