"""The stream of a table: its records, in the order of the writes.

moto calls a `Stream` on each write, not its own `StreamShard`, which empties itself once there is a mapping. The
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
from localaws.dynamodb.records import TIME_TO_LIVE, image, record
from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.dynamo_type import Item
    from moto.dynamodb.models.table import Table

    Change = tuple["Item | None", "Item | None"]  # the item before and after

RETENTION_SECONDS = 24 * 3600
_TRIM_INTERVAL_SECONDS = 60

_to_json = json.JSONEncoder(ensure_ascii=False).encode
_aging = 1.0
_streams: dict[str, Stream] = {}
# Each write to a table holds this lock. Without it, moto's threads could change an item in one order and record the
# changes in another.
write_lock = threading.RLock()
_pending: list[tuple[Stream, Item | None, Item | None]] | None = None


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

    def add(self, old: Item | None, new: Item | None) -> None:
        """Record a change of an item; moto calls this. `old` or `new` is None if the item did or does not exist."""
        if _pending is None:
            self.write([(old, new)])
        # moto reports an update of a new key twice, first with the key alone. Both reports have the same `new`.
        elif not (_pending and old is None and _pending[-1][2] is new):
            _pending.append((self, old, new))

    def write(self, changes: list[Change], user_identity: Mapping[str, str] | None = None) -> None:
        """Append a record for each change that has an effect, and wake the readers."""
        with self.changed:
            if self.closed_at:
                return
            created = time.time()
            for old, new in changes:
                if old is not None and new is not None and old == new:
                    continue
                self.last_offset += 1
                database.insert("record", [self._row(created, old, new, user_identity)])
            self._trim(created)
            self.changed.notify_all()

    def read(self, after: int, limit: int, worker: int = 0, workers: int = 1) -> tuple[list[StreamRecord], int]:
        """Return up to `limit` records after an offset, and the offset that the reader has reached with them.

        Each of `workers` readers gets the items whose keys hash to its number, and so all changes of them in order.
        """
        with self.changed:
            self._trim(time.time())
            rows = database.execute(
                "SELECT offset, created, text FROM record WHERE stream = ? AND offset > ? AND key % ? = ?"
                " ORDER BY offset LIMIT ?",
                *(self._id, after, workers, worker, limit),
            )
            records = [StreamRecord(*row) for row in rows]
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
        self, created: float, old: Item | None, new: Item | None, user_identity: Mapping[str, str] | None
    ) -> tuple[int, int, int, float, str]:
        before = image(old) if old else None
        after = image(new) if new else None
        attributes = after or before or {}
        keys = {key["AttributeName"]: attributes[key["AttributeName"]] for key in self.key_schema}
        change = record(
            region=self.region,
            created=created,
            keys=keys,
            old=before,
            new=after,
            sequence_number=self.sequence_number(self.last_offset),
            view_type=self.view_type,
            user_identity=user_identity,
        )
        return self._id, self.last_offset, crc32(str(keys).encode()), created, _to_json(change)

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


def list_streams(region: str) -> list[Stream]:
    """Return the streams of a region, sorted by ARN."""
    streams = (find_stream(arn) for arn in sorted(_streams))
    return [stream for stream in streams if stream and stream.region == region]


def expire(table: Table, item: Item) -> None:
    """Delete an item as time to live does: the record names DynamoDB as the user."""
    with write_lock:
        stream, table.stream_shard = table.stream_shard, None
        try:
            deleted = table.delete_item(item.hash_key, item.range_key)
        finally:
            table.stream_shard = stream
        if deleted and stream:
            stream.write([(deleted, None)], TIME_TO_LIVE)  # type: ignore[attr-defined] # a Stream


def record_changes(write: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Wrap a writing call: it holds the lock, and its changes reach the streams if it succeeds, all or none."""
    global _pending  # noqa: PLW0603 - guarded by the lock
    with write_lock:
        if _pending is not None:
            return write(*arguments, **options)
        _pending = []
        try:
            result = write(*arguments, **options)
            for stream, old, new in _pending:
                stream.write([(old, new)])
        finally:
            _pending = None
        return result


def update_table_streams(self: DynamoDBBackend, table: Table, stream_specification: dict[str, Any]) -> None:  # noqa: ARG001 - a method
    """UpdateTable's StreamSpecification: refused as AWS refuses it, and with a new ARN for each new stream."""
    view_type = stream_specification.get("StreamViewType")
    with write_lock:
        enabled = bool((table.stream_specification or {}).get("StreamEnabled"))
        if stream_specification.get("StreamEnabled"):
            if not view_type:
                raise _invalid("If stream is being enabled then UpdateViewType is required")
            if enabled:
                raise AwsError("ValidationException", f"Table already has an enabled stream: TableName: {table.name}")
        else:
            if view_type:
                raise _invalid("If stream is being disabled, then UpdateViewType must not be specified")
            if not enabled:
                raise AwsError("ValidationException", f"Table has no stream to disable: TableName: {table.name}")
            _close_stream(table)
        table.set_stream_specification(stream_specification)


def close_with_table(delete_table: Callable[..., Table], self: DynamoDBBackend, name: str) -> Table:
    """Wrap the deletion of a table: it closes the stream."""
    with write_lock:
        table = delete_table(self, name)
        _close_stream(table)
        return table


def _close_stream(table: Table) -> None:
    if table.stream_shard:
        table.stream_shard.close()  # type: ignore[attr-defined] # a Stream
        table.stream_shard = None


def _invalid(reason: str) -> AwsError:
    return AwsError("ValidationException", f"One or more parameter values were invalid: {reason}")
