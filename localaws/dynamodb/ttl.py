"""Time to live: deletes expired items within a second. DynamoDB does so "within a few days"."""

from __future__ import annotations

import logging
import time
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from moto.dynamodb.models import dynamodb_backends

from localaws.dynamodb import writes

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from moto.dynamodb.models.dynamo_type import DynamoType, Item
    from moto.dynamodb.models.table import Table

_log = logging.getLogger(__name__)
_INTERVAL_SECONDS = 1.0
# An older time is taken for a mistake, and the item stays (developer guide, "Using time to live in DynamoDB").
_MAX_AGE_SECONDS = 5 * 365 * 24 * 3600


def delete_expired_items(stop: threading.Event) -> None:
    """Delete expired items, again and again, until `stop` is set."""
    pause = _INTERVAL_SECONDS
    while not stop.wait(pause):
        began = time.monotonic()
        for backend in [each for account in list(dynamodb_backends.values()) for each in list(account.values())]:
            for table in list(backend.tables.values()):
                try:
                    _sweep(table)
                except Exception:  # noqa: BLE001 - the next sweep tries again
                    _log.exception("time to live of table %s", table.name)
        # Large tables are looked through less often: it takes a twentieth of the time.
        pause = max(_INTERVAL_SECONDS, 20 * (time.monotonic() - began))


def _sweep(table: Table) -> None:
    """Delete the expired items of a table. Other threads may write to it: only a deletion keeps them waiting."""
    if table.ttl["TimeToLiveStatus"] != "ENABLED":
        return
    partitions: list[Any] = list(table.items.values())
    items: Iterable[Item] = (
        chain.from_iterable(list(each.values()) for each in partitions) if table.range_key_attr else partitions
    )
    for item in items:
        if _is_expired(table, item):
            writes.expire(writes.Key(table, item.hash_key, item.range_key), partial(_is_expired, table))


def _is_expired(table: Table, item: Item) -> bool:
    expires: DynamoType | None = item.attrs.get(table.ttl["AttributeName"])
    now = time.time()
    # Only a Number expires an item.
    return expires is not None and expires.type == "N" and now - _MAX_AGE_SECONDS < float(expires.value) < now
