"""Versions and aliases of functions, where moto differs from AWS.

Lambda API reference: PublishVersion, ListVersionsByFunction, DeleteFunction ("Qualifier"), UpdateAlias.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

from localaws.errors import AwsError, invalid
from localaws.lambda_ import names
from localaws.lambda_.settings import refuse_other_revision

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.awslambda.models import LambdaAlias, LambdaFunction, LambdaStorage
    from moto.awslambda.responses import LambdaResponse

# Lambda never uses a number again, also after the function was deleted. By function ARN.
_last_numbers: Counter[str] = Counter()
_MAX_LISTED = 50
_NOT_PUBLISHED = (
    "FunctionArn", "Version", "LastModified", "RevisionId", "State", "StateReason", "StateReasonCode",
    "LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode",
)  # fmt: skip


def publish(self: LambdaStorage, name_or_arn: str, description: str = "") -> LambdaFunction:
    """PublishVersion: a copy of $LATEST, or the last version if code and configuration are as they were then."""
    latest: Any = self.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
    versions: list[Any] = self._functions[latest.function_name]["versions"]
    configuration = latest.get_configuration().items()
    content = json.dumps({name: value for name, value in configuration if name not in _NOT_PUBLISHED}, default=str)
    if versions and versions[-1].content == content:
        return versions[-1]  # type: ignore[no-any-return]
    _last_numbers[latest.function_arn] += 1
    version: Any = latest.copy_as_version(_last_numbers[latest.function_arn])
    version.content = content
    version.description = description or latest.description
    versions.append(version)
    self._arns[version.function_arn] = version
    return version  # type: ignore[no-any-return]


def delete(call: Callable[..., None], self: LambdaStorage, name_or_arn: str, qualifier: str | None = None) -> None:
    """Wrap DeleteFunction: a version that an alias names is kept, and one that does not exist is no error."""
    _, _, name, version = names.parse(name_or_arn, qualifier)
    if version == "$LATEST":
        raise invalid("$LATEST version cannot be deleted without deleting the function.")
    if version and self.get_function_by_name_forbid_qualifier(name):
        aliases = [alias.name for alias in self.list_aliases(name) if version in _versions_of(alias)]
        if aliases:
            why = f"the following aliases reference it: [{', '.join(aliases)}]"
            raise AwsError("ResourceConflictException", f"Unable to delete version because {why}", 409)
        if not self._get_version(name, version):
            return
    call(self, name_or_arn, qualifier)


def list_versions(call: Callable[..., str], self: LambdaResponse) -> str:
    """Wrap ListVersionsByFunction: in pages, without the states, and an error for a function that does not exist."""
    self.backend.get_function(self.path.split("/")[-2])
    start, limit = int(self._get_param("Marker") or 0), int(self._get_param("MaxItems") or _MAX_LISTED)
    end = start + min(limit, _MAX_LISTED)
    versions = json.loads(call(self))["Versions"]
    page = [{name: value for name, value in each.items() if "State" not in name} for each in versions[start:end]]
    return json.dumps({"Versions": page, **({"NextMarker": str(end)} if versions[end:] else {})})


def refuse_other_code(call: Callable[..., Any], self: LambdaResponse) -> Any:
    """Wrap PublishVersion: only of the code and the revision in the request, if it names them."""
    latest: Any = self.backend.get_function(self.path.split("/")[-2])
    request = json.loads(self.body or "{}")
    refuse_other_revision(request, latest.revision_id)
    if request.get("CodeSha256") not in (None, "", latest.code_sha_256):
        other = f"is different from current CodeSHA256 in $LATEST ({latest.code_sha_256}). Please try again with the"
        raise invalid(f"CodeSHA256 ({request['CodeSha256']}) {other} CodeSHA256 in $LATEST.")
    return call(self)


def update_alias(call: Callable[..., Any], self: LambdaResponse) -> Any:
    """Wrap UpdateAlias: only of the revision in the request, if it names one. Each update is a new revision."""
    function_name, _, alias_name = self.path.split("/")[-3:]
    alias = self.backend.get_alias(name=alias_name, function_name=function_name)
    refuse_other_revision(json.loads(self.body), alias.revision_id)
    call(self)
    alias.revision_id = str(uuid.uuid4())
    if len(_versions_of(alias)) == 1:
        alias.routing_config = ""
    return 200, {"status": 200}, json.dumps(alias.to_json())


def _versions_of(alias: LambdaAlias) -> set[str]:
    routing: Any = alias.routing_config or {}
    return {alias.function_version, *routing.get("AdditionalVersionWeights", {})}
