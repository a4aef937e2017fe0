"""The zip of a function as an S3 object: upload it if it is missing, delete it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .change import Change, UserError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def ensure(s3: S3Client, desired: Mapping[str, Any]) -> Change:
    """Upload the object, unless the bucket contains it.

    `desired` holds PutObject's parameters. Its Key identifies the content, so the content is not compared. Raises
    UserError if the bucket does not exist. S3 API reference: ListObjectsV2, PutObject.
    """
    bucket, key = desired["Bucket"], desired["Key"]
    resource = f"object s3://{bucket}/{key}"
    try:
        if key in _keys(s3, bucket, key):
            return Change(resource, "unchanged")
    except s3.exceptions.NoSuchBucket:
        raise UserError(f"bucket {bucket} does not exist; create it: aws s3 mb s3://{bucket}") from None
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":  # the caller may still be allowed to put
            raise
    s3.put_object(**desired)
    return Change(resource, "created")


def delete_all(s3: S3Client, bucket: str, folder: str, pattern: str) -> Change:
    """Delete the folder's objects that match the pattern, if allowed. S3 API reference: ListObjectsV2, DeleteObject."""
    resource = f"code in s3://{bucket}/{folder}/"
    try:
        keys = [key for key in _keys(s3, bucket, f"{folder}/") if re.fullmatch(pattern, key.removeprefix(f"{folder}/"))]
        for key in keys:
            s3.delete_object(Bucket=bucket, Key=key)
    except s3.exceptions.NoSuchBucket:
        keys = []
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return Change(resource, "unchanged", note="kept (AccessDenied)")
    return Change(resource, "deleted" if keys else "absent")


def _keys(s3: S3Client, bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]
