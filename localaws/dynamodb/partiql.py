"""PartiQL statements that write, translated into the parameters of PutItem, UpdateItem or DeleteItem.

DynamoDB developer guide, "PartiQL - a SQL-compatible query language for Amazon DynamoDB".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from localaws.dynamodb.items import invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*")|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[A-Za-z_]\w*)|(?P<symbol><<|>>|<=|>=|<>|!=|[-+=<>(){}\[\],.:?*]))""",
    re.VERBOSE,
)
_END = ("end", "")
_CONDITION_WORDS = ("AND", "OR", "NOT", "BETWEEN", "IN")
_FUNCTIONS = ("attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains", "size")
_RETURN_VALUES = {"Delete": ("ALL_OLD",), "Update": ("ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW")}
_LITERALS: dict[str, dict[str, Any]] = {"TRUE": {"BOOL": True}, "FALSE": {"BOOL": False}, "NULL": {"NULL": True}}


class _Piece(NamedTuple):
    """A piece of a condition: its text in a ConditionExpression, the attribute that it names, its literal value."""

    text: str
    name: str | None = None
    value: dict[str, Any] | None = None


def is_select(statement: str) -> bool:
    """Whether a statement reads."""
    return statement.lstrip()[:6].upper() in ("SELECT", "EXISTS")


def translate(
    statement: str, parameters: list[dict[str, Any]], key_names: Callable[[str], list[str]]
) -> tuple[str, dict[str, Any], str]:
    """Translate a statement into the kind of a write, its parameters, and the ReturnValues.

    `key_names` returns the names of the key attributes of a table. Raises AwsError for a statement that is invalid.
    """
    return _Statement(statement, list(parameters), key_names).translate()


