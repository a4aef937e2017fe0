"""Which user is at the other end of a loopback connection.

The server runs code as whoever started it, so it serves nobody else.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

# proc_pid_net(5): the sockets of IPv4, and those of IPv6, which clients may use for an IPv4 address too.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_allowed(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """Whether the connection from `client` comes from the user of this process, or from root, who may do anything.

    On macOS always True: it shows the sockets of other users to programs with special rights only.
    """
    return not sys.platform.startswith("linux") or _user(client, server) in (os.getuid(), 0)


def _user(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user ID of the client's socket; None if it has closed the socket, which then belongs to nobody."""
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
