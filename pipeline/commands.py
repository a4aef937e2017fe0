"""Recorded calls as the statements of a shell script."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import echo
from .shell import double_quoted, expands, expansion, word

if TYPE_CHECKING:
    from .echo import Call
    from .recording import Recording

# How deep a statement stands, and its text, or a command and its arguments.
Statement = tuple[int, str | list[str]]

# Calls that may be made again: they say what is to be, and not that it is new.
_REPEATABLE = ("Put", "Attach", "UpdateContinuousBackups")


@dataclass(frozen=True)
class Commands:
    """Recorded calls as commands; bytes and policy documents are files in `$work`, where the script writes them."""

    recording: Recording

    def of(self, call: Call, depth: int = 0, *, before: str = "", quiet: bool = False) -> Statement:
        """The call's command. `quiet` drops its answer, which nobody needs to read and which may hold secrets."""
        words = echo.command(call, self._file)
        words[0] = before + words[0]
        words[-1] += " >/dev/null" if quiet else ""
        return depth, words

    def ask(self, call: Call, query: str, depth: int = 0) -> Statement:
        """The call as a question; the script's `ask` puts the answer into $answer."""
        _, words = self.of(call, before="ask ")
        return depth, [*words, f"--query {word(query)}", "--output text"]

    def answer(self, call: Call, query: str) -> str:
        """The call as a question, for `$(...)`."""
        return " ".join([*self.of(call)[1], f"--query {word(query)} --output text"])

    def wait(self, call: Call, depth: int = 0) -> list[Statement]:
        """Wait as the waiter that made the call did, for 10 minutes at most."""
        line = echo.command_line(call, self._file)
        if not line.startswith("until "):
            return [(depth, line)]
        return [
            (depth, "tries=0"),
            (depth, f"until {echo.condition(call, self._file)}; do"),
            (depth + 1, "tries=$((tries + 1))"),
            (depth + 1, '[ "$tries" -lt 600 ] || fail "it takes longer than 10 minutes; run the same again"'),
            (depth + 1, "sleep 1"),
            (depth, "done"),
        ]

    def repeated(self, step: str, service: str) -> list[Statement]:
        """The step's writes to this service that may be made again."""
        return [
            statement
            for call in self.recording.steps[step]
            if call.service == service and call.model.name.startswith(_REPEATABLE)
            for statement in (self.wait(call) if call.waiter else [self.of(call, quiet=True)])
        ]

    def like(self, made: Call, operation: str, **more: Any) -> Call:
        """Another call of the service of `made`, with those of its parameters that it knows, and `more`."""
        model = made.model.service_model.operation_model(operation)
        known: Any = model.input_shape
        kept = {name: value for name, value in made.parameters.items() if name in known.members}
        return replace(made, model=model, parameters={**kept, **more}, waiter=None, paged=False)

    def document(self, text: str) -> str | None:
        """The name of a policy document's file, or None for another text."""
        if not text.startswith("{"):
            return None
        documents = self.recording.documents.items()
        return next((name for name, document in documents if document == json.loads(text)), None)

    def write(self, text: str) -> Statement:
        """Write a policy document into its file, readable."""
        readable = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        if expands(readable):
            return 0, f'cat >"$work/{self.document(text)}" <<JSON\n{double_quoted(readable)}\nJSON'
        return 0, f"cat >\"$work/{self.document(text)}\" <<'JSON'\n{readable}\nJSON"

    def _file(self, value: bytes | str) -> str | None:
        work = expansion("$work")
        if isinstance(value, bytes):
            return f"fileb://{work}/function.zip"
        name = self.document(value)
        return f"file://{work}/{name}" if name else None


def either(question: Statement, found: list[Statement], missing: list[Statement] | None = None) -> list[Statement]:
    """Ask; then these statements when there is such a thing, and those when there is none."""
    other = [(0, "else"), *deeper(missing)] if missing else []
    return [question, (0, 'if [ -n "$answer" ]; then'), *deeper(found), *other, (0, "fi")]


def deeper(statements: list[Statement]) -> list[Statement]:
    """The statements one step further in."""
    return [(depth + 1, said) for depth, said in statements]
