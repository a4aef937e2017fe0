"""Which actions a request performs, and on which resources.

Service Authorization Reference, "Actions, resources, and condition keys" of each service.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from moto.iam.models import iam_backends
from moto.utilities.utils import get_partition

from localaws.iam import handler_actions
from localaws.iam.call import Action, Call, has_tags, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from werkzeug.wrappers import Request

    from localaws.signature import Signature

_FUNCTION = re.compile(
    r"(?:arn:[\w-]+:lambda:(?P<region>[\w-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[^:]*)"
    r"(?::(?P<qualifier>.+))?"
)
_LAYER = re.compile(r"/[^/]+/layers/(?P<name>[^/]+)/versions(?:/(?P<version>\d+))?.*")
_ALARM_ACTIONS = ("PutMetricAlarm", "DeleteAlarms", "DescribeAlarms", "DescribeAlarmsForMetric", "SetAlarmState")
# The calls that run PartiQL statements, and the parameter that lists them.
_PARTIQL = {
    "ExecuteStatement": "",
    "BatchExecuteStatement": "Statements",
    "ExecuteTransaction": "TransactStatements",
}
# The parameters that name a resource of IAM, the first of them in a request its resource, and its kind.
_IAM_NAMES = {"RoleName": "role", "GroupName": "group", "UserName": "user", "InstanceProfileName": "instance-profile"}
_BUCKET_ACTIONS = {"versions": "ListBucketVersions", "uploads": "ListBucketMultipartUploads"}
_BUCKET_SETTINGS = ("acl", "cors", "location", "logging", "notification", "policy", "tagging", "versioning", "website")
_OBJECT_SETTINGS = {"tagging": "Tagging", "acl": "Acl", "retention": "Retention", "legal-hold": "LegalHold"}
_VERBS = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}


def actions(request: Request, function_of: Callable[[str], str]) -> Iterator[Action]:
    """Each action that the request performs. `function_of` returns the function's ARN of a mapping's UUID."""
    call = read(request)
    services: dict[str, Callable[[Call], Iterator[Action]]] = {**_SERVICES, "lambda": partial(_lambda, function_of)}
    yield from services.get(call.service, _first_arn)(call)


def _first_arn(call: Call) -> Iterator[Action]:
    """The resource of a service that has no function here: the first ARN, such as RoleArn of sts:AssumeRole."""
    arns = (value for value in call.body.values() if isinstance(value, str) and value.startswith("arn:"))
    yield Action(call.name, next(arns, "*"))


def _dynamodb(call: Call) -> Iterator[Action]:
    """One action per table. A transaction needs the permission for each of its operations."""
    operation, body = call.operation, call.body

    def table(name: str) -> str:
        return name if name.startswith("arn:") else f"{call.arn}table/{name}"

    if "TransactItems" in body:
        context = {"dynamodb:EnclosingOperation": operation}
        for item in body["TransactItems"]:
            for kind, parameters in item.items():
                yield Action(f"dynamodb:{kind}Item", table(parameters.get("TableName", "")), context)
    elif operation in _PARTIQL:
        context = {"dynamodb:EnclosingOperation": operation} if operation == "ExecuteTransaction" else {}
        for each in body.get(_PARTIQL[operation]) or [body]:
            yield handler_actions.partiql(call, str(each.get("Statement", "")))._replace(context=context)
    elif "RequestItems" in body:
        for name in body["RequestItems"]:
            yield Action(f"dynamodb:{operation}", table(name))
    elif "TableName" in body and not operation.startswith("List"):
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        yield Action(f"dynamodb:{operation}", table(body["TableName"]) + index)
        if operation == "CreateTable" and has_tags(body):
            yield Action("dynamodb:TagResource", table(body["TableName"]))
    else:
        iterator = re.search(r"arn:[^|]+", str(body.get("ShardIterator", "")))
        named = body.get("StreamArn") or body.get("ResourceArn") or body.get("BackupArn")
        yield Action(f"dynamodb:{operation}", named or (iterator[0] if iterator else "*"))


def _lambda(function_of: Callable[[str], str], call: Call) -> Iterator[Action]:
    path, body, operation = unquote(call.request.path), call.body, call.operation
    if match := re.fullmatch(r"/[^/]+/tags/(arn:.+)", path):
        yield Action(f"lambda:{operation}", match[1])
    elif "/event-source-mappings" in path:
        yield from _mapping(call, path, function_of)
    elif match := re.match(r"/[^/]+/functions(?:/([^/]+))?", path):
        name = match[1] or body.get("FunctionName")
        invoke = operation in ("Invoke", "InvokeWithResponseStream")
        resource = _function(call, name, call.request.args.get("Qualifier", "")) if name else "*"
        yield Action("lambda:InvokeFunction" if invoke else f"lambda:{operation}", resource)
        if operation in ("CreateFunction", "UpdateFunctionConfiguration", "UpdateFunctionCode"):
            yield from _function_settings(call, resource)
    elif match := _LAYER.fullmatch(path):
        name = match["name"] if match["name"].startswith("arn:") else f"{call.arn}layer:{match['name']}"
        version = f":{match['version']}" if match["version"] else ""
        yield Action(f"lambda:{operation}", "*" if operation == "ListLayerVersions" else name + version)
    elif arn := call.request.args.get("Arn"):  # GetLayerVersionByArn shares its path with ListLayers
        yield Action("lambda:GetLayerVersion", arn)
    else:
        yield Action(f"lambda:{operation}", "*")


def _function(call: Call, name: str, qualifier: str = "") -> str:
    """The ARN of a function, or that of a version or an alias: a policy for the function does not apply to them."""
    match = _FUNCTION.fullmatch(name)
    if not match:
        return "*"
    region, account = match["region"] or call.scope.region, match["account"] or call.scope.account
    qualifier = qualifier or match["qualifier"] or ""
    arn = f"arn:{get_partition(region)}:lambda:{region}:{account}:function:{match['name']}"
    return f"{arn}:{qualifier}" if qualifier else arn


def _function_settings(call: Call, function: str) -> Iterator[Action]:
    """What the caller needs for the function's role, its layers, its VPC, its code in a bucket, and its tags."""
    body = call.body
    code = body.get("Code") or body
    if bucket := code.get("S3Bucket"):
        yield Action("s3:GetObject", f"arn:{get_partition(call.scope.region)}:s3:::{bucket}/{code.get('S3Key', '')}")
    if role := body.get("Role"):
        yield Action("iam:PassRole", role, {"iam:PassedToService": "lambda.amazonaws.com"})
    for layer in body.get("Layers") or []:
        yield Action("lambda:GetLayerVersion", layer)
    if (body.get("VpcConfig") or {}).get("SubnetIds"):
        # Lambda developer guide, "Giving Lambda functions access to resources in an Amazon VPC".
        for kind in ("SecurityGroups", "Subnets", "Vpcs"):
            yield Action(f"ec2:Describe{kind}", "*")
    if has_tags(body):
        yield Action("lambda:TagResource", function)


