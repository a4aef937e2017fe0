"""`doctor`: check the machine, the credentials, and the pipeline for common causes of failure. Only reads."""

import platform
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from . import causes
from .deployment import Deployment
from .events import Events, Result, Started
from .records import aws_time_ms
from .resources import function
from .resources.change import UserError

# AWS rejects requests whose time is off by more.
_CLOCK_SECONDS = 5 * 60
_REQUIREMENT = re.compile(r"^([a-z0-9-]+)(?:\[\w+\])?==([^\s;]+)", re.MULTILINE)


def diagnose(d: Deployment, note: str = "") -> Events[None]:
    """Check the machine and the pipeline. Raises UserError after the last check if one failed.

    `note` describes the target. A second note says why Lambda cannot provide the runtime.
    """
    yield Started("doctor")
    found = []
    for text, cause in _machine(d):
        found += [cause] if cause else []
        yield Result(f"{'FAIL' if cause else 'ok  '}  {cause or text}", {"machine": [{"check": text, "ok": not cause}]})
    parts = causes.look(d)
    for text in filter(None, (note, function.runtime_error(parts.function or {}))):
        yield Result(f"note  {text}", {"notes": [text]})
    for cause in causes.find(d, parts):
        found.append(cause)
        yield Result(f"FAIL  {cause}")
    healthy = "" if found else f"ok    pipeline {d.settings.pipeline_name}: no known cause of failure"
    yield Result(healthy, {"healthy": not found, "causes": [asdict(cause) for cause in found]})
    if found:
        number = f"{len(found)} {'cause' if len(found) == 1 else 'causes'} found"
        raise UserError(f"{number}: {', '.join(each.name for each in found)}")


def _machine(d: Deployment) -> Iterator[tuple[str, causes.Cause | None]]:
    """Yield the checks of this machine, each with a cause if it fails. Invoke does not start if Python is too old."""
    yield f"Python {platform.python_version()}", None
    wrong = _other_versions(d.root / "requirements.txt")
    cause = causes.Cause("other versions", ", ".join(wrong), "pip install -r requirements.txt") if wrong else None
    yield "packages as in requirements.txt", cause
    caller: Any = d.caller_identity
    yield f"credentials of {caller['Arn']} in {d.client('sts').meta.endpoint_url}", None
    ahead = time.time() - aws_time_ms(caller) / 1000
    text = f"clock within {abs(ahead):.0f} s of AWS's"
    off = f"it is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} AWS's clock; AWS allows up to 5 minutes"
    yield text, causes.Cause("clock", off, "set the clock") if abs(ahead) > _CLOCK_SECONDS else None


def _other_versions(requirements: Path) -> list[str]:
    """The installed packages whose version is not in the file, which may have several versions of a package."""
    pinned: dict[str, set[str]] = {}
    for name, version in _REQUIREMENT.findall(requirements.read_text(encoding="utf-8")):
        pinned.setdefault(name, set()).add(version)
    installed = {each.name.lower(): each.version for each in metadata.distributions() if each.name.lower() in pinned}
    return [
        f"{name} {version} instead of {' or '.join(sorted(pinned[name]))}"
        for name, version in sorted(installed.items())
        if version not in pinned[name]
    ]
