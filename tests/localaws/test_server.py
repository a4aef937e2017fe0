"""The HTTP server, without an AWS client."""

from __future__ import annotations

import http.client
import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIST_TABLES = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}


@pytest.fixture
def connection(endpoint: str) -> Iterator[http.client.HTTPConnection]:
    one = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=20)
    yield one
    one.close()


@pytest.mark.parametrize("body", [b"{}", iter([b"{", b"}"])], ids=["whole", "chunked"])
def test_connection_stays_open(connection: http.client.HTTPConnection, body: Any) -> None:
    connection.request("POST", "/", body, LIST_TABLES, encode_chunked=not isinstance(body, bytes))
    connection.getresponse().read()
    used = connection.sock
    connection.request("POST", "/", b"{}", LIST_TABLES)
    assert (connection.getresponse().status, connection.sock) == (200, used)


def test_head_returns_the_length_and_no_body(client: Callable[[str], Any]) -> None:
    s3, bucket = client("s3"), f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=bucket, Key="key", Body=b"12345")
    length = s3.head_object(Bucket=bucket, Key="key")["ContentLength"]
    # On the same connection: this call would read what HEAD left unread.
    assert (length, s3.get_object(Bucket=bucket, Key="key")["Body"].read()) == (5, b"12345")


def test_server_closes_the_connection_on_request(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/", b"{}", {**LIST_TABLES, "Connection": "close"})
    connection.getresponse().read()
    assert connection.sock is None
