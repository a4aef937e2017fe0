"""The notes about discarded batches in ON_FAILURE, an SQS queue or an S3 bucket.

Lambda developer guide: "Retain discarded records for a DynamoDB event source in Lambda".
"""

import json
import time
from collections.abc import Iterator
from typing import Any

from .resources.change import UserError

_MESSAGES = 10  # of one call
# The visibility timeout grows by a second for this many messages, because renewing them takes time.
_RENEWED_PER_SECOND = 100


def batch_of(text: str | bytes, table_arn: str, function_arn: str) -> dict[str, Any]:
    """The DDBStreamBatchInfo of a note about this table and this function. {} for any other text."""
    try:
        note = json.loads(text)
        batch: dict[str, Any] = note["DDBStreamBatchInfo"]
        is_whole = int(batch["startSequenceNumber"]) <= int(batch["endSequenceNumber"]) and batch["batchSize"] > 0
        is_whole = is_whole and batch.keys() >= {"shardId", "approximateArrivalOfFirstRecord"}
        is_ours = batch["streamArn"].startswith(f"{table_arn}/stream/")
        # Each ARN may end with a version or an alias.
        same = note["requestContext"]["functionArn"].split(":")[:7] == function_arn.split(":")[:7]
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}
    return batch if is_whole and is_ours and same else {}


class Queue:
    """An SQS queue. Hides received messages from other receivers for at least `seconds` after the last `hold`."""

    def __init__(self, sqs: Any, arn: str, seconds: int) -> None:
        *_, account, name = arn.split(":")
        try:
            self._url = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        except sqs.exceptions.QueueDoesNotExist:
            raise UserError(f"ON_FAILURE: queue {arn} does not exist; create it, or correct the ARN") from None
        self._sqs, self._least = sqs, seconds
        self._receipts: dict[str, str] = {}
        self._seconds, self._held = seconds, time.monotonic()

    def count(self) -> int:
        """The approximate number of messages in the queue, including hidden ones."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def receive(self) -> Iterator[tuple[str, str]]:
        """Yield the ID and the body of each message. Waits for messages that an interrupted command still hides."""
        deadline = time.monotonic() + self._least + self.count() // _RENEWED_PER_SECOND + 1
        while True:
            response = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=_MESSAGES, VisibilityTimeout=self._seconds, WaitTimeSeconds=1
            )
            for message in response.get("Messages", ()):
                self._receipts[message["MessageId"]] = message["ReceiptHandle"]
                yield message["MessageId"], message["Body"]
            self.hold()
            if not response.get("Messages") and (self.count() <= len(self._receipts) or time.monotonic() > deadline):
                return

    def hold(self) -> None:
        """Extend the visibility timeout of the messages when half of it has passed."""
        if time.monotonic() > self._held + self._seconds / 2:
            self._held, self._seconds = time.monotonic(), self._least + len(self._receipts) // _RENEWED_PER_SECOND
            self._hide(self._seconds)

    def _hide(self, seconds: int) -> None:
        receipts = list(self._receipts.items())
        for start in range(0, len(receipts), _MESSAGES):
            some = receipts[start : start + _MESSAGES]
            entries = [{"Id": name, "ReceiptHandle": each, "VisibilityTimeout": seconds} for name, each in some]
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def delete(self, name: str) -> None:
        """Delete a message."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=self._receipts[name])
        del self._receipts[name]

    def release(self) -> None:
        """Make the messages that were not deleted visible again."""
        self._hide(0)


class Bucket:
    """An S3 bucket. Lambda writes to aws/lambda/UUID OF THE MAPPING/SHARD/YYYY/MM/DD/."""

    def __init__(self, s3: Any, arn: str) -> None:
        self._s3, self._name = s3, arn.rpartition(":")[2]
        try:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix="aws/lambda/")
            self._keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        except s3.exceptions.NoSuchBucket:
            raise UserError(f"ON_FAILURE: bucket {arn} does not exist; create it, or correct the ARN") from None

    def count(self) -> int:
        """The number of objects."""
        return len(self._keys)

    def receive(self) -> Iterator[tuple[str, bytes]]:
        """The key and the content of each object."""
        return ((key, self._read(key)) for key in self._keys)

    def _read(self, key: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self._name, Key=key)["Body"].read())

    def records(self, key: str) -> list[dict[str, Any]]:
        """The records in a note. Its payload is the event, as a text or as an object."""
        payload = json.loads(self._read(key))["payload"]
        return list((json.loads(payload) if isinstance(payload, str) else payload)["Records"])

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._s3.delete_object(Bucket=self._name, Key=key)

    def hold(self) -> None:
        """Do nothing, because S3 objects are not hidden."""

    release = hold
