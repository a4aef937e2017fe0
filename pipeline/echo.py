"""`invoke --echo`: build the `aws ...` command for an API call from AWS's service models, quoted for a shell."""

import base64
import hashlib
import json
import re
import shlex
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel, Shape
from botocore.paginate import PageIterator
from botocore.waiter import Waiter

# Returns the file that holds a value: fileb://... for bytes; file://... or None for a text.
FileOf = Callable[[bytes | str], str | None]

# The AWS CLI interprets these texts in an argument: it reads files (version 1 also URLs), and `--` ends its options.
_NOT_LITERAL = re.compile(r"file://|fileb://|https?://|--\Z")
# The value of $NAME within a JSON string, if the value has quotes, backslashes or line breaks.
_JSON_VAR = (
    r"""$(printf '%s\n' "$NAME" | awk 'NR > 1 { printf "\\n" } """
    r"""{ gsub(/[\\"]/, "\\\\&"); gsub(/\t/, "\\t"); gsub(/\r/, "\\r"); printf "%s", $0 }')"""
)
# These Unicode noncharacters enclose a shell variable in a text. No other text contains them.
_BEGIN, _END = "\ufdd0", "\ufdd1"
_VAR = re.compile(f"{_BEGIN}(.*?){_END}", re.DOTALL)
# Characters with a meaning in double quotes. An interactive bash also expands most `!`.
_SPECIAL_IN_DOUBLE_QUOTES = re.compile(r'["\\$`]|!(?!=)')


@dataclass(frozen=True)
class Call:
    """An API call, and the waiter or paginator that makes it. `region` is the region to name, or ""."""

    model: OperationModel
    parameters: Mapping[str, Any]
    region: str = ""
    waiter: Any = None
    paged: bool = False

    @property
    def service(self) -> str:
        """The service's name in boto3, such as "dynamodb"."""
        return str(self.model.service_model.service_name)


def on_call(client: Any, region: str, callback: Callable[[Call], None]) -> None:
    """Run the callback before each call of the client, whose context has the parameters (`session.connect`)."""

    def before_call(model: OperationModel, context: dict[str, Any], **_: Any) -> None:
        callback(Call(model, context["parameters"], region, _caller(Waiter), _caller(PageIterator) is not None))

    client.meta.events.register_first("before-call", before_call)


def _caller(kind: type) -> Any:
    """The waiter or page iterator that makes the current call: botocore does not pass it to its hooks."""
    callers = (frame.f_locals.get("self") for frame, _ in traceback.walk_stack(None))
    return next((caller for caller in callers if isinstance(caller, kind)), None)


def printer(build: Path, write: Callable[[str], Any]) -> Callable[[Call], None]:
    """A callback for `on_call` that writes each command as a line, omits repetitions, and stores bytes in `build`."""
    last = ""

    def print_call(call: Call) -> None:
        nonlocal last
        line = command_line(call, lambda value: _file_in(build, value))
        if line != last:
            write(line + "\n")
        last = line

    return print_call


def command_line(call: Call, file_of: FileOf) -> str:
    """The command as one line to paste. A waiter becomes a loop."""
    if not call.waiter:
        return " ".join(command(call, file_of))
    return f"until {_condition(call, file_of)}; do sleep {max(1, round(call.waiter.config.delay))}; done"


def command(call: Call, file_of: FileOf) -> list[str]:
    """`aws SERVICE COMMAND`, then each argument, quoted for a shell.

    A text that AWS's model marks as sensitive becomes $NAME. AWS CLI user guide: "Specifying parameter values".
    """
    members: Any = call.model.input_shape.members if call.model.input_shape else {}
    words = [f"aws {'s3api' if call.service == 's3' else call.service} {xform_name(call.model.name, '-')}"]
    in_json: dict[str, Any] = {}
    for member, value in _first_page(call).items():
        shape = members.get(member)
        if shape is None:  # a setting of the paginator
            words.append(f"--{member} {value}")
        elif shape.type_name == "string" and _NOT_LITERAL.match(value) and (member != "QueueUrl" or value == "--"):
            in_json[member] = value
        else:
            words.extend(_argument(call, member, shape, value, file_of))
    if in_json:
        words.append(f"--cli-input-json {quote(json_text(in_json))}")
    if any(_has_bytes(value) for member, value in call.parameters.items() if not _is_zip(call, member, value)):
        words.append("--cli-binary-format base64")  # for version 2 of the AWS CLI; version 1 does not take such bytes
    if call.region:
        words.append(f"--region {quote(call.region)}")
    if call.model.has_streaming_output:
        words.append("/dev/stdout")
    return words


def _condition(call: Call, file_of: FileOf) -> str:
    """A shell command that succeeds when one of the waiter's success acceptors matches."""
    accepted = [acceptor for acceptor in call.waiter.config.acceptors if acceptor.state == "success"]
    line = " ".join(command(call, file_of))
    if accepted[0].matcher == "error":
        return f"{line} 2>&1 | grep -q {quote(accepted[0].expected)}"
    query = " || ".join(map(_expression, accepted))
    return f'[ "$({line} --query {quote(query)} --output text)" = True ]'


def _expression(acceptor: Any) -> str:
    """A waiter's acceptor as a JMESPath expression that is true or false."""
    path, expected = acceptor.argument, acceptor.expected
    if expected is True:
        return str(path)
    return f"contains({path}, '{expected}')" if acceptor.matcher == "pathAny" else f"{path} == '{expected}'"


