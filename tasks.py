"""The command line, in the order of the pipeline's life. `invoke --list` shows it, `invoke --help TASK` explains one.

Thin: each task reads the settings, makes the clients, calls one step and prints its line. What takes long to import
(boto3) is imported by the tasks that need it, so that `invoke --list` and completion are quick.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Collection, Context, Exit, task

from pipeline import settings as declared
from pipeline.change import Change, Refused, check_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from localaws.control import Server
    from pipeline.settings import Settings
    from pipeline.steps import Run

ROOT = Path(__file__).resolve().parent
LOCAL = ROOT / ".local"

ADOPT = "Take over what stands already and carries no tag of this pipeline."
VERBOSE = "Tell every call to AWS, and its time, on stderr."


def _help(*settings: str, **more: str) -> dict[str, str]:
    """Help texts: of settings, as they are declared, and of what is a task's own."""
    told = {each.field: f"{each.told} [{each.name}]" for each in declared.declarations()}
    return {name: told[name] for name in settings} | more


@contextmanager
def _step(name: str) -> Iterator[Callable[[Change], None]]:
    """Time one step; what goes wrong with it ends here, as one message and exit code 1. Yields what prints its line."""
    from botocore.exceptions import BotoCoreError, ClientError

    from localaws.control import ControlError
    from pipeline import report

    started = time.monotonic()

    def tell(change: Change) -> None:
        print(report.line(name, change, time.monotonic() - started), flush=True)

    try:
        yield tell
    except (Refused, ControlError, declared.SettingsError) as error:
        raise Exit(f"{name}: {error}") from error
    except (ClientError, BotoCoreError) as error:
        raise Exit(report.failure(name, error)) from error


def _settings(given: Mapping[str, Any] | None = None) -> Settings:
    """Settings from `.env`, the shell, and those among a task's parameters that are settings."""
    names = {each.field for each in declared.declarations()}
    parameters = {name: value for name, value in (given or {}).items() if name in names}
    return declared.load(declared.find_env_file(ROOT, os.environ), os.environ, parameters)


def _begin(given: Mapping[str, Any]) -> Run:
    """Settings and clients for a task, from its parameters; starts the embedded AWS if that is the target."""
    from pipeline import session, steps

    settings, dry = _settings(given), bool(given["c"].config.run.dry)
    endpoint = _local_aws(settings).endpoint if settings.target == "local" else None
    aws = session.connect(settings, endpoint, dry=dry, verbose=given.get("verbose", False))
    run = steps.Run(settings, aws, ROOT, dry=dry, adopt=given.get("adopt", False))
    if settings.target == "aws":
        _ = run.caller  # the right account, before anything else is asked
    return run


def _local_aws(settings: Settings) -> Server:
    """The embedded AWS, started if it does not run."""
    from localaws import control

    began = time.monotonic()
    server, started = control.start(LOCAL, settings.local_port, settings.local_idle_hours, settings.local_aws_delays)
    if started:
        print(f"+ {'local.start':<16} {server.endpoint}  {time.monotonic() - began:.2f} s", file=sys.stderr)
    return server


# --- The eight steps --------------------------------------------------------------------------------------------------


@task(help=_help("function_handler", "function_runtime", "function_architecture"))
def zip_code(
    c: Context,
    function_handler: str | None = None,
    function_runtime: str | None = None,
    function_architecture: str | None = None,
) -> None:
    """Zip lambda_src/ into build/function.zip: same sources, same bytes."""
    given = locals()
    from pipeline import steps

    with _step("zip-code") as tell:
        tell(steps.zip_code(_settings(given), ROOT, dry=bool(c.config.run.dry))[0])


@task(
    help=_help(
        "table_name",
        "table_key",
        "table_sort_key",
        "table_billing_mode",
        "table_read_capacity_units",
        "table_write_capacity_units",
        "stream_view_type",
        adopt=ADOPT,
        verbose=VERBOSE,
    )
)
def create_table(
    c: Context,
    table_name: str | None = None,
    table_key: str | None = None,
    table_sort_key: str | None = None,
    table_billing_mode: str | None = None,
    table_read_capacity_units: str | None = None,
    table_write_capacity_units: str | None = None,
    stream_view_type: str | None = None,
    adopt: bool = False,
    verbose: bool = False,
) -> None:
    """Create the table with its stream on, and wait until it is active."""
    given = locals()
    with _step("create-table") as tell:
        _create_table(_begin(given), tell)


