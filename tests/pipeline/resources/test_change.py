"""What AWS refuses for a while is retried, what it refuses finally is reported at once; and whose a resource is."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pipeline.resources import change
from pipeline.resources.change import UserError, backoff, check_owner, is_not_yet, is_recorded, record, retry

IN_PROGRESS = "The operation cannot be performed at this time. An update is in progress for resource: it"
SIMULTANEOUSLY = "Only 500 tables can be created, updated, or deleted simultaneously"
NO_ROLE = "The role with name runs cannot be found."
NO_POLICY = "Policy arn:aws:iam::123456789012:policy/none does not exist or is not attachable."
CONCURRENT = "Request was made while another was in progress. Please retry."

FOR_A_WHILE = [
    ("ConcurrentModification", CONCURRENT),
    ("ContinuousBackupsUnavailableException", "Backups are being enabled for the table: test. Please retry later"),
    ("DeleteConflict", "Cannot delete entity, must detach all policies first."),
    ("EntityAlreadyExists", "Role with name runs already exists."),
    ("EntityTemporarilyUnmodifiable", "Try again later."),
    ("LimitExceededException", SIMULTANEOUSLY),
    ("NoSuchEntity", NO_ROLE),
    ("OperationAbortedException", "A conflicting operation is currently in progress against this resource."),
    ("ResourceConflictException", IN_PROGRESS),
    ("ResourceInUseException", "Cannot delete the event source mapping because it is in use."),
    ("TableInUseException", "Table is in use"),
    ("TableNotFoundException", "Table not found: test"),
    ("ThrottlingException", "Rate exceeded"),
    ("TooManyRequestsException", "Rate exceeded"),
]
FOR_GOOD = [
    ("AccessDenied", "User: arn:aws:iam::123456789012:user/me is not authorized to perform: iam:CreateRole"),
    ("LimitExceededException", "Subscriber limit exceeded: There is a limit of 2500 tables per subscriber"),
    ("MalformedPolicyDocument", "Syntax errors in policy."),
    ("NoSuchEntity", NO_POLICY),
    ("ValidationException", "One or more parameter values were invalid"),
]


def refusal(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "UpdateTable")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between calls, in seconds. No test waits for them."""
    clock = [0.0]
    taken: list[float] = []

    def sleep(seconds: float) -> None:
        taken.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return taken


class Refusing:
    """A call that AWS refuses `times` times."""

    def __init__(self, error: ClientError, times: int) -> None:
        self.error, self.times, self.made = error, times, 0

    def __call__(self) -> str:
        self.made += 1
        if self.made <= self.times:
            raise self.error
        return "answer"


@pytest.mark.parametrize(("code", "message"), FOR_A_WHILE, ids=[code for code, _ in FOR_A_WHILE])
def test_a_call_that_aws_refuses_for_30_seconds_succeeds(code: str, message: str, pauses: list[float]) -> None:
    call = Refusing(refusal(code, message), times=10)
    assert retry(call) == "answer"
    assert sum(pauses) > 20
    assert pauses == sorted(pauses)
    assert max(pauses) == 5


@pytest.mark.parametrize(("code", "message"), FOR_GOOD, ids=[code for code, _ in FOR_GOOD])
def test_a_final_refusal_is_raised_at_the_first_answer(code: str, message: str, pauses: list[float]) -> None:
    call = Refusing(refusal(code, message), times=10)
    with pytest.raises(ClientError, match=code):
        retry(call)
    assert (call.made, pauses) == (1, [])


def test_a_refusal_that_lasts_is_raised_at_the_deadline(pauses: list[float]) -> None:
    call = Refusing(refusal("ResourceConflictException", IN_PROGRESS), times=1000)
    with pytest.raises(ClientError, match="An update is in progress"):
        retry(call)
    assert change.SETTLE_TIMEOUT - 5 <= sum(pauses) <= change.SETTLE_TIMEOUT


GRANT = (
    "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
    "CreateGrant. KMS Exception: InvalidArnException KMS Message: ARN does not refer to a valid principal"
)
EC2 = "Your request has been throttled by EC2, please make sure you have enough API rate limit."


@pytest.mark.parametrize("text", [GRANT, EC2], ids=["KMS", "EC2"])
def test_what_kms_and_ec2_refuse_lambda_for_a_while_is_retried(pauses: list[float], text: str) -> None:
    call = Refusing(refusal("InvalidParameterValueException", text), times=3)
    assert change.retry_while_role_propagates(call) == "answer"
    assert len(pauses) == 3


def test_no_pause_of_a_backoff_ends_after_its_deadline(pauses: list[float]) -> None:
    for pause in backoff(1):
        time.sleep(pause)
    assert 0 < sum(pauses) <= 1
    assert list(backoff(0)) == []


def test_an_unknown_code_is_final() -> None:
    assert not is_not_yet(refusal("Unknown"))


def test_a_record_lists_what_was_added_and_nothing_else() -> None:
    tags = record(["stage", "arn:aws:iam::aws:policy/ReadOnlyAccess"])
    assert list(tags) == ["pipeline:added"]
    assert is_recorded("stage", tags)
    assert not is_recorded("cost-center", tags)
    assert record([]) == {}


def test_a_record_of_50_names_fits_into_a_tag() -> None:
    (value,) = record(f"name-{number}" for number in range(50)).values()
    assert len(value) <= 256


@pytest.mark.parametrize("tags", [{}, {"pipeline": "other"}])
def test_the_advice_to_adopt_is_for_callers_that_can_adopt(tags: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="or take the resource over with --adopt"):
        check_owner("table test", tags, "demo", adopt=False)
    with pytest.raises(UserError, match=r"Choose another name in the settings\.$"):
        check_owner("table test", tags, "demo")
