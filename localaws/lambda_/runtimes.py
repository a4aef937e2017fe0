"""What stands in for Lambda's Python runtimes: an interpreter, the libraries that AWS brings along, and the start."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

# What a function can import without bringing it along: the runtime client and what AWS's Python runtimes hold (Lambda
# guide, "Runtime-included SDK versions"). It sees nothing else of this server's environment.
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

# The runtime client is loaded before the function's code can be found: no module of the code is to take its place.
_BOOT = """
import sys
code, runtime, handler, *layers = sys.argv[1:]
sys.path[0] = runtime
from awslambdaric.__main__ import main
sys.path[0:0] = [code, *layers]
sys.argv[1:] = [handler]
main(sys.argv)
"""


def make_folder(folder: Path, *, pure: bool = False) -> None:
    """Link the libraries into `folder`, which then is the functions' LAMBDA_RUNTIME_DIR.

    Our runtime_client.py stands there as well, and is imported where the C module cannot be; `pure` leaves that out.
    """
    folder.mkdir(mode=0o700, parents=True)
    for name in _LIBRARIES:
        spec = None if name == "runtime_client" and pure else find_spec(name)
        if spec and spec.origin:
            origin = Path(spec.origin)
            source = origin.parent if spec.submodule_search_locations else origin
            (folder / source.name).symlink_to(source)
    (folder / "runtime_client.py").symlink_to(Path(__file__).with_name("runtime_client.py"))


def command(runtime: str, code: Path, folder: Path, handler: str, layers: list[Path]) -> list[str]:
    """The words that start a function: no site-packages (-S), no environment of the host's Python.

    `layers` are unpacked layers; the later one wins, and all come after the function's own code.
    """
    python = interpreter(runtime)
    version = Path(f"python/lib/{runtime}/site-packages")
    paths = [layer / part for part in (version, "python") for layer in reversed(layers) if (layer / part).is_dir()]
    return [python, "-S", "-c", _BOOT, str(code), str(folder), handler, *map(str, paths)]


@lru_cache
def interpreter(runtime: str) -> str:
    """The Python of that runtime ("python3.12") when this machine has it, else the one of this server: said once."""
    if runtime == f"python{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(runtime)
    # What is found may be a launcher that does not work: asked for the interpreter behind it, it shows.
    asked = found and subprocess.run(
        [found, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, check=False
    )
    if asked and asked.returncode == 0:
        return asked.stdout.strip()
    own = sys.version.split()[0]
    sys.stderr.write(f"{runtime} is not on this machine: its functions run on Python {own} here.\n")
    return sys.executable
