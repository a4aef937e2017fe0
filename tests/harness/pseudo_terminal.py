"""Runs a command on a terminal of its own, and says what it wrote and what the terminal then shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TOKEN = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[\?\d+[hl]|(\r)|(\n)|([^\x1b\r\n]+)")


def run(words: list[str], folder: Path, environment: Mapping[str, str], columns: int = 100) -> tuple[str, list[str]]:
    """Run a command. Returns all that it wrote, and the lines that remain on the screen."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(words[0], words, dict(environment))  # noqa: S606 - a fork has no shell
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    chunks = []
    try:
        while chunk := os.read(terminal, 65536):
            chunks.append(chunk)
    except OSError:  # Linux says so at the end
        pass
    os.waitpid(process, 0)
    os.close(terminal)
    written = b"".join(chunks).decode("utf-8", "replace")
    return written, _screen(written)


def _screen(written: str) -> list[str]:
    """The lines that a terminal of unlimited height shows: cursor up, erase line, carriage return and line feed."""
    lines, row, column = [""], 0, 0
    for match in _TOKEN.finditer(written):
        count, command, carriage_return, line_feed, text = match.groups()
        if command == "A":
            row = max(0, row - int(count or 1))
        elif command == "K":
            lines[row] = ""
        elif carriage_return:
            column = 0
        elif line_feed:
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return [line.rstrip() for line in lines if line.strip()]
