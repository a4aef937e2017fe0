"""Reading the new records of a stream, beside the mapping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

_LIST_SHARDS_SECONDS = 5.0


def follow(streams: Any, arn: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the records since the previous time, [] if there are none, of all open shards and those that follow them.

    Starts at the first call of `next`. DynamoDB Streams API reference: DescribeStream, GetShardIterator, GetRecords.
    """
    iterators: dict[str, str] = {}  # by shard; "" at the end of a closed one
    listed = 0.0
    while True:
        if time.monotonic() - listed > _LIST_SHARDS_SECONDS:
            kind = "TRIM_HORIZON" if listed else "LATEST"  # the records of a later shard are all new
            for shard_id in [each for each in _shard_ids(streams, arn) if each not in iterators]:
                iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard_id, ShardIteratorType=kind)
                iterators[shard_id] = iterator["ShardIterator"]
            listed = time.monotonic()
        records: list[dict[str, Any]] = []
        for shard_id, iterator in iterators.items():
            if iterator:
                page = streams.get_records(ShardIterator=iterator)
                records += page["Records"]
                iterators[shard_id] = page.get("NextShardIterator", "")
        yield records


def _shard_ids(streams: Any, arn: str) -> Iterator[str]:
    request = {"StreamArn": arn}
    while True:
        page = streams.describe_stream(**request)["StreamDescription"]
        yield from (shard["ShardId"] for shard in page["Shards"])
        if not page.get("LastEvaluatedShardId"):
            return
        request["ExclusiveStartShardId"] = page["LastEvaluatedShardId"]