@task(help=_help("role_name", adopt=ADOPT, verbose=VERBOSE))
def create_role(c: Context, role_name: str | None = None, adopt: bool = False, verbose: bool = False) -> None:
    """Create the role that the function runs as, from policies/trust-policy.json."""
    given = locals()
    with _step("create-role") as tell:
        _create_role(_begin(given), tell)


@task(help=_help("role_name", "policy_name", "table_name", "function_name", adopt=ADOPT, verbose=VERBOSE))
def put_policy(
    c: Context,
    role_name: str | None = None,
    policy_name: str | None = None,
    table_name: str | None = None,
    function_name: str | None = None,
    adopt: bool = False,
    verbose: bool = False,
) -> None:
    """Give the role its inline policy, from policies/execution-policy.json."""
    given = locals()
    from pipeline import steps

    with _step("put-policy") as tell:
        run = _begin(given)
        steps.existing_role(run)
        tell(steps.put_policy(run))


@task(
    help=_help(
        "function_name",
        "role_name",
        "function_handler",
        "function_runtime",
        "function_memory_size",
        "function_timeout",
        "function_environment",
        "function_architecture",
        "log_retention_in_days",
        adopt=ADOPT,
        verbose=VERBOSE,
    )
)
def create_function(
    c: Context,
    function_name: str | None = None,
    role_name: str | None = None,
    function_handler: str | None = None,
    function_runtime: str | None = None,
    function_memory_size: str | None = None,
    function_timeout: str | None = None,
    function_environment: str | None = None,
    function_architecture: str | None = None,
    log_retention_in_days: str | None = None,
    adopt: bool = False,
    verbose: bool = False,
) -> None:
    """Create the function from lambda_src/, with its log group, and wait until it is active."""
    given = locals()
    from pipeline import steps

    with _step("create-function") as tell:
        run = _begin(given)
        _, code = steps.zip_code(run.settings, ROOT, dry=run.dry)
        _create_function(run, steps.existing_role(run)["Arn"], code, tell)


@task(
    help=_help(
        "table_name",
        "function_name",
        "starting_position",
        "batch_size",
        "maximum_batching_window_in_seconds",
        "maximum_retry_attempts",
        "maximum_record_age_in_seconds",
        "bisect_batch_on_function_error",
        "function_response_types",
        "parallelization_factor",
        "filter_criteria",
        verbose=VERBOSE,
    )
)
def map_stream(
    c: Context,
    table_name: str | None = None,
    function_name: str | None = None,
    starting_position: str | None = None,
    batch_size: str | None = None,
    maximum_batching_window_in_seconds: str | None = None,
    maximum_retry_attempts: str | None = None,
    maximum_record_age_in_seconds: str | None = None,
    bisect_batch_on_function_error: str | None = None,
    function_response_types: str | None = None,
    parallelization_factor: str | None = None,
    filter_criteria: str | None = None,
    verbose: bool = False,
) -> None:
    """Map the table's stream to the function, and wait until the mapping is enabled."""
    given = locals()
    from pipeline import steps

    with _step("map-stream") as tell:
        run = _begin(given)
        stream_arn = steps.stream_of(steps.existing_table(run))
        # A mapping is its function's: only of a function of ours it is changed.
        owned = steps.existing_function(run)["Tags"]
        check_owner(f"function {run.settings.function_name}", owned, run.settings.pipeline_name)
        _map_stream(run, stream_arn, tell)


@task(
    help=_help(
        "table_name",
        item='The item, as JSON: {"name": "test3"} or {"name": {"S": "test3"}}.',
        file="A file with one such item a line; -: standard input.",
        verbose=VERBOSE,
    )
)
def put_item(
    c: Context,
    item: str | None = None,
    file: str | None = None,
    table_name: str | None = None,
    verbose: bool = False,
) -> None:
    """Put an item into the table, or many from a file or from standard input."""
    given = locals()
    from pipeline import items, steps

    with _step("put-item") as tell:
        lines = _item_lines(item, file)
        run = _begin(given)
        found = steps.existing_table(run)
        parsed = [(where, items.parse(text, where)) for where, text in lines]
        for where, each in parsed:
            items.check(each, found, where)
        tell(items.put(run.aws("dynamodb"), found, [each for _, each in parsed]))


