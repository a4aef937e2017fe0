"""Time to live: deletes expired items within a second. DynamoDB does so "within a few days"."""

from __future__ import annotations

import logging
import time
from itertools import chain
from typing import TYPE_CHECKING, Any

from moto.dynamodb.models import dynamodb_backends

from localaws import ACCOUNT_ID
from localaws.dynamodb import stream

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from moto.dynamodb.models.dynamo_type import Item
    from moto.dynamodb.models.table import Table

_log = logging.getLogger(__name__)
_INTERVAL_SECONDS = 1
# An older time is taken for a mistake, and the item stays (developer guide, "Using time to live in DynamoDB").
_MAX_AGE_SECONDS = 5 * 365 * 24 * 3600


def delete_expired_items(stop: threading.Event) -> None:
    """Delete expired items, again and again, until `stop` is set."""
    while not stop.wait(_INTERVAL_SECONDS):
        for backend in list(dynamodb_backends[ACCOUNT_ID].values()):
            for table in list(backend.tables.values()):
                try:
                    _sweep(table)
                except Exception:  # noqa: BLE001 - the next sweep tries again
                    _log.exception("time to live of table %s", table.name)


def _sweep(table: Table) -> None:
    with stream.write_lock:
        for item in list(_expired(table)):
            stream.expire(table, item)


def _expired(table: Table) -> Iterator[Item]:
    if table.ttl["TimeToLiveStatus"] != "ENABLED":
        return
    now = time.time()
    # moto's `all_items` would sort them all.
    partitions: Iterable[Any] = table.items.values()
    items: Iterable[Item] = (
        chain.from_iterable(each.values() for each in partitions) if table.range_key_attr else partitions
    )
    for item in items:
        expires = item.attrs.get(table.ttl["AttributeName"])
        # Only a Number expires an item.
        if expires and expires.type == "N" and now - _MAX_AGE_SECONDS < float(expires.value) < now:
            yield item