def _first_page(call: Call) -> Mapping[str, Any]:
    """The parameters. For a paginator, those of the first page, because the AWS CLI reads the other pages itself."""
    if not call.paged:
        return call.parameters
    pages = botocore.session.Session().get_paginator_model(call.service).get_paginator(call.model.name)
    tokens = pages["input_token"] if isinstance(pages["input_token"], list) else [pages["input_token"]]
    limit = pages.get("limit_key")
    first = {name: value for name, value in call.parameters.items() if name not in (*tokens, limit)}
    return {**first, "page-size": call.parameters[limit]} if limit in call.parameters else first


def _argument(call: Call, member: str, shape: Shape, value: Any, file_of: FileOf) -> Iterator[str]:
    name = xform_name(member, "-")
    if _is_zip(call, member, value):
        yield f"--zip-file {quote(str(file_of(value['ZipFile'])))}"
        value = {inner: each for inner, each in value.items() if inner != "ZipFile"}
        if not value:
            return
    if shape.type_name == "boolean":
        yield f"--{name}" if value else f"--no-{name}"
    elif shape.type_name == "blob":
        content = value.getvalue() if hasattr(value, "getvalue") else value  # botocore wraps the body of an upload
        place = str(file_of(content))
        # A streamed body is a path, without fileb://.
        yield f"--{name} {quote(place.removeprefix('fileb://') if shape.serialization.get('streaming') else place)}"
    elif shape.type_name == "string":
        text = file_of(value) or _hide_secrets(shape, value, member, in_json=False)
        # The AWS CLI would parse a text with a leading dash, also from a variable, as an option.
        yield f"--{name}{'=' if text.startswith('-') or _VAR.search(text) else ' '}{quote(text)}"
    elif shape.type_name in ("list", "map", "structure"):
        yield f"--{name} {quote(json_text(_hide_secrets(shape, value, member), _plain))}"
    else:
        yield f"--{name} {quote(_plain(value))}"


def _is_zip(call: Call, member: str, value: Any) -> bool:
    """Whether the parameter contains a zip, which becomes a separate argument (--zip-file)."""
    return call.service == "lambda" and member == "Code" and "ZipFile" in value


def _hide_secrets(shape: Any, value: Any, name: str, *, in_json: bool = True) -> Any:
    """Replace the texts that AWS's model marks as sensitive with shell variables."""
    if shape.type_name == "structure":
        return {key: _hide_secrets(shape.members[key], each, key) for key, each in value.items()}
    if shape.type_name == "map":
        return {key: _hide_secrets(shape.value, each, key) for key, each in value.items()}
    if shape.type_name == "list":
        return [_hide_secrets(shape.member, each, name) for each in value]
    if shape.type_name != "string" or not shape.metadata.get("sensitive") or _VAR.search(value):
        return value
    variable = re.sub(r"\W", "_", name)
    special = in_json and re.search(r'["\\\x00-\x1f]', value)
    return shell_var(_JSON_VAR.replace("NAME", variable) if special else f"${variable}")


def _has_bytes(value: Any) -> bool:
    """Whether the value contains bytes below the top level, where an argument cannot refer to a file."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(each, bytes) or _has_bytes(each) for each in inner)


def _plain(value: Any) -> str:
    """A number, time or bytes as the AWS CLI takes it."""
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _file_in(build: Path, value: bytes | str) -> str | None:
    """The file in the build folder that holds the bytes or the policy document; None for another text."""
    if isinstance(value, str):
        documents = (build / "policies").glob("*.json") if value.startswith("{") else ()
        same = (path for path in documents if json.dumps(json.loads(path.read_text(encoding="utf-8"))) == value)
        return next((f"file://{build.name}/policies/{path.name}" for path in same), None)
    path = build / "function.zip"
    if not path.is_file() or path.read_bytes() != value:
        path = build / "echo" / hashlib.sha256(value).hexdigest()[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)
    return f"fileb://{path.relative_to(build.parent)}"


# --- Any text as a word of a POSIX shell, with shell variables in it --------------------------------------------------


def shell_var(code: str) -> str:
    """A text that `quote` leaves for the shell to expand: `shell_var("$HOME")`, `shell_var("$(date)")`."""
    return f"{_BEGIN}{code}{_END}"


def json_text(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """The value as JSON, with each `shell_var` in it unchanged; `default` as in json.dumps."""
    text = json.dumps(value, default=default, ensure_ascii=False)
    return _VAR.sub(lambda match: str(json.loads(f'"{match[0]}"')), text)


def quote(text: str) -> str:
    """The text as one word of a shell, which expands only each `shell_var` in it. POSIX.1-2017, 2.2 "Quoting"."""
    special = _SPECIAL_IN_DOUBLE_QUOTES.search(_VAR.sub("", text))
    if not _VAR.search(text) and (special or "'" not in text):
        return shlex.quote(text)
    if not special:
        return f'"{double_quoted(text)}"'
    parts = enumerate(_VAR.split(text))  # literal, variable, literal, ...
    return "".join(f'"{part}"' if number % 2 else shlex.quote(part) for number, part in parts if part)


def double_quoted(text: str) -> str:
    """The text as it appears between double quotes or in a here-document."""
    escaped = re.sub(rf"[\\$`](?![^{_BEGIN}]*{_END})", r"\\\g<0>", text)  # outside of variables
    separated = re.sub(rf"{_BEGIN}\$(\w+){_END}(?=\w)", r"${\1}", escaped)  # a variable before a letter
    return separated.replace(_BEGIN, "").replace(_END, "")
