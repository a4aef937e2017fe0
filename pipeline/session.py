"""Clients for the target, and `invoke --dry` and `--echo` as botocore event hooks: steps know of neither."""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

from .resources.change import UserError
from .echo import listen

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
    dry: bool = False,
    verbose: bool = False,
    echo: Callable[[Call], None] | None = None,
) -> Callable[..., Any]:
    """A function from a service's name ("dynamodb") to its one client for the target.

    `endpoint_url` is the embedded AWS's with TARGET=local; its credentials are made up, and neither the credentials nor
    the profiles of this machine are read. With `dry`, calls that write are answered here instead of being made;
    with `verbose`, each call is told on stderr; `echo` is told of each before it is made or answered.
    `client(service, dry=True)` plans also where the rest is really made.
    """
    session: Any = _local_session(settings) if settings.target == "local" else _aws_session(settings)
    config = Config(retries=_RETRIES, proxies={}) if settings.target == "local" else Config(retries=_RETRIES)
    wholly_dry = dry

    @cache
    def client(service: str, *, dry: bool = dry) -> Any:
        made = session.client(service, endpoint_url=endpoint_url or settings.aws_endpoint_url or None, config=config)
        if echo and dry == wholly_dry:  # what is planned before it is done is not to be copied twice
            listen(made, settings.aws_region, echo)
        if dry:
            made.meta.events.register("provide-client-params", _note_parameters)
            made.meta.events.register("before-call", _answer_writes)
        if verbose:
            made.meta.events.register("before-call", _note_time)
            made.meta.events.register("after-call", _tell_call)
        return made

    return client


def check_account(settings: Settings, sts: Any) -> dict[str, str]:
    """Who calls, as GetCallerIdentity tells it; UserError when AWS_ACCOUNT_ID names another account."""
    caller: dict[str, str] = sts.get_caller_identity()
    if settings.target == "aws" and settings.aws_account_id not in ("", caller["Account"]):
        raise UserError(
            f"AWS_ACCOUNT_ID: {settings.aws_account_id} is wanted, but the credentials are of {caller['Account']} "
            f"({caller['Arn']}). Nothing was changed; choose another AWS_PROFILE, or correct AWS_ACCOUNT_ID."
        )
    return caller


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


def is_read(operation: str) -> bool:
    """Whether a call of this name changes nothing at AWS."""
    return operation.startswith(_READS)


def _note_parameters(params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["parameters"] = params


def _answer_writes(model: OperationModel, context: dict[str, Any], **_: Any) -> tuple[_Accepted, dict[str, Any]] | None:
    """Answer a writing call as AWS would, as far as that can be known without making it."""
    if is_read(model.name):
        return None
    answer = _foreseen(model.output_shape, context["parameters"]) if model.output_shape else {}
    return _Accepted(), {**answer, "ResponseMetadata": {"HTTPStatusCode": 200, "DryRun": True}}


def _note_time(context: dict[str, Any], **_: Any) -> None:
    context["began"] = time.monotonic()


def _tell_call(model: OperationModel, context: dict[str, Any], parsed: Mapping[str, Any], **_: Any) -> None:
    took = (time.monotonic() - context.get("began", time.monotonic())) * 1000
    answer = parsed.get("Error", {}).get("Code") or ("planned" if "DryRun" in parsed["ResponseMetadata"] else "")
    sys.stderr.write(f"    {model.service_model.service_name} {model.name}  {took:.0f} ms  {answer}".rstrip() + "\n")


class _Accepted:
    """What botocore looks at in an HTTP response."""

    status_code = 200


def _foreseen(shape: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The answer's members that echo the request's; ARNs, which AWS makes, as "<StreamArn>"."""
    answer: dict[str, Any] = {}
    for name, member in shape.members.items():
        if name in parameters:
            answer[name] = parameters[name]
        elif member.type_name == "string" and name.endswith("Arn"):
            answer[name] = f"<{shape.name if name == 'Arn' else ''}{name}>"
        elif member.type_name == "structure" and name not in ("Error", "Item"):
            answer[name] = _foreseen(member, parameters)
    return answer
