"""Render policies/*.json with their tokens. build/policies/ contains the documents that IAM receives."""

import json
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from . import parameters
from .resources.change import UserError
from .settings import Settings

Tokens = Callable[[], Mapping[str, str]]

TRUST, EXECUTION, ON_FAILURE = "trust-policy.json", "execution-policy.json", "on-failure.json"
TABLE_KEY = "table-key.json"

# IAM's quota for all inline policies of a role together, in characters without white space. This quota is fixed, unlike
# that of the trust policy: docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
INLINE_POLICIES_CHARACTERS = 10240

_TOKEN = re.compile(r"\$\{([^}]*)\}")


def trust_policy(root: Path, tokens: Tokens, *, write: bool = True) -> dict[str, Any]:
    """The document of policies/trust-policy.json, which says who can assume the role.

    `tokens` returns the values by name, such as "AWS::Region", if a document has tokens. `write`: store it in build/.
    """
    document = render(root / "policies" / TRUST, tokens)
    if write:
        save(document, root / "build" / "policies" / TRUST)
    return document


def inline_policies(
    settings: Settings, root: Path, tokens: Tokens, *, key_arn: str = "", write: bool = True
) -> dict[str, dict[str, Any]]:
    """The role's inline policies by name: for each other file in policies/, for ON_FAILURE, and for the table's key.

    `key_arn` is the key's ARN, or "". DynamoDB developer guide: "DynamoDB encryption at rest: How it works".
    """
    files = inline_policy_names(settings, root, with_key=bool(key_arn))
    generated: dict[str, Any] = {
        ON_FAILURE: settings.on_failure and parameters.on_failure_policy(settings.on_failure),
        TABLE_KEY: key_arn and parameters.allow(["kms:Decrypt"], key_arn),
    }
    documents = {name: generated.get(file) or render(root / "policies" / file, tokens) for name, file in files.items()}
    # IAM does not count white space.
    sizes = {files[name]: len("".join(json.dumps(doc, ensure_ascii=False).split())) for name, doc in documents.items()}
    if (total := sum(sizes.values())) > INLINE_POLICIES_CHARACTERS:
        listed = ", ".join(f"{file} {size}" for file, size in sizes.items())
        allowed = f"allowed for all inline policies of a role: {INLINE_POLICIES_CHARACTERS}"
        advice = "move statements to a managed policy in ROLE_MANAGED_POLICY_ARNS"
        raise UserError(f"{root / 'policies'}: {total} characters in total ({listed}); {allowed}. {advice}")
    for name, file in files.items() if write else ():
        save(documents[name], root / "build" / "policies" / file)
    return documents


def inline_policy_names(settings: Settings, root: Path, *, with_key: bool = True) -> dict[str, str]:
    """The names of the role's inline policies and their files. `with_key`: include the policy for the table's key."""
    names = {settings.policy_name: EXECUTION}
    if settings.on_failure:
        names[f"{settings.pipeline_name}-on-failure"] = ON_FAILURE
    if with_key:
        names[f"{settings.pipeline_name}-table-key"] = TABLE_KEY
    files = sorted(path.name for path in (root / "policies").glob("*.json"))
    names |= {f"{settings.pipeline_name}-{Path(file).stem}": file for file in files if file not in (TRUST, EXECUTION)}
    return names


def render(source: Path, tokens: Tokens) -> dict[str, Any]:
    """The policy in `source` with each `${Token}` replaced, except IAM's own. Raises UserError for other content."""
    try:
        document = json.loads(_replace(source, source.read_text(encoding="utf-8"), tokens))
    except FileNotFoundError:
        raise UserError(f"{source} is missing; it must contain the policy document for IAM") from None
    except ValueError as error:
        raise UserError(f"{source} is not JSON; correct it: {error}") from None
    check(source, document)
    return dict(document)


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write a document to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _replace(source: Path, text: str, tokens: Tokens) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in ("*", "?", "$") or (":" in name and not name.startswith("AWS::")):
            return match[0]
        if name not in (known := tokens()):
            allowed = ", ".join(f"${{{token}}}" for token in known)
            raise UserError(f"{source}: ${{{name}}} is not a token; allowed: {allowed}, and IAM's own ${{aws:...}}")
        return json.dumps(known[name])[1:-1]

    return _TOKEN.sub(value, text)


def check(source: Path, document: Any) -> None:
    """Raise UserError for a document that IAM rejects as malformed, and for a role that Lambda cannot assume."""
    if not isinstance(document, dict) or not document.get("Statement"):
        raise UserError(f"{source}: a policy must be a JSON object with a Statement")
    if (version := document.get("Version", "2012-10-17")) not in ("2012-10-17", "2008-10-17"):
        raise UserError(f'{source}: Version {version!r} is not allowed; allowed: "2012-10-17", "2008-10-17" or none')
    statements = listed(document["Statement"])
    trust = source.name == TRUST
    if trust and not lets_lambda_in(statements):
        advice = "add it as a Service in the Principal of a statement that allows sts:AssumeRole"
        raise UserError(f"{source}: lambda.amazonaws.com is not allowed to assume the role; {advice}")
    needed, forbidden = ("Principal", "Resource") if trust else ("Resource", "Principal")
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise UserError(f'{source}: a statement must be a JSON object with an Effect, "Allow" or "Deny"')
        for name in ("Action", needed):
            if len({name, f"Not{name}"} & {*statement}) != 1:
                raise UserError(f"{source}: each statement needs {name} or Not{name}: {json.dumps(statement)}")
        if {forbidden, f"Not{forbidden}"} & {*statement}:
            raise UserError(f"{source}: remove {forbidden}, which this policy must not have: {json.dumps(statement)}")
        if not re.fullmatch("[0-9A-Za-z]*", str(statement.get("Sid", ""))):
            raise UserError(f"{source}: Sid {statement['Sid']!r} is not allowed; allowed: letters and digits")
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len(set(sids)) < len(sids):
        raise UserError(f"{source}: each Sid must be unique; there are {', '.join(sids)}")


def lets_lambda_in(statements: list[Any]) -> bool:
    """Whether Lambda can assume the role if the conditions of Allow are true and those of Deny are false."""
    effects = {
        statement.get("Effect")
        for statement in statements
        if isinstance(statement, dict)
        and covers(statement, "Principal", "lambda.amazonaws.com")
        and covers(statement, "Action", "sts:AssumeRole")
        and not (statement.get("Effect") == "Deny" and "Condition" in statement)
    }
    return effects == {"Allow"}


def covers(statement: Mapping[str, Any], name: str, value: str) -> bool:
    """Whether the statement's element, such as Action or NotAction, covers the value. Resources are case-sensitive."""
    element = statement.get(name, statement.get(f"Not{name}"))
    patterns = listed(element.get("Service", []) if isinstance(element, dict) else element)
    fold: Callable[[str], str] = str if name == "Resource" else str.lower
    found = any(fnmatchcase(fold(value), fold(str(pattern))) for pattern in patterns)
    return found if name in statement else not found and f"Not{name}" in statement


def listed(value: Any) -> list[Any]:
    """The value as a list. IAM also accepts a single value without a list."""
    return value if isinstance(value, list) else [value]
