"""policies/*.json with their tokens -> the documents that IAM stores. build/policies/ holds exactly what is sent."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from . import parameters
from .resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .settings import Settings

    Tokens = Callable[[], Mapping[str, str]]

TRUST, EXECUTION = "trust-policy.json", "execution-policy.json"

# IAM's quotas, in characters without white space: docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
TRUST_POLICY_CHARACTERS = 2048
INLINE_POLICY_CHARACTERS = 10240

_TOKEN = re.compile(r"\$\{([^}]*)\}")


def trust_policy(root: Path, tokens: Tokens, *, write: bool = True) -> dict[str, Any]:
    """The document of policies/trust-policy.json: who may assume the role.

    `root` is the project's folder. `tokens` returns the value of each token by name, such as "AWS::Region"; it is
    called only if the document has a token. With `write`, the document is also written to build/policies/.
    """
    return _document(root, TRUST, tokens, write=write)


def inline_policies(settings: Settings, root: Path, tokens: Tokens, *, write: bool = True) -> dict[str, dict[str, Any]]:
    """The role's inline policies by name: one for each other document in policies/, and one for ON_FAILURE."""
    documents = {settings.policy_name: _document(root, EXECUTION, tokens, write=write)}
    if settings.on_failure:
        document = parameters.on_failure_policy(settings.on_failure)
        documents[f"{settings.pipeline_name}-on-failure"] = document
        if write:
            _write(document, root / "build" / "policies" / "on-failure.json")
    for path in sorted((root / "policies").glob("*.json")):
        if path.name not in (TRUST, EXECUTION):
            documents[f"{settings.pipeline_name}-{path.stem}"] = _document(root, path.name, tokens, write=write)
    return documents


def _document(root: Path, name: str, tokens: Tokens, *, write: bool) -> dict[str, Any]:
    document = render(root / "policies" / name, tokens)
    if write:
        _write(document, root / "build" / "policies" / name)
    return document


def render(source: Path, tokens: Tokens) -> dict[str, Any]:
    """The document in `source` with each `${Token}` replaced. IAM's own `${aws:...}` variables pass through.

    Raises UserError for a file that is not a policy, or that has an unknown token.
    """
    try:
        text = source.read_text(encoding="utf-8")
        document = json.loads(_replace(source, text, tokens))
    except FileNotFoundError:
        raise UserError(f"{source} is missing; it must hold the policy document for IAM") from None
    except ValueError as error:
        raise UserError(f"{source} is not JSON: {error}") from None
    _check(source, document)
    return dict(document)


def _write(document: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _replace(source: Path, text: str, tokens: Tokens) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("aws:"):
            return match[0]
        if name not in (known := tokens()):
            allowed = ", ".join(f"${{{token}}}" for token in known)
            raise UserError(f"{source}: ${{{name}}} is not a token; allowed: {allowed}, and IAM's own ${{aws:...}}")
        return json.dumps(known[name])[1:-1]

    return _TOKEN.sub(value, text)


def _check(source: Path, document: Any) -> None:
    """Raise UserError for what IAM would refuse as MalformedPolicyDocument or LimitExceeded."""
    if not isinstance(document, dict) or not document.get("Statement"):
        raise UserError(f"{source}: a policy is a JSON object with a Statement")
    if document.get("Version") != "2012-10-17":
        raise UserError(f'{source}: Version {document.get("Version")!r} is not allowed; allowed: "2012-10-17"')
    trust = source.name == TRUST
    limit = TRUST_POLICY_CHARACTERS if trust else INLINE_POLICY_CHARACTERS
    size = len(json.dumps(document, separators=(",", ":")))
    if size > limit:
        raise UserError(f"{source}: {size} characters; allowed: {limit}")
    if trust and "lambda.amazonaws.com" not in json.dumps(document):
        raise UserError(
            f"{source}: lambda.amazonaws.com is not allowed to assume the role; add it as the Principal's Service"
        )
