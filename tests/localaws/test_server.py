"""The HTTP server, without an AWS client."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localaws import HOST, peers
from tests.localaws.deployed import deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
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


def test_expectation_is_answered_before_the_body(endpoint: str) -> None:
    """Clients wait for it, some of them forever, before they send the body (RFC 9110, "Expect")."""
    host, port = endpoint.removeprefix("http://").split(":")
    headers = "".join(f"{name}: {value}\r\n" for name, value in LIST_TABLES.items())
    with socket.create_connection((host, int(port)), timeout=20) as one:
        request = f"POST / HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        one.sendall(request.encode())
        assert one.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.sendall(b"{}")
        assert one.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_server_closes_the_connection_on_request(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/", b"{}", {**LIST_TABLES, "Connection": "close"})
    connection.getresponse().read()
    assert connection.sock is None


@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site"])
def test_request_of_a_web_page_is_refused(connection: http.client.HTTPConnection, header: str) -> None:
    connection.request("POST", "/", b"{}", {**LIST_TABLES, header: "none"})
    assert connection.getresponse().status == 403


# Become a user, if one is given, and send a request from a socket of that user.
AS_USER = """
import encodings.idna, http.client, os, socket, sys
endpoint, user, family = sys.argv[1:]
if user:
    os.setgid(int(user))
    os.setuid(int(user))
host, port = endpoint.split(":")
connection = http.client.HTTPConnection(host, int(port), timeout=20)
if family == "6":
    connection.sock = socket.create_connection(("::ffff:" + host, int(port)))
connection.request("POST", "/", b"{}", {"X-Amz-Target": "DynamoDB_20120810.ListTables"})
response = connection.getresponse()
print(response.status, response.read().decode())
"""
NOBODY = "65534"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells whose socket it is")


def request_as(user: str, endpoint: str, family: str = "4") -> str:
    command = [sys.executable, "-c", AS_USER, endpoint.removeprefix("http://"), user, family]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@needs_root
@needs_linux
@pytest.mark.parametrize("family", ["4", "6"])
def test_request_of_another_user_is_refused(endpoint: str, family: str) -> None:
    assert request_as(NOBODY, endpoint, family) == "403 This server serves only the user who started it.\n\n"


@pytest.mark.parametrize("family", ["4", "6"])
def test_request_of_the_same_user_is_served(endpoint: str, family: str) -> None:
    assert request_as("", endpoint, family).startswith("200 ")


# Become that user, and say of two connections whether they are allowed.
SERVER = """
import encodings.idna, os, socket, sys
from localaws import peers
os.setuid(int(sys.argv[1]))
with socket.create_server(("127.0.0.1", 0)) as server:
    print("http://127.0.0.1:%d" % server.getsockname()[1], flush=True)
    for _ in range(2):
        connection, address = server.accept()
        allowed = peers.is_allowed(address, connection.getsockname())
        request = b""
        while not request.endswith(b"{}"):
            request += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 %d X\\r\\nContent-Length: 0\\r\\n\\r\\n" % (200 if allowed else 403))
        connection.close()
"""


@needs_root
@needs_linux
def test_root_is_allowed_and_a_third_user_is_not() -> None:
    command = [sys.executable, "-c", SERVER, NOBODY]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        endpoint = process.stdout.readline().strip()
        assert (request_as("", endpoint)[:3], request_as("65533", endpoint)[:3]) == ("200", "403")


def test_functions_are_served(client: Callable[[str], Any]) -> None:
    code = "import boto3\ndef handler(event, context): return boto3.client('sts').get_caller_identity()['Account']"
    assert deploy(client, code).invoke().payload == "000000000000"


@needs_linux
@pytest.mark.parametrize("look_up", [peers.ask_kernel, peers.search_tables])
@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, HOST), (socket.AF_INET6, f"::ffff:{HOST}")])
def test_socket_of_a_connection_belongs_to_its_user(look_up: Any, family: int, address: str) -> None:
    with socket.create_server((HOST, 0)) as server, socket.socket(family) as one:
        one.connect((address, server.getsockname()[1]))
        connection, client = server.accept()
        with connection:
            assert look_up(client, server.getsockname()) == os.getuid()


@needs_linux
@pytest.mark.parametrize("look_up", [peers.ask_kernel, peers.search_tables])
def test_closed_socket_belongs_to_nobody(look_up: Any) -> None:
    with socket.create_server((HOST, 0)) as server:
        one = socket.create_connection(server.getsockname())
        address = one.getsockname()
        one.close()
        assert look_up(address, server.getsockname()) is None
