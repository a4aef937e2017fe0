"""What a person reads when AWS refused or could not be asked: the step, what AWS said, what to try."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's name
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    WaiterError,
)

_CREDENTIALS = (
    "log in (aws sso login), or check AWS_PROFILE and the credentials it names; see README, 'On a real account'"
)
_REGION = f"{_CREDENTIALS}; or AWS_REGION is a region that the account has not enabled"
_TRY = {
    "AccessDenied": "allow the caller what is named above, then run the same again",
    "AccessDeniedException": "allow the caller what is named above, then run the same again",
    "UnauthorizedOperation": "allow the caller what is named above, then run the same again",
    "ExpiredToken": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "InvalidClientTokenId": _REGION,
    "UnrecognizedClientException": _REGION,
    "InvalidSignatureException": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "LimitExceededException": "wait a minute, or raise the quota that is named above",
    "LimitExceeded": "raise the quota that is named above, or remove what is not needed",
}


def failure(step: str, error: ClientError | BotoCoreError) -> str:
    """The step, what AWS said, and what to try."""
    if isinstance(error, ClientError):
        code = error.response["Error"].get("Code", "Unknown")
        message = error.response["Error"].get("Message", "no reason given")
        hint = _TRY.get(code, f"invoke {step} once more; every step can be repeated")
        return f"{step}: {error.operation_name} failed\n  AWS said: {code}: {message}\n  try: {hint}"
    return f"{step}: {_without_answer(error)}"


def _without_answer(error: BotoCoreError) -> str:
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, ProfileNotFound, TokenRetrievalError)):
        return f"{error}\n  try: {_CREDENTIALS}"
    if isinstance(error, WaiterError):
        last = error.last_response.get("Error", {}).get("Message") or error.kwargs.get("reason")
        return f"waited in vain: {error.kwargs.get('name')}: {last}\n  try: the same step again; it goes on waiting"
    if isinstance(error, (ConnectionError, HTTPClientError)):
        return f"AWS cannot be reached: {error}\n  try: check AWS_REGION, AWS_ENDPOINT_URL and the network"
    return f"{type(error).__name__}: {error}"
