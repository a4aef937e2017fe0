"""Filter patterns of CloudWatch Logs: each compiles to a predicate on log messages.

CloudWatch Logs user guide, "Filter pattern syntax for metric filters, subscription filters, filter log events, and Live
Tail". A pattern has one of four forms: terms (`ERROR -Exiting`), a regular expression (`%ERR.R%`), conditions on JSON
(`{ $.level = "error" }`), or conditions on the words of a line (`[level = ERROR, ..., bytes > 1000]`).
"""

from __future__ import annotations

import json
import operator
import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

Predicate = Callable[[str], bool]
_Test = Callable[[Any], bool]
_Tokens = deque["_Token"]

_MAX_CHARACTERS, _MAX_REGEXES, _MAX_WILDCARDS = 1024, 2, 3
_EXPRESSION = re.compile(
    r"(?:[A-Za-z0-9:_#=@/;, ^$?|*+.\[\]-]|\{(?:\d+,?\d*|,\d+)\}"
    r"|\\(?:[:_#=@/;,^$?|*+.\[\]{}\\-]|[dDsSwW]|x[0-9A-Fa-f]{2}))+",
    re.ASCII,
)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_TERM = re.compile(r'\s*(?P<sign>[?-]?)(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>\w+))(?=\s|$)', re.ASCII | re.DOTALL)
_STEPS = r"\.(?P<key>[\w-]+)|(?P<fields>\.\*)|\[(?P<index>\d+)\]|(?P<elements>\[\*\])|\.\['(?P<quoted>[^']+)'\]"
_STEP = re.compile(_STEPS, re.ASCII)
_TOKEN = re.compile(
    r'%(?P<regex>[^%]*)%|"(?P<quoted>(?:[^"\\]|\\.)*)"'
    rf"|(?P<selector>\$(?:{re.sub('[?]P<[a-z]+>', '?:', _STEPS)})+)"
    r"|(?P<sign>&&|\|\||!=|<=|>=|[=<>(),])|(?P<ellipsis>\.\.\.)|(?P<word>[\w.*+-]+)",
    re.ASCII | re.DOTALL,
)
_ORDER: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CONSTANTS = {"NULL": None, "TRUE": True, "FALSE": False}
_FIELD = re.compile(r'\[([^\]]*)\]|"([^"]*)"|(\S+)')


class _Token(NamedTuple):
    kind: str
    text: str


class _Number(str):
    """The text of a number, as the message has it: as a string, 12.0 is not 12."""

    __slots__ = ()


def compile_pattern(pattern: str) -> Predicate:
    """Compile a pattern. The predicate takes a message. Raises ValueError, with AWS's message, for an invalid one."""
    try:
        if len(pattern) > _MAX_CHARACTERS:
            _refuse()
        if pattern.startswith("{") and pattern.endswith("}"):
            return _json(pattern[1:-1])
        if pattern.startswith("[") and pattern.endswith("]"):
            return _words(pattern[1:-1])
        if pattern.startswith("%") and pattern.endswith("%"):
            return _regex(pattern[1:-1])
        return _terms(pattern)
    except RecursionError:
        _refuse()


def _refuse(*_: object) -> NoReturn:
    raise ValueError("Invalid filter pattern")


def _refuse_term(text: str) -> NoReturn:
    raise ValueError(f"Invalid character(s) in term '{text}'")


def _regex(text: str) -> Predicate:
    """The message, or a value, contains a match of AWS's subset of regular expressions."""
    if not _EXPRESSION.fullmatch(text):
        _refuse()
    try:
        return re.compile(text, re.ASCII).search  # type: ignore[return-value] # a match is true
    except re.error:
        _refuse()


