"""boto3 clients for the target. `invoke --dry`, `--echo` and `--verbose` are event hooks of these clients."""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

from .echo import on_call
from .resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.model import OperationModel

    from .echo import Call
    from .settings import Settings

_RETRIES: Any = {"mode": "standard", "total_max_attempts": 5}
_READS = ("Describe", "Get", "List", "Head", "Filter", "BatchGet", "Query", "Scan")


def connect(
    settings: Settings,
    endpoint_url: str | None,
    *,
    dry_run: bool = False,
    verbose: bool = False,
    echo: Callable[[Call], None] | None = None,
) -> Callable[..., Any]:
    """A function from a service's name ("dynamodb") to its one client for the target.

    With TARGET=local, `endpoint_url` is that of the local AWS, the credentials are made up, and the credentials and
    profiles of this machine are not read. With `dry_run`, the clients answer writing calls instead of making them. With
    `verbose`, they log each call on stderr. `echo` gets each call before it is made or answered.
    `client(service, dry_run=True)` returns a dry-run client in any case.
    """
    session: Any = _local_session(settings) if settings.target == "local" else _aws_session(settings)
    config = Config(retries=_RETRIES, proxies={}) if settings.target == "local" else Config(retries=_RETRIES)
    all_dry = dry_run

    @cache
    def client(service: str, *, dry_run: bool = dry_run) -> Any:
        made = session.client(service, endpoint_url=endpoint_url or settings.aws_endpoint_url or None, config=config)
        if echo and dry_run == all_dry:  # a plan before the real calls would print each command twice
            on_call(made, settings.aws_region, echo)
        if verbose:
            made.meta.events.register("before-call", _note_time)
            made.meta.events.register("after-call", _log_call)
        if dry_run:
            made.meta.events.register("provide-client-params", _note_parameters)
            made.meta.events.register("before-call", _answer_write)
        return made

    return client


def check_account(settings: Settings, sts: Any) -> dict[str, str]:
    """The answer of GetCallerIdentity. Raises UserError if AWS_ACCOUNT_ID names another account."""
    caller: dict[str, str] = sts.get_caller_identity()
    if settings.target == "aws" and settings.aws_account_id not in ("", caller["Account"]):
        raise UserError(
            f"AWS_ACCOUNT_ID is {settings.aws_account_id}, but the credentials belong to account {caller['Account']} "
            f"({caller['Arn']}). Nothing was changed. Choose another AWS_PROFILE, or correct AWS_ACCOUNT_ID."
        )
    return caller


def is_read(operation: str) -> bool:
    """Whether an AWS operation of this name changes nothing."""
    return operation.startswith(_READS)


def _local_session(settings: Settings) -> boto3.Session:
    nowhere = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={
            "profile": (None, [], None, None),
            "config_file": nowhere,
            "credentials_file": nowhere,
        }
    )
    return boto3.Session("local", "local", region_name=settings.aws_region, botocore_session=core)


def _aws_session(settings: Settings) -> boto3.Session:
    for name, value in settings.aws_environment.items():
        os.environ.setdefault(name, value)
    return boto3.Session(profile_name=settings.aws_profile or None, region_name=settings.aws_region)


def _note_parameters(params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["parameters"] = params


def _answer_write(
    model: OperationModel, context: dict[str, Any], **_: Any
) -> tuple[_FakeHttpResponse, dict[str, Any]] | None:
    """Answer a writing call as AWS would, as far as the answer is predictable."""
    if is_read(model.name):
        return None
    response = predicted_response(model.output_shape, context["parameters"]) if model.output_shape else {}
    return _FakeHttpResponse(), {**response, "ResponseMetadata": {"HTTPStatusCode": 200, "DryRun": True}}


class _FakeHttpResponse:
    """The part of an HTTP response that botocore reads."""

    status_code = 200


def predicted_response(shape: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a response that repeat the request's, and for each ARN a placeholder: "<StreamArn>"."""
    response: dict[str, Any] = {}
    for name, member in shape.members.items():
        if name in parameters:
            response[name] = parameters[name]
        elif member.type_name == "string" and name.endswith("Arn"):
            response[name] = f"<{shape.name if name == 'Arn' else ''}{name}>"
        elif member.type_name == "structure" and name not in ("Error", "Item"):
            response[name] = predicted_response(member, parameters)
    return response


def _note_time(context: dict[str, Any], **_: Any) -> None:
    context["began"] = time.monotonic()


def _log_call(model: OperationModel, context: dict[str, Any], parsed: Mapping[str, Any], **_: Any) -> None:
    milliseconds = (time.monotonic() - context["began"]) * 1000
    outcome = parsed.get("Error", {}).get("Code") or ("dry run" if "DryRun" in parsed["ResponseMetadata"] else "")
    call = f"{model.service_model.service_name} {model.name}"
    sys.stderr.write(f"    {call}  {milliseconds:.0f} ms  {outcome}".rstrip() + "\n")
