"""Print the tasks as a Markdown table, for README.md: `invoke --list --list-format json | python docs/tasks_table.py`.

The tasks of dev.py are for those who work on the project, and are not in the table.
"""

from __future__ import annotations

import json
import sys

# Invoke sorts tasks by name; this is the order of a pipeline's life. Other tasks follow.
ORDER = (
    "deploy", "smoke", "status", "clean", "runbook", "zip-code", "create-table", "create-role", "put-policy",
    "create-function", "map-stream", "put-item", "fetch-logs", "local.start", "local.status", "local.stop",
)  # fmt: skip

collection = json.load(sys.stdin)
tasks = {task["name"]: task["help"] for task in collection["tasks"]}
for inner in collection["collections"]:
    tasks |= {f"{inner['name']}.{task['name']}": task["help"] for task in inner["tasks"] if inner["name"] != "dev"}
print("| Task | Effect |\n| --- | --- |")
for name in sorted(tasks, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
    print(f"| `{name}` | {tasks[name]} |")
