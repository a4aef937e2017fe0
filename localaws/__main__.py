"""The local AWS as a process: `python -m localaws --port 4566 --directory .local`.

It is ready when DIRECTORY/server.json exists: {"endpoint", "pid", "id", "directory"}.
It exits on SIGTERM, after the idle hours, or when server.json is no longer its own.
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

from localaws import HOST

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

# Before the import of moto and boto3, which read the environment: hide the host's AWS configuration from them.
# ruff: noqa: E402
for name in [name for name in os.environ if name.startswith(("AWS_", "MOTO_"))]:
    del os.environ[name]
os.environ |= {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "MOTO_DISABLE_GLOBAL_CORS": "true",  # web pages may not call it
}

from localaws import delays, failures, server
from localaws.dynamodb import api as dynamodb_api
from localaws.dynamodb import stream, streams_api, ttl
from localaws.iam import access_log, authorization
from localaws.lambda_ import api as lambda_api
from localaws.lambda_.functions import Functions
from localaws.mappings.api import Mappings
from localaws.mappings.destinations import Destinations
from localaws.moto_patches import patch_moto


def main() -> None:
    """Serve until a signal comes, or until there was no request for the idle hours."""
    arguments = _arguments()
    directory: Path = arguments.directory.resolve()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity: dict[str, object] = {"pid": os.getpid(), "id": secrets.token_hex(16), "directory": str(directory)}

    def endpoint() -> str:
        return str(identity["endpoint"])

    delays.set_factor(arguments.delays)
    stream.set_aging(arguments.aging)
    if arguments.access_log:
        access_log.write_to(directory / access_log.NAME)
    functions = Functions(directory, endpoint, pure_client=arguments.pure_client)
    patch_moto(functions)
    mappings = Mappings(functions, Destinations(functions, endpoint).discard)
    last_request = time.monotonic()

    def on_request(request: Request) -> None:
        nonlocal last_request
        last_request = time.monotonic()
        authorization.authorize(request, mappings.function_of)

    handlers: list[server.RequestHandler] = [
        dynamodb_api.handle, streams_api.handle, partial(lambda_api.handle, functions), mappings.handle,
        failures.check_parameters,
    ]  # fmt: skip
    listener = server.serve(arguments.port, server.Application(identity, on_request, handlers))
    identity["endpoint"] = f"http://{HOST}:{listener.server_port}"

    stop = _stop_event()
    threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()  # how soon it can be shut down
    threading.Thread(target=ttl.delete_expired_items, args=(stop,), daemon=True).start()
    threading.Thread(target=functions.end_idle, args=(stop, arguments.environment_idle), daemon=True).start()
    record = directory / "server.json"
    text = json.dumps(identity)
    _write_private(record, text)
    try:
        while not stop.wait(timeout=1) and time.monotonic() - last_request < arguments.idle_hours * 3600:
            if not _holds(record, text):
                break  # nobody finds this server anymore
    finally:
        listener.shutdown()
        functions.close()
        if _holds(record, text):
            record.unlink()


def _stop_event() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Under nohup, functions would inherit that, and the frozen ones would outlive a server that is killed.
        signal.signal(signal.SIGHUP, lambda *_: None)
    return stop


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="localaws", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--directory", type=Path, required=True, help="for server.json and the functions' code")
    parser.add_argument("--idle-hours", type=float, default=8, help="exit after so many hours without a request")
    parser.add_argument("--delays", type=float, default=0, help="simulate AWS's delays, times this factor; 0: none")
    parser.add_argument("--aging", type=float, default=1, help="let stream records age so many times as fast")
    parser.add_argument(
        "--environment-idle", type=float, default=600, help="end a function's process idle so many seconds"
    )
    parser.add_argument("--access-log", action="store_true", help="log who may do what, in DIRECTORY/access.jsonl")
    parser.add_argument("--pure-client", action="store_true", help="run functions on the pure-Python runtime client")
    return parser.parse_args()


def _holds(path: Path, text: str) -> bool:
    """Whether the file exists and has that text."""
    try:
        return path.read_text() == text
    except OSError:
        return False


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read. Readers see the whole text or no file."""
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    main()
