"""boto3 clients for the target. `invoke --dry`, `--echo` and `--verbose` are event hooks of these clients."""

import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from http import HTTPStatus
from typing import Any

import boto3
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import HTTPClientError
from botocore.model import OperationModel

from .echo import Call, on_call
from .resources.change import UserError
from .settings import Settings

# The responses to a plan's reads, with their times.
Recent = dict[str, tuple[float, dict[str, Any]]]
Answer = tuple[AWSResponse, dict[str, Any]]

_OK = AWSResponse("", 200, HTTPHeaders(), None)
_RETRIES: Any = {"mode": "standard", "total_max_attempts": 5}
# If the connection is cut, boto3's attempts end within a second. Outages last longer.
_OUTAGE_SECONDS, _OUTAGE_PAUSE_SECONDS = 15.0, 1.0
# Patterns of AWS's error codes.
_THROTTLED = re.compile("Throttl|TooManyRequests|ThroughputExceeded|RequestLimitExceeded")
# For this time, a call does not repeat a read of the plan before it.
_REUSE_SECONDS = 10.0
_READS = ("Describe", "Get", "List", "Head", "Filter", "BatchGet", "Query", "Scan", "Simulate")


def connect(settings: Settings, endpoint_url: str | None, *, dry_run: bool = False, verbose: bool = False,
            echo: Callable[[Call], None] | None = None, access_key: str = "local") -> Callable[..., Any]:  # fmt: skip
    """Return a function that maps a service name ("dynamodb") to a client for the target. It caches the clients.

    With TARGET=local, `endpoint_url` is the local AWS, which may have issued `access_key`; the clients do not read
    credentials from this machine. With `dry_run`, the clients answer write calls themselves. With `verbose`, they log
    each call on stderr. `echo` receives each call before it is made. `client(service, dry_run=True)` returns a dry-run
    client. A later call reuses each read of such a plan once, within seconds and until the first write.
    """
    session: Any = _local_session(settings, access_key) if settings.target == "local" else _aws_session(settings)
    # Lambda responds to an invocation when the function returns.
    timeout = 60 + settings.function_timeout
    config = Config(retries=_RETRIES, read_timeout=timeout, tcp_keepalive=True, max_pool_connections=50)
    config = config.merge(Config(proxies={})) if settings.target == "local" else config
    all_dry = dry_run
    recent: Recent = {}

    @cache
    def client(service: str, *, dry_run: bool = dry_run) -> Any:
        made = session.client(service, endpoint_url=endpoint_url or settings.aws_endpoint_url or None, config=config)
        made.meta.events.register("provide-client-params", _note_call)
        if echo and dry_run == all_dry:  # otherwise, the plan before the real calls prints each command twice
            on_call(made, settings.aws_region, echo)
        if verbose:
            made.meta.events.register("after-call", _log_call)
        made.meta.events.register("needs-retry", _outlast)
        if dry_run:
            made.meta.events.register("before-call", _answer_write)
        if not all_dry:
            hook, event = (_remember_read, "response-received") if dry_run else (_answer_read, "before-call")
            made.meta.events.register(event, partial(hook, recent=recent))
        return made

    return client


def is_read(operation: str) -> bool:
    """Whether an AWS operation of this name changes nothing."""
    return operation.startswith(_READS)


def with_region(settings: Settings) -> Settings:
    """Replace an empty AWS_REGION with the region of the profile or of AWS_DEFAULT_REGION."""
    if region := _aws_session(settings).region_name:
        return replace(settings, aws_region=region)
    profile = settings.aws_profile or "default"
    raise UserError(f"AWS_REGION is empty, and the profile {profile} has no region; set AWS_REGION, such as us-east-1")


def _local_session(settings: Settings, access_key: str) -> boto3.Session:
    nowhere = (None, None, os.devnull, None)
    places: Any = {"profile": (None, [], None, None), "config_file": nowhere, "credentials_file": nowhere}
    core = botocore.session.Session(session_vars=places)
    return boto3.Session(access_key, "local", region_name=settings.aws_region, botocore_session=core)


