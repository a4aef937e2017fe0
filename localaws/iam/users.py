"""The temporary credentials of users, and the boundaries of their permissions: moto has neither.

STS API reference, "GetSessionToken" and "GetFederationToken". IAM API reference, "PutUserPermissionsBoundary".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from moto.core.responses import EmptyResult
from moto.iam.models import iam_backends

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.iam.models import User
    from moto.iam.responses import IamResponse
    from moto.sts.models import STSBackend
    from moto.sts.responses import TokenResponse


class Session(NamedTuple):
    """A session of the owner of the access key `issuer`. A federated one has an `arn`, and a `policy` limits it."""

    issuer: str
    arn: str = ""
    policy: str = ""


_sessions: dict[str, Session] = {}


def find_session(access_key: str) -> Session | None:
    """Return the session of an access key; None if it belongs to no session of a user."""
    return _sessions.get(access_key)


def issue_session(call: Callable[..., Any], self: TokenResponse) -> Any:
    """Wrap GetSessionToken or GetFederationToken: moto returns the same credentials to everyone."""
    response: Any = call(self)
    key = iam_backends[self.current_account][self.partition].create_temp_access_key()
    response.result["Credentials"] |= {"AccessKeyId": key.access_key_id, "SecretAccessKey": key.secret_access_key}
    arn = response.result.get("FederatedUser", {}).get("Arn", "")
    _sessions[key.access_key_id] = Session(self.get_access_key(), arn, self._get_param("Policy") or "")
    return response


def caller_identity(
    call: Callable[..., tuple[str, str, str]], self: STSBackend, access_key_id: str, region: str
) -> tuple[str, str, str]:
    """Wrap GetCallerIdentity: it returns the user of a session, and for made-up credentials the account's root user."""
    session = find_session(access_key_id) or Session(access_key_id)
    user_id, arn, account = call(self, session.issuer, region)
    if arn.endswith(f":sts::{account}:user/moto"):
        return account, arn.replace(":sts:", ":iam:").replace("user/moto", "root"), account
    return user_id, session.arn or arn, account


def create(call: Callable[..., Any], self: IamResponse) -> Any:
    """Wrap CreateUser: moto drops the permissions boundary."""
    response = call(self)
    put_boundary(self)
    return response


def put_boundary(self: IamResponse) -> EmptyResult:
    """PutUserPermissionsBoundary and DeleteUserPermissionsBoundary; a method of the responses."""
    user, arn = self.backend.get_user(self._get_param("UserName")), self._get_param("PermissionsBoundary")
    boundary = {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn}
    vars(user)["permissions_boundary"] = boundary if arn else None
    return EmptyResult()


def boundary_of(user: User) -> str:
    """The ARN of the user's permissions boundary; "" if it has none."""
    boundary: dict[str, str] = vars(user).get("permissions_boundary") or {}
    return boundary.get("PermissionsBoundaryArn", "")
