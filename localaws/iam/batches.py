"""The calls that refuse a caller single items: objects of DeleteObjects, secrets of BatchGetSecretValue.

Amazon S3 API reference, DeleteObjects; AWS Secrets Manager API reference, BatchGetSecretValue: "Errors".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, unescape

import flask

from localaws import signature
from localaws.iam import handler_actions, policies
from localaws.iam.call import Action, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from moto.s3.responses import S3Response
    from moto.secretsmanager.responses import SecretsManagerResponse

_OBJECT = re.compile(r"<Object>.*?</Object>", re.DOTALL)
_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)
_NONE_DELETED = '<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>'


def delete_objects(call: Callable[..., Any], self: S3Response, bucket: str, **options: Any) -> Any:
    """Wrap DeleteObjects: it deletes the objects that the caller may delete, and returns an error for each other."""
    errors = []

    def keep(match: re.Match[str]) -> str:
        found = _KEY.search(match[0])
        key, version = found[1] if found else "", "Version" if "<VersionId>" in match[0] else ""
        arn = f"arn:{self.partition}:s3:::{bucket}/{unescape(key)}"
        if why := _refusal(self, [Action(f"s3:DeleteObject{version}", arn)]):
            errors.append(f"<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>{escape(why)}</Message></Error>")
        return "" if why else match[0]

    # moto decodes the body of some content types only.
    self.body = _OBJECT.sub(keep, self.body.decode() if isinstance(self.body, bytes) else self.body)
    if not errors:
        return call(self, bucket, **options)
    status, headers, body = call(self, bucket, **options) if _OBJECT.search(self.body) else (200, {}, _NONE_DELETED)
    return status, headers, body.replace("</DeleteResult>", f"{''.join(errors)}</DeleteResult>")


def get_secrets(call: Callable[..., str], self: SecretsManagerResponse) -> str:
    """Wrap BatchGetSecretValue: it returns the secrets that the caller may read, and an error for each other."""
    response = json.loads(call(self))
    request = read(flask.request)
    secrets, response["SecretValues"] = response["SecretValues"], []
    for secret in secrets:
        actions = handler_actions.secret(request, "secretsmanager:GetSecretValue", secret["ARN"])
        if why := _refusal(self, actions):
            asked = secret["ARN"] if secret["ARN"] in request.body.get("SecretIdList", ()) else secret["Name"]
            response["Errors"].append({"SecretId": asked, "ErrorCode": "AccessDeniedException", "Message": why})
        else:
            response["SecretValues"].append(secret)
    return json.dumps(response)


def _refusal(self: S3Response | SecretsManagerResponse, actions: Iterable[Action]) -> str:
    caller = policies.caller(signature.parse(self.headers.get("Authorization", "")))
    return next(filter(None, (policies.refusal(caller, *action) for action in actions)), "")