def _aws_session(settings: Settings) -> boto3.Session:
    for name, value in settings.aws_environment.items():
        os.environ.setdefault(name, value)
    return boto3.Session(profile_name=settings.aws_profile or None, region_name=settings.aws_region or None)


def _note_call(params: Mapping[str, Any], model: OperationModel, context: dict[str, Any], **_: Any) -> None:
    """Store the time and the parameters of a call, and for a read that can be reused, the text that identifies it."""
    context["began"], context["parameters"] = time.monotonic(), params
    # `clean` must see the current items when it deletes a table. Pages of records would fill the memory.
    call = f"{model.service_model.service_name} {model.name} {sorted(params.items())!r}"
    context["read"] = call if is_read(model.name) and model.name not in ("Scan", "GetRecords") else ""


def _answer_write(model: OperationModel, context: dict[str, Any], **_: Any) -> Answer | None:
    """Answer a write call as AWS would, as far as the response is predictable."""
    if is_read(model.name):
        return None
    response = predicted_response(model.output_shape, context["parameters"]) if model.output_shape else {}
    return _OK, {**response, "ResponseMetadata": {"HTTPStatusCode": 200, "DryRun": True}}


def predicted_response(shape: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a response that repeat the request, and a placeholder for each ARN: "<StreamArn>"."""
    response: dict[str, Any] = {}
    for name, member in shape.members.items():
        if name in parameters:
            response[name] = parameters[name]
        elif member.type_name == "string" and name.endswith("Arn"):
            response[name] = f"<{shape.name if name == 'Arn' else ''}{name}>"
        elif member.type_name == "structure" and name not in ("Error", "Item"):
            response[name] = predicted_response(member, parameters)
    return response


def _remember_read(context: dict[str, Any], parsed_response: Any, recent: Recent, **_: Any) -> None:
    """Remember a read of a plan. If a waiter repeats a call, keep the first response."""
    if context["read"] and parsed_response and "Error" not in parsed_response:
        recent.setdefault(context["read"], (time.monotonic(), deepcopy(parsed_response)))


def _answer_read(context: dict[str, Any], recent: Recent, **_: Any) -> Answer | None:
    """Answer a read once with the response to the plan's read. A write discards all earlier responses."""
    if not context["read"]:
        recent.clear()
        return None
    remembered = recent.pop(context["read"], None)
    if remembered is None or time.monotonic() - remembered[0] > _REUSE_SECONDS:
        return None
    context["reused"] = True
    return _OK, remembered[1]


def _outlast(response: Any, caught_exception: Exception | None, request_dict: dict[str, Any], **_: Any) -> float | None:
    """The pause before another attempt after boto3's attempts, while AWS is unavailable or throttles for up to 15 s."""
    since = request_dict["context"].setdefault("failing_since", time.monotonic())
    # An endpoint that accepts no connection is a mistake in the settings.
    unavailable = isinstance(caught_exception, HTTPClientError)
    if response:
        http, parsed = response
        throttled = _THROTTLED.search(str(parsed.get("Error", {}).get("Code")))
        unavailable = bool(throttled) or http.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _OUTAGE_PAUSE_SECONDS if unavailable and time.monotonic() - since < _OUTAGE_SECONDS else None


def _log_call(model: OperationModel, context: dict[str, Any], parsed: Mapping[str, Any], **_: Any) -> None:
    if "reused" in context:
        return  # no call
    milliseconds = (time.monotonic() - context["began"]) * 1000
    outcome = parsed.get("Error", {}).get("Code") or ("dry run" if "DryRun" in parsed["ResponseMetadata"] else "")
    call = f"{model.service_model.service_name} {model.name}"
    sys.stderr.write(f"    {call}  {milliseconds:.0f} ms  {outcome}".rstrip() + "\n")
