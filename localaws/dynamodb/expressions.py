"""The grammar of DynamoDB's expressions, and what it refuses before it looks at any item.

moto's parsers accept more, and fail on some of what they do not accept. DynamoDB developer guide, "Using expressions in
DynamoDB", "Condition and filter expressions, operators, and functions", "Using update expressions", "Reserved words".
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from localaws.dynamodb.items import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localaws.errors import AwsError

Path = tuple["str | int", ...]

_TOKEN = re.compile(r"[#:]\w+|[A-Za-z]\w*|\d+|<>|<=|>=|\S")
_WORD = re.compile(r"[A-Za-z]\w*", re.ASCII)
_NAME = re.compile(r"#\w+", re.ASCII)
_VALUE = re.compile(r":\w+", re.ASCII)
_COMPARATORS = ("=", "<>", "<", "<=", ">", ">=")
# The number of operands of each function of a condition, and of an update.
_CONDITIONS = {"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}
_UPDATES = {"if_not_exists": 2, "list_append": 2}
_SETS = ("SS", "NS", "BS")
_ORDERED = ("S", "N", "B")
_TYPES = ("B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M")
_END = "<EOF>"
_MAX_BYTES = 4096


class Expression:
    """A parsed expression: the placeholders and attributes that it uses, and the paths that it projects or updates.

    Raises AwsError with the ValidationException of DynamoDB. `kind` is the name of its parameter.
    """

    def __init__(self, kind: str, text: str, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
        self.used: set[str] = set()
        self.attributes: set[str] = set()  # without those nested in them
        self.paths: list[Path] = []
        self._kind = kind
        self._text = text
        self._names = names
        self._values = values
        self._tokens = list(_TOKEN.finditer(text))
        self._closing = self._closing_positions()
        self._position = 0
        if not self._tokens:
            raise self._error("The expression can not be empty;")
        if len(text.encode()) > _MAX_BYTES:
            what = "Expression size has exceeded the maximum allowed size"
            raise self._error(f"{what}; expression size: {len(text.encode())}")
        self._is_key_condition = kind == "KeyConditionExpression"
        parse = {"UpdateExpression": self._update, "ProjectionExpression": self._projection}.get(kind, self._condition)
        try:
            parse()
        except RecursionError:
            raise self._error("The expression is nested too deeply") from None
        if self._next != _END:
            raise self._syntax_error()

    # Tokens

    @property
    def _next(self) -> str:
        return self._tokens[self._position].group() if self._position < len(self._tokens) else _END

    @property
    def _keyword(self) -> str:
        return self._next.upper()

    def _take(self) -> str:
        token = self._next
        self._position += 1
        return token

    def _expect(self, token: str) -> None:
        if self._keyword != token:
            raise self._syntax_error()
        self._position += 1

    def _accept(self, token: str) -> bool:
        found = self._keyword == token
        self._position += found
        return found

    def _list(self, parse: Callable[[], Any]) -> list[Any]:
        parsed = [parse()]
        while self._accept(","):
            parsed.append(parse())
        return parsed

    def _error(self, reason: str) -> AwsError:
        return invalid(f"Invalid {self._kind}: {reason}")

    def _syntax_error(self) -> AwsError:
        near = self._tokens[max(self._position - 1, 0) : self._position + 2]
        text = self._text[near[0].start() : near[-1].end()]
        return self._error(f'Syntax error; token: "{self._next}", near: "{text}"')

    # Operands

    def _path(self) -> Path:
        path: list[str | int] = [self._attribute_name()]
        self.attributes.add(str(path[0]))
        while self._next in (".", "["):
            if self._take() == ".":
                path.append(self._attribute_name())
                continue
            if not self._next.isdigit():
                raise self._syntax_error()
            path.append(int(self._take()))
            self._expect("]")
        if self._is_key_condition and len(path) > 1:
            raise invalid("KeyConditionExpressions cannot have conditions on nested attributes")
        return tuple(path)

    def _attribute_name(self) -> str:
        token = self._next
        if _NAME.fullmatch(token):
            if token not in self._names:
                what = "An expression attribute name used in the document path is not defined"
                raise self._error(f"{what}; attribute name: {token}")
            self.used.add(token)
        elif not _WORD.fullmatch(token):
            raise self._syntax_error()
        elif token.upper() in ReservedKeywords.get_reserved_keywords():
            raise self._error(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return self._names.get(self._take(), token)

    def _value(self) -> str:
        token = self._next
        if not _VALUE.fullmatch(token):
            raise self._syntax_error()
        if token not in self._values:
            what = "An expression attribute value used in expression is not defined"
            raise self._error(f"{what}; attribute value: {token}")
        self.used.add(token)
        return self._take()

    @property
    def _is_call(self) -> bool:
        after = self._tokens[self._position + 1 : self._position + 2]
        return bool(_WORD.fullmatch(self._next) and after and after[0].group() == "(")

    def _call(self, allowed: Mapping[str, int], parse: Callable[[], Any]) -> None:
        name = self._take()
        if name not in (*_CONDITIONS, *_UPDATES, "size"):
            raise self._error(f"Invalid function name; function: {name}")
        if name not in allowed:
            what = "The function is not allowed to be used this way in an expression"
            raise self._error(f"{what}; function: {name}")
        self._expect("(")
        operands = self._list(parse)
        self._expect(")")
        if len(operands) != allowed[name]:
            what = "Incorrect number of operands for operator or function; operator or function"
            raise self._error(f"{what}: {name}, number of operands: {len(operands)}")
        self._refuse_equal(name, operands)
        if name == "begins_with":
            self._check_types(name, operands, ("S", "B"))
        if name == "attribute_type":
            self._check_types(name, operands[1:], ("S",))
            kind = next(iter(self._values.get(operands[1], {"S": "S"}).values()))
            if kind not in _TYPES:
                what = f"Invalid attribute type name found; type: {kind}"
                raise self._error(f"{what}, valid types: {{{','.join(_TYPES)}}}")
        if name in ("attribute_exists", "attribute_not_exists", "if_not_exists") and not isinstance(operands[0], tuple):
            raise self._error(f"Operator or function requires a document path; operator or function: {name}")

    def _refuse_equal(self, operator: str, operands: list[Any]) -> None:
        first = operands[0]
        if isinstance(first, tuple) and first in operands[1:] and operator != "list_append":
            what = "The first operand must be distinct from the remaining operands for this operator or function"
            raise self._error(f"{what}; operator: {operator}, first operand: {_shown(first)}")

    # Conditions: KeyConditionExpression, FilterExpression, ConditionExpression

    def _condition(self) -> None:
        self._conjunction()
        while self._keyword == "OR":
            self._operator(self._take())
            self._conjunction()

    def _conjunction(self) -> None:
        self._negation()
        while self._accept("AND"):
            self._negation()

    def _negation(self) -> None:
        while self._keyword == "NOT":
            self._operator(self._take())
        if self._next == "(" and not self._is_operand_in_parentheses():
            self._take()
            inner, outer = self._closing.get(self._position), self._closing.get(self._position - 1, 0)
            redundant = inner == outer - 1
            self._condition()
            self._expect(")")
            if redundant:
                raise self._error("The expression has redundant parentheses;")
        elif self._is_call and self._next != "size":
            self._call(_CONDITIONS, self._operand)
        else:
            self._comparison()

    def _operator(self, operator: str) -> str:
        if self._is_key_condition and operator.upper() in ("OR", "NOT", "IN", "<>"):
            raise invalid(f"Invalid operator used in KeyConditionExpression: {operator.upper()}")
        return operator

    def _closing_positions(self) -> dict[int, int]:
        """The position of each opening parenthesis, with that of the one that closes it."""
        closing: dict[int, int] = {}
        opened: list[int] = []
        for position, token in enumerate(self._tokens):
            if token.group() == "(":
                opened.append(position)
            elif token.group() == ")" and opened:
                closing[opened.pop()] = position
        return closing

    def _is_operand_in_parentheses(self) -> bool:
        """Whether the parentheses here are around an operand, as in `(a) = :v`."""
        after = self._closing.get(self._position, len(self._tokens)) + 1
        token = self._tokens[after].group() if after < len(self._tokens) else _END
        return token in _COMPARATORS or token.upper() in ("IN", "BETWEEN")

    def _comparison(self) -> None:
        left = self._operand()
        if self._next in _COMPARATORS:
            operator = self._operator(self._take())
            operands = [left, self._operand()]
            if operator not in ("=", "<>"):
                self._check_types(operator, operands, _ORDERED)
        elif self._accept("BETWEEN"):
            operator = "BETWEEN"
            operands = [left, self._operand()]
            self._expect("AND")
            operands.append(self._operand())
            self._check_types(operator, operands, _ORDERED)
            self._check_bounds(operands[1:])
        else:
            operator = "IN"
            self._expect("IN")
            self._operator("IN")
            self._expect("(")
            operands = [left, *self._list(self._operand)]
            self._expect(")")
        self._refuse_equal(operator, operands)

    def _check_types(self, operator: str, operands: list[Any], types: tuple[str, ...]) -> None:
        """Refuse the types of values. Those of attributes are known only with an item."""
        for operand in operands:
            if operand in self._values and (kind := next(iter(self._values[operand]))) not in types:
                what = "Incorrect operand type for operator or function; operator or function"
                raise self._error(f"{what}: {operator}, operand type: {kind}")

    def _check_bounds(self, bounds: list[Any]) -> None:
        if any(each not in self._values for each in bounds):
            return
        ((low_kind, low),), ((high_kind, high),) = (self._values[each].items() for each in bounds)
        rule = ""
        if low_kind != high_kind:
            rule = "same data type for lower and upper bounds"
        elif (Decimal(low) > Decimal(high)) if low_kind == "N" else low > high:
            rule = "upper bound to be greater than or equal to lower bound"
        if rule:
            shown = f"lower bound operand: AttributeValue: {{{low_kind}:{low}}}, "
            shown += f"upper bound operand: AttributeValue: {{{high_kind}:{high}}}"
            raise self._error(f"The BETWEEN operator requires {rule}; {shown}")

    def _operand(self) -> Path | str:
        if self._accept("("):
            operand = self._operand()
            self._expect(")")
            return operand
        if self._is_call:
            self._call({"size": 1}, self._operand)
            return "size"
        return self._value() if self._next.startswith(":") else self._path()

    # Projections and updates

    def _projection(self) -> None:
        self.paths = self._list(self._path)
        self._refuse_overlaps()

    def _update(self) -> None:
        sections = {"SET": self._set, "REMOVE": self._path, "ADD": self._add, "DELETE": self._delete}
        seen: set[str] = set()
        while self._next != _END:
            name = self._keyword
            if name not in sections:
                raise self._syntax_error()
            if name in seen:
                raise self._error(f'The "{name}" section can only be used once in an update expression;')
            seen.add(name)
            self._take()
            self.paths += self._list(sections[name])
        self._refuse_overlaps()

    def _set(self) -> Path:
        path = self._path()
        self._expect("=")
        self._update_operand()
        if self._next in ("+", "-"):
            self._take()
            self._update_operand()
        return path

    def _update_operand(self) -> Path | str:
        if self._accept("("):
            operand = self._update_operand()
            self._expect(")")
            return operand
        if self._is_call:
            self._call(_UPDATES, self._update_operand)
            return "function"
        return self._value() if self._next.startswith(":") else self._path()

    def _add(self) -> Path:
        return self._change_of_set("ADD", ("N", *_SETS))

    def _delete(self) -> Path:
        return self._change_of_set("DELETE", _SETS)

    def _change_of_set(self, operator: str, types: tuple[str, ...]) -> Path:
        path = self._path()
        kind = next(iter(self._values[self._value()]), "")
        if kind not in types:
            what = "Incorrect operand type for operator or function"
            raise self._error(f"{what}; operator: {operator}, operand type: {_TYPE_NAMES.get(kind, kind)}")
        return path

    def _refuse_overlaps(self) -> None:
        for index, one in enumerate(self.paths):
            for two in self.paths[:index]:
                common = min(len(one), len(two))
                if one[:common] == two[:common]:
                    what = "Two document paths overlap with each other; must remove or rewrite one of these paths"
                    raise self._error(f"{what}; path one: {_shown(two)}, path two: {_shown(one)}")


_TYPE_NAMES = {"S": "STRING", "N": "NUMBER", "B": "BINARY", "BOOL": "BOOLEAN", "L": "LIST", "M": "MAP"}


def _shown(path: Path) -> str:
    """A path as DynamoDB's messages show it: [a, b, [0]]."""
    return f"[{', '.join(f'[{part}]' if isinstance(part, int) else part for part in path)}]"


