"""Filter criteria that a customer managed key encrypts. Lambda API reference, FilterCriteriaError.

Lambda developer guide: "Encryption of filter criteria".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localaws import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

# By the state of a key ("": there is none): the exception of KMS, and its message.
_UNUSABLE = {
    "": ("NotFoundException", "Key '{0}' does not exist"),
    "Disabled": ("DisabledException", "{0} is disabled."),
    "PendingDeletion": ("KMSInvalidStateException", "{0} is pending deletion."),
}


def filter_criteria_error(options: Mapping[str, Any]) -> dict[str, str]:
    """Say why KMS does not decrypt the filters of a mapping with these options; {} if it does."""
    arn = options.get("KMSKeyArn") or ""
    if not arn or "FilterCriteria" not in options:
        return {}
    code, message = _UNUSABLE.get(keys.state(arn), ("", ""))
    return {"ErrorCode": code, "Message": message.format(arn)} if code else {}
