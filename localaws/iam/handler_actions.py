"""The actions and resources of the services that functions call to configure themselves and to pass data on.

Service Authorization Reference, "Actions, resources, and condition keys" of each service.
"""

from __future__ import annotations

import base64
import email.utils
import re
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any

from moto.backends import get_backend
from moto.kms.models import kms_backends
from moto.utilities.utils import get_partition

from localaws.iam.call import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localaws.iam.call import Call

_KEY_ID_CHARACTERS = 36
_SENDING = {"SendEmail", "SendRawEmail", "SendTemplatedEmail", "SendBulkTemplatedEmail", "SendBulkEmail"}


def ssm(call: Call) -> Iterator[Action]:
    """One action per parameter, whose version or label is not part of its ARN, and one for the key that encrypts it."""
    body = call.body
    if body.get("ResourceType") == "Parameter":
        names = [body.get("ResourceId")]
    elif "Parameter" in call.operation and call.operation != "DescribeParameters":
        names = body.get("Names") or [body.get("Name") or body.get("Path")]
    else:
        names = []
    for name in map(str, names):
        path = name.partition(":")[0].removeprefix("/")
        arn = name if name.startswith("arn:") else f"{call.arn}parameter/{path}"
        yield Action(call.name, arn)
        yield from _parameter_key(call, name, arn)
    if not names:
        yield Action(call.name, "*")


def _parameter_key(call: Call, name: str, arn: str) -> Iterator[Action]:
    """Systems Manager user guide, "AWS KMS encryption for Parameter Store SecureString parameters"."""
    body, key = call.body, "kms:EncryptionContext:PARAMETER_ARN"
    if call.operation == "PutParameter":
        yield from _customer_key(call, "kms:Encrypt", body.get("KeyId"), {key: arn})
    elif body.get("WithDecryption"):
        backend = get_backend("ssm")[call.scope.account][call.scope.region]
        found = [backend.get_parameter(name)]
        if "Path" in body:
            page = backend.get_parameters_by_path(name, bool(body.get("Recursive")), None, body.get("NextToken"))
            found = list(page[0])
        for each in filter(None, found):
            its_arn = f"{call.arn}parameter/{each.name.removeprefix('/')}"
            yield from _customer_key(call, "kms:Decrypt", each.keyid, {key: its_arn})


def _customer_key(call: Call, action: str, key: str | None, context: dict[str, str]) -> Iterator[Action]:
    """What a caller needs for the key of a resource. AWS's own keys can be used by all who can use the service."""
    if key and "alias/aws/" not in key:
        via = f"{call.service}.{call.scope.region}.amazonaws.com"
        yield _key_action(call, action, key, {"kms:ViaService": via, **context})


def secretsmanager(call: Call) -> Iterator[Action]:
    """The ARN of a secret ends in characters that Secrets Manager makes up; the name alone does not match it."""
    body = call.body
    if call.operation == "CreateSecret":
        new = f"{call.arn}secret:{body.get('Name', '')}-??????"
        yield Action(call.name, new)
        if body.get("Tags"):
            yield Action("secretsmanager:TagResource", new)
        yield from _secret_key(call, body.get("KmsKeyId"), new)
    elif name := body.get("SecretId"):
        yield from secret(call, call.name, str(name))
    else:
        yield Action(call.name, "*")
        if call.operation == "BatchGetSecretValue" and body.get("Filters"):  # batches.py judges each secret
            yield Action("secretsmanager:ListSecrets", "*")


def secret(call: Call, action: str, name_or_arn: str) -> Iterator[Action]:
    """An action on a secret, and what the call needs for the key that encrypts it."""
    found = get_backend("secretsmanager")[call.scope.account][call.scope.region].secrets.get(name_or_arn)
    if found:
        yield Action(action, str(found.arn))
        yield from _secret_key(call, vars(found).get("kms_key_id"), str(found.arn))
    else:
        yield Action(action, name_or_arn if name_or_arn.startswith("arn:") else f"{call.arn}secret:{name_or_arn}")


