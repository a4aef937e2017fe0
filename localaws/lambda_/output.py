"""Splits the output of a function's process into log messages.

Standard output, standard error and the runtime's log frames come through one pipe, which preserves their order. A
frame (`awslambdaric.bootstrap.FramedTelemetryLogSink`) consists of its type 0xA55A00xx, the length of the message, a
timestamp (4, 4 and 8 bytes) and the message. A frame is one log event, however many lines it has. In other text, each
line is an event. The first byte of the type cannot begin a UTF-8 character, so text never looks like a frame.

A message that is larger than an event may be becomes several events, as soon as they are full.
"""

from __future__ import annotations

_MAGIC = b"\xa5\x5a\x00"
_HEADER = 16
# CloudWatch Logs API reference, PutLogEvents: a batch has at most 1 MB, of which each event takes 26 bytes.
_MAX_BYTES = 1_048_576 - 26


class Output:
    """Takes bytes as they arrive and returns complete messages."""

    def __init__(self) -> None:
        self._unread = b""
        self._line = b""
        self._rest_of_frame = 0

    def feed(self, data: bytes) -> list[str]:
        """Add `data` and return the messages that it completes."""
        self._unread += data
        messages: list[str] = []
        while True:
            if self._rest_of_frame:
                if len(self._unread) < min(self._rest_of_frame, _MAX_BYTES + 1):
                    return messages
                message = self._take(_cut(self._unread[: self._rest_of_frame]))
                self._rest_of_frame -= len(message)
                messages.append(message.decode("utf-8", "replace"))
                continue
            start = self._unread.find(_MAGIC)
            if start < 0:
                # The data may end within the type of a frame.
                keep = next((n for n in (2, 1) if self._unread.endswith(_MAGIC[:n])), 0)
                messages += self._lines(self._take(len(self._unread) - keep))
                return messages
            messages += self._lines(self._take(start))
            if len(self._unread) < _HEADER:
                return messages
            self._rest_of_frame = int.from_bytes(self._take(_HEADER)[4:8], "big")

    def flush(self) -> list[str]:
        """Return the rest, when no more data comes: a last line without a line end."""
        rest = self._line + self._unread
        self._line = self._unread = b""
        self._rest_of_frame = 0
        return [rest.decode("utf-8", "replace")] if rest else []

    def _take(self, count: int) -> bytes:
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _lines(self, text: bytes) -> list[str]:
        *lines, self._line = (self._line + text).split(b"\n")
        messages = [line + b"\n" for line in lines]
        while len(self._line) > _MAX_BYTES:
            end = _cut(self._line)
            messages.append(self._line[:end])
            self._line = self._line[end:]
        return [message.decode("utf-8", "replace") for message in messages]


def _cut(text: bytes) -> int:
    """How much of a text fits into an event, without cutting a character."""
    end = min(len(text), _MAX_BYTES)
    while end < len(text) and text[end] & 0xC0 == 0x80:  # noqa: PLR2004 - the later bytes of a character in UTF-8
        end -= 1
    return end