class _Statement:
    def __init__(self, statement: str, parameters: list[dict[str, Any]], key_names: Callable[[str], list[str]]) -> None:
        self._tokens = _tokens(statement)
        self._parameters = parameters
        self._key_names = key_names
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def translate(self) -> tuple[str, dict[str, Any], str]:
        if self._accept("INSERT"):
            kind, parameters = "Insert", self._insert()
        elif self._accept("UPDATE"):
            kind, parameters = "Update", self._update()
        elif self._accept("DELETE"):
            kind, parameters = "Delete", self._delete()
        else:
            raise self._error()
        values = self._returning(kind) if self._accept("RETURNING") else "NONE"
        if self._tokens != [_END]:
            raise self._error()
        if self._parameters:
            raise _wrong_number_of_parameters()
        named = {"ExpressionAttributeNames": self._names, "ExpressionAttributeValues": self._values}
        return kind, parameters | named, values

    def _returning(self, kind: str) -> str:
        scope, age = self._next()[1].upper(), self._next()[1].upper()
        self._expect("*")
        values = {"ALL": "ALL_", "MODIFIED": "UPDATED_"}.get(scope, "") + age
        if values not in _RETURN_VALUES.get(kind, ()):
            raise self._error()
        return values

    def _insert(self) -> dict[str, Any]:
        self._expect("INTO")
        table = self._name()
        self._expect("VALUE")
        item = self._literal().get("M")
        if item is None:
            raise self._error()
        return {"TableName": table, "Item": item}

    def _update(self) -> dict[str, Any]:
        table = self._name()
        clauses: dict[str, list[str]] = {}
        while self._peek() in ("SET", "REMOVE"):
            word = self._next()[1].upper()
            while True:
                clause, action = self._action() if word == "SET" else ("REMOVE", self._path().text)
                clauses.setdefault(clause, []).append(action)
                if not self._accept(","):
                    break
        if not clauses:
            raise self._error()
        key, conditions = self._where(table)
        expression = " ".join(f"{clause} {', '.join(actions)}" for clause, actions in clauses.items())
        # An update of an item that does not exist fails.
        condition = " AND ".join([f"attribute_exists({self._placeholder(next(iter(key)))})", *conditions])
        return {"TableName": table, "Key": key, "UpdateExpression": expression, "ConditionExpression": condition}

    def _delete(self) -> dict[str, Any]:
        self._expect("FROM")
        table = self._name()
        key, conditions = self._where(table)
        if not conditions:
            return {"TableName": table, "Key": key}
        # Deleting an item that does not exist succeeds, whatever the condition.
        absent = f"attribute_not_exists({self._placeholder(next(iter(key)))})"
        condition = f"{absent} OR {' AND '.join(conditions)}"
        return {"TableName": table, "Key": key, "ConditionExpression": condition}

    def _action(self) -> tuple[str, str]:
        """One assignment of SET. `set_add` and `set_delete` become ADD and DELETE."""
        target = self._path().text
        self._expect("=")
        if self._peek() in ("SET_ADD", "SET_DELETE"):
            clause = self._next()[1].upper().removeprefix("SET_")
            self._expect("(")
            if self._path().text != target:
                raise self._error()
            self._expect(",")
            value = self._operand()
            self._expect(")")
            return clause, f"{target} {value}"
        value = self._operand()
        if self._peek() in ("+", "-"):
            value += f" {self._next()[1]} {self._operand()}"
        return "SET", f"{target} = {value}"

    def _operand(self) -> str:
        if not self._accept("LIST_APPEND"):
            return self._path().text if self._is_path() else self._value(self._literal()).text
        self._expect("(")
        first = self._operand()
        self._expect(",")
        second = self._operand()
        self._expect(")")
        return f"list_append({first}, {second})"

    def _where(self, table: str) -> tuple[dict[str, Any], list[str]]:
        """The key in the terms of WHERE, and the other terms, each as a condition."""
        self._expect("WHERE")
        terms = _terms(self._pieces())
        key: dict[str, Any] = {}
        conditions = []
        names = self._key_names(table)
        for term in terms:
            name, value = _equality(term)
            if name in names and name not in key and value:
                key[name] = value
            else:
                conditions.append(" ".join(piece.text for piece in term))
        if key.keys() != set(names):
            raise invalid("Where clause does not contain a mandatory equality on all key attributes")
        return key, conditions

    def _pieces(self) -> list[_Piece]:
        pieces: list[_Piece] = []
        while self._tokens[0] != _END and self._peek() != "RETURNING":
            kind, text = self._tokens[0]
            upper = text.upper() if kind in ("word", "symbol") else ""
            if upper == "IS":
                pieces.append(self._is_missing(pieces.pop() if pieces else _Piece("")))
            elif upper == "[" and pieces and pieces[-1].text == "IN":
                pieces += self._choices()
            elif upper in _CONDITION_WORDS or (kind == "word" and text.lower() in _FUNCTIONS):
                pieces.append(_Piece(upper if upper in _CONDITION_WORDS else text.lower()))
                self._next()
            elif upper in ("=", "<", "<=", ">", ">=", "<>", "!=", "(", ")", ","):
                pieces.append(_Piece("<>" if upper == "!=" else upper))
                self._next()
            else:
                pieces.append(self._path() if self._is_path() else self._value(self._literal()))
        return pieces

    def _is_missing(self, path: _Piece) -> _Piece:
        self._expect("IS")
        exists = self._accept("NOT")
        self._expect("MISSING")
        if not path.name:
            raise self._error()
        return _Piece(f"attribute_{'' if exists else 'not_'}exists({path.text})")

    def _choices(self) -> list[_Piece]:
        """The values of IN [...]."""
        self._expect("[")
        values = [self._value(value) for value in self._sequence("]")]
        pieces = [piece for value in values for piece in (_Piece(","), value)]
        return [_Piece("("), *pieces[1:], _Piece(")")]

    def _is_path(self) -> bool:
        kind, text = self._tokens[0]
        return kind == "quoted" or (kind == "word" and text.upper() not in _LITERALS)

    def _path(self) -> _Piece:
        name = self._name()
        text = self._placeholder(name)
        simple = True
        while self._peek() in (".", "["):
            simple = False
            if self._accept("."):
                text += f".{self._placeholder(self._name())}"
            else:
                self._expect("[")
                text += f"[{self._next()[1]}]"
                self._expect("]")
        return _Piece(text, name if simple else None)

    def _name(self) -> str:
        kind, text = self._next()
        if kind == "quoted":
            return text[1:-1].replace('""', '"')
        if kind != "word":
            raise self._error()
        return text

    def _literal(self) -> dict[str, Any]:
        kind, text = self._next()
        if kind == "string":
            return {"S": text[1:-1].replace("''", "'")}
        if kind == "number" or (text == "-" and self._tokens[0][0] == "number"):
            return {"N": text if kind == "number" else f"-{self._next()[1]}"}
        if text == "?":
            if not self._parameters:
                raise _wrong_number_of_parameters()
            return self._parameters.pop(0)
        if text == "[":
            return {"L": self._sequence("]")}
        if text == "<<":
            members = self._sequence(">>")
            types = {type_ for member in members for type_ in member}
            if len(types) != 1 or not types <= {"S", "N", "B"}:
                raise self._error()
            return {f"{types.pop()}S": [value for member in members for value in member.values()]}
        if text == "{":
            return {"M": self._tuple()}
        if text.upper() in _LITERALS:
            return dict(_LITERALS[text.upper()])
        raise self._error()

    def _sequence(self, end: str) -> list[dict[str, Any]]:
        """The members of a list or set whose opening bracket has been read."""
        members: list[dict[str, Any]] = []
        while not self._accept(end):
            if members:
                self._expect(",")
            members.append(self._literal())
        return members

    def _tuple(self) -> dict[str, Any]:
        """The members of a map whose opening brace has been read."""
        members: dict[str, Any] = {}
        while not self._accept("}"):
            if members:
                self._expect(",")
            kind, text = self._next()
            if kind not in ("string", "quoted"):
                raise self._error()
            name = text[1:-1].replace(text[0] * 2, text[0])
            self._expect(":")
            members[name] = self._literal()
        return members

    def _placeholder(self, name: str) -> str:
        placeholder = next((each for each, known in self._names.items() if known == name), f"#n{len(self._names)}")
        self._names[placeholder] = name
        return placeholder

    def _value(self, value: dict[str, Any]) -> _Piece:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = value
        return _Piece(placeholder, value=value)

    def _peek(self) -> str:
        kind, text = self._tokens[0]
        return text.upper() if kind in ("word", "symbol") else ""

    def _next(self) -> tuple[str, str]:
        if self._tokens[0] == _END:
            raise self._error()
        return self._tokens.pop(0)

    def _accept(self, text: str) -> bool:
        if self._peek() != text:
            return False
        self._tokens.pop(0)
        return True

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._error()

    def _error(self) -> Exception:
        return invalid("Statement wasn't well formed, can't be processed: Unexpected token")


