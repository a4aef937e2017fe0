"""Deployment packages: validated as Lambda validates them, and unpacked once.

The code of a function keeps its path when its content changes: tracebacks and breakpoints name the same file after
each deploy.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import threading
import zipfile
from pathlib import Path
from tempfile import mkdtemp

# Lambda guide, "Lambda quotas".
_UNZIPPED_BYTES = 262_144_000
_install_lock = threading.Lock()
_NOT_A_ZIP_FILE = "Could not unzip uploaded file. Please check your file, then try to upload again."


class InvalidZipError(ValueError):
    """Lambda refuses the zip file. The text is its message."""


def validate(data: bytes) -> None:
    """Raise InvalidZipError if this is not a zip file, unpacks to too many bytes, or leaves its folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise InvalidZipError(_NOT_A_ZIP_FILE) from error
    if sum(entry.file_size for entry in entries) > _UNZIPPED_BYTES:
        raise InvalidZipError(f"Unzipped size must be smaller than {_UNZIPPED_BYTES} bytes")
    for entry in entries:
        if _escapes(entry):
            why = f"The entry {entry.filename!r} leaves the folder: it is absolute, goes through .. or is a link."
            raise InvalidZipError(f"{_NOT_A_ZIP_FILE} {why}")


def unpack(data: bytes, directory: Path) -> Path:
    """Unpack into a folder of `directory` named by the content, unless it exists, and return the folder."""
    folder = directory / hashlib.sha256(data).hexdigest()
    if not folder.exists():
        draft = _unpack(data, directory)
        try:
            draft.rename(folder)
        except OSError:
            shutil.rmtree(draft)
    return folder


def install(data: bytes, folder: Path) -> None:
    """Unpack into a folder, in place of other content that it has.

    The content before stays beside it for processes that run while the content changes, until it changes again.
    """
    digest, record = hashlib.sha256(data).hexdigest(), folder.with_name(f"{folder.name}.sha256")
    with _install_lock:
        if record.exists() and record.read_text() == digest:
            return
        draft = _unpack(data, folder.parent)
        if folder.exists():
            before = folder.with_name(f"{folder.name}.before")
            shutil.rmtree(before, ignore_errors=True)
            folder.rename(before)
        draft.rename(folder)
        record.write_text(digest)


def remove(folder: Path) -> None:
    """Remove what `install` put into a folder and beside it."""
    with _install_lock:
        for path in (folder, folder.with_name(f"{folder.name}.before")):
            shutil.rmtree(path, ignore_errors=True)
        folder.with_name(f"{folder.name}.sha256").unlink(missing_ok=True)


def _unpack(data: bytes, directory: Path) -> Path:
    """Unpack into a new folder of `directory`, to be renamed: nobody sees a folder with half of its content."""
    validate(data)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Path(mkdtemp(dir=directory))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            _extract(archive, entry, draft)
    return draft


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Extract one entry. It keeps its execute permission, and no other."""
    path = Path(archive.extract(entry, folder))
    executable = (entry.external_attr >> 16) & stat.S_IXUSR or entry.is_dir()
    path.chmod(0o700 if executable else 0o600)


def _escapes(entry: zipfile.ZipInfo) -> bool:
    link = stat.S_ISLNK(entry.external_attr >> 16)
    return link or entry.filename.startswith("/") or os.pardir in entry.filename.split("/")
