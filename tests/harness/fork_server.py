"""Runs each `invoke` command in a fork of this process, which has imported everything.

`python fork_server.py`, in the project's folder. Each line on stdin is a JSON document: the words of the command, its
environment, the folder of its streams, where to kill it (null: nowhere), and the speed of its time. For each, one line
on stdout is a JSON document: its exit code, negative for a signal, its seconds, and the seconds that it computed. The
command reads `in` in that folder; its output is in `out` and `err`, and the names of its API calls are in `calls`, one
a line.
"""

from __future__ import annotations

import datetime as dt
import gc
import importlib
import json
import os
import sys
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

sys.path.insert(0, str(Path.cwd()))

import botocore.auth
import botocore.loaders
import botocore.session
from botocore.client import BaseClient
from invoke.program import Program

import tasks
from pipeline import session, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

# Every API call passes through this method, which the type stubs leave out.
_CLIENT: Any = BaseClient
_SESSION: Any = botocore.session
_AUTH: Any = botocore.auth
_make_request = _CLIENT._make_request


def main() -> None:
    """Import everything, then serve until stdin ends."""
    loader = botocore.loaders.Loader()
    _SESSION.create_loader = lambda *_: loader  # reads each service's model once, before forking
    client = session.connect(settings.load(None, {}, {}), "http://127.0.0.1:9")
    for service in ("dynamodb", "iam", "lambda", "logs", "sts"):
        client(service)
    for module in (*Path("pipeline").rglob("*.py"), Path("localaws/control.py")):
        importlib.import_module(".".join(module.with_suffix("").parts).removesuffix(".__init__"))
    gc.freeze()  # no fork collects, and so copies, what exists now
    for line in sys.stdin:
        began = time.monotonic()
        child = os.fork()
        if not child:
            _run(json.loads(line))
        _, status, used = os.wait4(child, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began}
        print(json.dumps({**answer, "computed": used.ru_utime + used.ru_stime}), flush=True)  # noqa: T201


def _run(order: Mapping[str, Any]) -> NoReturn:
    """Run one command in this process, which is a fork, and exit."""
    streams = Path(order["streams"])
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(streams / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(streams / "in", os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["environment"])
    _set_clock(order["speed"], float(os.environ.get("CLOCK_OFFSET", "0")))
    _watch_calls(order["kill"], os.open(streams / "calls", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    code = 0
    try:
        Program(namespace=tasks.namespace).run(["invoke", *order["words"]])
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch_calls(kill: Mapping[str, Any] | None, record: int) -> None:
    """Record the name of each API call, and kill this process before or after the call that `kill` names.

    A write that AWS refuses is no point to be killed after: it may be refused any number of times, for a while.
    """
    made: Counter[str] = Counter()
    done: Counter[str] = Counter()

    def kill_if(when: str, operation: str, counts: Counter[str]) -> None:
        counts[operation] += 1
        if kill and (kill["when"], kill["operation"], kill["nth"]) == (when, operation, counts[operation]):
            os.kill(os.getpid(), kill["signal"])
            time.sleep(1)  # Ctrl-C comes again if it met a callback of the interpreter, which can raise nothing

    def make_request(client: Any, operation: Any, *rest: Any) -> Any:
        os.write(record, f"{operation.name}\n".encode())
        kill_if("before", operation.name, made)
        response = _make_request(client, operation, *rest)
        if response[0].status_code < HTTPStatus.BAD_REQUEST or session.is_read(operation.name):
            kill_if("after", operation.name, done)
        return response

    _CLIENT._make_request = make_request


def _set_clock(speed: float, offset: float) -> None:
    """Let time pass `speed` times as fast, and set the time of day `offset` seconds ahead of the local AWS's.

    Pauses and timeouts end sooner, those of botocore included. The time that the command computes counts `speed` times.
    """
    sleep, monotonic, now = time.sleep, time.monotonic, time.time
    time.sleep = lambda seconds: sleep(float(seconds) / speed)
    time.monotonic = lambda: monotonic() * speed
    time.time = lambda: now() + offset

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Shifted:
            return cls.fromtimestamp(time.time(), tz)

    for name, module in list(sys.modules.items()):
        if name.startswith("pipeline.") and getattr(module, "datetime", None) is dt.datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
    _AUTH.get_current_datetime = lambda: Shifted.now(dt.timezone.utc).replace(tzinfo=None)


if __name__ == "__main__":
    main()
