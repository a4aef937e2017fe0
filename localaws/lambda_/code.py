"""Deployment packages: validated as Lambda validates them, and unpacked once."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import zipfile
from pathlib import Path
from tempfile import mkdtemp

# Lambda guide, "Lambda quotas".
_UNZIPPED_BYTES = 262_144_000
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
        validate(data)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Unpack elsewhere and rename: another thread that unpacks the same package never sees half of it.
        draft = Path(mkdtemp(dir=directory))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                _extract(archive, entry, draft)
        try:
            draft.rename(folder)
        except OSError:
            shutil.rmtree(draft)
    return folder


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Extract one entry. It keeps its execute permission, and no other."""
    path = Path(archive.extract(entry, folder))
    executable = (entry.external_attr >> 16) & stat.S_IXUSR or entry.is_dir()
    path.chmod(0o700 if executable else 0o600)


def _escapes(entry: zipfile.ZipInfo) -> bool:
    link = stat.S_ISLNK(entry.external_attr >> 16)
    return link or entry.filename.startswith("/") or os.pardir in entry.filename.split("/")