def _secret_key(call: Call, key: str | None, arn: str) -> Iterator[Action]:
    """Secrets Manager user guide, "Secret encryption and decryption in AWS Secrets Manager"."""
    context = {"kms:EncryptionContext:SecretARN": arn}
    if call.operation in ("CreateSecret", "PutSecretValue"):
        yield from _customer_key(call, "kms:GenerateDataKey", key, context)
    if call.operation in ("CreateSecret", "PutSecretValue", "GetSecretValue", "BatchGetSecretValue"):
        yield from _customer_key(call, "kms:Decrypt", key, context)


def kms(call: Call) -> Iterator[Action]:
    """The resource is the key, also if the request names its alias, or only has text that the key encrypted."""
    body, operation = call.body, call.operation
    source = str(body.get("SourceKeyId") or body.get("KeyId") or _key_of(body.get("CiphertextBlob")))
    if operation == "ReEncrypt":
        source = str(body.get("SourceKeyId") or _key_of(body.get("CiphertextBlob")))
        yield _key_action(call, "kms:ReEncryptFrom", source)
        yield _key_action(call, "kms:ReEncryptTo", str(body.get("DestinationKeyId", "")))
    elif operation in ("CreateAlias", "UpdateAlias", "DeleteAlias"):
        alias = str(body.get("AliasName", ""))
        yield Action(call.name, f"{call.arn}{alias}")
        yield _key_action(call, call.name, str(body.get("TargetKeyId") or alias), {})
    else:
        yield _key_action(call, call.name, "" if operation == "ListAliases" else source)


def _key_action(call: Call, action: str, key: str, context: dict[str, str] | None = None) -> Action:
    backend = kms_backends[call.scope.account][call.scope.region]
    if context is None:
        context = {"kms:RequestAlias": backend.get_alias_name(key)} if "alias/" in key else {}
    if backend.alias_exists(backend.get_alias_name(key)):
        key = backend.any_id_to_key_id(key)
    if key and not key.startswith("arn:"):
        key = f"arn:{get_partition(call.scope.region)}:kms:{call.scope.region}:{call.scope.account}:key/{key}"
    return Action(action, key or "*", context)


def _key_of(ciphertext: Any) -> str:
    """The ID of the key that encrypted a text: moto puts it first. Only asymmetric keys must be named to decrypt."""
    return _decoded(ciphertext)[:_KEY_ID_CHARACTERS].decode(errors="replace")


def _decoded(text: Any) -> bytes:
    """The bytes of a text in base64; none if it is not."""
    try:
        return base64.b64decode(str(text or ""))
    except ValueError:
        return b""


def kinesis(call: Call) -> Iterator[Action]:
    """The resource is a stream, or the consumer of one."""
    body = call.body
    iterator = _decoded(body.get("ShardIterator")).decode(errors="replace")
    name = body.get("StreamName") or iterator.partition(":")[0]
    arn = body.get("ConsumerARN") or body.get("StreamARN") or body.get("ResourceARN")
    yield Action(call.name, arn or (f"{call.arn}stream/{name}" if name and call.operation != "ListStreams" else "*"))


def events(call: Call) -> Iterator[Action]:
    """One action per event bus. The ARN of a rule names its bus, except the default one."""
    body, operation = call.body, call.operation
    if operation == "PutEvents":
        entries = body.get("Entries") or []
        buses = [str(entry.get("EventBusName") or "default") for entry in entries if isinstance(entry, dict)]
        for bus in dict.fromkeys(buses or ["default"]):
            yield Action(call.name, bus if bus.startswith("arn:") else f"{call.arn}event-bus/{bus}")
    elif arn := body.get("ResourceARN"):
        yield Action(call.name, arn)
    elif operation.endswith(("Rule", "Targets")) and (rule := body.get("Rule") or body.get("Name")):
        bus = str(body.get("EventBusName") or "default").rpartition("/")[2]
        yield Action(call.name, f"{call.arn}rule/{'' if bus == 'default' else f'{bus}/'}{rule}")
    elif operation.endswith("EventBus"):
        bus = str(body.get("Name") or "default")
        yield Action(call.name, bus if bus.startswith("arn:") else f"{call.arn}event-bus/{bus}")
    else:
        yield Action(call.name, "*")


