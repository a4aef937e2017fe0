"""Splits the output of a function's process into log messages.

Standard output, standard error and the runtime's log frames come through one pipe, which preserves their order. A
frame (`awslambdaric.bootstrap.FramedTelemetryLogSink`) consists of its type 0xA55A00xx, the length of the message, a
timestamp (4, 4 and 8 bytes) and the message. A frame is one log event, however many lines it has. In other text, each
line is an event. The first byte of the type cannot begin a UTF-8 character, so text never looks like a frame.
"""

from __future__ import annotations

_MAGIC = b"\xa5\x5a\x00"
_HEADER = 16


class Output:
    """Takes bytes as they arrive and returns complete messages."""

    def __init__(self) -> None:
        self._unread = b""
        self._line = b""

    def feed(self, data: bytes) -> list[str]:
        """Add `data` and return the messages that it completes."""
        self._unread += data
        messages: list[str] = []
        while True:
            start = self._unread.find(_MAGIC)
            if start < 0:
                # The data may end within the type of a frame.
                keep = next((n for n in (2, 1) if self._unread.endswith(_MAGIC[:n])), 0)
                messages += self._lines(self._take(len(self._unread) - keep))
                return messages
            messages += self._lines(self._take(start))
            length = _HEADER + int.from_bytes(self._unread[4:8], "big")
            if len(self._unread) < max(length, _HEADER):
                return messages
            messages.append(self._take(length)[_HEADER:].decode("utf-8", "replace"))

    def flush(self) -> list[str]:
        """Return the rest, when no more data comes: a last line without a line end."""
        rest = self._line + self._unread
        self._line = self._unread = b""
        return [rest.decode("utf-8", "replace")] if rest else []

    def _take(self, count: int) -> bytes:
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _lines(self, text: bytes) -> list[str]:
        *whole, self._line = (self._line + text).split(b"\n")
        return [(line + b"\n").decode("utf-8", "replace") for line in whole]
