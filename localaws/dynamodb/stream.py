"""What is written to a table, in order: the journal of one DynamoDB stream.

moto calls it on each write, in place of its own `StreamShard`; readers of the stream and pollers of mappings read it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from datetime import datetime, timezone
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import moto.dynamodb.models.table as moto_table
from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models import DynamoDBBackend

from localaws import database
from localaws.dynamodb.records import TIME_TO_LIVE, image, record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.dynamodb.models.dynamo_type import Item
    from moto.dynamodb.models.table import Table

RETENTION_SECONDS = 24 * 3600
_TRIM_EVERY_SECONDS = 60

# How many times as fast as time itself records grow old: 1, unless a test or a rehearsal wants to see the end of them.
_aging = 1.0

_to_json = json.JSONEncoder(ensure_ascii=False).encode

database.execute(
    "CREATE TABLE record (stream INTEGER, place INTEGER, key INTEGER, created REAL, text,"
    " PRIMARY KEY (stream, place)) WITHOUT ROWID"
)
_numbers = count()
_journals: dict[str, Journal] = {}
# Held by each call that writes to a table: moto's threads would else see the changes of one item in another order
# than its stream.
writing = threading.RLock()
_held: list[tuple[Journal, Item | None, Item | None]] | None = None


class Entry(NamedTuple):
    """One record of a journal: its place (1, 2, 3 ...), when it was written (seconds since 1970), its JSON text."""

    place: int
    created: float
    text: str


class Journal:
    """The records of one stream, in one closed or open shard.

    `written` is notified on each write and on closing.
    """

    def __init__(self, account_id: str, table: Table) -> None:  # noqa: ARG002 - moto passes the account
        now = datetime.now(timezone.utc)
        self.label = now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        # moto has just set it, in microseconds; AWS has milliseconds.
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
        self.written = threading.Condition()
        self.closed_at: float | None = None
        self.last = 0
        self.trimmed = 0
        self._minutes: deque[tuple[float, int]] = deque()
        self._number = next(_numbers)
        _journals[self.arn] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> Journal:
        """The journal itself: moto copies a table to undo a failed transaction, and what is written stays written."""
        return self

    def sequence_number(self, place: int) -> str:
        """The SequenceNumber of the record at a place."""
        return str(self.first_sequence_number + place)

    def place(self, sequence_number: str) -> int:
        """The place of a SequenceNumber. Raises ValueError for one that is none."""
        return int(sequence_number) - self.first_sequence_number

    def add(self, old: Item | None, new: Item | None) -> None:
        """Take one change of an item from moto (None: there was none, there is none)."""
        if _held is None:
            self.write([(old, new)])
        # moto tells an update of a new key twice, first with the bare key; the item is one and the same object.
        elif _held and old is None and _held[-1][2] is new:
            return
        else:
            _held.append((self, old, new))

    def write(
        self, changes: list[tuple[Item | None, Item | None]], user_identity: Mapping[str, str] | None = None
    ) -> None:
        """Append the changes that changed something, and wake who waits for them."""
        with self.written:
            if self.closed_at:
                return
            created = time.time()
            for old, new in changes:
                if old is not None and new is not None and old == new:
                    continue
                self.last += 1
                database.insert("record", [self._row(created, old, new, user_identity)])
            self._trim(created)
            self.written.notify_all()

    def read(self, after: int, limit: int, lane: int = 0, lanes: int = 1) -> tuple[list[Entry], int]:
        """Up to `limit` entries after a place, and the place up to which the journal is read with them.

        Of `lanes` readers each has the items whose keys fall to its `lane`, and so each item's changes in order.
        """
        with self.written:
            self._trim(time.time())
            found = database.execute(
                "SELECT place, created, text FROM record WHERE stream = ? AND place > ? AND key % ? = ?"
                " ORDER BY place LIMIT ?",
                *(self._number, after, lanes, lane, limit),
            )
            entries = [Entry(*row) for row in found]
            return entries, entries[-1].place if len(entries) == limit else max(after, self.last)

    def close(self) -> None:
        """End the shard: the stream is disabled, and what was written can be read until it is trimmed."""
        with self.written:
            self.closed_at = self.closed_at or time.time()
            self.written.notify_all()

    def forget(self) -> None:
        """Let go of it: the last of its records has been trimmed."""
        _journals.pop(self.arn, None)
        database.execute("DELETE FROM record WHERE stream = ?", self._number)

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
            sequence_number=self.sequence_number(self.last),
            view_type=self.view_type,
            user_identity=user_identity,
        )
        return self._number, self.last, crc32(str(keys).encode()), created, _to_json(change)

    def _trim(self, now: float) -> None:
        """Forget what is older than the retention, to the minute."""
        if not self._minutes or age(self._minutes[-1][0]) > _TRIM_EVERY_SECONDS:
            self._minutes.append((now, self.last))
        while self._minutes and age(self._minutes[0][0]) > RETENTION_SECONDS:
            self.trimmed = self._minutes.popleft()[1]
            database.execute("DELETE FROM record WHERE stream = ? AND place <= ?", self._number, self.trimmed)


def age(moment: float) -> float:
    """How many seconds old a record of that moment (seconds since 1970) is taken to be."""
    return (time.time() - moment) * _aging


def find(stream_arn: str) -> Journal | None:
    """The journal of a stream, also of one that was disabled or whose table is gone, until all of it is trimmed."""
    journal = _journals.get(stream_arn)
    if journal and journal.closed_at and age(journal.closed_at) > RETENTION_SECONDS:
        journal.forget()
        return None
    return journal


def all_of(region: str) -> list[Journal]:
    """The journals of a region, by stream ARN."""
    return sorted(
        (journal for arn in list(_journals) if (journal := find(arn)) and journal.region == region),
        key=lambda journal: journal.arn,
    )


def expire(table: Table, item: Item) -> None:
    """Delete an item as DynamoDB itself does when its time to live is over: the record says by whom."""
    with writing:
        stream, table.stream_shard = table.stream_shard, None
        deleted = table.delete_item(item.hash_key, item.range_key)
        table.stream_shard = stream
        if deleted and stream:
            stream.write([(deleted, None)], TIME_TO_LIVE)  # type: ignore[attr-defined] # a Journal


def install(aging: float = 1) -> None:
    """Put the journal in moto's place for it; its records grow old `aging` times as fast as time.

    moto has no hook for another stream: its own one empties itself once there is a mapping, and knows neither
    identical writes nor streams that were turned off. So its class is exchanged, and the calls that write are wrapped.
    """
    global _aging  # noqa: PLW0603 - set once, when the server starts
    _aging = aging
    moto_table.StreamShard = Journal  # type: ignore[assignment,misc] # same two methods, as far as moto calls them
    for name in ("put_item", "update_item", "delete_item", "transact_write_items", "execute_statement"):
        setattr(DynamoDBBackend, name, _as_one_change(getattr(DynamoDBBackend, name)))
    DynamoDBBackend.update_table_streams = _update_table_streams  # type: ignore[method-assign]
    DynamoDBBackend.delete_table = _closing_the_stream(DynamoDBBackend.delete_table)  # type: ignore[method-assign]


def _as_one_change(write: Callable[..., Any]) -> Callable[..., Any]:
    """A writing call of moto, alone at a time, whose changes reach the journal when it succeeds, all or none."""

    @wraps(write)
    def whole(*arguments: Any, **options: Any) -> Any:
        global _held  # noqa: PLW0603 - guarded by the lock
        with writing:
            if _held is not None:
                return write(*arguments, **options)
            _held = []
            try:
                result = write(*arguments, **options)
                for journal, old, new in _held:
                    journal.write([(old, new)])
            finally:
                _held = None
            return result

    return whole


def _update_table_streams(self: DynamoDBBackend, table: Table, stream_specification: dict[str, Any]) -> None:  # noqa: ARG001 - a method
    """UpdateTable's StreamSpecification, with the refusals and the new ARN of AWS."""
    enabled = bool((table.stream_specification or {}).get("StreamEnabled"))
    invalid = "One or more parameter values were invalid: "
    view_type = stream_specification.get("StreamViewType")
    if stream_specification.get("StreamEnabled"):
        if not view_type:
            raise MockValidationException(f"{invalid}If stream is being enabled then UpdateViewType is required")
        if enabled:
            raise MockValidationException(f"Table already has an enabled stream: TableName: {table.name}")
    else:
        if view_type:
            text = "If stream is being disabled, then UpdateViewType must not be specified"
            raise MockValidationException(f"{invalid}{text}")
        if not enabled:
            raise MockValidationException(f"Table has no stream to disable: TableName: {table.name}")
        _close(table)
    table.set_stream_specification(stream_specification)


def _closing_the_stream(delete_table: Callable[..., Table]) -> Callable[..., Table]:
    @wraps(delete_table)
    def delete(self: DynamoDBBackend, name: str) -> Table:
        table = delete_table(self, name)
        _close(table)
        return table

    return delete


def _close(table: Table) -> None:
    if table.stream_shard:
        table.stream_shard.close()  # type: ignore[attr-defined] # a Journal
        table.stream_shard = None
