"""Filter criteria that a customer managed key encrypts. Lambda API reference, FilterCriteriaError.

Lambda developer guide: "Encryption of filter criteria".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.kms.models import kms_backends

if TYPE_CHECKING:
    from collections.abc import Mapping

# By the state of a key: the exception of KMS, and its message.
_UNUSABLE = {
    "Disabled": ("DisabledException", "{0} is disabled."),
    "PendingDeletion": ("KMSInvalidStateException", "{0} is pending deletion."),
}


def filter_criteria_error(options: Mapping[str, Any]) -> dict[str, str]:
    """Say why KMS does not decrypt the filters of a mapping with these options; {} if it does."""
    arn = options.get("KMSKeyArn") or ""
    if not arn or "FilterCriteria" not in options:
        return {}
    _, _, _, region, account, resource = arn.split(":", 5)
    key = kms_backends[account][region].keys.get(resource.partition("/")[2])
    code, message = _UNUSABLE.get(key.key_state, ("", "")) if key else ("NotFoundException", "Key '{0}' does not exist")
    return {"ErrorCode": code, "Message": message.format(arn)} if code else {}
