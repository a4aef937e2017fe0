"""lambda_src/ -> a reproducible zip: the same sources give the same bytes, on any machine and at any time.

Hidden files (.env, .git, ...) and compiled Python (__pycache__, *.pyc) are left out.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
import subprocess
import symtable
import sys
import zipfile
from typing import TYPE_CHECKING

from .resources.change import UserError

if TYPE_CHECKING:
    from pathlib import Path

# docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
ZIPPED_BYTES = 50 * 1024 * 1024
UNZIPPED_BYTES = 250 * 1024 * 1024

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
_UNIX = 3
_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
# The C library of Lambda's images: Amazon Linux 2 up to python3.11, Amazon Linux 2023 from python3.12.
_GLIBC_MINOR_AL2, _GLIBC_MINOR_AL2023, _FIRST_PYTHON_ON_AL2023 = 26, 34, 12


def build(source: Path, cache: Path, runtime: str, architecture: str) -> bytes:
    """The zip of `source`, with the packages of its requirements.txt.

    `runtime` ("python3.13") and `architecture` ("x86_64", "arm64") select the wheels, which pip installs into `cache`.
    Raises UserError for links, for a missing folder, for packages without wheels, and above Lambda's limits.
    """
    if not source.is_dir():
        raise UserError(f"{source} is not a folder; the function's code belongs there")
    entries: dict[str, Path] = {}
    requirements = source / "requirements.txt"
    if requirements.is_file():
        entries.update(_files(vendor(requirements, cache, runtime, architecture)))
    entries.update(_files(source))
    if not entries:
        raise UserError(f"{source} contains no files")
    contents = {name: path.read_bytes() for name, path in entries.items()}
    _check_size("unzipped", sum(map(len, contents.values())), UNZIPPED_BYTES, contents)
    # Not compressed, since the bytes of deflate differ between zlib versions. Compressed only if too large otherwise.
    zipped = _zip(entries, contents, zipfile.ZIP_STORED)
    if len(zipped) > ZIPPED_BYTES:
        zipped = _zip(entries, contents, zipfile.ZIP_DEFLATED)
    _check_size("zipped", len(zipped), ZIPPED_BYTES, contents)
    return zipped


def sha256(zipped: bytes) -> str:
    """The digest as Lambda returns it: CodeSha256."""
    return base64.b64encode(hashlib.sha256(zipped).digest()).decode()


def check_handler(zipped: bytes, handler: str, runtime: str) -> None:
    """Raise UserError if the zip does not define the handler, MODULE.FUNCTION."""
    module, _, function = handler.rpartition(".")
    path = module.replace(".", "/")
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        names = archive.namelist()
        found = next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in names), None)
        if not found:
            modules = ", ".join(name for name in names if name.endswith(".py") and "/" not in name) or "none"
            raise UserError(f"FUNCTION_HANDLER: {handler!r}: the zip has no {path}.py; its Python files: {modules}")
        text = archive.read(found).decode(errors="replace")
    try:
        symbols = symtable.symtable(text, found, "exec").get_symbols()
    except SyntaxError as error:
        if f"python3.{sys.version_info.minor}" == runtime:
            raise UserError(f"FUNCTION_HANDLER: {handler!r}: {found} line {error.lineno}: {error.msg}") from None
        return  # another Python version may accept it
    defined = sorted(each.get_name() for each in symbols if each.is_assigned() or each.is_imported())
    if function not in defined and not re.search(r"^\s*from\s.*\simport\s+\*", text, re.MULTILINE):
        listed = ", ".join(defined) or "nothing"
        raise UserError(f"FUNCTION_HANDLER: {handler!r}: {found} defines no {function}; it defines: {listed}")


def vendor(requirements: Path, cache: Path, runtime: str, architecture: str) -> Path:
    """The folder with the installed `requirements`: wheels for Lambda, cached by the hash of the request."""
    request = f"{runtime} {architecture}\n".encode() + requirements.read_bytes()
    folder = cache / hashlib.sha256(request).hexdigest()[:16]
    if folder.is_dir():
        return folder
    draft = folder.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    minor = runtime.removeprefix("python3.")
    platforms = [word for tag in _platform_tags(int(minor), architecture) for word in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", f"3.{minor}", *platforms]
    finished = subprocess.run(
        [*command, "--target", str(draft), "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        reason = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")] or [
            finished.stderr.strip()
        ]
        raise UserError(f"{requirements}: pip found no wheels for {runtime} on {architecture}: {reason[0]}")
    _forget_this_machine(draft)
    draft.rename(folder)
    return folder


def _platform_tags(minor: int, architecture: str) -> list[str]:
    glibc = _GLIBC_MINOR_AL2023 if minor >= _FIRST_PYTHON_ON_AL2023 else _GLIBC_MINOR_AL2
    machine = _MACHINES[architecture]
    return [*(f"manylinux_2_{older}_{machine}" for older in range(glibc, 16, -1)), f"manylinux2014_{machine}"]


def _forget_this_machine(folder: Path) -> None:
    """Remove the files that contain paths of this machine: scripts, and pip's records."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for record in folder.glob("*.dist-info/*"):
        if record.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
            record.unlink()


def _files(folder: Path) -> dict[str, Path]:
    """The files of `folder` by their names in the zip."""
    found = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in relative.parts) or path.suffix == ".pyc":
            continue
        if path.is_symlink():
            raise UserError(f"{path} is a symbolic link; replace it with the file itself")
        if path.is_file():
            found[relative.as_posix()] = path
    return found


def _zip(entries: dict[str, Path], contents: dict[str, bytes], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system = _UNIX
            executable = entries[name].stat().st_mode & 0o100
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(entry, contents[name], compression)
    return buffer.getvalue()


def _check_size(kind: str, size: int, limit: int, contents: dict[str, bytes]) -> None:
    if size > limit:
        largest = sorted(contents, key=lambda name: len(contents[name]), reverse=True)[:5]
        listed = ", ".join(f"{name} ({len(contents[name]) / 2**20:.1f} MB)" for name in largest)
        raise UserError(
            f"the code is {size / 2**20:.1f} MB {kind}; allowed: {limit / 2**20:.0f} MB. "
            f"The largest files: {listed}. Leave out what Lambda provides (boto3), or move data to S3 or a layer."
        )
