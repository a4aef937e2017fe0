"""The credential scope of a signed request: who signed it, for which region and which service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")


class Signature(NamedTuple):
    """The parts of a Signature Version 4 that say where a request belongs; the defaults are for unsigned requests."""

    access_key: str = ""
    region: str = "us-east-1"
    service: str = ""


def signature(request: Request) -> Signature:
    """Read the signature of a request. It is not verified."""
    match = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    return Signature(*match.groups()) if match else Signature()
