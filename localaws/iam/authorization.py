"""Whether the caller may make a request. Only requests signed with a role's credentials are judged, by its policies.

IAM user guide, "Policy evaluation logic" and "Troubleshoot access denied error messages". The service authorization
reference names the action of each call and the resource that it is about.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from moto.sts.models import sts_backends
from moto.utilities.utils import get_partition

from localaws import ACCOUNT_ID
from localaws.errors import AwsError
from localaws.iam import policies
from localaws.service_model import operation_name
from localaws.signature import signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from werkzeug.wrappers import Request

_NEEDS_NO_PERMISSION = {"sts:GetCallerIdentity"}


def authorize(request: Request) -> None:
    """Raise AwsError if the caller's role does not allow the request, with the code and text of the service."""
    access_key, region, service = signature(request)
    caller = sts_backends[ACCOUNT_ID][get_partition(region)].get_assumed_role_from_access_key(access_key)
    if not caller:
        return
    for action, resource in _actions(request, region, service):
        effect = policies.effect(caller.role_arn, action, resource)
        if effect != "Allow" and action not in _NEEDS_NO_PERMISSION:
            why = (
                "with an explicit deny in an identity-based policy"
                if effect == "Deny"
                else f"because no identity-based policy allows the {action} action"
            )
            message = f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} {why}"
            raise AwsError(_error_code(request, service), message, 400 if "X-Amz-Target" in request.headers else 403)


def _error_code(request: Request, service: str) -> str:
    if service == "sns":
        return "AuthorizationError"
    return "AccessDenied" if service == "s3" or request.form else "AccessDeniedException"


def _actions(request: Request, region: str, service: str) -> Iterator[tuple[str, str]]:
    """Each action that the request performs, with the ARN of its resource."""
    partition = get_partition(region)
    if service == "s3":
        yield _s3_action(request, partition)
        return
    operation = _operation(request, service)
    body = _body(request)
    arn = f"arn:{partition}:{service}:{region}:{ACCOUNT_ID}:"
    if service == "dynamodb":
        yield from _dynamodb_actions(operation, body, arn)
    elif service == "lambda":
        function = re.match(r"/[^/]+/functions/([^/]+)", request.path)
        resource = f"{arn}function:{function[1].rpartition('function:')[2]}" if function else "*"
        yield f"lambda:{'InvokeFunction' if operation == 'Invoke' else operation}", resource
    elif service == "logs":
        yield f"logs:{operation}", _log_resource(body, arn)
    elif service == "sqs":
        queue = str(body.get("QueueUrl", "")).rpartition("/")[2] or body.get("QueueName")
        yield f"sqs:{operation.removesuffix('Batch')}", f"{arn}{queue}" if queue else "*"
    else:
        # The first ARN in the request, such as TopicArn of sns:Publish or RoleArn of sts:AssumeRole.
        arns = (value for value in body.values() if isinstance(value, str) and value.startswith("arn:"))
        yield f"{service}:{operation.removesuffix('Batch')}", next(arns, "*")


def _operation(request: Request, service: str) -> str:
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    action = request.form.get("Action") or request.args.get("Action")
    return action or operation_name(service, request.method, request.path)


def _body(request: Request) -> Mapping[str, Any]:
    if request.form:
        return request.form
    try:
        body = json.loads(request.get_data() or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _dynamodb_actions(operation: str, body: Mapping[str, Any], arn: str) -> Iterator[tuple[str, str]]:
    """One action per table. A transaction needs the permission for each of its operations."""

    def table(name: str) -> str:
        return name if name.startswith("arn:") else f"{arn}table/{name}"

    if "TransactItems" in body:
        for item in body["TransactItems"]:
            for kind, parameters in item.items():
                yield f"dynamodb:{kind}Item", table(parameters.get("TableName", ""))
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


def _log_resource(body: Mapping[str, Any], arn: str) -> str:
    if "logGroupName" in body:
        return f"{arn}log-group:{body['logGroupName']}:log-stream:{body.get('logStreamName', '')}"
    return str(body.get("logGroupIdentifier") or body.get("resourceArn") or "*")


def _s3_action(request: Request, partition: str) -> tuple[str, str]:
    """The action on an object or a bucket, by method and path. Subresources such as ?acl are not distinguished."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    if key:
        action = {"GET": "GetObject", "HEAD": "GetObject", "DELETE": "DeleteObject"}.get(request.method, "PutObject")
        return f"s3:{action}", f"arn:{partition}:s3:::{bucket}/{key}"
    if not bucket:
        return "s3:ListAllMyBuckets", "*"
    action = {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "POST": "DeleteObject"}.get(request.method, "ListBucket")
    return f"s3:{action}", f"arn:{partition}:s3:::{bucket}"
