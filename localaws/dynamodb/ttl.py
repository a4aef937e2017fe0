"""Time to live: deletes the items whose time is over, soon (DynamoDB: "within a few days")."""

from __future__ import annotations

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

_EVERY_SECONDS = 1
# Older than this is taken for a mistake and kept (developer guide, "Using time to live in DynamoDB").
_FORGOTTEN_AFTER_SECONDS = 5 * 365 * 24 * 3600


def sweep(stop: threading.Event) -> None:
    """Delete what has expired, again and again until `stop` is set."""
    while not stop.wait(_EVERY_SECONDS):
        for backend in list(dynamodb_backends[ACCOUNT_ID].values()):
            for table in list(backend.tables.values()):
                with stream.writing:
                    for item in list(_expired(table)):
                        stream.expire(table, item)


def _expired(table: Table) -> Iterator[Item]:
    if table.ttl["TimeToLiveStatus"] != "ENABLED":
        return
    now = time.time()
    # moto's own listing sorts them all.
    held: Iterable[Any] = table.items.values()
    items: Iterable[Item] = chain.from_iterable(each.values() for each in held) if table.range_key_attr else held
    for item in items:
        until = item.attrs.get(table.ttl["AttributeName"])
        # Only a Number expires an item.
        if until and until.type == "N" and now - _FORGOTTEN_AFTER_SECONDS < float(until.value) < now:
            yield item
