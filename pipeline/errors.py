"""Messages for AWS's errors and for missing responses: the step, what AWS said, what to try."""

import re

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from .resources.change import is_not_yet

_CREDENTIALS = "log in (aws sso login), or check AWS_PROFILE and its credentials; see README, 'On a real account'"
_CORRECT = "correct what AWS names, then run the same command again"
# What to try, by a pattern of AWS's "CODE: MESSAGE".
_HINTS = {
    r"\w*AccessDenied": "grant the caller the permission that AWS names, then run the same command again",
    r"\w+: Signature (expired|not yet current)|RequestTimeTooSkewed": "set the clock of this machine: invoke doctor",
    "ExpiredToken|InvalidSignature|SignatureDoesNotMatch": _CREDENTIALS,
    "InvalidClientTokenId|UnrecognizedClient": f"{_CREDENTIALS}; or enable the region AWS_REGION for the account",
    "LimitExceededException": "wait a minute, or raise the quota that AWS names",
    r"LimitExceeded:|\w*(StorageExceeded|QuotaExceeded)": "raise the quota that AWS names, or delete something",
}
_SERVER_ERROR = 500


def describe(step: str, error: ClientError | BotoCoreError) -> str:
    """The message for an error of a step."""
    if isinstance(error, ClientError):
        code = error.response["Error"].get("Code", "Unknown")
        message = error.response["Error"].get("Message", "no reason given")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        passes = is_not_yet(error) or status >= _SERVER_ERROR
        hint = f"wait a minute, then run invoke {step} again" if passes else _CORRECT
        hint = next((each for pattern, each in _HINTS.items() if re.match(pattern, f"{code}: {message}")), hint)
        return f"{step}: {error.operation_name} failed\n  AWS said: {code}: {message}\n  try: {hint}"
    if re.search("Credential|ProfileNotFound|Token", type(error).__name__):
        return f"{step}: {error}\n  try: {_CREDENTIALS}"
    if isinstance(error, exceptions.WaiterError):
        last = error.last_response.get("Error", {}).get("Message") or error.kwargs.get("reason")
        timeout = f"timed out waiting for {error.kwargs.get('name')}: {last}"
        return f"{step}: {timeout}\n  try: run the same step again to keep waiting"
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return f"{step}: AWS cannot be reached: {error}\n  try: check AWS_REGION, AWS_ENDPOINT_URL, and the network"
    return f"{step}: {type(error).__name__}: {error}\n  try: correct the setting or the AWS configuration named above"
