"""Messages for what AWS refuses: they advise to repeat a step only where that can help."""

from __future__ import annotations

import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from pipeline import errors

REPEAT = "wait a minute, then run invoke create-table again"


def message(code: str, text: str = "", status: int = 400) -> str:
    response = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return errors.describe("create-table", ClientError(response, "CreateTable"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "text", "status"),
    [
        ("ResourceInUseException", "Table is being updated", 400),
        ("ThrottlingException", "Rate exceeded", 400),
        ("InternalServerError", "An internal error occurred", 500),
        ("ServiceUnavailableException", "Service is unavailable", 503),
        ("NoSuchEntity", "The role with name runs cannot be found.", 404),
    ],
)
def test_a_refusal_that_passes_advises_to_repeat_the_step(code: str, text: str, status: int) -> None:
    assert message(code, text, status).endswith(REPEAT)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AccessDeniedException", "grant the caller the permission that AWS names"),
        ("ValidationException", "correct what AWS names, then run the same command again"),
        ("MalformedPolicyDocument", "correct what AWS names"),
        ("InvalidParameterValueException", "correct what AWS names"),
        ("LimitExceeded", "raise the quota that AWS names"),
        ("LimitExceededException", "wait a minute, or raise the quota that AWS names"),
        ("CodeStorageExceededException", "raise the quota that AWS names"),
        ("ServiceQuotaExceededException", "raise the quota that AWS names"),
        ("ExpiredTokenException", "log in"),
        ("UnrecognizedClientException", "log in"),
        ("SignatureDoesNotMatch", "log in"),
        ("RequestTimeTooSkewed", "set the clock"),
    ],
)
def test_a_refusal_that_stays_says_what_to_correct_and_does_not_advise_to_repeat(code: str, hint: str) -> None:
    written = message(code, "no")
    assert f"\n  AWS said: {code}: no\n  try: {hint}" in written
    assert REPEAT not in written


UNREACHABLE = "https://lambda.eu-west-9.amazonaws.com"


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (exceptions.NoCredentialsError(), "Unable to locate credentials", "log in (aws sso login)"),
        (exceptions.ProfileNotFound(profile="ops"), "The config profile (ops) could not be found", "log in"),
        (exceptions.UnauthorizedSSOTokenError(), "The SSO session associated with this profile has expired", "log in"),
        (exceptions.EndpointConnectionError(endpoint_url=UNREACHABLE), UNREACHABLE, "check AWS_REGION"),
        (
            exceptions.InvalidRetryModeError(provided_retry_mode="often", valid_modes="standard"),
            "often",
            "correct the setting or the AWS configuration",
        ),
        (
            exceptions.WaiterError("FunctionSettled", "Max attempts exceeded", {}),
            "timed out waiting for FunctionSettled: Max attempts exceeded",
            "run the same step again",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_without_an_answer_of_aws_says_what_to_do(error: BotoCoreError, said: str, hint: str) -> None:
    written = errors.describe("create-table", error)
    assert written.startswith("create-table: ")
    assert said in written
    assert f"\n  try: {hint}" in written
