"""Print the tasks as a Markdown table, for docs/tasks.md. Reads the output of `invoke --list --list-format json`."""

from __future__ import annotations

import json
import sys

# The order of a pipeline's life. Invoke sorts by name. Tasks that are not named here follow.
ORDER = (
    "deploy", "smoke", "watch", "status", "doctor", "graph", "clean", "adopt", "runbook", "permissions",
    "zip-code", "create-table", "create-role", "put-policy", "create-function", "map-stream", "create-alarms",
    "put-item", "fetch-logs", "pause", "resume", "rollback", "records", "replay", "redrive", "load",
)  # fmt: skip

tasks = {task["name"]: task["help"] for task in json.load(sys.stdin)["tasks"]}
print("| Task | Effect |\n| --- | --- |")
for name in sorted(tasks, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
    print(f"| `{name}` | {tasks[name]} |")
