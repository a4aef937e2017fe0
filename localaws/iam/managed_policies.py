"""AWS's own managed policies, known from the first request on that may be about one.

moto can know them from its start, for 0.2 s of its first IAM call: half as long as a whole deploy takes here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, iam_backends
from moto.utilities.utils import get_partition

from localaws import ACCOUNT_ID
from localaws.iam import authorization

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

_loaded: set[str] = set()


def answer(request: Request) -> None:
    """Load them when the request names one, or lists policies; the answer is left to moto."""
    if "/iam/aws4_request" not in request.headers.get("Authorization", ""):
        return
    partition = get_partition(authorization.region(request))
    about_one = any(":iam::aws:policy/" in value for value in request.form.values())
    if partition not in _loaded and (about_one or request.form.get("Action") == "ListPolicies"):
        _loaded.add(partition)
        backend = iam_backends[ACCOUNT_ID][partition]
        for name, data in json.loads(aws_managed_policies_data).items():
            policy = AWSManagedPolicy.from_data(name, ACCOUNT_ID, backend.region_name, data)
            backend.managed_policies[policy.arn] = policy
