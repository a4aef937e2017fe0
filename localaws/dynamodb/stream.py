"""The stream of a table: its records, in the order of the writes.

A `Stream` takes the place of moto's `StreamShard`, which empties itself once there is a mapping. `writes` fills it. The
DynamoDB Streams API and the pollers of mappings read it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from localaws import database
from localaws.dynamodb.items import invalid, invalid_value
from localaws.dynamodb.records import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.dynamo_type import Item
    from moto.dynamodb.models.table import Table

    Image = Mapping[str, Any]
    Change = tuple["Image | None", "Image | None"]  # the item before and after

RETENTION_SECONDS = 24 * 3600
_TRIM_INTERVAL_SECONDS = 60

_to_json = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_aging = 1.0
_streams: dict[str, Stream] = {}
# Each call that reads or writes items, or changes a table, holds this lock. Without it, moto's threads could change an
# item in one order and record the changes in another, or read an item that another thread is changing.
table_lock = threading.RLock()


class StreamRecord(NamedTuple):
    """A record: its offset in the stream (1, 2, 3 ...), its creation time (seconds since 1970), and its JSON text."""

    offset: int
    created: float
    text: str


class Stream:
    """A stream with one shard, which is open or closed. `changed` is notified on each write and when it closes."""

    def __init__(self, account_id: str, table: Table) -> None:  # noqa: ARG002 - moto passes the account
        now = datetime.now(timezone.utc)
        self.label = now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        # moto has just set it, in microseconds. AWS uses milliseconds.
        table.latest_stream_label = self.label
        self.arn = f"{table.table_arn}/stream/{self.label}"
        self.region = table.region_name
        self.table_name = table.name
        self.key_schema = table.schema
        self.view_type = (table.stream_specification or {}).get("StreamViewType", "NEW_AND_OLD_IMAGES")
        self.created = now.timestamp()
        milliseconds = int(self.created * 1000)
        self.shard_id = f"shardId-{milliseconds:020}-{crc32(self.arn.encode()):08x}"
        self.first_sequence_number = milliseconds * 10**14
        self.changed = threading.Condition()
        self.closed_at: float | None = None
        self.last_offset = 0
        self.trimmed_offset = 0
        self._offset_by_minute: deque[tuple[float, int]] = deque()
        self._id = next(database.stream_ids)
        _streams[self.arn] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        """Return the stream itself: moto copies a table to roll back a transaction, which does not undo records."""
        return self

    def sequence_number(self, offset: int) -> str:
        """The SequenceNumber of the record at an offset."""
        return str(self.first_sequence_number + offset)

    def offset(self, sequence_number: str) -> int:
        """The offset of a SequenceNumber. Raises ValueError if it is not a number."""
        return int(sequence_number) - self.first_sequence_number

    def offset_before(self, timestamp: float) -> int:
        """The offset before the first record whose ApproximateCreationDateTime, in whole seconds, is not earlier."""
        query = "SELECT MIN(offset) FROM record WHERE stream = ? AND offset <= ? AND CAST(created AS INTEGER) >= ?"
        ((first,),) = database.execute(query, self._id, self.last_offset, timestamp)
        return max(self.trimmed_offset, self.last_offset if first is None else first - 1)

    def add(self, old: Item | None, new: Item | None) -> None:
        """Do nothing; moto calls this on each of its steps. `writes` adds the records of a whole call."""

    def insert(self, changes: list[Change], user_identity: Mapping[str, str] | None = None) -> None:
        """Store a record for each change. Readers see them after `advance`, or never after `discard`."""
        created = time.time()
        offsets = range(self.last_offset + 1, self.last_offset + 1 + len(changes))
        database.insert(
            "record",
            [
                self._row(offset, created, old, new, user_identity)
                for offset, (old, new) in zip(offsets, changes, strict=True)
            ],
        )

    def advance(self, count: int) -> None:
        """Add the stored records to the stream, and wake the readers."""
        with self.changed:
            self.last_offset += count
            self._trim(time.time())
            self.changed.notify_all()

    def discard(self) -> None:
        """Delete the stored records that are not in the stream yet."""
        database.execute("DELETE FROM record WHERE stream = ? AND offset > ?", self._id, self.last_offset)

    def read(self, after: int, limit: int, worker: int = 0, workers: int = 1) -> tuple[list[StreamRecord], int]:
        """Return up to `limit` records after an offset, and the offset that the reader has reached with them.

        Each of `workers` readers gets the items whose keys hash to its number, and so all changes of them in order.
        """
        with self.changed:
            self._trim(time.time())
            rows = database.execute(
                "SELECT offset, created, text FROM record"
                " WHERE stream = ? AND offset > ? AND offset <= ? AND key % ? = ? ORDER BY offset LIMIT ?",
                *(self._id, after, self.last_offset, workers, worker, limit),
            )
            records = [*map(StreamRecord._make, rows)]
            return records, records[-1].offset if len(records) == limit else max(after, self.last_offset)

    def close(self) -> None:
        """Close the shard: the stream is disabled. Its records stay readable until they are trimmed."""
        with self.changed:
            self.closed_at = self.closed_at or time.time()
            self.changed.notify_all()

    def delete(self) -> None:
        """Delete the stream with its records."""
        _streams.pop(self.arn, None)
        database.execute("DELETE FROM record WHERE stream = ?", self._id)

    def _row(
        self, offset: int, created: float, old: Image | None, new: Image | None, user_identity: Mapping[str, str] | None
    ) -> tuple[int, int, int, float, str]:
        attributes = new or old or {}
        keys = {key["AttributeName"]: attributes[key["AttributeName"]] for key in self.key_schema}
        change = record(
            region=self.region,
            created=created,
            keys=keys,
            old=old,
            new=new,
            sequence_number=self.sequence_number(offset),
            view_type=self.view_type,
            user_identity=user_identity,
        )
        return self._id, offset, crc32(str(keys).encode()), created, _to_json(change)

    def _trim(self, now: float) -> None:
        """Delete the records that are older than the retention time, to the minute."""
        if not self._offset_by_minute or age(self._offset_by_minute[-1][0]) > _TRIM_INTERVAL_SECONDS:
            self._offset_by_minute.append((now, self.last_offset))
        while self._offset_by_minute and age(self._offset_by_minute[0][0]) > RETENTION_SECONDS:
            self.trimmed_offset = self._offset_by_minute.popleft()[1]
            database.execute("DELETE FROM record WHERE stream = ? AND offset <= ?", self._id, self.trimmed_offset)


def set_aging(factor: float) -> None:
    """Let records age `factor` times as fast as time passes, to see them expire in a test or a rehearsal."""
    global _aging  # noqa: PLW0603 - set once, when the server starts
    _aging = factor


def age(created: float) -> float:
    """The age, in seconds, of a record created at that time (seconds since 1970)."""
    return (time.time() - created) * _aging


def find_stream(arn: str) -> Stream | None:
    """Return a stream. A disabled stream, or that of a deleted table, exists until all its records are trimmed."""
    stream = _streams.get(arn)
    if stream and stream.closed_at and age(stream.closed_at) > RETENTION_SECONDS:
        stream.delete()
        return None
    return stream


def list_streams(region: str, account: str) -> list[Stream]:
    """Return the streams of a region and account, sorted by ARN."""
    streams = (find_stream(arn) for arn in sorted(_streams))
    return [stream for stream in streams if stream and stream.arn.split(":")[3:5] == [region, account]]


def write(changes: Mapping[Stream, list[Change]], user_identity: Mapping[str, str] | None = None) -> None:
    """Write the changes of one call to the streams: all of them or none."""
    try:
        for stream, each in changes.items():
            stream.insert(each, user_identity)
    except BaseException:
        for stream in changes:
            stream.discard()
        raise
    for stream, each in changes.items():
        stream.advance(len(each))


def check_specification(table: Table, specification: Mapping[str, Any]) -> None:
    """Refuse the StreamSpecification of UpdateTable where AWS refuses it."""
    view_type = specification.get("StreamViewType")
    enabled = bool((table.stream_specification or {}).get("StreamEnabled"))
    if specification.get("StreamEnabled"):
        if not view_type:
            raise invalid_value("If stream is being enabled then UpdateViewType is required")
        if enabled:
            raise invalid(f"Table already has an enabled stream: TableName: {table.name}")
    else:
        if view_type:
            raise invalid_value("If stream is being disabled, then UpdateViewType must not be specified")
        if not enabled:
            raise invalid(f"Table has no stream to disable: TableName: {table.name}")


def update_table_streams(self: DynamoDBBackend, table: Table, specification: dict[str, Any]) -> None:  # noqa: ARG001 - a method
    """Replace UpdateTable's change of a stream: each new stream has a new ARN, the old one stays readable."""
    _close_stream(table)
    table.set_stream_specification(specification)


def close_with_table(delete_table: Callable[..., Table], self: DynamoDBBackend, name: str) -> Table:
    """Wrap the deletion of a table: it closes the stream."""
    with table_lock:
        table = delete_table(self, name)
        _close_stream(table)
        return table


def _close_stream(table: Table) -> None:
    if table.stream_shard:
        table.stream_shard.close()  # type: ignore[attr-defined] # a Stream
        table.stream_shard = None
