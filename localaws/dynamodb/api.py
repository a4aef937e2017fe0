"""The DynamoDB API: moto's handler, without the web framework around it, which would take a fifth of a write's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.core.request import Request as MotoRequest
from moto.dynamodb.responses import DynamoHandler
from werkzeug.wrappers import Response

from localaws.signature import signature

if TYPE_CHECKING:
    from werkzeug.wrappers import Request


def handle(request: Request) -> Response | None:
    """Serve a call of DynamoDB; None for a request to another service. Raises AwsError."""
    target = request.headers.get("X-Amz-Target", "")
    if signature(request).service != "dynamodb" or not target.startswith("DynamoDB_20120810."):
        return None
    call = MotoRequest(request.environ)
    call.from_wsgi_server = True  # the server sends the date
    status, headers, body = DynamoHandler.dispatch(call)
    return Response(body, status, headers)