def states(call: Call) -> Iterator[Action]:
    """The resource is a state machine, an execution, or an activity."""
    body = call.body
    names = ("stateMachineArn", "executionArn", "activityArn", "resourceArn", "stateMachineAliasArn", "mapRunArn")
    named = next((body[name] for name in (*names, "stateMachineVersionArn") if body.get(name)), "*")
    if call.operation == "CreateStateMachine":
        yield Action(call.name, f"{call.arn}stateMachine:{body.get('name', '')}")
        yield Action("iam:PassRole", str(body.get("roleArn", "")), {"iam:PassedToService": "states.amazonaws.com"})
    elif call.operation == "CreateActivity":
        yield Action(call.name, f"{call.arn}activity:{body.get('name', '')}")
    else:
        yield Action(call.name, named)


def ses(call: Call) -> Iterator[Action]:
    """Who sends needs the permission for the identity, and for the configuration set and the template if it uses them.

    The two versions of the API share the prefix and the actions. In version 2, a raw message counts as SendRawEmail.
    """
    body, operation = call.body, call.operation
    if operation not in _SENDING:
        named = body.get("Identity") or body.get("EmailIdentity")
        yield Action(call.name, f"{call.arn}identity/{named}" if named else "*")
        return
    content: Any = body.get("Content") or body.get("DefaultContent") or {}
    raw = (content.get("Raw") or {}).get("Data") or body.get("RawMessage.Data")
    sender = str(body.get("FromEmailAddress") or body.get("Source") or _sender(raw))
    address = email.utils.parseaddr(sender)[1]
    name = "ses:SendRawEmail" if raw else call.name
    context = {"ses:FromAddress": address}
    yield Action(name, f"{call.arn}identity/{_identity(call, address)}", context)
    if configuration := body.get("ConfigurationSetName"):
        yield Action(name, f"{call.arn}configuration-set/{configuration}", context)
    if template := body.get("Template") or (content.get("Template") or {}).get("TemplateName"):
        yield Action(name, f"{call.arn}template/{template}", context)


def _identity(call: Call, address: str) -> str:
    """The verified identity that covers an address: the address itself, or else its domain."""
    domain = address.rpartition("@")[2]
    verified = get_backend("ses")[call.scope.account][call.scope.region].email_identities
    return domain if domain in verified and address not in verified else address


def _sender(raw: Any) -> str:
    """The From header of a message in base64."""
    return str(BytesParser().parsebytes(_decoded(raw), headersonly=True).get("From", ""))


# The name of a table follows these words, and that of an index follows the table's.
_PARTIQL = re.compile(
    r"""\s*(?:EXISTS\s*\(\s*)?(?:(SELECT)\s.*?\sFROM|(INSERT)\s+INTO|(UPDATE)|(DELETE)\s+FROM)\s+"""
    r"""(?:"([^"]+)"|([\w-]+))(?:\s*\.\s*(?:"([^"]+)"|([\w-]+)))?""",
    re.IGNORECASE | re.DOTALL,
)


def partiql(call: Call, statement: str) -> Action:
    """The action of a PartiQL statement, on its table or on an index of the table."""
    match = _PARTIQL.match(statement)
    if not match:
        return Action(call.name, "*")
    kind = next(filter(None, match.groups())).capitalize()
    table, index = match[5] or match[6], match[7] or match[8]
    resource = table if table.startswith("arn:") else f"{call.arn}table/{table}"
    return Action(f"dynamodb:PartiQL{kind}", resource + (f"/index/{index}" if index else ""))
