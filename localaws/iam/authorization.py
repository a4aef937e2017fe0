"""Whether the caller may make a request.

Judged are all credentials that the local AWS has issued: those of roles (of functions, and by AssumeRole), and the
access keys and sessions of users. Made-up credentials may do everything in their own account.

IAM user guide, "Policy evaluation logic" and "Troubleshoot access denied error messages".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localaws.errors import AwsError
from localaws.iam import policies
from localaws.iam.actions import actions
from localaws.signature import signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.wrappers import Request

_SHARED = re.compile(rb"arn:[\w-]+:(?:dynamodb|lambda):[\w-]+:(\d{12}):")
_NEEDS_NO_PERMISSION = {"sts:GetCallerIdentity", "sts:GetSessionToken"}


def authorize(request: Request, function_of: Callable[[str], str]) -> None:
    """Raise AwsError if the caller may not make the request, with the code and text of the service.

    `function_of` returns the function's ARN of an event source mapping, by its UUID, for the key lambda:FunctionArn.
    """
    scope = signature(request)
    if not scope.service:
        return
    caller = policies.caller(scope)
    if caller.identity is None and not _names_another_account(request, caller.account):
        return  # saves the time to parse the request
    for action in actions(request, function_of):
        if action.name in _NEEDS_NO_PERMISSION:
            continue
        if message := policies.refusal(caller, *action):
            status = 400 if "X-Amz-Target" in request.headers else 403
            raise AwsError(_error_code(request, scope.service), message, status)


def _names_another_account(request: Request, account: str) -> bool:
    text = request.path.encode() + (request.get_data() if "X-Amz-Target" in request.headers else b"")
    return any(match[1].decode() != account for match in _SHARED.finditer(text))


def _error_code(request: Request, service: str) -> str:
    if service == "sns":
        return "AuthorizationError"
    return "AccessDenied" if service in ("s3", "monitoring") or request.form else "AccessDeniedException"
