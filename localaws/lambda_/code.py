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
from pathlib import Path, PurePosixPath
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
            if sum(entry.file_size for entry in archive.infolist()) > _UNZIPPED_BYTES:
                raise InvalidZipError(f"Unzipped size must be smaller than {_UNZIPPED_BYTES} bytes")
            for entry in archive.infolist():
                if _escapes(archive, entry):
                    raise _leaves(entry.filename)
    except zipfile.BadZipFile as error:
        raise InvalidZipError(_NOT_A_ZIP_FILE) from error


def unpack(zips: list[bytes], directory: Path) -> Path:
    """Unpack into a folder of `directory` named by the contents, unless it exists, and return the folder.

    The files of a later zip file replace those of an earlier one.
    """
    folder = directory / hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in zips)).hexdigest()
    if not folder.exists():
        draft = _unpack(zips, directory)
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
        draft = _unpack([data], folder.parent)
        if folder.exists():
            before = folder.with_name(f"{folder.name}.before")
            shutil.rmtree(before, ignore_errors=True)
            folder.rename(before)
        draft.rename(folder)
        record.write_text(digest)


def remove(folder: Path) -> None:
    """Remove a folder, with all that `install` put there."""
    with _install_lock:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(zips: list[bytes], directory: Path) -> Path:
    """Unpack into a new folder of `directory`, to be renamed: nobody sees a folder with half of its content."""
    for data in zips:
        validate(data)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Path(mkdtemp(dir=directory)).resolve()
    try:
        links = [link for data in zips for link in _extract_all(data, draft)]
        # Only now: a link may lead through a later one.
        for link in links:
            _check_inside(link, draft)
    except BaseException:
        shutil.rmtree(draft)
        raise
    return draft


def _extract_all(data: bytes, folder: Path) -> list[Path]:
    """Extract all entries, and return the links among them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            try:
                _extract(archive, entry, folder)
            except (OSError, zipfile.BadZipFile) as error:  # a file in place of a folder, for example
                why = f"The entry {entry.filename!r} cannot be written: {error}."
                raise InvalidZipError(f"{_NOT_A_ZIP_FILE} {why}") from error
        return [folder / entry.filename for entry in archive.infolist() if _is_link(entry)]


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Extract one entry, in place of a file or link of that name. It keeps its execute permission, and no other."""
    path = folder / entry.filename
    _check_inside(path.parent, folder)
    if path.is_symlink() or path.is_file():
        path.unlink()
    if _is_link(entry):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(archive.read(entry).decode())
    else:
        path = Path(archive.extract(entry, folder))
        executable = (entry.external_attr >> 16) & stat.S_IXUSR or entry.is_dir()
        path.chmod(0o700 if executable else 0o600)


def _escapes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Whether the name of an entry, or the target of a link, is not in the folder."""
    path = entry.filename
    if path.startswith("/") or os.pardir in path.split("/"):
        return True
    target = archive.read(entry).decode(errors="replace") if _is_link(entry) else ""
    place = os.path.normpath(PurePosixPath(path).parent / target)
    return place.startswith("/") or place.split("/")[0] == os.pardir or "\0" in target


def _check_inside(path: Path, folder: Path) -> None:
    """Raise InvalidZipError if links lead from a path in the folder to another folder."""
    if not Path(os.path.realpath(path)).is_relative_to(folder):
        raise _leaves(str(path.relative_to(folder)))


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(entry.external_attr >> 16)


def _leaves(name: str) -> InvalidZipError:
    why = f"The entry {name!r} leaves the folder: it is absolute, or leads through .. or a link to another one."
    return InvalidZipError(f"{_NOT_A_ZIP_FILE} {why}")
