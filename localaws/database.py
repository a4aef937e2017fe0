"""A private database for stream records and log events. It spills to a temporary file, so they take no memory."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
_connection.executescript("""
    PRAGMA journal_mode = OFF;
    CREATE TABLE record (stream INTEGER, offset INTEGER, key INTEGER, created REAL, text,
                         PRIMARY KEY (stream, offset)) WITHOUT ROWID;
    CREATE TABLE event (id INTEGER PRIMARY KEY, stream INTEGER, timestamp INTEGER, ingested INTEGER, text);
    CREATE INDEX event_by_time ON event (stream, timestamp, id);
""")
_lock = threading.Lock()  # some builds of SQLite do no locking of their own

# A number for each stream whose rows are in a table: `next(stream_ids)`.
stream_ids = itertools.count()


def execute(statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows."""
    with _lock:
        return _connection.execute(statement, values).fetchall()


def insert(table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Add whole rows to a table. A statement adds a hundred: after each, other threads take their turn."""
    values = list(rows)
    with _lock:
        for some in (values[first : first + 100] for first in range(0, len(values), 100)):
            places = ", ".join([f"({', '.join('?' * len(some[0]))})"] * len(some))
            _connection.execute(f"INSERT INTO {table} VALUES {places}", [*itertools.chain.from_iterable(some)])  # noqa: S608 - our own
