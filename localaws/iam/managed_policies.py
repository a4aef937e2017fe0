"""AWS's own managed policies, loaded by the first IAM call that needs one.

moto can load them when it starts. That costs 0.2 s of its first IAM call: half of what a whole deploy takes here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.iam.models import IAMBackend
    from moto.iam.responses import IamResponse


def load_before(call_action: Callable[..., Any], self: IamResponse) -> Any:
    """Wrap the handling of an IAM call: load the policies first if it names one, or lists policies."""
    names_one = any(":iam::aws:policy/" in str(value) for value in self.data.values())
    if names_one or self._get_action() == "ListPolicies":
        _load(self.backend)
    return call_action(self)


def _load(backend: IAMBackend) -> None:
    if not any(isinstance(policy, AWSManagedPolicy) for policy in backend.managed_policies.values()):
        for name, data in json.loads(aws_managed_policies_data).items():
            policy = AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, data)
            backend.managed_policies[policy.arn] = policy
