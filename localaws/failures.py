"""What a request gets that nothing here serves, that is malformed or invalid, or that moto fails on.

No answer of these makes an SDK try again, except for a fault of the local AWS itself.

Smithy specification, "AWS protocols"; "Common error types" in the API reference of each service.
"""

from __future__ import annotations

import json
import traceback
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moto.dynamodb
from botocore.exceptions import UnknownServiceError
from botocore.model import OperationNotFoundError
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request as MotoRequest
from moto.core.request import determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.exceptions import NotFound

from localaws import service_model
from localaws.errors import AwsError
from localaws.signature import signature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask
    from werkzeug.wrappers import Request

_DYNAMODB, _OURS = str(Path(moto.dynamodb.__file__).parent), str(Path(__file__).parent)
# The services that sign their requests with another name than that of their model.
_MODELS = {"monitoring": "cloudwatch", "states": "stepfunctions", "email": "ses", "elasticloadbalancing": "elbv2"}
# The escape of half a character: it is valid in JSON, and in no Unicode text.
_SURROGATE = rb"\ud"
# The services of which moto checks few parameters, and the code of their error for an invalid one.
_INVALID_CODES = dict.fromkeys(("iam", "sts", "monitoring"), "ValidationError")
_INVALID_CODES |= {"lambda": "ValidationException", "logs": "InvalidParameterException"}
_MISSING_PAGE = 'See docs/local-aws.md, "What is missing".'


class ServiceMissingError(Exception):
    """Neither the local AWS nor moto, as it is installed here, has the service of the request."""


def create_app(backend: Any) -> Flask:
    """Create moto's application of a service. Raises ServiceMissingError if it has none, or lacks the packages."""
    try:
        if backend:
            return create_backend_app(backend)
    except ImportError as error:
        raise ServiceMissingError from error
    raise ServiceMissingError


def check_body(request: Request) -> None:
    """Refuse a JSON request that names no operation, or whose body is not a JSON object. Raises AwsError."""
    target, service = request.headers.get("X-Amz-Target"), signature(request).service
    if service == "dynamodb" and not (target or "").startswith(("DynamoDB_20120810.", "DynamoDBStreams_20120810.")):
        raise missing_operation(request)
    if target is None or "Content-Encoding" in request.headers:  # moto decompresses
        return
    data = request.get_data()
    try:
        body = json.loads(data or b"{}")
        if _SURROGATE in data.lower():
            json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise AwsError("SerializationException", "A string in the request is not valid Unicode") from None
    except (ValueError, RecursionError):
        raise AwsError("SerializationException", "The request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise AwsError("SerializationException", "The request body is not a JSON object")


def check_parameters(request: Request) -> None:
    """Refuse a parameter outside of the lengths, ranges, enums and patterns of the service model. Raises AwsError."""
    service = signature(request).service
    if service not in _INVALID_CODES or "Content-Encoding" in request.headers:
        return
    name = _MODELS.get(service, service)
    copied = MotoRequest({**request.environ, "wsgi.input": BytesIO(request.get_data())})
    try:
        operation, uri_parameters = get_service_router(name).match(copied)
    except NotFound:
        return  # missing_operation() is the answer
    parser = PROTOCOL_PARSERS[determine_request_protocol(get_service_model(name), request.content_type)]
    try:
        parameters = parser(operation, timestamp_parser=str, blob_parser=str).parse(
            {
                "method": request.method, "values": request.values, "headers": request.headers,
                "body": request.get_data(), "url_path": request.path, "url_params": uri_parameters,
            }
        )  # fmt: skip
    except (AttributeError, TypeError, ValueError):
        raise AwsError("SerializationException", "A value in the request cannot be converted to its type") from None
    service_model.validate(name, operation.name, parameters, _INVALID_CODES[service])


def is_unrouted(request: Request, status: str, headers: Sequence[tuple[str, str]]) -> bool:
    """Whether moto has answered a request that it has no route for: with nothing, or with a page of its web framework.

    S3, which also gets unsigned requests, has a route for each request, and answers HEAD with nothing.
    """
    types = {name.lower(): value for name, value in headers}
    is_page = types.get("content-type", "").startswith("text/html")
    is_unknown = status.startswith(("404", "405")) and (is_page or types.get("content-length") == "0")
    return is_unknown and signature(request).service not in ("s3", "")


def missing_operation(request: Request) -> AwsError:
    """The error for an operation that nothing here serves."""
    service = signature(request).service
    operation = _operation_of(request)
    what = f"the operation {operation} of the service {service!r}"
    return AwsError(_missing_code(request, service), f"The local AWS does not have {what}. {_MISSING_PAGE}")


def translate(request: Request, error: Exception) -> AwsError:
    """The answer for an exception, which it prints unless it is an operation or a service that is not here."""
    service = signature(request).service
    if isinstance(error, ServiceMissingError):
        message = f"The local AWS does not have the service {service!r}. {_MISSING_PAGE}"
        return AwsError(_missing_code(request, service), message)
    if isinstance(error, (NotImplementedError, OperationNotFoundError)):
        return missing_operation(request)
    traceback.print_exception(error)
    if malformed := _find_malformed(request):
        return malformed
    if service == "dynamodb" and _is_of_moto(error):
        # moto fails in this way on an expression or a value that it does not expect, where DynamoDB refuses it.
        return AwsError("ValidationException", f"The request is invalid: {str(error) or type(error).__name__}")
    code = "InternalServerError" if service == "dynamodb" else "InternalError" if service == "s3" else "InternalFailure"
    message = f"The local AWS failed on the request: {type(error).__name__}: {error}. Its log has the traceback."
    return AwsError(code, message, 500)


def _is_of_moto(error: Exception) -> bool:
    """Whether moto's DynamoDB has raised an error, or what it calls. Then it is not in a module of ours."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return any(file.startswith(_DYNAMODB) for file in files) and not files[-1].startswith(_OURS)


def _missing_code(request: Request, service: str) -> str:
    if service == "s3":
        return "NotImplemented"
    return "InvalidAction" if "Action" in request.values else "UnknownOperationException"


def _operation_of(request: Request) -> str:
    """The operation that a request calls; "Unknown" if the service has none like it."""
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    if request.headers.get("Smithy-Protocol"):
        return request.path.rpartition("/")[2]
    service = signature(request).service
    name = request.values.get("Action")
    return name or service_model.operation_name(_MODELS.get(service, service), request.method, request.path)


def _find_malformed(request: Request) -> AwsError | None:
    """What is wrong with a JSON request according to the model, such as a string for a number; None if nothing is."""
    service = signature(request).service
    if "X-Amz-Target" not in request.headers:
        return None
    try:
        body = json.loads(request.get_data() or b"{}")
        service_model.check_types(_MODELS.get(service, service), _operation_of(request), body)
    except (UnknownServiceError, OperationNotFoundError):
        return None
    except AwsError as error:
        return error
    return None
