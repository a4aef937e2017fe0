"""Writes of items, and the requests that make them: each can be done to the model and sent to DynamoDB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.localaws.dynamodb.model import SETS, Action, Item, Model, RefusedError, Value, canonical, returned, updated

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Condition:
    """A condition on the item: that it exists or not, or that its attribute `a` has a value."""

    what: str = "none"
    value: Value | None = None

    def check(self, item: Item | None) -> None:
        holds = {
            "none": True,
            "exists": item is not None,
            "absent": item is None,
            "equals": item is not None and "a" in item and item["a"] == canonical(self.value or {"S": ""}),
        }[self.what]
        if not holds:
            raise RefusedError("ConditionalCheckFailedException")

    @property
    def expression(self) -> dict[str, Any]:
        text = {"exists": "attribute_exists(#key)", "absent": "attribute_not_exists(#key)", "equals": "a = :condition"}
        if self.what == "none":
            return {}
        names = {} if self.what == "equals" else {"ExpressionAttributeNames": {"#key": "name"}}
        values = {"ExpressionAttributeValues": {":condition": self.value}} if self.what == "equals" else {}
        return {"ConditionExpression": text[self.what], **names, **values}

    @property
    def expected(self) -> dict[str, Any]:
        if self.what == "none":
            return {}
        if self.what == "equals":
            return {"Expected": {"a": {"Value": self.value}}}
        operator = "NOT_NULL" if self.what == "exists" else "NULL"
        return {"Expected": {"name": {"ComparisonOperator": operator}}}


@dataclass
class Call:
    """A write of one item, which different calls of the API can make."""

    kind: str  # put, update or delete
    table: str
    key: Item
    attributes: Item
    actions: list[Action]
    condition: Condition
    return_values: str
    legacy: bool

    def run(self, model: Model) -> Item | None:
        """Do it to the model. Returns the attributes that the call returns."""
        before = model.get(self.table, self.key)
        self.condition.check(before)
        if self.kind == "put":
            after: Item | None = {name: canonical(value) for name, value in self.item.items()}
        else:
            after = updated(before, self.key, self.actions) if self.kind == "update" else None
        model.write(self.table, self.key, after)
        return returned(self.allowed_return_values, before, after, self.actions)

    @property
    def item(self) -> Item:
        return {**self.attributes, **self.key}

    @property
    def allowed_return_values(self) -> str:
        return self.return_values if self.kind == "update" or self.return_values == "ALL_OLD" else "NONE"

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of PutItem, UpdateItem, DeleteItem, and of an operation of TransactWriteItems."""
        named: dict[str, Any] = {"TableName": self.table}
        named |= {"Item": self.item} if self.kind == "put" else {"Key": self.key}
        update = self._attribute_updates if self.legacy else self._update_expression
        parts = [
            self.condition.expected if self.legacy else self.condition.expression,
            update if self.kind == "update" else {},
        ]
        for part in parts:
            for name, value in part.items():
                named[name] = {**named.get(name, {}), **value} if isinstance(value, dict) else value
        return named

    @property
    def _attribute_updates(self) -> dict[str, Any]:
        updates = {
            name: {"Action": "DELETE"} if what == "REMOVE" else {"Action": what, "Value": operand}
            for what, name, operand in self.actions
        }
        return {"AttributeUpdates": updates} if updates else {}

    @property
    def _update_expression(self) -> dict[str, Any]:
        if not self.actions:
            return {}
        clauses: dict[str, list[str]] = {}
        values: dict[str, Any] = {}
        for what, name, operand in self.actions:
            if what not in ("REMOVE", "REMOVE FROM MAP", "COPY"):
                values[f":{name}"] = operand
            text = {
                "SET": f"{name} = :{name}",
                "COPY": f"{name} = {operand}",
                "PLUS": f"{name} = {name} + :{name}",
                "SET IN MAP": f"{name}.x = :{name}",
                "REMOVE": name,
                "REMOVE FROM MAP": f"{name}.x",
            }.get(what, f"{name} :{name}")
            clause = what.split()[0] if what.startswith(("REMOVE", "ADD", "DELETE")) else "SET"
            clauses.setdefault(clause, []).append(text)
        expression = " ".join(f"{clause} {', '.join(texts)}" for clause, texts in clauses.items())
        return {"UpdateExpression": expression, **({"ExpressionAttributeValues": values} if values else {})}


