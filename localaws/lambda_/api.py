"""The Invoke call (Lambda API reference, "Invoke"), and the end of a function's processes when it is deleted."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from typing import TYPE_CHECKING

from werkzeug.wrappers import Response

from localaws import ACCOUNT_ID
from localaws.iam import authorization
from localaws.lambda_ import code
from localaws.lambda_.functions import FunctionNotFound, Throttled

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

    from localaws.lambda_.functions import Answer, Functions
    from localaws.lambda_.settings import Function

_FUNCTION = re.compile(r"/2015-03-31/functions/([^/]+)(/invocations)?/?")
# Lambda guide, "Lambda quotas": the most an event may hold, in bytes.
_EVENT_BYTES = {"RequestResponse": 6_291_456, "DryRun": 6_291_456, "Event": 1_048_576}
_TAIL_BYTES = 4096
# AWS waits one minute before the second try of a failed event and two before the third.
_RETRY_SECONDS = 0.5


def answer(functions: Functions, request: Request) -> Response | None:
    """Answer Invoke. DeleteFunction is left to moto once the processes are ended; so is any other request."""
    match = _FUNCTION.fullmatch(request.path)
    if not match:
        return None
    name, region, qualifier = match[1], authorization.region(request), request.args.get("Qualifier")
    function = functions.find(f"{name}:{qualifier}" if qualifier else name, region)
    if request.method == "DELETE" and function and not match[2]:
        functions.retire(function)
    if request.method != "POST" or not match[2]:
        return None
    if not function:
        return _error(404, "ResourceNotFoundException", f"Function not found: {_arn(name, region, qualifier)}")
    return _refuse(request, function) or _invoke(functions, request, function, _invoked_arn(function, name, qualifier))


def _invoke(functions: Functions, request: Request, function: Function, arn: str) -> Response:
    kind, payload = _kind(request), request.get_data() or b"{}"
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if kind == "DryRun":
        return Response(status=204, headers=headers)
    context = base64.b64decode(request.headers.get("X-Amz-Client-Context", "")).decode()
    if kind == "Event":
        start_event(functions, function, payload, arn=arn, request_id=request_id)
        return Response(status=202, headers=headers)
    try:
        done = functions.invoke(arn, payload, client_context=context, request_id=request_id)
    except Throttled as reason:
        return _error(429, "TooManyRequestsException", "Rate Exceeded.", Reason=str(reason))
    except code.InvalidZipError as error:  # a layer's, which is looked at only now
        return _error(502, "InvalidZipFileException", str(error))
    except FunctionNotFound:  # deleted this moment
        return _error(404, "ResourceNotFoundException", f"Function not found: {arn}")
    return Response(done.payload, 200, {**headers, **_headers(done, request)}, mimetype="application/json")


def _headers(done: Answer, request: Request) -> dict[str, str]:
    headers = {"X-Amz-Executed-Version": done.version}
    if done.error:
        headers["X-Amz-Function-Error"] = done.error
    if request.headers.get("X-Amz-Log-Type") == "Tail":
        headers["X-Amz-Log-Result"] = base64.b64encode(done.log.encode()[-_TAIL_BYTES:]).decode()
    return headers


def _refuse(request: Request, function: Function) -> Response | None:
    """What Lambda says of a request before it looks for a process."""
    kind, payload = _kind(request), request.get_data()
    if kind not in _EVENT_BYTES:
        message = f"1 validation error detected: Value '{kind}' at 'invocationType' failed to satisfy constraint: "
        return _error(400, "ValidationException", message + f"Member must satisfy enum value set: {[*_EVENT_BYTES]}")
    if len(payload) > _EVENT_BYTES[kind]:
        limit = f"Request must be smaller than {_EVENT_BYTES[kind]} bytes for the InvokeFunction operation"
        return _error(413, "RequestEntityTooLargeException", limit)
    if function.state == "Pending":
        message = "The operation cannot be performed at this time. "
        message += f"The function is currently in the following state: {function.state}"
        return _error(409, "ResourceConflictException", message)
    try:
        json.loads(payload or b"{}")
    except ValueError as error:
        message = f"Could not parse request body into json: Could not parse payload into json: {error}"
        return _error(400, "InvalidRequestContentException", message)
    if not str(function.run_time).startswith("python"):
        message = f"Runtime {function.run_time} is not supported here: python3.x is. Function: {function.function_arn}"
        return _error(502, "InvalidRuntimeException", message)
    return None


def start_event(
    functions: Functions, function: Function, payload: bytes, *, arn: str = "", request_id: str = ""
) -> None:
    """Have the function run with that event soon; `arn` is the one that was invoked, with its qualifier."""
    event = (functions, function, arn or function.function_arn, payload, request_id or str(uuid.uuid4()))
    threading.Thread(target=_run_event, args=event, daemon=True).start()


def _run_event(functions: Functions, function: Function, arn: str, payload: bytes, request_id: str) -> None:
    """Run an event until it succeeds, is too old, or has failed as often as the function's EventInvokeConfig says.

    Lambda guide, "How Lambda handles errors and retries with asynchronous invocation". An invocation that is throttled
    is none that failed.
    """
    limits = function.event_invoke_config[0].config if function.event_invoke_config else {}
    retries = limits.get("MaximumRetryAttempts", 2)
    last = time.monotonic() + limits.get("MaximumEventAgeInSeconds", 6 * 3600)
    while time.monotonic() < last:
        try:
            if not functions.invoke(arn, payload, request_id=request_id).error or not retries:
                return
            retries -= 1
        except Throttled:
            pass
        except (FunctionNotFound, code.InvalidZipError):
            return
        time.sleep(_RETRY_SECONDS)


def _kind(request: Request) -> str:
    return request.headers.get("X-Amz-Invocation-Type", "RequestResponse")


def _arn(name: str, region: str, qualifier: str | None) -> str:
    arn = name if name.startswith("arn:") else f"arn:aws:lambda:{region}:{ACCOUNT_ID}:function:{name}"
    return f"{arn}:{qualifier}" if qualifier else arn


def _invoked_arn(function: Function, name: str, qualifier: str | None) -> str:
    """The function's ARN with the qualifier that was asked for, as `context.invoked_function_arn` has it."""
    base = ":".join(function.function_arn.split(":")[:7])
    qualifier = qualifier or (re.search(r"(?:^|function:)[\w-]+:([\w$-]+)$", name) or ["", ""])[1]
    return f"{base}:{qualifier}" if qualifier else base


def _error(status: int, code: str, message: str, **more: str) -> Response:
    body = json.dumps({"Type": "User", "Message": message, "message": message, **more})
    return Response(body, status, {"x-amzn-ErrorType": code}, mimetype="application/json")
