"""Words of a POSIX shell: any text quoted, with what the shell is to expand within it."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Unicode's noncharacters, kept free for a program's own use: they are never part of a text.
_BEGIN, _END = "\ufdd0", "\ufdd1"
_EXPANSION = re.compile(f"{_BEGIN}(.*?){_END}", re.DOTALL)
# What double quotes do not keep as it is; an interactive bash expands most of `!` there too.
_NOT_IN_DOUBLE_QUOTES = re.compile(r'["\\$`]|!(?!=)')


def expansion(code: str) -> str:
    """Text that `word` leaves to the shell: `expansion("$HOME")`, `expansion("$(date)")`."""
    return f"{_BEGIN}{code}{_END}"


def expands(text: str) -> bool:
    """Whether the text holds an expansion."""
    return bool(_EXPANSION.search(text))


def json_text(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """The value as JSON, what `expansion` made in it left as it is; `default` as json.dumps has it."""
    text = json.dumps(value, default=default, ensure_ascii=False)
    return _EXPANSION.sub(lambda found: str(json.loads(f'"{found[0]}"')), text)


def word(text: str) -> str:
    """The text as one word of a shell command.

    Whatever is in it (spaces, quotes, newlines, $) reaches the command as it is, except what `expansion` made.
    POSIX.1-2017, Shell Command Language, 2.2 "Quoting".
    """
    parts = _EXPANSION.split(text)  # literal, expansion, literal, ...
    literals = "".join(parts[::2])
    if len(parts) == 1 and ("'" not in text or _NOT_IN_DOUBLE_QUOTES.search(text)):
        return shlex.quote(text)
    if not _NOT_IN_DOUBLE_QUOTES.search(literals):
        return f'"{double_quoted(text)}"'
    return "".join(
        f'"{part}"' if number % 2 else shlex.quote(part) for number, part in enumerate(parts) if part or len(parts) == 1
    )


def double_quoted(text: str) -> str:
    """The text as it stands between double quotes, or in a here-document: only what `expansion` made is expanded."""
    parts = _EXPANSION.split(text)
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(r"[\\$`]", r"\\\g<0>", parts[number])
    for number in range(1, len(parts), 2):
        if re.match(r"\w", parts[number + 1]) and re.fullmatch(r"\$\w+", parts[number]):
            parts[number] = f"${{{parts[number][1:]}}}"
    return "".join(parts)
