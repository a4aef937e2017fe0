"""Install requirements.txt for the function's Python version with uv, which evaluates markers for that version."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from uv import find_uv_bin

from .resources.change import UserError

_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
# The C library of Lambda's images: Amazon Linux 2 up to python3.11, Amazon Linux 2023 from python3.12.
_AL2, _AL2023, _FIRST_PYTHON_ON_AL2023 = "manylinux2014", "manylinux_2_34", 12

# The user's settings of package sources, which are the only ones that apply: pip's, with uv's names, and uv's.
_FROM_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "proxy": "ALL_PROXY",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
}
_FROM_UV = re.compile("INDEX|FIND_LINKS|HOST|HTTP|CERT|TLS|KEYRING|OFFLINE|CACHE|CONFIG_FILE")

_LIST = re.compile(r"(?:-r|--requirement|-c|--constraint)[\s=]*(.+)")
_PATH = re.compile(r"\.{0,2}/|\.{1,2}$|.*(/|\.whl$|\.zip$|\.gz$)")
_NAME = re.compile(r"^name\s*=\s*[\"']([\w.-]+)", re.MULTILINE)
_BUILT = re.compile(r"\.|(__pycache__|build|dist|.*\.egg-info)$|.*\.pyc$")


def install(requirements: Path, cache: Path, runtime: str, architecture: str) -> Path:
    """Install the requirements into a folder of `cache`, unless it exists. Builds only local packages."""
    root = requirements.parent.parent.resolve()  # of the paths in the list
    minor = runtime.removeprefix("python3.")
    platform = f"{_MACHINES[architecture]}-{_AL2023 if int(minor) >= _FIRST_PYTHON_ON_AL2023 else _AL2}"
    options = ["--python-version", f"3.{minor}", "--python-platform", platform, "--no-editable"]
    options += ["--only-binary", ":all:"]
    digest = hashlib.sha256(repr(options).encode())
    for path in sorted({path.resolve() for path in inputs(requirements)}):
        digest.update(repr((os.path.relpath(path, root), path.read_bytes())).encode())
        if path.name == "pyproject.toml" and (name := _NAME.search(path.read_bytes().decode(errors="replace"))):
            options += ["--no-binary", name[1], "--refresh-package", name[1]]
    folder = cache / digest.hexdigest()[:16]
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    # Concurrent installations use separate folders. The first one that finishes wins.
    draft = Path(mkdtemp(dir=cache.resolve(), prefix="new-"))
    try:
        _run_uv(requirements, [*options, "--target", str(draft)], f"{runtime} on {architecture}")
        _forget_this_machine(draft)
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def inputs(requirements: Path) -> list[Path]:
    """The requirements file and the local files that it refers to: other lists, wheels, and the code of packages."""
    root, lists, found = requirements.parent.parent, [requirements], []
    for each in lists:  # grows
        found.append(each)
        for line in os.path.expandvars(each.read_text(errors="replace").replace("\\\n", " ")).splitlines():
            text = re.sub(r"(^|\s)#.*", "", line).strip()
            if match := _LIST.match(text):
                other = each.parent / match[1].strip("'\"")
                lists += [other] if other.is_file() and other not in lists else []
                continue
            for word in re.split(r"\s+|@|;|=|file:(?://)?", re.sub(r"\[[^]]*\]|#\S+", "", text)):
                path = root / word
                if _PATH.match(word) and path.exists():
                    found += _code(path) if path.is_dir() else [path]
    return found


def _code(folder: Path) -> Iterator[Path]:
    """The files of a local package, except build products."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _BUILT.match(name)]
        yield from (Path(parent, name) for name in names if not _BUILT.match(name))


def _run_uv(requirements: Path, options: list[str], target: str) -> None:
    environment = {name: text for name, text in os.environ.items() if name[:3] != "UV_" or _FROM_UV.search(name)}
    from_pip = _pip_settings()
    for name in _FROM_PIP.keys() & from_pip:
        words = map(os.path.expanduser, from_pip[name].split())
        environment.setdefault(_FROM_PIP[name], ("," if name == "find-links" else " ").join(words))
    if "extra-index-url" in from_pip:  # pip selects the best version from all indexes
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if from_pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        options = [*options, "--no-index"]
    command = [find_uv_bin(), "pip", "install", "--quiet", "--color", "never", "--python", sys.executable, *options]
    command += ["--requirement", str(requirements.resolve())]
    root = requirements.parent.parent
    finished = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        reason = " ".join(re.sub(r"(?m)^[\W_]*(error:|cause:)?", "", finished.stderr).split())
        advice = "Check name, version, and index; choose a version with a wheel, because only local packages are built"
        raise UserError(f"{requirements}: cannot be installed for {target}: {reason.rstrip('.')}. {advice}")


def _pip_settings() -> dict[str, str]:
    """The user's pip settings from its files and PIP_*, if pip is installed."""
    command = [sys.executable, "-m", "pip"] if find_spec("pip") else ["pip"]
    try:
        listed = subprocess.run([*command, "config", "list"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    settings: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # later sections take precedence
        found = re.findall(rf"^{section}\.([\w-]+)=(.*)$", listed, re.MULTILINE)
        settings |= {name: str(ast.literal_eval(text)) for name, text in found}
    return settings


def _forget_this_machine(folder: Path) -> None:
    """Remove files that contain paths or times of this machine: scripts and installation records."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for record in folder.glob("*.dist-info/*"):
        if record.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json") or record.name.startswith("uv_"):
            record.unlink()
