"""A request as authorization reads it: the operation, its parameters, and where it belongs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from moto.utilities.utils import get_partition

from localaws.service_model import operation_name
from localaws.signature import signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.wrappers import Request

    from localaws.signature import Signature

# The services whose actions have another prefix than the name that signs their requests.
_PREFIXES = {"monitoring": "cloudwatch"}
# The last part of the path of a request in the protocol Smithy RPC v2.
_RPC = re.compile(r"/service/\w+/operation/(\w+)")


class Action(NamedTuple):
    """An action ("dynamodb:PutItem"), the ARN of its resource or "*", and the condition keys of the service."""

    name: str
    resource: str
    context: Mapping[str, str] = {}


class Call(NamedTuple):
    """A request. `arn` is that of the caller's region and account, up to the name."""

    service: str
    operation: str
    request: Request
    body: Mapping[str, Any]
    scope: Signature
    arn: str

    @property
    def name(self) -> str:
        """The action that has the name of the operation."""
        return f"{self.service}:{self.operation}"


def read(request: Request) -> Call:
    """Read a request. A parameter that is no JSON object, or a malformed body, has no members."""
    scope = signature(request)
    service = _PREFIXES.get(scope.service, scope.service)
    arn = f"arn:{get_partition(scope.region)}:{service}:{scope.region}:{scope.account}:"
    return Call(service, _operation(request, service), request, _body(request), scope, arn)


def has_tags(body: Mapping[str, Any]) -> bool:
    """Whether a create call sets tags, which needs the permission to tag as well. Query requests number them."""
    return bool(body.get("Tags") or body.get("tags")) or any(name.startswith(("Tags.", "Tag.")) for name in body)


def _operation(request: Request, service: str) -> str:
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    if match := _RPC.fullmatch(request.path):
        return match[1]
    if action := request.form.get("Action") or request.args.get("Action"):
        return action
    return operation_name("sesv2" if service == "ses" else service, request.method, request.path)


def _body(request: Request) -> Mapping[str, Any]:
    if request.form:
        return request.form
    try:
        body = json.loads(request.get_data() or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
