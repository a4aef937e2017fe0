"""Output and interrupts of the command line: a closed pipe does not stop a task, and Ctrl-C prints one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Whether Ctrl-C raises KeyboardInterrupt. Otherwise, and on a second Ctrl-C, it ends the process.
_interruptible = False


class _Stream:
    """A text stream that discards output after the reader of the pipe is gone, or when the disk is full."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.discards = False

    def write(self, text: str) -> int:
        """Write the text, or discard it."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or discard what it holds."""
        self._try(self._stream.flush)

    def _try(self, call: Callable[..., Any], *text: str) -> None:
        try:
            call(*text)
        except OSError as error:
            self.discards = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if not isinstance(error, BrokenPipeError):
                sys.stderr.write(f"{self._stream.name}: {error.strerror}\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare() -> None:
    """Make stdin, stdout, and stderr usable in any state. Make Ctrl-C end the task with one line and exit code 130."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - stays open
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        stream.reconfigure(errors="backslashreplace")  # a terminal may not support every character
        setattr(sys, name, _Stream(stream))
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _interrupt_again


def is_interactive() -> bool:
    """Whether the output goes to a terminal that can move the cursor."""
    plain = {"CI", "NO_COLOR"} & os.environ.keys() or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return not plain and sys.stdout.isatty() and sys.stderr.isatty()


def _interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Deliver a Ctrl-C again that arrived in a callback of the interpreter, which cannot raise exceptions."""
    global _interruptible  # noqa: PLW0603
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    _interruptible = True
    threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()


def _interrupt(*_: object) -> None:
    global _interruptible  # noqa: PLW0603 - a signal handler has no other state
    if _interruptible:
        _interruptible = False
        raise KeyboardInterrupt
    ignore_interrupts()
    os.write(2, b"invoke: interrupted\n")
    os._exit(130)


def ignore_interrupts() -> None:
    """Ignore further Ctrl-C, so that it does not add to the message that is printed now."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first Ctrl-C raise KeyboardInterrupt in the `with` block."""
    global _interruptible  # noqa: PLW0603
    _interruptible = True
    try:
        yield
    finally:
        _interruptible = False


def until_interrupted() -> Callable[[], bool]:
    """Return a function that is true after Ctrl-C, or if no one reads stdout anymore. A second Ctrl-C interrupts."""
    interrupts: list[object] = []

    def note(*_: object) -> None:
        interrupts.append(signal.signal(signal.SIGINT, interrupt))

    interrupt = signal.signal(signal.SIGINT, note)
    return lambda: bool(interrupts) or getattr(sys.stdout, "discards", False)
