"""The sweep of time to live."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from localaws import ACCOUNT_ID
from localaws.dynamodb import ttl

if TYPE_CHECKING:
    import pytest


def test_table_that_fails_is_logged_and_stops_no_sweep(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop, swept = threading.Event(), []

    def sweep(table: Any) -> None:
        swept.append(table.name)
        if len(swept) == 4:
            stop.set()
        if table.name == "bad":
            raise ValueError("unexpected")

    tables = {name: SimpleNamespace(name=name) for name in ("bad", "good")}
    backends = {ACCOUNT_ID: {"eu-west-1": SimpleNamespace(tables=tables)}}
    monkeypatch.setattr(ttl, "dynamodb_backends", backends)
    monkeypatch.setattr(ttl, "_sweep", sweep)
    monkeypatch.setattr(ttl, "_INTERVAL_SECONDS", 0)
    ttl.delete_expired_items(stop)
    assert swept == ["bad", "good", "bad", "good"]
    assert "time to live of table bad" in caplog.text
    assert "ValueError: unexpected" in caplog.text
