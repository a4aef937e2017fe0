"""Any text as a word of a POSIX shell, with shell variables in it."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# These enclose a shell variable in a text. They are Unicode noncharacters, so no other text contains them.
_BEGIN, _END = "\ufdd0", "\ufdd1"
_VAR = re.compile(f"{_BEGIN}(.*?){_END}", re.DOTALL)
# Characters that double quotes do not protect; an interactive bash expands most `!` there too.
_SPECIAL_IN_DOUBLE_QUOTES = re.compile(r'["\\$`]|!(?!=)')


def shell_var(code: str) -> str:
    """A text that `quote` leaves for the shell to expand: `shell_var("$HOME")`, `shell_var("$(date)")`."""
    return f"{_BEGIN}{code}{_END}"


def has_vars(text: str) -> bool:
    """Whether the text contains a `shell_var`."""
    return bool(_VAR.search(text))


def json_text(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """The value as JSON, with each `shell_var` in it unchanged; `default` as in json.dumps."""
    text = json.dumps(value, default=default, ensure_ascii=False)
    return _VAR.sub(lambda match: str(json.loads(f'"{match[0]}"')), text)


def quote(text: str) -> str:
    """The text as one word of a shell command. The shell expands each `shell_var` and nothing else.

    POSIX.1-2017, Shell Command Language, 2.2 "Quoting".
    """
    parts = _VAR.split(text)  # literal, variable, literal, ...
    literals = "".join(parts[::2])
    if len(parts) == 1 and ("'" not in text or _SPECIAL_IN_DOUBLE_QUOTES.search(text)):
        return shlex.quote(text)
    if not _SPECIAL_IN_DOUBLE_QUOTES.search(literals):
        return f'"{double_quoted(text)}"'
    return "".join(
        f'"{part}"' if number % 2 else shlex.quote(part) for number, part in enumerate(parts) if part or len(parts) == 1
    )


def double_quoted(text: str) -> str:
    """The text as it appears between double quotes or in a here-document."""
    parts = _VAR.split(text)
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(r"[\\$`]", r"\\\g<0>", parts[number])
    for number in range(1, len(parts), 2):
        if re.match(r"\w", parts[number + 1]) and re.fullmatch(r"\$\w+", parts[number]):
            parts[number] = f"${{{parts[number][1:]}}}"
    return "".join(parts)
