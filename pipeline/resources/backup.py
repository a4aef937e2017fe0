"""An on-demand backup of a DynamoDB table: create, wait."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from . import change
from .change import Change

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


def create(dynamodb: DynamoDBClient, table_name: str) -> Change:
    """Start a backup, which outlives the table. To wait for it, call `wait`. DynamoDB API reference: CreateBackup."""
    # At most 255 characters.
    name = f"{table_name[:235]}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
    response = dynamodb.create_backup(TableName=table_name, BackupName=name)
    details = response["BackupDetails"]
    note, pending = f"of table {table_name}: {details['BackupArn']}", not change.is_dry_run(response)
    return Change(f"backup {name}", "created", attributes={**details}, note=note, pending=pending)


def wait(dynamodb: DynamoDBClient, arn: str) -> None:
    """Wait until the backup is available, for at most an hour. DynamoDB API reference: DescribeBackup."""
    status = {"matcher": "path", "argument": "BackupDescription.BackupDetails.BackupStatus"}
    available = {**status, "state": "success", "expected": "AVAILABLE"}
    deleted = {**status, "state": "failure", "expected": "DELETED"}
    change.wait_until(dynamodb, "BackupAvailable", "DescribeBackup", available, deleted, timeout=3600, BackupArn=arn)