def _mapping(call: Call, path: str, function_of: Callable[[str], str]) -> Iterator[Action]:
    mapping = path.rstrip("/").rpartition("/event-source-mappings")[2].lstrip("/")
    if mapping:
        function, resource = function_of(mapping), f"{call.arn}event-source-mapping:{mapping}"
    else:
        name = call.body.get("FunctionName") if call.operation == "CreateEventSourceMapping" else ""
        function, resource = _function(call, name) if name else "", "*"
    context = {"lambda:FunctionArn": function} if function else {}
    yield Action(f"lambda:{call.operation}", resource, context)
    if call.operation == "CreateEventSourceMapping" and has_tags(call.body):
        yield Action("lambda:TagResource", f"{call.arn}event-source-mapping:*")


def _logs(call: Call) -> Iterator[Action]:
    """The resource of a group is its ARN with the suffix of a stream, except for the calls about tags."""
    body = call.body
    group = body.get("logGroupName") or next(iter(body.get("logGroupIdentifiers") or [""]))
    group = str(group or body.get("logGroupIdentifier") or "").rpartition("log-group:")[2].removesuffix(":*")
    if "resourceArn" in body:
        yield Action(f"logs:{call.operation}", body["resourceArn"].removesuffix(":*"))
    elif group or call.operation == "DescribeLogGroups":
        stream = body.get("logStreamName", "")
        yield Action(f"logs:{call.operation}", f"{call.arn}log-group:{group}:log-stream:{stream}")
    else:
        yield Action(f"logs:{call.operation}", "*")
    if call.operation == "CreateLogGroup" and has_tags(body):
        yield Action("logs:TagResource", f"{call.arn}log-group:{group}")


def _sqs(call: Call) -> Iterator[Action]:
    account, _, queue = str(call.body.get("QueueUrl", "")).rpartition("/")
    account = account.rpartition("/")[2] or call.body.get("QueueOwnerAWSAccountId") or call.scope.account
    arn = f"{call.arn.removesuffix(f'{call.scope.account}:')}{account}:"
    queue = queue or call.body.get("QueueName", "")
    yield Action(f"sqs:{call.operation.removesuffix('Batch')}", f"{arn}{queue}" if queue else "*")
    if call.operation == "CreateQueue" and has_tags(call.body):
        yield Action("sqs:TagQueue", f"{arn}{queue}")


def _sns(call: Call) -> Iterator[Action]:
    # Calls about a subscription have no resource.
    named = (call.body.get(name) for name in ("TopicArn", "TargetArn", "ResourceArn"))
    resource = f"{call.arn}{call.body['Name']}" if call.operation == "CreateTopic" else next(filter(None, named), "*")
    yield Action(f"sns:{call.operation.removesuffix('Batch')}", resource)
    if call.operation == "CreateTopic" and has_tags(call.body):
        yield Action("sns:TagResource", resource)


