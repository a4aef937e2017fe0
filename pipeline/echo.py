"""`invoke --echo`: the `aws ...` command that is the twin of an API call, whichever service and call it is.

One botocore event hook knows every call; names and types come from AWS's own service models, as the AWS CLI's do.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import traceback
from dataclasses import dataclass
from inspect import unwrap
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore import xform_name
from botocore.paginate import PageIterator
from botocore.waiter import Waiter

from .shell import expands, expansion, json_text, word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from botocore.model import OperationModel, Shape

    # Where a value lies as a file: fileb://... for bytes; file://... or None for a text.
    FileOf = Callable[[bytes | str], str | None]

# Where the AWS CLI does not take the name of the API (awscli/customizations).
_COMMANDS = {"s3": "s3api", "codedeploy": "deploy", "config": "configservice"}
_ARGUMENTS = {("sns", "Subscribe", "Endpoint"): "notification-endpoint"}
# A text at the top level that the AWS CLI would not take for itself: the place of a file (version 1 fetches addresses
# too), and two dashes, which end its options wherever they stand.
_NOT_ITSELF = re.compile(r"file://|fileb://|https?://|--\Z")
# JSON's text of a variable's value, when that has quotes, backslashes or lines.
_AS_JSON_TEXT = (
    r"""$(printf '%s\n' "$NAME" | awk 'NR > 1 { printf "\\n" } """
    r"""{ gsub(/[\\"]/, "\\\\&"); gsub(/\t/, "\\t"); gsub(/\r/, "\\r"); printf "%s", $0 }')"""
)


@dataclass(frozen=True)
class Call:
    """One API call that is about to be made; `region`: the one to name, or "".

    `waiter`: the botocore waiter that makes it, or None; `paged`: a paginator makes it.
    """

    model: OperationModel
    parameters: Mapping[str, Any]
    region: str
    waiter: Any = None
    paged: bool = False

    @property
    def service(self) -> str:
        """The service's name in boto3, such as "dynamodb"."""
        return str(self.model.service_model.service_name)


