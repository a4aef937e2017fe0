"""The credential scope of a signed request: who signed it, for which region and which service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from moto.iam.models import iam_backends

from localaws import ACCOUNT_ID

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_ACCOUNT = re.compile(r"\d{12}")


class Signature(NamedTuple):
    """The parts of a Signature Version 4 that say where a request belongs; the defaults are for unsigned requests."""

    access_key: str = ""
    region: str = "us-east-1"
    service: str = ""

    @property
    def account(self) -> str:
        """The ID of the account that makes the request."""
        return account_of(self.access_key)


def signature(request: Request) -> Signature:
    """Read the signature of a request. It is not verified."""
    return parse(request.headers.get("Authorization", ""))


def parse(authorization: str) -> Signature:
    """Read the signature in an Authorization header."""
    match = _CREDENTIAL.search(authorization)
    return Signature(*match.groups()) if match else Signature()


def account_of(access_key: str) -> str:
    """The account of an access key: the one that issued it, or for a made-up key of 12 digits the account of that ID.

    All other made-up keys belong to the account 000000000000.
    """
    if _ACCOUNT.fullmatch(access_key):
        return access_key
    if access_key.startswith(("AKIA", "ASIA")):
        for account, partitions in list(iam_backends.items()):
            if any(access_key in backend.access_keys for backend in list(partitions.values())):
                return account
    return ACCOUNT_ID
