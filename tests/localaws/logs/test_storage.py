"""The events of log streams, which moto keeps in lists and the local AWS in a database."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_new_log_stream_has_none_of_the_events_of_a_deleted_one(client: Callable[[str], Any]) -> None:
    logs, group = client("logs"), f"group-{uuid.uuid4().hex[:12]}"
    logs.create_log_group(logGroupName=group)
    stream = {"logGroupName": group, "logStreamName": "stream"}
    logs.create_log_stream(**stream)
    logs.put_log_events(**stream, logEvents=[{"timestamp": int(time.time() * 1000), "message": "old"}])
    logs.delete_log_stream(**stream)
    logs.create_log_stream(**stream)
    assert logs.get_log_events(**stream)["events"] == []
    assert logs.filter_log_events(logGroupName=group)["events"] == []
