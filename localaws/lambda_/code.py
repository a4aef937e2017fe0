"""Deployment packages: checked as Lambda checks them, unpacked once each, and given back."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import zipfile
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from urllib.parse import unquote

from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

    from localaws.lambda_.functions import Functions

PATH = "/_localaws/code/"
# Lambda guide, "Lambda quotas".
UNZIPPED_BYTES = 262_144_000
BROKEN = "Could not unzip uploaded file. Please check your file, then try to upload again."
TOO_LARGE = f"Unzipped size must be smaller than {UNZIPPED_BYTES} bytes"


class InvalidZipError(ValueError):
    """Lambda takes no such zip file; the text is its message."""


def answer(functions: Functions, request: Request) -> Response | None:
    """Hand out the package of the function whose ARN the path ends with: GetFunction's Code.Location leads here."""
    if not request.path.startswith(PATH):
        return None
    function = functions.find(unquote(request.path.removeprefix(PATH)), "")
    return Response(function.code_bytes, mimetype="application/zip") if function else Response(status=404)


def check(data: bytes) -> None:
    """Raise InvalidZipError for what is no zip file, unpacks to too much, or leaves its folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise InvalidZipError(BROKEN) from error
    if sum(entry.file_size for entry in entries) > UNZIPPED_BYTES:
        raise InvalidZipError(TOO_LARGE)
    for entry in entries:
        if _escapes(entry):
            why = f"The entry {entry.filename!r} leaves the folder: it is absolute, goes through .. or is a link."
            raise InvalidZipError(f"{BROKEN} {why}")


def unpack(data: bytes, directory: Path) -> Path:
    """Unpack into a folder of `directory` named by the content, and return it; the second time it is there already."""
    folder = directory / hashlib.sha256(data).hexdigest()
    if not folder.exists():
        check(data)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made aside and renamed, so that two who need it at once both find it whole.
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
    """Extract one entry, with its right to be executed and no other."""
    path = Path(archive.extract(entry, folder))
    executable = (entry.external_attr >> 16) & stat.S_IXUSR or entry.is_dir()
    path.chmod(0o700 if executable else 0o600)


def _escapes(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename
    link = stat.S_ISLNK(entry.external_attr >> 16)
    return link or name.startswith("/") or os.pardir in name.split("/")
