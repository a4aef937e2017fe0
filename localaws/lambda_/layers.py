"""Layers of other accounts: moto finds those of the own account only.

Every layer version counts as shared with all accounts (Lambda developer guide, "Granting layer access to other
accounts").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.awslambda.models import lambda_backends

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.awslambda.models import LambdaBackend


def find(call: Callable[..., Any], self: LambdaBackend, name: str, *version: str) -> Any:
    """Wrap a search for a layer version: an ARN of another account is searched there."""
    account = name.split(":")[4] if name.startswith("arn:") else self.account_id
    return call(lambda_backends[account][self.region_name], name, *version)
