"""Build a reproducible zip of lambda_src/, without hidden files and compiled Python."""

import base64
import hashlib
import io
import os
import re
import symtable
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from . import vendor
from .resources.change import UserError

# A file. The entries of a directory are faster to create than Path objects.
Entry: TypeAlias = "os.DirEntry[str] | Path"

# docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
DIRECT_UPLOAD_BYTES = 50 * 1024 * 1024
UNZIPPED_BYTES = 250 * 1024 * 1024

# Code up to this size is stored uncompressed. Its bytes do not depend on the version of zlib, so two machines do not
# update the function alternately. Larger code is compressed, because its upload takes longer than the compression.
_STORED_BYTES = 1024 * 1024


def build(source: Path, folder: Path, runtime: str, architecture: str, *, write: bool = True) -> bytes:
    """The zip of `source` and the packages in its requirements.txt. Reuses the zip in `folder` if it is up to date.

    `runtime` ("python3.13") and `architecture` ("x86_64") select the packages. With `write`, the zip is stored.
    Raises UserError for links, for a missing folder, for packages without wheels, and above Lambda's limit.
    """
    files = dict(_files(source)) if source.is_dir() else {}
    if not files:
        problem = "contains no files" if source.is_dir() else "is not a folder"
        raise UserError(f"{source} {problem}; put the function's code there")
    packages = vendor.inputs(source / "requirements.txt") if "requirements.txt" in files else []
    inputs = _state([*files.values(), *packages], runtime, architecture)
    if (zipped := _stored(folder, inputs)) is None:
        zipped = _build(source, folder / "vendor", runtime, architecture, inputs)
        if write:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / "function.zip", zipped)
            _write(folder / "function.inputs", f"{inputs} {sha256(zipped)}".encode())
    return zipped


def _state(files: list[Entry], runtime: str, architecture: str) -> str:
    """A digest of the names, sizes, times, and modes of files, which changes when a file changes."""
    digest = hashlib.sha256(f"{runtime} {architecture}".encode())
    for path in [*files, Path(__file__), Path(vendor.__file__)]:
        stat = path.stat()
        state = (os.fspath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_mode)
        digest.update(repr(state).encode("utf-8", "replace"))
    return digest.hexdigest()


def _stored(folder: Path, inputs: str) -> bytes | None:
    """The stored zip, if it is complete and was built from these inputs."""
    try:
        made_of, zipped = (folder / "function.inputs").read_bytes(), (folder / "function.zip").read_bytes()
    except OSError:
        return None
    return zipped if made_of == f"{inputs} {sha256(zipped)}".encode() else None


def stored_sha256(folder: Path) -> str:
    """The digest of the stored zip, or "" if there is none."""
    inputs = folder / "function.inputs"
    return inputs.read_text().rpartition(" ")[2] if inputs.is_file() and (folder / "function.zip").is_file() else ""


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@lru_cache(maxsize=1)  # a plan and the deployment after it
def _build(source: Path, cache: Path, runtime: str, architecture: str, inputs: str) -> bytes:  # noqa: ARG001
    entries = dict(_files(source))
    if requirements := entries.get("requirements.txt"):
        entries = {**dict(_files(vendor.install(Path(requirements), cache, runtime, architecture))), **entries}
    sizes = {name: path.stat().st_size for name, path in entries.items()}
    if (total := sum(sizes.values())) > UNZIPPED_BYTES:
        raise _too_large(f"{total / 2**20:.1f} MB unzipped; allowed: {UNZIPPED_BYTES / 2**20:.0f} MB", sizes)
    compression = zipfile.ZIP_STORED if total <= _STORED_BYTES else zipfile.ZIP_DEFLATED
    return _zip(entries, compression)