def listen(client: Any, region: str, heard: Callable[[Call], None]) -> None:
    """Have `heard` told of each call of the client just before it is made, or answered as planned."""

    def note_parameters(params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["asked"] = params

    def tell(model: OperationModel, context: dict[str, Any], **_: Any) -> None:
        heard(Call(model, context["asked"], region, _calling(Waiter.wait), bool(_calling(PageIterator.__iter__))))

    client.meta.events.register("provide-client-params", note_parameters)
    client.meta.events.register_first("before-call", tell)


def printer(build: Path, write: Callable[[str], Any]) -> Callable[[Call], None]:
    """What `listen` takes to print commands, each as a line of its own; the same one again (polling) is not repeated.

    `build` is the folder of the zip and the policies, for fileb://build/... and file://build/...; other bytes are
    written there. Commands belong on stderr, by `write`: stdout holds a step's result, which may be JSON for a program.
    """
    last = ""

    def heard(call: Call) -> None:
        nonlocal last
        line = command_line(call, lambda value: _kept(build, value))
        if line != last:
            write(line + "\n")
        last = line

    return heard


def command_line(call: Call, file_of: FileOf) -> str:
    """The command as one line to paste: of a waiter, the CLI's own, or a loop that waits for the same."""
    if not call.waiter:
        return " ".join(command(call, file_of))
    if xform_name(call.waiter.name) in _waiters(call.service):
        return " ".join(command(call, file_of, f"wait {xform_name(call.waiter.name, '-')}"))
    return f"until {condition(call, file_of)}; do sleep {max(1, round(call.waiter.config.delay))}; done"


def command(call: Call, file_of: FileOf, name: str = "") -> list[str]:
    """The `aws` command, then each of its arguments, quoted for a shell. `name`: of the command, if not the call's.

    What AWS's model marks as sensitive (the values of a function's environment) is left to a shell variable: $NAME.
    AWS CLI user guide: "Specifying parameter values".
    """
    members: Any = call.model.input_shape.members if call.model.input_shape else {}
    words = [f"aws {_COMMANDS.get(call.service, call.service)} {name or xform_name(call.model.name, '-')}"]
    unsaid: dict[str, Any] = {}
    for member, value in _as_asked(call).items():
        shape = members.get(member)
        if shape is None:  # a paginator's setting
            words.append(f"--{member} {value}")
        elif shape.type_name == "string" and member != "QueueUrl" and _NOT_ITSELF.match(value):
            unsaid[member] = value
        else:
            words.extend(_argument(call, member, shape, value, file_of))
    if unsaid:
        words.append(f"--cli-input-json {word(json_text(unsaid))}")
    if any(_has_bytes(value) for member, value in call.parameters.items() if not _hoisted(call, member, value)):
        words.append("--cli-binary-format base64")  # version 2 of the AWS CLI; version 1 cannot say such bytes
    if not call.paged and "MaxItems" in call.parameters:
        words.append("--no-paginate")  # otherwise --max-items is the AWS CLI's own, across pages
    if call.region:
        words.append(f"--region {word(call.region)}")
    if call.model.has_streaming_output:
        words.append("/dev/stdout")
    return words


def condition(call: Call, file_of: FileOf) -> str:
    """A shell command that succeeds when the call's waiter would: by the acceptors of success in its model."""
    accepted = [acceptor for acceptor in call.waiter.config.acceptors if acceptor.state == "success"]
    asked = " ".join(command(call, file_of))
    if accepted[0].matcher == "error":
        return f"{asked} 2>&1 | grep -q {word(accepted[0].expected)}"
    if accepted[0].matcher == "status":
        return f"{asked} >/dev/null"
    query = " || ".join(map(_truth, accepted))
    return f'[ "$({asked} --query {word(query)} --output text)" = True ]'


def _truth(acceptor: Any) -> str:
    """A waiter's acceptor as a JMESPath expression that is true or false."""
    path, expected = acceptor.argument, acceptor.expected
    if expected is True:
        return str(path)
    if acceptor.matcher == "pathAny":
        return f"contains({path}, '{expected}')"
    if acceptor.matcher == "pathAll":
        return f"length({path}[?@ != '{expected}']) == `0`"
    return f"{path} == '{expected}'"


def _waiters(service: str) -> list[str]:
    """The waiters that the AWS CLI has, which are botocore's."""
    session = botocore.session.Session()
    if service not in session.get_component("data_loader").list_available_services("waiters-2"):
        return []
    return [xform_name(name) for name in session.get_waiter_model(service).waiter_names]


def _calling(method: Any) -> Any:
    """The object whose `method` is at work above us: botocore tells its hooks of no waiter and no paginator."""
    code = unwrap(method).__code__
    return next((frame.f_locals["self"] for frame, _ in traceback.walk_stack(None) if frame.f_code is code), None)


def _as_asked(call: Call) -> Mapping[str, Any]:
    """The parameters; of a paginator those of its first page, since the AWS CLI goes on to the next by itself."""
    if not call.paged:
        return call.parameters
    pages = botocore.session.Session().get_paginator_model(call.service).get_paginator(call.model.name)
    tokens = pages["input_token"] if isinstance(pages["input_token"], list) else [pages["input_token"]]
    limit = pages.get("limit_key")
    kept = {name: value for name, value in call.parameters.items() if name not in (*tokens, limit)}
    return {**kept, "page-size": call.parameters[limit]} if limit in call.parameters else kept


def _argument(call: Call, member: str, shape: Shape, value: Any, file_of: FileOf) -> Iterator[str]:
    name = _ARGUMENTS.get((call.service, call.model.name, member), xform_name(member, "-"))
    if _hoisted(call, member, value):
        yield f"--zip-file {word(str(file_of(value['ZipFile'])))}"
        value = {inner: each for inner, each in value.items() if inner != "ZipFile"}
        if not value:
            return
    if shape.type_name == "boolean":
        yield f"--{name}" if value else f"--no-{name}"
    elif shape.type_name == "blob":
        content = value.getvalue() if hasattr(value, "getvalue") else value  # botocore wraps the body of an upload
        place = str(file_of(content if isinstance(content, bytes) else content.encode()))
        # A body that is streamed is named by its path alone.
        yield f"--{name} {word(place.removeprefix('fileb://') if shape.serialization.get('streaming') else place)}"
    elif shape.type_name == "string":
        shown = file_of(value) or _without_secrets(shape, value, member)
        # What begins with a dash would be taken for an option, and so may what a variable holds.
        yield f"--{name}={word(shown)}" if shown.startswith("-") or expands(shown) else f"--{name} {word(shown)}"
    elif shape.type_name in ("list", "map", "structure"):
        yield f"--{name} {word(json_text(_without_secrets(shape, value, member), _plain))}"
    else:
        yield f"--{name} {word(_plain(value) if shape.type_name == 'timestamp' else str(value))}"


def _hoisted(call: Call, member: str, value: Any) -> bool:
    """Whether the AWS CLI takes the parameter's zip as an argument of its own."""
    return call.service == "lambda" and member in ("Code", "Content") and "ZipFile" in value


def _without_secrets(shape: Any, value: Any, name: str, *, in_json: bool = False) -> Any:
    """The value, with shell variables instead of the texts that AWS's model marks as sensitive."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        members = shape.members
        return {key: _without_secrets(members[key], each, key, in_json=True) for key, each in value.items()}
    if shape.type_name == "map":
        return {key: _without_secrets(shape.value, each, key, in_json=True) for key, each in value.items()}
    if shape.type_name == "list":
        return [_without_secrets(shape.member, each, name, in_json=True) for each in value]
    if shape.type_name != "string" or not shape.metadata.get("sensitive") or expands(value):
        return value
    variable = re.sub(r"\W", "_", name)
    if in_json and re.search(r'["\\\x00-\x1f]', value):
        return expansion(_AS_JSON_TEXT.replace("NAME", variable))
    return expansion(f"${variable}")


def _has_bytes(value: Any) -> bool:
    """Whether there are bytes below the top level, where they can be no file."""
    if isinstance(value, dict):
        return any(isinstance(each, bytes) or _has_bytes(each) for each in value.values())
    return isinstance(value, list) and any(isinstance(each, bytes) or _has_bytes(each) for each in value)


def _plain(value: Any) -> Any:
    """Bytes and times as the AWS CLI takes them."""
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _kept(build: Path, value: bytes | str) -> str | None:
    """The place of bytes, or of a policy document, in the project's build folder; other texts have none."""
    if isinstance(value, str):
        documents = (build / "policies").glob("*.json") if value.startswith("{") else ()
        same = (path for path in documents if json.loads(path.read_text(encoding="utf-8")) == _parsed(value))
        return next((f"file://{build.name}/policies/{path.name}" for path in same), None)
    path = build / "function.zip"
    if not path.is_file() or path.read_bytes() != value:
        path = build / "echo" / hashlib.sha256(value).hexdigest()[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)
    return f"fileb://{path.relative_to(build.parent)}"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
