"""Where stream records and log events lie: in a private database that spills to a temporary file, not in memory."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
_database.execute("PRAGMA journal_mode = OFF")
_lock = threading.Lock()  # some builds of SQLite leave locking to their users


def execute(statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows."""
    with _lock:
        return _database.execute(statement, values).fetchall()


def insert(table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Add whole rows to a table."""
    with _lock:
        for row in rows:
            _database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - our own
