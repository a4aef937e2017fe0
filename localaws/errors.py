"""Error responses, in the protocol of the request: JSON, REST-JSON, query or REST-XML.

Smithy specification, "AWS protocols", "Operation error serialization" of each.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from localaws.signature import signature

if TYPE_CHECKING:
    from werkzeug.wrappers import Request


_REST_XML = ("s3", "cloudfront", "route53")
_FAULT = 500


class AwsError(Exception):
    """AWS refuses the request, with an error code, a message and an HTTP status.

    `members` are further members of the error, such as the `Reason` of a TooManyRequestsException.
    """

    def __init__(self, code: str, message: str, status: int = 400, **members: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.members = members


def invalid(message: str) -> AwsError:
    """Lambda's error for a value that its service model allows and the service refuses."""
    return AwsError("InvalidParameterValueException", message)


def response(request: Request, error: AwsError) -> Response:
    """Answer a request with an error."""
    service, request_id = signature(request).service, str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if service in _REST_XML or "Action" in request.values:
        return Response(_xml(service, error, request_id), error.status, headers, mimetype="text/xml")
    body = {"message": str(error), **error.members}
    if protocol := request.headers.get("Smithy-Protocol"):
        headers["Smithy-Protocol"] = protocol
        body["__type"] = error.code
        return Response(_cbor(body), error.status, headers, mimetype="application/cbor")
    if "X-Amz-Target" not in request.headers:
        headers["x-amzn-ErrorType"] = error.code
        return Response(json.dumps({"Type": "User", **body}), error.status, headers, mimetype="application/json")
    namespace = {"dynamodb": "com.amazonaws.dynamodb.v20120810#"}.get(service, "")
    if service == "sqs":
        headers["x-amzn-query-error"] = f"{error.code.removesuffix('Exception')};Sender"
    document = {"__type": f"{namespace}{error.code}", **body}
    return Response(json.dumps(document), error.status, headers, mimetype=request.mimetype)


def _xml(service: str, error: AwsError, request_id: str) -> str:
    xml = f"<Code>{error.code}</Code><Message>{escape(str(error))}</Message>"
    if service == "s3":
        return f"<Error>{xml}<RequestId>{request_id}</RequestId></Error>"
    if service == "ec2":
        return f"<Response><Errors><Error>{xml}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    sender = "Receiver" if error.status >= _FAULT else "Sender"
    document = f"<Error><Type>{sender}</Type>{xml}</Error><RequestId>{request_id}</RequestId>"
    return f"<ErrorResponse>{document}</ErrorResponse>"


def _cbor(members: dict[str, str]) -> bytes:
    """Encode a map of strings (RFC 8949): a head with type and size, then the content."""
    texts = [text.encode() for pair in members.items() for text in pair]
    return _cbor_head(5, len(members)) + b"".join(_cbor_head(3, len(text)) + text for text in texts)


def _cbor_head(kind: int, size: int) -> bytes:
    return bytes([kind << 5 | 25]) + size.to_bytes(2, "big")
