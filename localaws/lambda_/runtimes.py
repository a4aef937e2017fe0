"""Lambda's Python runtimes: an interpreter, the libraries that AWS includes, and the command that starts a function."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from localaws.lambda_ import interpreters, isolated

# The libraries that a function can import without packaging them: the runtime client, and those that AWS's Python
# runtimes include (Lambda guide, "Runtime-included SDK versions"). It cannot import the server's other libraries.
_LIBRARIES = (
    "awslambdaric",
    "runtime_client",
    "simplejson",
    "snapshot_restore_py",
    "boto3",
    "botocore",
    "jmespath",
    "dateutil",
    "s3transfer",
    "six",
    "urllib3",
)

_OPT = Path("/opt")
_TMP = Path("/tmp")  # noqa: S108 - as on Lambda
# Import the runtime client before the function's code is in the path: no module of the code can replace it.
_BOOT = """
import sys
code, runtime, handler, *layers = sys.argv[1:]
sys.path[0] = runtime
from awslambdaric.__main__ import main
sys.path[0:0] = [code, *layers]
sys.argv[1:] = [handler]
main(sys.argv)
"""


def make_folder(folder: Path, *, pure_client: bool = False) -> None:
    """Link the libraries into `folder`, the LAMBDA_RUNTIME_DIR of the functions.

    Processes that cannot import the C runtime client use our runtime_client.py. With `pure_client`, all of them do.
    """
    folder.mkdir(mode=0o700, parents=True)
    for name in _LIBRARIES:
        spec = None if name == "runtime_client" and pure_client else find_spec(name)
        if spec and spec.origin:
            origin = Path(spec.origin)
            source = origin.parent if spec.submodule_search_locations else origin
            (folder / source.name).symlink_to(source)
    (folder / "runtime_client.py").symlink_to(Path(__file__).with_name("runtime_client.py"))


def command(runtime: str, folder: Path, handler: str, task_root: str, opt: Path, layer_root: str) -> list[str]:
    """The command that starts a function, without the site-packages of the host's Python (-S).

    The process has its code in `task_root`, and what is in `opt`, the content of its layers, in `layer_root`. The code
    wins over the layers.
    """
    names = (f"python/lib/{runtime}/site-packages", "python")
    paths = [f"{layer_root}/{name}" for name in names if (opt / name).is_dir()]
    return [interpreter(runtime), "-S", "-c", _BOOT, task_root, str(folder), handler, *paths]


def layer_root(python: str, opt: Path) -> str:
    """Where an isolated function has its layers: in /opt, unless it has none, or needs other files there to start."""
    hidden = any(_OPT in (*path.parents, *path.resolve().parents) for path in (Path(python), opt))
    return str(opt) if hidden or not _OPT.is_dir() or not any(opt.iterdir()) else str(_OPT)


def isolate(command: list[str], code: Path, folder: Path, megabytes: int, layers: str = "") -> list[str]:
    """Let a `command` of this module see `code` in isolated.TASK_ROOT, and have a /tmp of so many megabytes.

    `layers` is the folder to see in /opt, if any. If the function needs files in /tmp, it has that of the machine.
    """
    size = "0" if _needs_tmp(command[0], folder) else str(megabytes)
    text = Path(isolated.__file__).read_text(encoding="utf-8")
    script = command.index("-c") + 1
    return [*command[:script], text, command[script], str(code), str(folder), size, layers, *command[script + 1 :]]


def _needs_tmp(python: str, folder: Path) -> bool:
    """Whether functions need files in /tmp, such as the server's Python or directory."""
    return any(_TMP in (*path.parents, *path.resolve().parents) for path in (Path(python), folder, *folder.iterdir()))


@lru_cache
def isolation_error(python: str, folder: Path) -> str:
    """Why the system lets no process have mounts of its own; "" if it does."""
    command = isolate([python, "-S", "-c", ""], folder, folder, 1)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (result.stderr.strip() or "no reason").splitlines()[-1] if result.returncode else ""


def missing_isolation(python: str, folder: Path) -> str:
    """What functions can do here and not on Lambda, and why; "" if their files are as on Lambda."""
    if why := isolation_error(python, folder):
        return f"Functions do not have their code in {isolated.TASK_ROOT}, and can write all files: {why}"
    if _needs_tmp(python, folder):
        return "Functions share this machine's /tmp and can write all files: the server or its Python is in /tmp"
    return ""


def interpreter(runtime: str) -> str:
    """Find the Python of a runtime ("python3.12"), or the server's own if the machine lacks it."""
    return interpreters.find(runtime) or sys.executable


def difference(runtime: str, architecture: str) -> str:
    """How the functions of a runtime run differently here, and what to do about it; "" if they run as on Lambda."""
    if not runtime.startswith("python"):
        return f"has the runtime {runtime}, but the local AWS runs only Python functions"
    system = platform.system().replace("Darwin", "macOS")
    machine = platform.machine().replace("aarch64", "arm64")
    texts, remedies = [], []
    if not interpreters.find(runtime):
        own = f"python{sys.version_info.major}.{sys.version_info.minor}"
        texts.append(f"on Python {platform.python_version()}, because this machine lacks {runtime}")
        remedies += [f"uv python install {runtime.removeprefix('python')}", f"the runtime {own}"]
    if (system, machine) != ("Linux", architecture):
        texts.append(f"on {system} {machine}, not on Linux {architecture}")
        remedies += [f"the architecture {machine}"] if system == "Linux" else []
    if not texts:
        return ""
    advice = f". Try: {', or '.join(remedies)}" if remedies else ""
    return f"runs {' and '.join(texts)}; compiled dependencies may fail to import{advice}"
