"""policies/*.json with their tokens -> the documents that IAM stores, which also lie in build/policies/."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from .resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# IAM's quotas, in characters without white space: docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
TRUST_POLICY_CHARACTERS = 2048
INLINE_POLICY_CHARACTERS = 10240

_TOKEN = re.compile(r"\$\{([^}]*)\}")


def render(source: Path, tokens: Callable[[], Mapping[str, str]]) -> dict[str, Any]:
    """The document in `source` with `${Token}` replaced.

    `tokens` is asked for what stands for each name, such as "AWS::Region", when there is a token at all; IAM's own
    `${aws:...}` variables pass through. Raises UserError for a file that is no policy or names an unknown token.
    """
    try:
        text = source.read_text(encoding="utf-8")
        document = json.loads(_replace(source, text, tokens))
    except FileNotFoundError:
        raise UserError(f"{source} is missing; it holds the policy document that IAM is to store") from None
    except ValueError as error:
        raise UserError(f"{source} is not JSON: {error}") from None
    _check(source, document)
    return dict(document)


def write(document: Mapping[str, Any], path: Path) -> None:
    """Lay down a document where a person looks for what is sent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _replace(source: Path, text: str, tokens: Callable[[], Mapping[str, str]]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("aws:"):
            return match[0]
        if name not in (known := tokens()):
            allowed = ", ".join(f"${{{token}}}" for token in known)
            raise UserError(f"{source}: ${{{name}}} is no token; allowed: {allowed}, and IAM's own ${{aws:...}}")
        return json.dumps(known[name])[1:-1]

    return _TOKEN.sub(value, text)


def _check(source: Path, document: Any) -> None:
    """What IAM would refuse as MalformedPolicyDocument or LimitExceeded, told before IAM is asked."""
    if not isinstance(document, dict) or not document.get("Statement"):
        raise UserError(f"{source}: a policy is a JSON object with a Statement")
    if document.get("Version") != "2012-10-17":
        raise UserError(f'{source}: Version is {document.get("Version")!r}; allowed: "2012-10-17"')
    trust = source.name == "trust-policy.json"
    limit = TRUST_POLICY_CHARACTERS if trust else INLINE_POLICY_CHARACTERS
    size = len(json.dumps(document, separators=(",", ":")))
    if size > limit:
        raise UserError(f"{source}: {size} characters; allowed: {limit}")
    if trust and "lambda.amazonaws.com" not in json.dumps(document):
        raise UserError(
            f"{source}: lambda.amazonaws.com is not allowed to assume the role; add it as the Principal's Service"
        )
