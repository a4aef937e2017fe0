"""Start debugpy in the process of a function, then its boot script: `python -c THIS SETTINGS BOOT [ARGUMENTS OF BOOT]`.

SETTINGS is JSON: "port", "wait", "paths" (pairs of a source folder and the folder of its deployed code), "folder" (that
of debugpy). It imports the standard library and debugpy only.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from importlib import import_module
from typing import Any

# The debugger of an earlier process may need a moment to leave the port.
_LISTEN_SECONDS = 2
_POLL_SECONDS = 0.05


def start(debugpy: Any, port: int, paths: list[list[str]], *, wait: bool) -> None:
    """Listen on the port, map the paths, and report to the server while a client is attached."""
    debugpy.configure(subProcess=False)
    deadline = time.monotonic() + _LISTEN_SECONDS
    while True:
        try:
            debugpy.listen(port)
            break
        except RuntimeError as error:
            if time.monotonic() > deadline:
                sys.stderr.write(f"This process runs without a debugger on port {port}: {error}\n")
                return
            time.sleep(_POLL_SECONDS)
    map_paths(paths)
    waiting = threading.Event()
    if wait:
        waiting.set()
    threading.Thread(target=report, args=(debugpy, waiting), daemon=True).start()
    if wait:
        sys.stderr.write(f"Waiting for a debugger to attach to port {port}.\n")
        debugpy.wait_for_client()
        waiting.clear()


def map_paths(paths: list[list[str]]) -> None:
    """Map them, also if a client maps others, as VS Code does: of several mappings, pydevd uses the first that fits."""
    pydevd_file_utils: Any = import_module("pydevd_file_utils")
    set_up = pydevd_file_utils.setup_client_server_paths
    pydevd_file_utils.setup_client_server_paths = lambda others: set_up([*map(tuple, paths), *others])
    pydevd_file_utils.setup_client_server_paths([])


def report(debugpy: Any, waiting: threading.Event) -> None:
    """Hold a connection to the server open while a client is attached, or waited for: deadlines do not count then."""
    debugpy.trace_this_thread(False)
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        attached = waiting.is_set() or debugpy.is_client_connected()
        if attached and not connection.sock:
            connection.request("POST", "/2018-06-01/runtime/debugger")
        elif not attached:
            connection.close()
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    boot = sys.argv[2]
    del sys.argv[1:3]
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # no warning about modules that are frozen into the interpreter
    sys.path[0] = settings["folder"]  # not the function's code yet
    sys.path.append(settings["folder"])
    start(import_module("debugpy"), settings["port"], settings["paths"], wait=settings["wait"])
    sys.modules.pop("code", None)  # debugpy imports it, and a function may have a module of this name
    exec(boot)  # noqa: S102 - our own script