def _zip(entries: Mapping[str, Entry], compression: int) -> bytes:
    """The zip of the entries by name. Each core compresses a share of them, as zlib releases Python's lock."""
    names, cores = sorted(entries), os.cpu_count() or 1
    shares = [names[len(names) * core // cores : len(names) * (core + 1) // cores] for core in range(cores)]
    buffer = io.BytesIO()
    with ThreadPoolExecutor(cores) as pool, zipfile.ZipFile(buffer, "w") as whole:
        for part in pool.map(lambda share: _part([(name, entries[name]) for name in share], compression), shares):
            with zipfile.ZipFile(io.BytesIO(part)) as archive:
                buffer.write(part[: archive.start_dir])
                for entry in archive.filelist:
                    entry.header_offset += whole.start_dir
                whole.filelist += archive.filelist
            whole.start_dir = buffer.tell()  # the start of the zip's directory
    return buffer.getvalue()


def _part(entries: Iterable[tuple[str, Entry]], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in entries:
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.create_system = 3  # Unix
            executable = path.stat().st_mode & 0o100
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(entry, Path(path).read_bytes(), compression)
    return buffer.getvalue()


def _files(folder: Entry, prefix: str = "") -> Iterator[tuple[str, Entry]]:
    """The files of `folder` by their names in the zip."""
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name == "__pycache__" or entry.name.endswith(".pyc"):
            continue
        if entry.is_symlink():
            raise UserError(f"{entry.path} is a symbolic link; replace it with the file")
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield prefix + entry.name, entry


def _too_large(problem: str, sizes: Mapping[str, int]) -> UserError:
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:5]
    listed = ", ".join(f"{name} ({sizes[name] / 2**20:.1f} MB)" for name in largest)
    advice = "Remove packages that Lambda provides (boto3), or move data to S3 or a layer."
    return UserError(f"the code is {problem}. The largest files: {listed}. {advice}")


def check_upload(zipped: bytes, bucket: str) -> None:
    """Raise UserError if the zip is too large for a direct upload and no bucket is set."""
    if len(zipped) > DIRECT_UPLOAD_BYTES and not bucket:
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            sizes = {entry.filename: entry.compress_size for entry in archive.infolist()}
        allowed = f"{DIRECT_UPLOAD_BYTES / 2**20:.0f} MB. Set CODE_BUCKET to the name of an S3 bucket in the region"
        raise _too_large(f"{len(zipped) / 2**20:.1f} MB zipped; allowed without CODE_BUCKET: {allowed}", sizes)


@lru_cache(maxsize=1)
def sha256(zipped: bytes) -> str:
    """The digest as Lambda returns it: CodeSha256."""
    return base64.b64encode(hashlib.sha256(zipped).digest()).decode()


def check_handler(zipped: bytes, handler: str, runtime: str, *, layers: bool = False) -> None:
    """Raise UserError if the zip does not define the handler, MODULE.FUNCTION. With `layers`, a layer may define it."""
    module, _, function = handler.rpartition(".")
    path = module.replace(".", "/")
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        names = archive.namelist()
        found = next((name for name in (f"{path}/__init__.py", f"{path}.py") if name in names), None)
        compiled = any(name.startswith((f"{path}.", f"{path}/__init__.")) and name.endswith(".so") for name in names)
        if not found and (layers or compiled):
            return
        if not found:
            modules = ", ".join(name for name in names if name.endswith(".py") and "/" not in name) or "none"
            raise UserError(f"FUNCTION_HANDLER: {handler!r}: the zip has no {path}.py; its Python files: {modules}")
        text = archive.read(found).decode(errors="replace")
    try:
        symbols = symtable.symtable(text, found, "exec").get_symbols()
    except SyntaxError as error:
        if f"python3.{sys.version_info.minor}" == runtime:
            where = f"FUNCTION_HANDLER: {handler!r}: correct {found} line {error.lineno}"
            raise UserError(f"{where}: {error.msg}") from None
        return  # another Python version may accept it
    defined = sorted(each.get_name() for each in symbols if each.is_assigned() or each.is_imported())
    if not {function, "__getattr__"} & {*defined} and not re.search(r"^\s*from\s.*\simport\s+\*", text, re.MULTILINE):
        listed = ", ".join(defined) or "nothing"
        raise UserError(f"FUNCTION_HANDLER: {handler!r}: {found} does not define {function}; it defines: {listed}")