_EXPRESSIONS = (
    "UpdateExpression", "ConditionExpression", "KeyConditionExpression", "FilterExpression", "ProjectionExpression"
)  # fmt: skip
_LEGACY = (
    "AttributesToGet", "AttributeUpdates", "ConditionalOperator", "Expected", "KeyConditions", "QueryFilter",
    "ScanFilter",
)  # fmt: skip


def check_expressions(parameters: Mapping[str, Any]) -> dict[str, Expression]:
    """Check all expressions in the parameters of a call, or of one of its parts, and return them by parameter."""
    present = [each for each in _EXPRESSIONS if parameters.get(each) is not None]
    legacy = [each for each in _LEGACY if parameters.get(each) is not None]
    if present and legacy:
        raise invalid(
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
            f"{{{', '.join(legacy)}}} Expression parameters: {{{', '.join(sorted(present))}}}"
        )
    for member, pattern in (("ExpressionAttributeNames", _NAME), ("ExpressionAttributeValues", _VALUE)):
        placeholders = parameters.get(member)
        if placeholders is None:
            continue
        if not present:
            raise invalid(f"{member} can only be specified when using expressions")
        if not placeholders:
            raise invalid(f"{member} must not be empty")
        for key in placeholders:
            if not pattern.fullmatch(key):
                raise invalid(f'{member} contains invalid key: Syntax error; key: "{key}"')
    names, values = parameters.get("ExpressionAttributeNames") or {}, parameters.get("ExpressionAttributeValues") or {}
    parsed = {each: Expression(each, parameters[each], names, values) for each in present}
    used = {placeholder for each in parsed.values() for placeholder in each.used}
    for member, placeholders in (("ExpressionAttributeNames", names), ("ExpressionAttributeValues", values)):
        if unused := [each for each in placeholders if each not in used]:
            raise invalid(f"Value provided in {member} unused in expressions: keys: {{{', '.join(unused)}}}")
    return parsed
