"""The debugger of the functions: debugpy, if the server's directory has a debug.json.

{"port": 5678, "wait": false, "source": "/project/src"}: the next process of a function listens on the port, with `wait`
until a client attaches. A breakpoint in a file of `source` applies to the file of that name in the deployed code.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Debugger:
    """The content of debug.json."""

    port: int
    wait: bool = False
    source: str = ""

    def command(self, command: list[str], code: Path, folder: Path) -> list[str]:
        """The command that starts a function under debugpy: `command`, with debugged.py before its boot script.

        It links debugpy into `folder`, as the function has to import nothing else of the host's.
        """
        spec = find_spec("debugpy")
        if not spec or not spec.origin:
            return command
        folder.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            (folder / "debugpy").symlink_to(Path(spec.origin).parent)
        paths = [[self.source, str(code)]] if self.source else []
        settings = {"port": self.port, "wait": self.wait, "paths": paths, "folder": str(folder)}
        start = Path(__file__).with_name("debugged.py").read_text(encoding="utf-8")
        boot = command.index("-c") + 1
        return [*command[:boot], start, json.dumps(settings), *command[boot:]]


def read(directory: Path) -> Debugger | None:
    """The debugger that debug.json asks for."""
    try:
        return Debugger(**json.loads((directory / "debug.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