def _tokens(statement: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    statement = statement.rstrip().rstrip(";").rstrip()
    while position < len(statement):
        match = _TOKEN.match(statement, position)
        if not match or not match.lastgroup:
            raise invalid("Statement wasn't well formed, can't be processed: Unexpected character")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return [*tokens, _END]


def _terms(pieces: list[_Piece]) -> list[list[_Piece]]:
    """Split a condition at each AND that is outside of parentheses, unless an OR is."""
    terms: list[list[_Piece]] = [[]]
    depth, between = 0, False
    for piece in pieces:
        depth += (piece.text == "(") - (piece.text == ")")
        if not depth and piece.text == "OR":
            return [pieces]
        if not depth and piece.text == "AND" and not between:
            terms.append([])
            continue
        between = piece.text == "BETWEEN" or (between and piece.text != "AND")
        terms[-1].append(piece)
    return terms


def _equality(term: list[_Piece]) -> tuple[str | None, dict[str, Any] | None]:
    """The attribute and the value of a term like name = 'x'."""
    if len(term) != 3 or term[1].text != "=":  # noqa: PLR2004 - two sides and a sign
        return None, None
    left, _, right = term
    return left.name or right.name, left.value or right.value


def _wrong_number_of_parameters() -> Exception:
    return invalid("Number of parameters in request and statement don't match.")
