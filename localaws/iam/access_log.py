"""The access log: every decision about a caller whose credentials the local AWS has issued, as JSON, one a line.

AWS CloudTrail is AWS's counterpart, from which IAM Access Analyzer generates policies.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "access.jsonl"

_file: Path | None = None


def write_to(file: Path) -> None:
    """Log into this file from now on. By default, nothing is logged."""
    global _file  # noqa: PLW0603 - set once, when the server starts
    file.write_text("")
    _file = file


def log(caller: str, action: str, resource: str, context: Mapping[str, str], denial: str) -> None:
    """Log a decision. `caller` and `resource` are ARNs, `context` has the service's condition keys."""
    if _file:
        entry = {"caller": caller, "action": action, "resource": resource, "context": dict(context), "denial": denial}
        with _file.open("a") as file:
            file.write(json.dumps(entry) + "\n")  # in one piece