def _item_lines(item: str | None, file: str | None) -> Iterable[tuple[str, str]]:
    """Each item's text, with the name it has in errors."""
    if item and file:
        raise Refused("--item and --file: give one of them")
    if item:
        return [("--item", item)]
    try:
        if file and file != "-":
            text, source = Path(file).read_text(encoding="utf-8"), file
        elif file or not sys.stdin.isatty():
            text, source = sys.stdin.read(), "standard input"
        else:
            raise Refused(
                'no item: give --item \'{"name": "test3"}\', --file FILE, or one item a line on standard input'
            )
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"--file: {file!r} cannot be read: {error}") from None
    lines = [(f"{source} line {number}", line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise Refused(f"{source} holds no item; one a line is wanted")
    return lines


@task(
    help=_help(
        "function_name",
        since="How far back: 90s, 15m, 2h, 1d, or a time such as 2026-01-31T08:00:00Z.",
        filter="Only lines that match this CloudWatch Logs filter pattern.",
        request_id="Only the invocation of this request id.",
        last="The newest so many invocations; 0: all.",
        timeout="Seconds to wait for a log group that is not there yet.",
        verbose=VERBOSE,
    )
)
def fetch_logs(
    c: Context,
    since: str = "1h",
    filter: str = "",  # noqa: A002 - the flag's name
    request_id: str = "",
    last: str = "10",
    timeout: str = "30",
    function_name: str | None = None,
    verbose: bool = False,
) -> None:
    """Show what the function logged: its newest invocations, whole, across log streams."""
    given = locals()
    from pipeline import allowed, logs, wanted

    with _step("fetch-logs"):
        since_ms = _parsed("--since", since, partial(allowed.moment, now=time.time()))
        seconds = _parsed("--timeout", timeout, allowed.number(0, 3600))
        newest = _parsed("--last", last, allowed.number(0, 1_000_000))
        run = _begin(given)
        group = wanted.log_group_name(run.settings)
        logs.wait_for_group(run.aws("logs"), group, seconds)
        events = logs.fetch(run.aws("logs"), group, since_ms=since_ms, pattern=filter, request_id=request_id)
        for invocation in logs.invocations(events)[-newest:]:
            print("\n".join(invocation.lines), flush=True)


def _parsed(flag: str, value: str, parse: Callable[[str], int]) -> int:
    """A flag's value, or Refused with what is allowed."""
    try:
        return parse(value)
    except ValueError as error:
        raise Refused(f"{flag}: {value!r} is not allowed; allowed: {error}") from None


# --- The chains -------------------------------------------------------------------------------------------------------


@task(help={"adopt": ADOPT, "verbose": VERBOSE})
def deploy(c: Context, adopt: bool = False, verbose: bool = False) -> None:
    """Build everything, or change what is not as the settings say: a second run changes nothing."""
    given = locals()
    from pipeline import steps, table

    with _step("deploy"):
        run = _begin(given)
    # What takes AWS time is started first and waited for last: the table is made while the role spreads.
    with _step("create-table") as tell_table:
        made = steps.create_table(run)
    with _step("create-role") as tell:
        role_arn = _create_role(run, tell)
    with _step("put-policy") as tell:
        tell(steps.put_policy(run))
    with _step("zip-code") as tell:
        zipped, code = steps.zip_code(run.settings, ROOT, dry=run.dry)
        tell(zipped)
    with _step("create-function") as tell:
        _create_function(run, role_arn, code, tell)
    with _step("create-table"):
        if made.pending:
            table.wait(run.aws("dynamodb"), run.settings.table_name)
        tell_table(made)
    with _step("map-stream") as tell:
        _map_stream(run, made.answer["LatestStreamArn"], tell)


@task(help=_help("smoke_timeout", "smoke_item", verbose=VERBOSE))
def smoke(c: Context, smoke_timeout: str | None = None, smoke_item: str | None = None, verbose: bool = False) -> None:
    """Prove it: put an item of its own, see it in the function's log, remove it."""
    given = locals()
    import json

    from pipeline import items, steps
    from pipeline import smoke as proof

    with _step("smoke") as tell:
        run = _begin(given)
        if run.dry:
            raise Refused("a proof cannot be planned; run it without --dry")
        extra = items.parse(json.dumps(run.settings.smoke_item), "SMOKE_ITEM") if run.settings.smoke_item else {}
        proved = proof.prove(run.aws, steps.deployed(run), extra, run.settings.smoke_timeout)
        tell(Change(f"function {run.settings.function_name}", "unchanged", note=proved.text))
        print(f"  record      {proved.line}\n  request id  {proved.request_id}")


@task(help={"verbose": VERBOSE})
def clean(c: Context, verbose: bool = False) -> None:
    """Remove everything, and ask AWS whether anything is left."""
    given = locals()
    from pipeline import steps

    with _step("clean") as tell:
        run = _begin(given)
        for gone in steps.clean(run):
            if gone.did != "absent":
                tell(gone)
        if run.dry:
            return
        if left := steps.left_over(run):
            raise Refused(f"still there after deletion: {', '.join(left)}; run it again")
        tell(Change(f"pipeline {run.settings.pipeline_name}", "absent", note="nothing is left"))


def _create_table(run: Run, tell: Callable[[Change], None]) -> None:
    from pipeline import steps, table

    made = steps.create_table(run)
    if made.pending:
        table.wait(run.aws("dynamodb"), run.settings.table_name)
    tell(made)


def _create_role(run: Run, tell: Callable[[Change], None]) -> str:
    from pipeline import steps

    made = steps.create_role(run)
    tell(made)
    return str(made.answer["Arn"])


def _create_function(run: Run, role_arn: str, code: bytes, tell: Callable[[Change], None]) -> None:
    from pipeline import function, steps

    tell(steps.create_log_group(run))
    made = steps.create_function(run, role_arn, code)
    if made.pending:
        function.wait(run.aws("lambda"), run.settings.function_name)
    tell(made)


def _map_stream(run: Run, stream_arn: str, tell: Callable[[Change], None]) -> None:
    from pipeline import mapping, steps

    made = steps.map_stream(run, stream_arn)
    if made.pending:
        mapping.wait(run.aws("lambda"), made.answer["UUID"])
    tell(made)


# --- The embedded AWS -------------------------------------------------------------------------------------------------


@task(name="start")
def local_start(c: Context) -> None:  # noqa: ARG001 - Invoke's first parameter
    """Start the embedded AWS if it does not run, and print its endpoint URL alone."""
    with _step("local.start"):
        print(_local_aws(_settings()).endpoint)


@task(name="stop")
def local_stop(c: Context) -> None:  # noqa: ARG001
    """End the embedded AWS; what was in it is gone."""
    from localaws import control

    with _step("local.stop") as tell:
        stopped = control.stop(LOCAL)
        what = f"embedded AWS at {stopped.endpoint}" if stopped else "embedded AWS"
        tell(Change(what, "deleted" if stopped else "absent", note="" if stopped else "it was not running"))


@task(name="status")
def local_status(c: Context) -> None:  # noqa: ARG001
    """Say whether the embedded AWS runs, and where; exit 1 when it does not."""
    from localaws import control

    with _step("local.status"):
        running = control.status(LOCAL)
        if not running:
            raise Refused("the embedded AWS is not running; start it with: invoke local.start")
        print(f"running at {running.endpoint}, process {running.pid}, log {LOCAL / 'server.log'}")


# --- For those who work on the project -------------------------------------------------------------------------------


@task(help={"runs": "How often each side is measured."})
def bench(c: Context, runs: str = "7") -> None:  # noqa: ARG001
    """Measure how long things take, side by side with the least that could do the same."""
    from pipeline import allowed

    with _step("bench"):
        number = _parsed("--runs", runs, allowed.number(1, 1000))
        subprocess.run([sys.executable, str(ROOT / "benchmarks" / "speed.py"), str(number)], check=True)


local = Collection("local", local_start, local_stop, local_status)
namespace = Collection(
    zip_code,
    create_table,
    create_role,
    put_policy,
    create_function,
    map_stream,
    put_item,
    fetch_logs,
    deploy,
    smoke,
    clean,
    bench,
    local,
)
