"""An on-demand backup of a DynamoDB table: create, wait.

To use it elsewhere, copy this file and `change.py` into one folder and import it from there
(`from steps import backup`). It needs boto3 and nothing else.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from botocore.waiter import WaiterModel, create_waiter_with_client

from .change import Change, is_dry_run

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_LONGEST_TABLE_NAME = 235  # what the time leaves of a backup name's 255 characters

_WAITERS = WaiterModel(
    {
        "version": 2,
        "waiters": {
            "Available": {
                "operation": "DescribeBackup",
                "delay": 1,
                "maxAttempts": 3600,
                "acceptors": [
                    {
                        "state": state,
                        "matcher": "path",
                        "argument": "BackupDescription.BackupDetails.BackupStatus",
                        "expected": status,
                    }
                    for state, status in (("success", "AVAILABLE"), ("failure", "DELETED"))
                ],
            }
        },
    }
)


def create(dynamodb: DynamoDBClient, table_name: str) -> Change:
    """Back up the table under its name and the time; not waiting until the backup is available (`wait` does).

    A backup outlives its table and is kept until somebody deletes it. DynamoDB API reference: CreateBackup.
    """
    name = f"{table_name[:_LONGEST_TABLE_NAME]}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
    answer = dynamodb.create_backup(TableName=table_name, BackupName=name)
    details = answer["BackupDetails"]
    note = f"of table {table_name}: {details['BackupArn']}"
    return Change(f"backup {name}", "created", attributes={**details}, note=note, pending=not is_dry_run(answer))


def wait(dynamodb: DynamoDBClient, arn: str) -> None:
    """Wait until the backup is available; an hour at most. DynamoDB API reference: DescribeBackup."""
    create_waiter_with_client("Available", _WAITERS, dynamodb).wait(BackupArn=arn)
