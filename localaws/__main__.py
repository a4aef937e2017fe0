"""The embedded AWS as a process: `python -m localaws --port 4566 --directory .local`.

Ready when DIRECTORY/server.json is there: {"endpoint", "pid", "id", "directory"}.
Ends on SIGTERM, or by itself after the idle hours.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localaws import ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Callable

# Before moto and boto3 are imported: they read the environment. Nothing of the host's AWS is to be found there.
# ruff: noqa: E402
for name in [name for name in os.environ if name.startswith(("AWS_", "MOTO_"))]:
    del os.environ[name]
os.environ |= {
    "MOTO_ACCOUNT_ID": ACCOUNT_ID,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

from localaws import delays, server
from localaws.dynamodb import items, stream, streams_api, tables, ttl
from localaws.iam import authorization, managed_policies
from localaws.lambda_ import api as lambda_api
from localaws.lambda_ import code, settings
from localaws.lambda_.functions import Functions
from localaws.logs import storage
from localaws.mappings.api import Mappings
from localaws.mappings.destinations import Destinations


def main() -> None:
    """Serve until told to stop, or until nobody has asked for anything for the idle hours."""
    arguments = _arguments()
    directory: Path = arguments.directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    last_seen = [time.monotonic()]

    identity: dict[str, object] = {
        "pid": os.getpid(),
        "id": secrets.token_hex(16),
        "directory": str(directory.resolve()),
    }

    def endpoint() -> str:
        return str(identity["endpoint"])

    functions = Functions(directory, endpoint, pure=arguments.pure_client)
    delays.scale(arguments.delays)
    _change_moto(functions, endpoint, arguments.aging)
    answerers = _answerers(functions, Mappings(functions, Destinations(functions, endpoint).discard))
    front = server.Front(identity, answerers, seen=lambda: last_seen.__setitem__(0, time.monotonic()))
    listening = server.serve(arguments.port, front)
    identity["endpoint"] = f"http://{server.HOST}:{listening.server_port}"

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    threading.Thread(target=ttl.sweep, args=(stop,), daemon=True).start()
    record = directory / "server.json"
    _write_private(record, json.dumps(identity))
    try:
        while not stop.wait(timeout=1):
            if time.monotonic() - last_seen[0] > arguments.idle_hours * 3600:
                break
    finally:
        listening.shutdown()
        functions.close()
        record.unlink(missing_ok=True)


def _change_moto(functions: Functions, endpoint: Callable[[], str], aging: float) -> None:
    """Put what is ours into moto, where a request that moto answers is to meet it."""
    items.install()
    stream.install(aging)
    tables.install()
    storage.install()
    settings.install(partial(lambda_api.start_event, functions), endpoint)


def _answerers(functions: Functions, mappings: Mappings) -> list[server.Answerer]:
    """Who is asked, in this order, before moto is."""
    return [
        authorization.answer,
        managed_policies.answer,
        tables.answer,
        partial(code.answer, functions),
        partial(lambda_api.answer, functions),
        mappings.answer,
        streams_api.answer,
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="localaws", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--directory", type=Path, required=True, help="for server.json and the functions' code")
    parser.add_argument("--idle-hours", type=float, default=8, help="end after so many hours without a request")
    parser.add_argument("--delays", type=float, default=0, help="be as late as AWS, by this factor; 0: be quick")
    parser.add_argument("--aging", type=float, default=1, help="let stream records grow old so many times as fast")
    parser.add_argument("--pure-client", action="store_true", help="run functions on the pure-Python runtime client")
    return parser.parse_args()


def _write_private(path: Path, text: str) -> None:
    """Write so that a reader finds the whole text or no file, and only the owner can read it."""
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    main()