def _cloudwatch(call: Call) -> Iterator[Action]:
    names = [value for name, value in call.body.items() if name == "AlarmName" or name.startswith("AlarmNames.")]
    names += call.body.get("AlarmNames") or []
    if call.operation in _ALARM_ACTIONS:
        for name in names or ["*"]:
            yield Action(f"cloudwatch:{call.operation}", f"{call.arn}alarm:{name}")
        if call.operation == "PutMetricAlarm" and has_tags(call.body):
            yield Action("cloudwatch:TagResource", f"{call.arn}alarm:{names[0]}")
    elif call.operation == "PutMetricData":
        namespace = call.body.get("Namespace")
        yield Action(call.name, "*", {"cloudwatch:namespace": namespace} if namespace else {})
    else:
        yield Action(call.name, call.body.get("ResourceARN") or "*")


def _iam(call: Call) -> Iterator[Action]:
    """The ARN of a role, user or group includes its path."""
    body, operation = call.body, call.operation
    account = f"arn:{get_partition(call.scope.region)}:iam::{call.scope.account}:"
    name, kind = next(((body[name], kind) for name, kind in _IAM_NAMES.items() if name in body), ("", ""))
    if operation in ("CreatePolicy", "CreateRole", "CreateUser", "CreateGroup"):
        kind = operation.removeprefix("Create").lower()
        resource = f"{account}{kind}{body.get('Path', '/')}{name or body.get('PolicyName', '')}"
    elif name:
        resource = _iam_arn(call.scope, kind, name) or f"{account}{kind}/{name}"
    else:
        resource = body.get("PolicyArn") or body.get("PolicySourceArn") or "*"
    keys = {"iam:PolicyARN": "PolicyArn" if name else "", "iam:PermissionsBoundary": "PermissionsBoundary"}
    context = {key: body[parameter] for key, parameter in keys.items() if parameter in body}
    yield Action(f"iam:{operation}", resource, context)
    if operation.startswith("Create") and has_tags(body):
        yield Action(f"iam:Tag{operation.removeprefix('Create')}", resource)


def _iam_arn(scope: Signature, kind: str, name: str) -> str:
    backend = iam_backends[scope.account][get_partition(scope.region)]
    lists: dict[str, Callable[[], Any]] = {
        "role": backend.get_roles,
        "user": backend.users.values,
        "group": backend.groups.values,
    }
    entities = list(lists.get(kind, list)())
    return next((entity.arn for entity in entities if entity.name == name), "")


def _s3(call: Call) -> Iterator[Action]:
    """The actions on objects or a bucket, by method, path and subresource."""
    request, verb = call.request, _VERBS.get(call.request.method, "Get")
    bucket, _, key = request.path.lstrip("/").partition("/")
    arn, query = f"arn:{get_partition(call.scope.region)}:s3:::{bucket}", request.args
    if not bucket:
        yield Action("s3:ListAllMyBuckets", "*")
    elif key:
        yield from _s3_object(request, verb, f"{arn}/{key}")
    elif request.method == "POST" and "delete" in query:
        return  # batches.py judges each object
    elif setting := next((each for each in _BUCKET_SETTINGS if each in query), ""):
        # A bucket's tags and CORS rules are deleted with the permission to put them.
        verb = "Put" if verb == "Delete" and setting in ("tagging", "cors") else verb
        name = {"cors": "CORS"}.get(setting, setting.capitalize())
        yield Action(f"s3:{verb}Bucket{name}", arn)
    else:
        listing = next((action for each, action in _BUCKET_ACTIONS.items() if each in query), "ListBucket")
        yield Action(f"s3:{ {'PUT': 'CreateBucket', 'DELETE': 'DeleteBucket'}.get(request.method, listing) }", arn)


def _s3_object(request: Request, verb: str, arn: str) -> Iterator[Action]:
    """A copy reads another object. What a multipart upload needs besides s3:PutObject has names of its own."""
    query, headers, partition = request.args, request.headers, arn.partition("s3:::")[0]
    part = next((name for each, name in _OBJECT_SETTINGS.items() if each in query), "")
    version = "Version" if "versionId" in query and verb != "Put" and part not in ("Retention", "LegalHold") else ""
    multipart = (
        {"GET": "s3:ListMultipartUploadParts", "DELETE": "s3:AbortMultipartUpload"} if "uploadId" in query else {}
    )
    yield Action(multipart.get(request.method, f"s3:{verb}Object{version}{part}"), arn)
    if source := unquote(headers.get("x-amz-copy-source", "")):
        name, _, version_id = source.lstrip("/").partition("?versionId=")
        yield Action(f"s3:GetObject{'Version' if version_id else ''}", f"{partition}s3:::{name}")
    if headers.get("x-amz-tagging") and verb == "Put":
        yield Action("s3:PutObjectTagging", arn)
    if headers.get("x-amz-acl") and verb == "Put":
        yield Action("s3:PutObjectAcl", arn)


_SERVICES: dict[str, Callable[[Call], Iterator[Action]]] = {
    "cloudwatch": _cloudwatch,
    "dynamodb": _dynamodb,
    "events": handler_actions.events,
    "iam": _iam,
    "kinesis": handler_actions.kinesis,
    "kms": handler_actions.kms,
    "logs": _logs,
    "s3": _s3,
    "secretsmanager": handler_actions.secretsmanager,
    "ses": handler_actions.ses,
    "sns": _sns,
    "sqs": _sqs,
    "ssm": handler_actions.ssm,
    "states": handler_actions.states,
}
