"""`graph`: draw the deployed pipeline with states and counts, as text or Mermaid."""

from collections.abc import Iterator
from dataclasses import dataclass

from botocore.exceptions import ClientError

from . import causes, parameters, replay, status
from .deployment import Deployment
from .events import Events, Result, Started
from .resources import alarm, alias, log_group
from .resources.change import UserError


@dataclass(frozen=True)
class Node:
    """A resource. `above` names the node before it, `edge` the text between them. `aside`: drawn beside the chain."""

    name: str
    title: str
    facts: list[str]
    above: str = ""
    edge: str = ""
    aside: bool = False


def draw(d: Deployment, *, mermaid: bool) -> Events[None]:
    """Draw the pipeline. Makes only read calls."""
    yield Started("graph")
    nodes = list(_nodes(d))
    edges = [{"from": each.above, "to": each.name, "text": each.edge} for each in nodes if each.above]
    shown = [{"name": each.name, "title": each.title, "facts": each.facts} for each in nodes]
    yield Result("\n".join(_mermaid(nodes) if mermaid else _text(nodes)), {"nodes": shown, "edges": edges})


def _nodes(d: Deployment) -> Iterator[Node]:
    settings, parts = d.settings, causes.look(d)
    current, entry, function = parts.table, parts.mapping, parts.function
    facts = [str(current["TableStatus"]), f"items: {current['ItemCount']}"] if current else ["missing"]
    yield Node("table", f"table {settings.table_name}", facts)
    stream = current["StreamSpecification"] if current else {}
    view = f"stream, {stream['StreamViewType']}" if stream.get("StreamEnabled") else "stream off"
    facts = [entry["State"], f"last result: {entry['LastProcessingResult']}"] if entry else ["missing"]
    yield Node("mapping", "event source mapping", facts, "table", view)
    if settings.on_failure:
        kind, name = settings.on_failure.split(":")[2], settings.on_failure.split(":")[-1]
        yield Node("failed", f"{kind} {name}", list(_notes(d)), "mapping", "on failure", aside=True)
    facts = ["missing"]
    if function:
        facts = [function["State"], function["Runtime"], f"{function['MemorySize']} MB"]
        facts += [f"{name}: {value}" for name, value in status.function_metrics(d).items()]
        name = settings.function_alias
        live = alias.describe(d.client("lambda"), settings.function_name, name) if name else None
        facts += [f"alias {name} at version {live['FunctionVersion']}"] if live else []
    batches = f"batches of up to {entry['BatchSize']}" if entry else ""
    yield Node("function", f"function {settings.function_name}", facts, "mapping", batches)
    for each in parameters.alarms(settings):
        current_alarm = alarm.describe(d.client("cloudwatch"), each["AlarmName"])
        state = current_alarm["StateValue"] if current_alarm else "missing"
        yield Node(each["AlarmName"], f"alarm {each['AlarmName']}", [state], "function", "watched by", aside=True)
    group = parameters.log_group_name(settings)
    logs = log_group.describe(d.client("logs"), group)
    days = logs and logs["retentionInDays"]
    kept = [f"kept for {days} days" if days else "kept forever"] if logs else ["missing"]
    yield Node("logs", f"log group {group}", kept, "function")


def _notes(d: Deployment) -> Iterator[str]:
    """The number of notes, if the caller is allowed to read it."""
    try:
        if ":sns:" not in d.settings.on_failure:
            yield f"messages: about {replay.place_of(d).count()}"
    except ClientError:
        return
    except UserError:
        yield "missing"


def _text(nodes: list[Node]) -> Iterator[str]:
    width = max(len(node.title) for node in nodes if not node.aside)
    for node in nodes:
        facts = ", ".join(node.facts)
        if node.aside:
            yield f"  |-- {node.edge} --> {node.title}  {facts}".rstrip()
            continue
        if node.above:
            yield f"  | {node.edge}".rstrip()
            yield "  v"
        yield f"{node.title:<{width}}  {facts}"


def _mermaid(nodes: list[Node]) -> Iterator[str]:
    yield "flowchart LR"
    for node in nodes:
        label = "<br>".join([node.title, *node.facts]).replace('"', "'")
        yield f'  {node.name}["{label}"]'
    for node in nodes:
        if node.above:
            edge = f'|"{node.edge}"|' if node.edge else ""
            yield f"  {node.above} {'-.->' if node.aside else '-->'}{edge} {node.name}"
