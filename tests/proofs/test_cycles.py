"""A pipeline created, used and deleted again and again leaves no thread, file, process or memory in the local AWS.

`invoke dev.soak --only cycles` repeats it a thousand times.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.local_aws import LocalAws, local_aws

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.proof

MEGABYTES_PER_THOUSAND = 60


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_deleted_pipelines_leave_no_thread_file_process_or_memory(
    tmp_path: Path, count: Callable[[int, int], int], record_figures: Callable[[str], None]
) -> None:
    cycles = count(5, 1000)
    with local_aws(tmp_path) as aws:
        cycle(aws, "first")
        before = settled_usage(aws)
        for number in range(cycles):
            cycle(aws, f"cycle-{number}")
        after = settled_usage(aws, before)
    allowed = {**before, "megabytes": before["megabytes"] + 20 + cycles * MEGABYTES_PER_THOUSAND // 1000}
    assert {what: used for what, used in after.items() if used > allowed[what]} == {}, f"after the first: {before}"
    record_figures(f"after the first cycle: {before}\nafter {cycles} more: {after}")


def cycle(aws: LocalAws, name: str) -> None:
    """Create a pipeline, wait until its function has handled a record, and delete everything."""
    dynamodb, iam, lambda_ = aws.clients["dynamodb"], aws.clients["iam"], aws.clients["lambda"]
    stream_arn = aws.create_table(name)
    aws.create_function(name, aws.create_role(name), "def handler(event, context): print(event)")
    mapping = aws.map_stream(name, stream_arn)
    dynamodb.put_item(TableName=name, Item={"name": {"S": "a"}})
    while lambda_.get_event_source_mapping(UUID=mapping)["LastProcessingResult"] != "OK":
        time.sleep(0.01)
    lambda_.delete_event_source_mapping(UUID=mapping)
    lambda_.delete_function(FunctionName=name)
    aws.clients["logs"].delete_log_group(logGroupName=f"/aws/lambda/{name}")
    iam.delete_role_policy(RoleName=name, PolicyName="all")
    iam.delete_role(RoleName=name)
    dynamodb.delete_table(TableName=name)


def usage(aws: LocalAws) -> dict[str, int]:
    """Count what the server uses."""
    process = Path("/proc") / str(aws.pid)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    children = (process / "task" / str(aws.pid) / "children").read_text().split()
    return {
        "threads": int(status["Threads"]),
        "open files": sum(1 for _ in (process / "fd").iterdir()),
        "processes": len(children),
        "files": sum(1 for _ in aws.folder.rglob("*")),
        "megabytes": int(status["VmRSS"].split()[0]) // 1024,
    }


def settled_usage(aws: LocalAws, limit: dict[str, int] | None = None) -> dict[str, int]:
    """Count once threads and processes that are ending have ended, after at most five seconds."""
    deadline = time.monotonic() + 5
    last: dict[str, int] = {}
    while (now := usage(aws)) != last or (
        limit and any(now[what] > limit[what] for what in now if what != "megabytes")
    ):
        if time.monotonic() > deadline:
            break
        last = now
        time.sleep(0.2)
    return now