@dataclass
class Request:
    """A request: one call, or several in a batch, a transaction or PartiQL statements."""

    how: str
    calls: list[Call]

    def run(self, model: Model) -> Any:
        """Do it to the model. Returns what the client sees."""
        if self.how == "one":
            return self.calls[0].run(model)
        keys_written = {(call.table, model.key(call.table, call.key)) for call in self.calls}
        if self.how != "statements" and len(keys_written) < len(self.calls):
            raise RefusedError
        if self.how == "batch":
            for call in self.calls:
                model.write(call.table, call.key, _whole(call))
            return None
        if self.how == "statements":
            return [_statement_answer(call, model) for call in self.calls]
        run: Callable[[Call, Model], Any] = run_statement if self.how == "statement transaction" else Call.run
        copies = Model(model.keys, {name: dict(items) for name, items in model.tables.items()}, dict(model.records))
        for call in self.calls:
            try:
                run(call, copies)
            except RefusedError:
                raise RefusedError("TransactionCanceledException") from None
        model.tables, model.records = copies.tables, copies.records
        return None

    def send(self, client: Any, names: dict[str, str]) -> Any:
        """Send it. `names` are the names of the tables. Returns what the client sees."""
        if self.how == "one":
            (call,) = self.calls
            method = getattr(client, f"{call.kind}_item")
            values = {"ReturnValues": call.allowed_return_values}
            return method(**renamed(call.parameters, names), **values).get("Attributes")
        if self.how == "batch":
            requests: dict[str, list[Any]] = {}
            for call in self.calls:
                request = {"DeleteRequest": {"Key": call.key}} if call.kind == "delete" else None
                requests.setdefault(names[call.table], []).append(request or {"PutRequest": {"Item": call.item}})
            client.batch_write_item(RequestItems=requests)
            return None
        if self.how == "transaction":
            operations = [{call.kind.title(): renamed(call.parameters, names)} for call in self.calls]
            client.transact_write_items(TransactItems=operations)
            return None
        statements = [statement(call, names[call.table]) for call in self.calls]
        if self.how == "statement transaction":
            client.execute_transaction(TransactStatements=statements)
            return None
        responses = client.batch_execute_statement(Statements=statements)["Responses"]
        return [response.get("Error", {}).get("Code", response.get("Item")) for response in responses]


def _whole(call: Call) -> Item | None:
    return None if call.kind == "delete" else {name: canonical(value) for name, value in call.item.items()}


def _statement_answer(call: Call, model: Model) -> Any:
    """What BatchExecuteStatement answers for a statement: the item that it returns, or the code of its error."""
    try:
        return run_statement(call, model)
    except RefusedError as error:
        return "ValidationError" if error.code == "ValidationException" else error.code.removesuffix("Exception")


def renamed(parameters: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {**parameters, "TableName": names[parameters["TableName"]]}


def run_statement(call: Call, model: Model) -> Item | None:
    """What INSERT, UPDATE or DELETE do: an update of no item fails, and so does an insertion over an item."""
    before = model.get(call.table, call.key)
    if call.kind == "put":
        if before is not None:
            raise RefusedError("DuplicateItemException")
        model.write(call.table, call.key, _whole(call))
        return None
    if call.kind == "update" and before is None:
        raise RefusedError("ConditionalCheckFailedException")
    if call.condition.what == "equals" and before is not None:
        call.condition.check(before)
    after = updated(before, call.key, call.actions) if call.kind == "update" else None
    model.write(call.table, call.key, after)
    return returned(call.allowed_return_values, before, after, call.actions)


def statement(call: Call, table: str) -> dict[str, Any]:
    """The PartiQL of a call. Every other value is a parameter."""
    parameters: list[Value] = []

    def value(content: Value) -> str:
        text = literal(content)
        if text is None or len(text) % 2:
            parameters.append(content)
            return "?"
        return text

    if call.kind == "put":
        members = ", ".join(f"'{name}': {value(each)}" for name, each in call.item.items())
        text = f'INSERT INTO "{table}" VALUE {{{members}}}'
    elif call.kind == "update":
        text = f'UPDATE "{table}"' + "".join(f" {_assignment(action, value)}" for action in call.actions)
    else:
        text = f'DELETE FROM "{table}"'  # noqa: S608 - the names of our own tables
    if call.kind != "put":
        terms = [f'"{name}" = {value(each)}' for name, each in call.key.items()]
        if call.condition.what == "equals":
            terms.append(f"a = {value(call.condition.value or {})}")
        text += f" WHERE {' AND '.join(terms)}"
    if call.kind != "put" and (values := call.allowed_return_values) != "NONE":
        scope, age = values.split("_")
        text += f" RETURNING {scope.replace('UPDATED', 'MODIFIED')} {age} *"
    return {"Statement": text, **({"Parameters": parameters} if parameters else {})}


def _assignment(action: Action, value: Callable[[Value], str]) -> str:
    what, name, operand = action
    if what.startswith("REMOVE"):
        return f"REMOVE {name}{'.x' if what == 'REMOVE FROM MAP' else ''}"
    if what == "COPY":
        return f"SET {name} = {operand}"
    text = value(operand)
    return {
        "SET": f"SET {name} = {text}",
        "PLUS": f"SET {name} = {name} + {text}",
        "SET IN MAP": f"SET {name}.x = {text}",
        "ADD": f"SET {name} = set_add({name}, {text})",
        "DELETE": f"SET {name} = set_delete({name}, {text})",
    }[what]


def literal(value: Value) -> str | None:
    """A value in PartiQL, or None if it has none."""
    kind: str
    content: Any
    ((kind, content),) = value.items()
    if kind in ("B", "BS"):
        return None
    if kind == "S":
        return "'" + str(content).replace("'", "''") + "'"
    if kind in ("N", "BOOL", "NULL"):
        return {"N": str(content), "BOOL": str(content).lower(), "NULL": "null"}[kind]
    if kind in SETS:
        return f"<<{', '.join(str(literal({kind[0]: member})) for member in content)}>>"
    members = [literal(member) for member in (content if kind == "L" else content.values())]
    if None in members:
        return None
    if kind == "L":
        return f"[{', '.join(map(str, members))}]"
    pairs = [f"'{name}': {member}" for name, member in zip(content, members, strict=True)]
    return f"{{{', '.join(pairs)}}}"
