"""CloudWatch Logs Insights: the queries that moto executes. It ignores what it does not know; here, that is refused.

CloudWatch Logs user guide, "CloudWatch Logs Insights language query syntax"; API reference, "StartQuery".
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from moto.logs.logs_query import execute_query as execute

from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.logs import models

_FIELD = r"@(?:timestamp|message|logStream|log|ptr)"
_COMMANDS = {
    "fields": re.compile(rf"fields\s+{_FIELD}(?:\s*,\s*{_FIELD})*", re.IGNORECASE),
    "sort": re.compile(r"sort\s+@timestamp(?:\s+(?:asc|desc))?", re.IGNORECASE),
    "limit": re.compile(r"limit\s+(?:[1-9]\d{0,3}|10000)", re.IGNORECASE),
}
_DEFAULTS = {"fields": "fields @timestamp, @message", "limit": "limit 10000"}


def execute_query(
    log_groups: list[models.LogGroup], query: str, start_time: int, end_time: int
) -> list[dict[str, str]]:
    """Execute a query of `fields`, `sort` and `limit`, each at most once. Raises AwsError for any other query."""
    commands: dict[str, str] = {}
    for command in filter(None, (each.strip() for each in query.split("|"))):
        name = command.split()[0].lower()
        if name in commands or name not in _COMMANDS or not _COMMANDS[name].fullmatch(command):
            supported = "fields @timestamp, @message, @logStream, @log; sort @timestamp asc or desc; limit 1 to 10000"
            message = f"The local AWS does not execute the query command {command!r}. It executes: {supported}"
            raise AwsError("MalformedQueryException", message)
        commands[name] = " ".join(command.replace(",", ", ").split())
    found: list[dict[str, Any]] = execute(log_groups, " | ".join((_DEFAULTS | commands).values()), start_time, end_time)
    for each in found:
        if "@timestamp" in each:
            moment = datetime.fromtimestamp(each["@timestamp"] / 1000, timezone.utc)
            each["@timestamp"] = moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return found


def start_query(call: Callable[..., str], self: models.LogsBackend, names: list[str] | None, *rest: Any) -> str:
    """Wrap StartQuery: moto knows log groups by their names only."""
    if not names:
        raise AwsError("InvalidParameterException", "Name the log groups by logGroupName or logGroupNames.")
    return call(self, names, *rest)


def get_query_results(call: Callable[..., Any], self: models.LogsBackend, query_id: str) -> Any:
    """Wrap GetQueryResults: moto fails on an unknown query."""
    if query_id not in self.queries:
        raise AwsError("ResourceNotFoundException", f"The query {query_id} does not exist.")
    return call(self, query_id)
