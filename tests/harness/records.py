"""Records of the default pipeline's table for the proofs, some of them poison."""

from __future__ import annotations

from tests.harness.project import Project

Record = tuple[str, int]  # key and number


def put(project: Project, written: dict[Record, bool]) -> None:
    """Put an item for each record; the value is whether it is poison."""
    dynamodb = project.client("dynamodb")
    waiting = [
        {"name": {"S": key}, "number": {"N": str(number)}, **({"poison": {"BOOL": True}} if poison else {})}
        for (key, number), poison in written.items()
    ]
    while waiting:
        batch, waiting = waiting[:25], waiting[25:]
        dynamodb.batch_write_item(RequestItems={"stream-demo": [{"PutRequest": {"Item": item}} for item in batch]})
