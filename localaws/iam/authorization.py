"""Requests signed with temporary credentials of a role are judged by the role's policies; those of anyone else pass.

IAM user guide, "Policy evaluation logic" and "Troubleshoot access denied error messages"; what an action is called and
which resource it is about: service authorization reference.
"""

from __future__ import annotations

import json
import re
import uuid
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from botocore.session import get_session
from moto.sts.models import sts_backends
from moto.utilities.utils import get_partition
from werkzeug.wrappers import Response

from localaws import ACCOUNT_ID
from localaws.iam import policies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from werkzeug.wrappers import Request

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_NEEDS_NO_PERMISSION = {"sts:GetCallerIdentity"}


def answer(request: Request) -> Response | None:
    """Refuse what the caller's role does not allow, in the words and the shape of the service that is called."""
    credential = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    if not credential:
        return None
    key, signed_for, service = credential.groups()
    caller = sts_backends[ACCOUNT_ID][get_partition(signed_for)].get_assumed_role_from_access_key(key)
    if not caller:
        return None
    for action, resource in _wanted(request, signed_for, service):
        found = policies.effect(caller.role_arn, action, resource)
        if found != "Allow" and action not in _NEEDS_NO_PERMISSION:
            why = (
                "with an explicit deny in an identity-based policy"
                if found == "Deny"
                else f"because no identity-based policy allows the {action} action"
            )
            what = f"{action} on resource: {resource}"
            return _denied(request, service, f"User: {caller.arn} is not authorized to perform: {what} {why}")
    return None


def region(request: Request) -> str:
    """The region that a request is signed for; the first one of AWS when it is not signed."""
    credential = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    return credential[2] if credential else "us-east-1"


def _wanted(request: Request, signed_for: str, service: str) -> Iterator[tuple[str, str]]:
    """Each action that the request performs, with the ARN of what it performs it on."""
    if service == "s3":
        yield _s3(request)
        return
    operation = _operation(request, service)
    body = _body(request)
    arn = f"arn:{get_partition(signed_for)}:{service}:{signed_for}:{ACCOUNT_ID}:"
    if service == "dynamodb":
        yield from _dynamodb(operation, body, arn)
    elif service == "lambda":
        named = re.match(r"/[^/]+/functions/([^/]+)", request.path)
        resource = f"{arn}function:{named[1].rpartition('function:')[2]}" if named else "*"
        yield f"lambda:{'InvokeFunction' if operation == 'Invoke' else operation}", resource
    elif service == "logs":
        yield f"logs:{operation}", _log_stream(body, arn)
    elif service == "sqs":
        queue = str(body.get("QueueUrl", "")).rpartition("/")[2] or body.get("QueueName")
        yield f"sqs:{operation.removesuffix('Batch')}", f"{arn}{queue}" if queue else "*"
    else:
        # The ARN that the request names, if it names one: TopicArn of sns:Publish, RoleArn of sts:AssumeRole.
        named_arns = (value for value in body.values() if isinstance(value, str) and value.startswith("arn:"))
        yield f"{service}:{operation.removesuffix('Batch')}", next(named_arns, "*")


def _operation(request: Request, service: str) -> str:
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    if action := request.form.get("Action") or request.args.get("Action"):
        return action
    matching = (name for name, method, path in _routes(service) if method == request.method and path(request.path))
    return next(matching, "Unknown")


@lru_cache
def _routes(service: str) -> list[tuple[str, str, Any]]:
    """Name, method and path of each operation of a REST service, by botocore's model of it."""
    try:
        model = get_session().get_service_model(service)
    except UnknownServiceError:
        return []
    operations = (model.operation_model(name) for name in model.operation_names)
    return [
        (
            operation.name,
            operation.http["method"],
            re.compile(re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(operation.http["requestUri"])) + "/?").fullmatch,
        )
        for operation in operations
    ]


def _body(request: Request) -> Mapping[str, Any]:
    if request.form:
        return request.form
    try:
        body = json.loads(request.get_data() or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


_TRANSACTED = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


def _dynamodb(operation: str, body: Mapping[str, Any], arn: str) -> Iterator[tuple[str, str]]:
    """One action a table; a transaction is judged by the actions that it is made of."""

    def table(name: str) -> str:
        return name if name.startswith("arn:") else f"{arn}table/{name}"

    if "TransactItems" in body:
        for item in body["TransactItems"]:
            for kind, parameters in item.items():
                yield f"dynamodb:{_TRANSACTED.get(kind, kind)}", table(parameters.get("TableName", ""))
    elif "RequestItems" in body:
        for name in body["RequestItems"]:
            yield f"dynamodb:{operation}", table(name)
    elif "TableName" in body:
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        yield f"dynamodb:{operation}", table(body["TableName"]) + index
    else:
        iterator = re.search(r"arn:[^|]+", str(body.get("ShardIterator", "")))
        stream = body.get("StreamArn") or (iterator[0] if iterator else None)
        yield f"dynamodb:{operation}", stream or body.get("ResourceArn") or "*"


def _log_stream(body: Mapping[str, Any], arn: str) -> str:
    if "logGroupName" in body:
        return f"{arn}log-group:{body['logGroupName']}:log-stream:{body.get('logStreamName', '')}"
    return str(body.get("logGroupIdentifier") or body.get("resourceArn") or "*")


def _s3(request: Request) -> tuple[str, str]:
    """By method and path: the action of an object or of a bucket, without those of subresources such as ?acl."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    if key:
        action = {"GET": "GetObject", "HEAD": "GetObject", "DELETE": "DeleteObject"}.get(request.method, "PutObject")
        return f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}"
    if not bucket:
        return "s3:ListAllMyBuckets", "*"
    action = {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "POST": "DeleteObject"}.get(request.method, "ListBucket")
    return f"s3:{action}", f"arn:aws:s3:::{bucket}"


def _denied(request: Request, service: str, message: str) -> Response:
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    text = escape(message)
    if service == "s3":
        xml = f"<Error><Code>AccessDenied</Code><Message>{text}</Message><RequestId>{request_id}</RequestId></Error>"
        return Response(xml, 403, headers, mimetype="application/xml")
    if request.form:
        code = "AuthorizationError" if service == "sns" else "AccessDenied"
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
        xml = f"<ErrorResponse>{error}<RequestId>{request_id}</RequestId></ErrorResponse>"
        return Response(xml, 403, headers, mimetype="text/xml")
    body = json.dumps({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": message})
    if "X-Amz-Target" in request.headers:
        if service == "sqs":
            headers["x-amzn-query-error"] = "AccessDenied;Sender"
        return Response(body, 400, headers, mimetype="application/x-amz-json-1.0")
    return Response(body, 403, {**headers, "x-amzn-ErrorType": "AccessDeniedException"}, mimetype="application/json")
