"""Runs `invoke` as a person does, in a fork of a process that has imported everything: a few times quicker.

`python fork_server.py` in the project's folder. One JSON document a line on stdin: {"words", "settings", "folder",
"signal", "at"}; for each, one line on stdout: the exit code, negative for a signal. The command reads folder/in; what
it printed is in folder/out and folder/err, the API calls that it made are in folder/calls, one a line. `signal` is sent
to the command `at` ["before" or "after", the how manieth, operation], or never.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
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

# The one place that every API call passes; the types do not tell of it.
_CLIENT: Any = BaseClient
_SESSION: Any = botocore.session
_make_request = _CLIENT._make_request


def main() -> None:
    """Warm up, then serve until stdin ends."""
    loader = botocore.loaders.Loader()
    _SESSION.create_loader = lambda *_: loader  # the models of the services are read once, before forking
    client = session.connect(settings.load(None, {}, {}), "http://127.0.0.1:9")
    for service in ("dynamodb", "iam", "lambda", "logs", "sts"):
        client(service)
    for module in (*Path("pipeline").glob("*.py"), Path("localaws/control.py")):
        importlib.import_module(".".join(module.with_suffix("").parts))
    gc.freeze()  # what is here now is never looked through again, by no fork
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(order: Mapping[str, Any]) -> NoReturn:
    folder = Path(order["folder"])
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(folder / "in", os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["settings"])
    _retry_at_once()
    _watch_calls(order, os.open(folder / "calls", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    code = 0
    try:
        Program(namespace=tasks.namespace).run(["invoke", *order["words"]])
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch_calls(order: Mapping[str, Any], noted: int) -> None:
    made: Counter[str] = Counter()

    def make_request(client: Any, operation: Any, *rest: Any) -> Any:
        made[operation.name] += 1
        os.write(noted, f"{operation.name}\n".encode())
        if order["at"] == ["before", made[operation.name], operation.name]:
            os.kill(os.getpid(), order["signal"])
        answer = _make_request(client, operation, *rest)
        if order["at"] == ["after", made[operation.name], operation.name]:
            os.kill(os.getpid(), order["signal"])
        return answer

    _CLIENT._make_request = make_request


def _retry_at_once() -> None:
    """As often as ever, but without botocore's pauses, which would be nearly all of the time of a run with faults."""
    botocore.retries.standard.ExponentialBackoff.delay_amount = lambda *_: 0.001  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
