"""`watch`: deploy each save of the code, the policies, or the settings, and follow the log."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import watchfiles
from botocore.exceptions import BotoCoreError, ClientError

from . import log_text, records, smoke, steps
from .deployment import Deployment
from .events import Changed, Event, Events, Progress
from .resources.change import UserError
from .settings import Settings

Load: TypeAlias = Callable[[], Settings]
Render: TypeAlias = Callable[[Iterable[Event]], None]
Until: TypeAlias = Callable[[], Callable[[], bool]]

# These settings determine the clients and the log group, so a change requires a restart.
_FIXED = (
    "target", "aws_account_id", "aws_profile", "aws_region", "aws_endpoint_url",
    "pipeline_name", "table_arn", "function_name", "function_options",
)  # fmt: skip
_COMPILE = "import sys; compile(open(sys.argv[1], 'rb').read(), '', 'exec')"


def watch(d: Deployment, env_file: Path, load: Load, render: Render, *, until: Until, prove: bool) -> Events[None]:
    """Deploy, follow the log, and deploy again after each save. Deploys between two polls of the log.

    `load` reads the settings in `env_file`. `render` shows the events of a deployment. With `prove`, a smoke test
    follows each deployment. `until` returns a function that is true when `watch` should end. A dry run only plans.
    """
    if d.dry_run:
        yield from steps.deploy(d)
        yield Progress("watch", "then deploys each save without confirmation")
        return
    turns = _turns(d, env_file, load, render, prove=prove)
    try:
        next(turns)  # from here on, watch notices every save
    except OSError as error:
        raise UserError(f"cannot watch the files: {error}; set WATCHFILES_FORCE_POLLING=true") from None
    _check_syntax(d.settings.function_runtime, [*(d.root / "lambda_src").rglob("*.py")])
    yield from steps.deploy(d)
    yield Progress("watch", f"deploys each save in lambda_src/, policies/, and {env_file.name}")
    now = d.client("lambda").get_function_configuration(FunctionName=d.settings.function_name)
    since: dict[str, Any] = {"since_ms": records.aws_time_ms(now), "last": 0, "pattern": "", "request_id": ""}
    yield from steps.follow_logs(d, until=until(), show=log_text.text, pause=lambda _: next(turns), **since)


def _turns(d: Deployment, env_file: Path, load: Load, render: Render, *, prove: bool) -> Iterator[None]:
    """Each turn waits up to half a second for a save, and deploys it together with earlier saves that failed.

    Editors replace files, which ends the watch of a single file. So each turn reads .env instead.
    """
    content, pending = _content(env_file), set[Path]()
    folders, timeout = (d.root / "lambda_src", d.root / "policies"), 500 if d.settings.target == "aws" else 50
    for changes in watchfiles.watch(*folders, rust_timeout=timeout, yield_on_timeout=True):
        if changes or content != _content(env_file):
            content = _content(env_file)
            pending |= {Path(path) for _, path in changes}
            try:
                d = replace(d, settings=_reloaded(d.settings, load))
            except UserError as error:
                render([Progress("watch", f"{error}\n  The old settings remain in use.")])
            render(_deploy(d, pending, prove=prove))
        yield


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _reloaded(current: Settings, load: Load) -> Settings:
    settings = load()
    if names := [name.upper() for name in _FIXED if getattr(settings, name) != getattr(current, name)]:
        raise UserError(f"{', '.join(names)}: restart watch to apply this change")
    return settings


def _deploy(d: Deployment, pending: set[Path], *, prove: bool) -> Events[None]:
    """Deploy, and clear `pending` on success. Emits only changes."""
    began = time.monotonic()
    try:
        _check_syntax(d.settings.function_runtime, [path for path in pending if path.suffix == ".py" and path.exists()])
        for event in steps.deploy(d):
            if not isinstance(event, Changed) or event.change.action != "unchanged":
                yield event
        pending.clear()
        yield Progress("watch", f"up to date, in {time.monotonic() - began:.2f} s")
        if prove:
            yield from smoke.run(d)
    except (UserError, OSError, ClientError, BotoCoreError) as error:
        yield Progress("watch", str(error))


def _check_syntax(runtime: str, paths: list[Path]) -> None:
    """Raise UserError for a syntax error. The Python of the runtime, if it is installed, may accept newer syntax."""
    for path in paths:
        try:
            compile(path.read_bytes(), path.name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            command = [shutil.which(runtime) or "false", "-c", _COMPILE, str(path)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                raise UserError(f"{type(error).__name__}: {error}; correct it; it is not deployed") from None
