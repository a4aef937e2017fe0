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
    xml = f"<Code>{error.code}</Code><Message>{escape(str(error))}</Message>"
    if service == "s3":
        document = f"<Error>{xml}<RequestId>{request_id}</RequestId></Error>"
        return Response(document, error.status, headers, mimetype="application/xml")
    if request.form:
        document = f"<Error><Type>Sender</Type>{xml}</Error><RequestId>{request_id}</RequestId>"
        return Response(f"<ErrorResponse>{document}</ErrorResponse>", error.status, headers, mimetype="text/xml")
    if "X-Amz-Target" not in request.headers:
        body = {"Type": "User", "message": str(error), **error.members}
        headers["x-amzn-ErrorType"] = error.code
        return Response(json.dumps(body), error.status, headers, mimetype="application/json")
    namespace = {"dynamodb": "com.amazonaws.dynamodb.v20120810#"}.get(service, "")
    body = {"__type": f"{namespace}{error.code}", "message": str(error), **error.members}
    if service == "sqs":
        headers["x-amzn-query-error"] = f"{error.code.removesuffix('Exception')};Sender"
    return Response(json.dumps(body), error.status, headers, mimetype=request.mimetype)
