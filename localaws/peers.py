"""Which user is at the other end of a loopback connection.

The server runs code as whoever started it, so it serves nobody else.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import sys
from pathlib import Path

# sock_diag(7): a message's header, a request for one TCP socket, and where the reply has user and inode.
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_HEADER, _REQUEST, _ANY = "=IHHII", "=BBHI", 0xFFFFFFFF
_USER_OFFSET = 80
# proc_pid_net(5): the sockets of IPv4, and those of IPv6, which clients may use for an IPv4 address too.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_allowed(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """Whether the connection from `client` comes from the user of this process, or from root, who may do anything.

    On macOS always True: it shows the sockets of other users to programs with special rights only.
    """
    if not sys.platform.startswith("linux"):
        return True
    try:
        user = ask_kernel(client, server)
    except OSError:  # in a sandbox that does not have this interface
        user = search_tables(client, server)
    return user in (os.getuid(), 0)


def ask_kernel(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user ID of the client's socket; None if it has closed the socket, which then belongs to nobody.

    Raises OSError if the system does not answer. The time does not depend on the number of sockets. sock_diag(7).
    """
    addresses = b"".join(socket.inet_aton(address) + bytes(12) for address, _ in (client, server))
    connection = struct.pack(">HH", client[1], server[1]) + addresses + struct.pack("=III", 0, _ANY, _ANY)
    request = struct.pack(_REQUEST, socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY) + connection
    size = struct.calcsize(_HEADER) + len(request)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(struct.pack(_HEADER, size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + request)
        reply = kernel.recv(4096)
    if struct.unpack_from(_HEADER, reply)[1] != _SOCK_DIAG_BY_FAMILY:  # netlink(7): an error
        code = -struct.unpack_from("=i", reply, struct.calcsize(_HEADER))[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    user, inode = struct.unpack_from("=II", reply, _USER_OFFSET)
    return user if inode else None


def search_tables(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The same from the list of all sockets, which takes milliseconds if there are many."""
    columns = r"\S+ \S+ \S+ \S+ +(?P<user>\d+) +\d+ (?P<inode>\d+) "
    pattern = re.compile(rf"{_hex(client)} [0-9A-F]*{_hex(server)} {columns}")
    # The system may skip a line while others come and go, so look again before a refusal.
    for table in _TABLES * 3:
        match = pattern.search(table.read_text() if table.exists() else "")
        if match and match["inode"] != "0":
            return int(match["user"])
    return None


def _hex(address: tuple[str, int]) -> str:
    number = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return f"{number:08X}:{address[1]:04X}"
