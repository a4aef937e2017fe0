"""The resource-based policies of tables and streams. moto stores those of tables only.

DynamoDB API reference, "PutResourcePolicy", "GetResourcePolicy" and "DeleteResourcePolicy". `iam.policies` evaluates
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.dynamodb.models.table import ResourcePolicy

from localaws.dynamodb.items import invalid
from localaws.dynamodb.stream import find_stream
from localaws.errors import AwsError
from localaws.iam.evaluation import principals, statements

if TYPE_CHECKING:
    from moto.dynamodb.models import DynamoDBBackend

_MAX_BYTES = 20 * 1024


def put_resource_policy(
    self: DynamoDBBackend, resource_arn: str, policy_doc: str, expected_revision_id: str | None = None
) -> ResourcePolicy:
    """Attach a policy to a table or stream. The same policy again keeps its revision."""
    _check_exists(self, resource_arn)
    _check_document(policy_doc)
    current = self.resource_policies.get(resource_arn)
    if expected_revision_id == "NO_POLICY":
        if current:
            raise _not_found(resource_arn)
    elif expected_revision_id:
        _check_revision(current, resource_arn, expected_revision_id)
    if not current or current.policy_doc != policy_doc:
        current = self.resource_policies[resource_arn] = ResourcePolicy(resource_arn, policy_doc)
    return current


def get_resource_policy(self: DynamoDBBackend, resource_arn: str) -> ResourcePolicy:
    """Return the policy of a table or stream."""
    _check_exists(self, resource_arn)
    policy = self.resource_policies.get(resource_arn)
    if not policy:
        raise _not_found(resource_arn)
    return policy


def delete_resource_policy(self: DynamoDBBackend, resource_arn: str, expected_revision_id: str | None = None) -> None:
    """Delete the policy of a table or stream. It is no error if there is none, unless a revision is expected."""
    _check_exists(self, resource_arn)
    if expected_revision_id:
        _check_revision(self.resource_policies.get(resource_arn), resource_arn, expected_revision_id)
    self.resource_policies.pop(resource_arn, None)


def _check_exists(backend: DynamoDBBackend, arn: str) -> None:
    if "/stream/" in arn:
        if not find_stream(arn):
            raise AwsError("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")
    else:
        backend.get_table(arn)


def _check_document(document: str) -> None:
    if len(document.encode()) > _MAX_BYTES:
        raise invalid(f"Resource policy size limit exceeded: the maximum is {_MAX_BYTES} bytes")
    try:
        complete = all(each.get("Effect") and principals(each, "AWS") for each in statements(document))
    except (ValueError, AttributeError):
        raise invalid("Invalid policy document: it is not a policy in JSON") from None
    if not complete:
        raise invalid("Invalid policy document: each statement needs an Effect and a Principal")


def _check_revision(policy: ResourcePolicy | None, arn: str, expected: str) -> None:
    if not policy or policy.revision_id != expected:
        raise _not_found(arn)


def _not_found(arn: str) -> AwsError:
    message = f"Resource-based policy not found for the provided ResourceArn: {arn}"
    return AwsError("PolicyNotFoundException", message)
