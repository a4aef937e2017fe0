"""The Invoke call (Lambda API reference, "Invoke"), the download of code, and the names of functions in any call."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import unquote

from werkzeug.wrappers import Response

from localaws import service_model
from localaws.errors import AwsError, invalid
from localaws.lambda_ import names
from localaws.lambda_.code import InvalidZipError
from localaws.lambda_.functions import FunctionNotFound, Throttled, UnsupportedRuntime, check_runtime
from localaws.lambda_.settings import CODE_PATH
from localaws.signature import signature

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

    from localaws.lambda_.environment import InvocationResult
    from localaws.lambda_.functions import Functions
    from localaws.lambda_.settings import Function

_INVOCATION = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
_FUNCTION = re.compile(r"/20\d\d-\d\d-\d\d/functions/([^/]+)")
# Lambda guide, "Lambda quotas": the maximum size of an event in bytes.
_EVENT_BYTES = {"RequestResponse": 6_291_456, "DryRun": 6_291_456, "Event": 1_048_576}
_TAIL_BYTES = 4096
# AWS waits one minute before the first retry of a failed event, and two minutes before the second.
_RETRY_SECONDS = 0.5


def handle(functions: Functions, request: Request) -> Response | None:
    """Handle Invoke, and the download from the Code.Location of GetFunction. Refuse the wrong names of other calls."""
    if request.path.startswith(CODE_PATH):
        function = functions.find(unquote(request.path.removeprefix(CODE_PATH)))
        return Response(function.code_bytes, mimetype="application/zip") if function else Response(status=404)
    scope = signature(request)
    if match := _FUNCTION.match(request.path):
        _check_name(names.parse(unquote(match[1])), request.args.get("Qualifier"), scope.region)
    match = _INVOCATION.fullmatch(request.path)
    if not match or request.method != "POST":
        return None
    arn = names.parse(match[1], request.args.get("Qualifier")).arn(scope.region, scope.account)
    function = functions.find(arn)
    if not function:
        raise _not_found(arn)
    invocation_type = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
    _validate(invocation_type, request.get_data(), function)
    return _invoke(functions, request, function, arn, invocation_type)


def _check_name(name: names.FunctionName, qualifier: str | None, region: str) -> None:
    if name.region not in ("", region):
        reason = f"Functions from '{name.region}' are not reachable in this region ('{region}')"
        raise AwsError("ResourceNotFoundException", reason, 404)
    if qualifier and name.qualifier not in ("", qualifier):
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")


def _invoke(functions: Functions, request: Request, function: Function, arn: str, invocation_type: str) -> Response:
    payload, request_id = request.get_data() or b"{}", str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if invocation_type == "DryRun":
        return Response(status=204, headers=headers)
    context = base64.b64decode(request.headers.get("X-Amz-Client-Context", "")).decode()
    if invocation_type == "Event":
        start_event(functions, function, payload, arn=arn, request_id=request_id)
        return Response(status=202, headers=headers)
    try:
        result = functions.invoke(arn, payload, client_context=context, request_id=request_id)
    except Throttled as reason:
        raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, Reason=str(reason)) from reason
    except InvalidZipError as error:  # of a layer, which is unpacked only now
        raise AwsError("InvalidZipFileException", str(error), 502) from error
    except FunctionNotFound as error:  # deleted since it was found
        raise _not_found(arn) from error
    return Response(result.payload, 200, {**headers, **_headers(result, request)}, mimetype="application/json")


def _headers(result: InvocationResult, request: Request) -> dict[str, str]:
    headers = {"X-Amz-Executed-Version": result.version}
    if result.error:
        headers["X-Amz-Function-Error"] = result.error
    if request.headers.get("X-Amz-Log-Type") == "Tail":
        headers["X-Amz-Log-Result"] = base64.b64encode(result.log.encode()[-_TAIL_BYTES:]).decode()
    return headers


def _validate(invocation_type: str, payload: bytes, function: Function) -> None:
    """Refuse the requests that Lambda refuses before it looks for an execution environment."""
    service_model.validate("lambda", "Invoke", {"InvocationType": invocation_type})
    if len(payload) > _EVENT_BYTES[invocation_type]:
        limit = f"Request must be smaller than {_EVENT_BYTES[invocation_type]} bytes for the InvokeFunction operation"
        raise AwsError("RequestEntityTooLargeException", limit, 413)
    if function.state == "Pending":
        state = f"The function is currently in the following state: {function.state}"
        raise AwsError("ResourceConflictException", f"The operation cannot be performed at this time. {state}", 409)
    try:
        json.loads(payload or b"{}")
    except ValueError as error:
        message = f"Could not parse request body into json: Could not parse payload into json: {error}"
        raise AwsError("InvalidRequestContentException", message) from error
    try:
        check_runtime(function)
    except UnsupportedRuntime as error:
        raise AwsError("InvalidRuntimeException", str(error), 502) from error


def start_event(
    functions: Functions, function: Function, payload: bytes, *, arn: str = "", request_id: str = ""
) -> None:
    """Run the function with an event, soon. `arn` is the one that was invoked, with its qualifier."""
    event = (functions, function, arn or function.function_arn, payload, request_id or str(uuid.uuid4()))
    threading.Thread(target=_run_event, args=event, daemon=True).start()


def _run_event(functions: Functions, function: Function, arn: str, payload: bytes, request_id: str) -> None:
    """Run an event until it succeeds, is too old, or has used up the retries of the function's EventInvokeConfig.

    Lambda guide, "How Lambda handles errors and retries with asynchronous invocation". Throttles use up no retries.
    """
    limits = function.event_invoke_config[0].config if function.event_invoke_config else {}
    retries = limits.get("MaximumRetryAttempts", 2)
    deadline = time.monotonic() + limits.get("MaximumEventAgeInSeconds", 6 * 3600)
    while time.monotonic() < deadline:
        try:
            if not functions.invoke(arn, payload, request_id=request_id).error or not retries:
                return
            retries -= 1
        except Throttled:
            pass
        except (FunctionNotFound, UnsupportedRuntime, InvalidZipError):
            return
        time.sleep(_RETRY_SECONDS)


def _not_found(arn: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Function not found: {arn}", 404)
