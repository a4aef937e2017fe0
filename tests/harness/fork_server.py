"""Runs each `invoke` command in a fork of this process, which has imported everything.

`python fork_server.py`, in the project's folder. Each line on stdin is a JSON document: the words of the command, its
environment, the folder of its streams, and where to kill it (null: nowhere). For each, one line on stdout has the exit
code, negative for a signal. The command reads `in` in that folder; its output is in `out` and `err`, and the names of
its API calls are in `calls`, one a line.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

sys.path.insert(0, str(Path.cwd()))

import botocore.loaders
import botocore.retries.standard
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
        child = os.fork()
        if not child:
            _run(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201 - the answer


def _run(order: Mapping[str, Any]) -> NoReturn:
    """Run one command in this process, which is a fork, and exit."""
    streams = Path(order["streams"])
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(streams / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(streams / "in", os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["environment"])
    _shift_clock(float(os.environ.get("CLOCK_OFFSET", "0")))
    _retry_at_once()
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
    """Record the name of each API call, and kill this process before or after the call that `kill` names."""
    counts: Counter[str] = Counter()

    def kill_if(when: str, operation: str) -> None:
        if kill and (kill["when"], kill["operation"], kill["nth"]) == (when, operation, counts[operation]):
            os.kill(os.getpid(), kill["signal"])

    def make_request(client: Any, operation: Any, *rest: Any) -> Any:
        counts[operation.name] += 1
        os.write(record, f"{operation.name}\n".encode())
        kill_if("before", operation.name)
        response = _make_request(client, operation, *rest)
        kill_if("after", operation.name)
        return response

    _CLIENT._make_request = make_request


def _shift_clock(seconds: float) -> None:
    """Set this process's clock ahead (or back, if negative). The local AWS has the machine's clock."""
    now = time.time
    time.time = lambda: now() + seconds


def _retry_at_once() -> None:
    """Remove botocore's pauses between attempts, not the attempts: pauses would take most of a run with faults."""
    botocore.retries.standard.ExponentialBackoff.delay_amount = lambda *_: 0.001  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