def _terms(pattern: str) -> Predicate:
    """All terms, none of those after a `-`; without either, one of those after a `?`."""
    terms: dict[str, list[str]] = {"": [], "-": [], "?": []}
    position, pattern = 0, pattern.rstrip()
    while position < len(pattern):
        if not (found := _TERM.match(pattern, position)):
            rest = pattern[position:].lstrip()
            _refuse_term(re.sub(r"^[?-]?\w*", "", rest)[:1].strip() or rest[0])
        terms[found["sign"]].append(found["word"] or _unescaped(found["quoted"]))
        position = found.end()
    required, excluded, optional = terms.values()
    required = [term for term in required if term.strip()]  # " " matches everything

    def matches(message: str) -> bool:
        if optional and not any((terms[""], excluded)):
            return any(term in message for term in optional)
        return all(term in message for term in required) and not any(term in message for term in excluded)

    return matches


def _unescaped(quoted: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", quoted)


def _tokens(text: str) -> _Tokens:
    """Split conditions into tokens. Raises ValueError for other characters, and above AWS's limits."""
    tokens: _Tokens = deque()
    position, text = 0, text.rstrip()
    while position < len(text):
        position += len(text[position:]) - len(text[position:].lstrip())
        if not (found := _TOKEN.match(text, position)):
            _refuse_term(text[position:].split()[0])
        tokens.append(_Token(str(found.lastgroup), found[str(found.lastgroup)]))
        position = found.end()
    wildcards = [token.text.count("*") for token in tokens if token.kind == "selector"]
    if max(wildcards, default=0) > 1 or sum(wildcards) > _MAX_WILDCARDS:
        _refuse()
    if sum(token.kind == "regex" for token in tokens) > _MAX_REGEXES:
        _refuse()
    return tokens


def _take(tokens: _Tokens, *kinds: str) -> str:
    """Remove the next token, which has to be of one of the kinds."""
    if not tokens or tokens[0].kind not in kinds:
        _refuse()
    return tokens.popleft().text


def _next_is(tokens: _Tokens, sign: str) -> bool:
    """Remove the next token if it is this sign."""
    found = bool(tokens) and tokens[0] == _Token("sign", sign)
    if found:
        tokens.popleft()
    return found


def _any(tokens: _Tokens, condition: Callable[[_Tokens], _Test]) -> _Test:
    """Conditions with parentheses, `&&` and `||`, in this order of precedence."""
    alternatives = [_all(tokens, condition)]
    while _next_is(tokens, "||"):
        alternatives.append(_all(tokens, condition))
    return lambda subject: any(test(subject) for test in alternatives)


def _all(tokens: _Tokens, condition: Callable[[_Tokens], _Test]) -> _Test:
    tests = [_one(tokens, condition)]
    while _next_is(tokens, "&&"):
        tests.append(_one(tokens, condition))
    return lambda subject: all(test(subject) for test in tests)


def _one(tokens: _Tokens, condition: Callable[[_Tokens], _Test]) -> _Test:
    if not _next_is(tokens, "("):
        return condition(tokens)
    inner = _any(tokens, condition)
    return inner if _next_is(tokens, ")") else _refuse()


def _comparison(tokens: _Tokens) -> _Test:
    """A sign and an operand: whether a value, which is the text of a string or of a number, fulfills it."""
    sign = _take(tokens, "sign")
    if sign not in ("=", "!=", *_ORDER) or not tokens:
        _refuse()
    kind, text = tokens[0]
    _take(tokens, "regex", "quoted", "word")
    if sign in _ORDER:
        if kind != "word" or not _NUMBER.fullmatch(text):
            _refuse_term(text)
        bound = Decimal(text)
        return lambda value: isinstance(value, _Number) and _ORDER[sign](Decimal(value), bound)
    equals = _regex(text) if kind == "regex" else _equality(kind, text)
    return lambda value: isinstance(value, str) and bool(equals(value)) == (sign == "=")


def _equality(kind: str, text: str) -> Predicate:
    """Equal to a number, to a text, or to a text with any text before or after it: `*text*`."""
    if kind == "word" and _NUMBER.fullmatch(text):
        number = Decimal(text)
        return lambda value: Decimal(value) == number if isinstance(value, _Number) else value == text
    text = _unescaped(text) if kind == "quoted" else text
    before, after = text.startswith("*"), len(text) > 1 and text.endswith("*")
    part = text[before : len(text) - after]
    if before and after:
        return lambda value: part in value
    if before:
        return lambda value: value.endswith(part)
    return (lambda value: value.startswith(part)) if after else (lambda value: value == text)


def _json(text: str) -> Predicate:
    """Conditions on the members of a JSON object. No other message matches."""
    tokens = _tokens(text)
    test = _any(tokens, _member_condition)
    if tokens:
        _refuse()

    def matches(message: str) -> bool:
        if not message.lstrip().startswith("{"):
            return False
        try:
            return test(json.loads(message, parse_int=_Number, parse_float=_Number, parse_constant=_refuse))
        except (ValueError, RecursionError):
            return False

    return matches


def _member_condition(tokens: _Tokens) -> _Test:
    """One of the values that a selector finds fulfills a comparison, or is a constant; or it finds none."""
    steps = [(str(step.lastgroup), step[str(step.lastgroup)]) for step in _STEP.finditer(_take(tokens, "selector"))]
    if tokens and tokens[0].kind == "sign":
        compare = _comparison(tokens)
        return lambda document: any(map(compare, _select(document, steps)))
    words = _take(tokens, "word"), _take(tokens, "word")
    if words == ("NOT", "EXISTS"):
        return lambda document: not _select(document, steps)
    if words[0] != "IS" or words[1] not in _CONSTANTS:
        _refuse()
    constant = _CONSTANTS[words[1]]
    return lambda document: any(value is constant for value in _select(document, steps))


def _select(document: Any, steps: list[tuple[str, str]]) -> list[Any]:
    """The values at the end of a path."""
    found = [document]
    for kind, text in steps:
        found = [member for value in found for member in _members(value, kind, text)]
    return found


def _members(value: Any, kind: str, text: str) -> list[Any]:
    if isinstance(value, dict) and kind == "fields":
        return list(value.values())
    if isinstance(value, dict) and kind in ("key", "quoted"):
        return [value[text]] if text in value else []
    if isinstance(value, list) and kind == "index":
        return value[int(text) : int(text) + 1]
    return value if isinstance(value, list) and kind == "elements" else []


def _words(text: str) -> Predicate:
    """Conditions on the words of a message, by position. The last one is the rest of the message.

    Text in brackets or in quotation marks is one word. `...` is any number of words.
    """
    tokens = _tokens(text)
    fields = [_field(tokens)] if tokens else [...]  # [] matches every message
    while tokens:
        if not _next_is(tokens, ","):
            _refuse()
        fields.append(_field(tokens))
    if fields.count(...) > 1:
        _refuse()
    ellipsis = fields.index(...) if ... in fields else None
    tests = [field for field in fields if field is not ...]

    def matches(message: str) -> bool:
        found = list(_FIELD.finditer(message))
        if len(found) < len(tests):
            return False
        words = [each[1] or each[2] or each[3] or "" for each in found]
        if ellipsis is not None:
            words[ellipsis : ellipsis + len(words) - len(tests)] = []
        elif len(words) > len(tests):
            words[len(tests) - 1 :] = [message[found[len(tests) - 1].start() :].rstrip()]
        values = [_Number(word) if _NUMBER.fullmatch(word) else word for word in words]
        return all(test(value) for test, value in zip(tests, values, strict=True))

    return matches


def _field(tokens: _Tokens) -> Any:
    """The condition on a word, which the pattern names or leaves out, or an ellipsis."""
    if not tokens or tokens[0] == _Token("sign", ","):
        return lambda _: True
    if tokens[0].kind == "ellipsis":
        tokens.popleft()
        return ...
    name = next((token.text for token in tokens if token.kind == "word"), "")

    def condition(tokens: _Tokens) -> _Test:
        if _take(tokens, "word") != name or not re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII):
            _refuse()
        return _comparison(tokens)

    if tokens[0].kind == "word" and (len(tokens) == 1 or tokens[1] == _Token("sign", ",")):
        tokens.popleft()
        return lambda _: True
    return _any(tokens, condition)
