"""The command line, in the order of a pipeline's life. See `invoke --list` and `invoke --help TASK`.

Each task loads the settings, connects, runs one step and renders its events. Modules that are slow to import (boto3)
are imported by the tasks that need them, so that `invoke --list` and completion are fast.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from invoke import Collection, Context, Exit, ParseError, task

# Invoke disables bytecode caching, so each command would compile the project again. This restores Python's default.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from pipeline import terminal  # noqa: E402

if Path(sys.argv[0]).name in ("invoke", "inv", "__main__.py"):  # not in a test that imports this module
    terminal.prepare()
    # boto3 creates many permanent objects. Python would scan them in every garbage collection, and at exit.
    gc.set_threshold(20_000)
    atexit.register(gc.freeze)

import dev  # noqa: E402
from pipeline.events import Changed, Events, Started, changes  # noqa: E402
from pipeline.report import Report, confirm  # noqa: E402
from pipeline.resources.change import Change, UserError  # noqa: E402

if TYPE_CHECKING:
    from localaws.control import Server
    from pipeline.deployment import Deployment
    from pipeline.settings import Settings

Parsed = TypeVar("Parsed")
Words: TypeAlias = Sequence[str] | None  # the values of --set, which is repeatable

ROOT = Path(__file__).resolve().parent
LOCAL = ROOT / ".local"

YES = "Skip the confirmation that TARGET=aws asks for."
YES_TABLE = "Skip the confirmation before a write to another team's table (TABLE_ARN)."
COMMON = {
    "set": "Set NAME=VALUE for this run, such as BATCH_SIZE=50. Takes precedence over .env and the shell. Repeatable.",
    "json": "Print one JSON document (docs/json.md) on stdout, and the usual lines on stderr.",
    "verbose": "Log every AWS call and its duration on stderr.",
}
STEP = {**COMMON, "adopt": "Take over existing resources that do not have the pipeline's tag.", "yes": YES}
SELECT = {
    "since": "Select records since 90s, 15m, or 2h ago, or since a time such as 2026-01-31T08:00:00Z.",
    "until": "Select records until an age or a time, as in --since.",
    "key": 'Select records with this key: the value of the partition key, or JSON such as {"name": "test3"}.',
    "filter": "Select records that match this filter pattern, as in FILTER_CRITERIA.",
    "last": "Select this number of the newest records.",
    **COMMON,
}
LOCAL_TASK = {name: COMMON[name] for name in ("set", "json")}
# The clients of the previous task: `invoke deploy smoke` creates them once, as that takes most of a task's time.
_connected: dict[str, Any] = {}


@contextmanager
def _task(c: Context, name: str, json: bool) -> Iterator[Report]:
    """The report of one task. Turns errors into one message on stderr and exit code 1."""
    from botocore.exceptions import BotoCoreError, ClientError

    from localaws.control import ControlError
    from pipeline import errors

    live = terminal.is_interactive() and not json and not c.config.run.echo
    report = Report(name, as_json=json, dry_run=bool(c.config.run.dry), live=live, step=name)
    code = 1
    try:
        with terminal.interruptible():
            yield report
    except (UserError, ControlError) as error:
        message = f"{report.step}: {error}"
    except (ClientError, BotoCoreError) as error:
        message = errors.describe(report.step, error)
    except OSError as error:
        if not error.filename:
            raise  # not about a file, so not a user error
        message = f"{report.step}: {error.filename}: {error.strerror}"
    except KeyboardInterrupt:
        message, code = f"{report.step}: interrupted. {_in_time(report.summarize)}".rstrip(". "), 130
        terminal.ignore_interrupts()
    else:
        report.end()
        return
    if code == 1 and report.step not in (report.task, "zip-code"):  # in a chain, after the first step
        message += f"\n  {_in_time(report.summarize)}"
    report.end(message)
    raise Exit(message, code=code)


def _in_time(summarize: Callable[[], str]) -> str:
    """The summary of what exists now, if AWS responds within seconds."""
    summaries: list[str] = []
    thread = threading.Thread(target=lambda: summaries.append(summarize()), daemon=True)
    thread.start()
    thread.join(timeout=5)
    return summaries[0] if summaries else "AWS did not answer; run invoke status to see what exists"


def _settings(report: Report, overrides: Words) -> Settings:
    """Load and check the settings from `.env`, the shell, and `--set`."""
    from pipeline import parameters
    from pipeline import settings as declared

    env_file = declared.find_env_file(ROOT, os.environ)
    settings = declared.load(env_file, os.environ, declared.parse_overrides(overrides or ()))
    if not settings.aws_region:
        from pipeline import session

        settings = session.with_region(settings)
    parameters.check(settings)
    report.about = {"pipeline": settings.pipeline_name, "target": settings.target, "region": settings.aws_region}
    return settings


def _connect(c: Context, report: Report, overrides: Words, *, verbose: bool, adopt: bool = False) -> Deployment:
    """Create the deployment. Starts the local AWS if it is the target."""
    from pipeline import echo, session, teardown
    from pipeline.deployment import Deployment

    settings = _settings(report, overrides)
    endpoint = _start_local_aws(settings, report.task).endpoint if settings.target == "local" else None
    print_command = echo.printer(ROOT / "build", sys.stderr.write) if c.config.run.echo else None
    key = (settings, endpoint, verbose)
    if key != _connected.get("key"):
        client = session.connect(settings, endpoint, dry_run=report.dry_run, verbose=verbose, echo=print_command)
        _connected.update(key=key, client=client)
    deployment = Deployment(settings, _connected["client"], ROOT, dry_run=report.dry_run, adopt=adopt)
    report.summarize = partial(teardown.summarize_remaining, deployment)
    if settings.target == "aws":
        caller = deployment.caller_identity  # raises for the wrong account, before any other call
        where = f" at {settings.aws_endpoint_url}" if settings.aws_endpoint_url else ""
        print(f"account {caller['Account']}, region {settings.aws_region}{where}, as {caller['Arn']}", file=sys.stderr)
    return deployment


def _run_step(c: Context, name: str, overrides: Words, *, verbose: bool, json: bool, yes: bool, adopt: bool) -> None:
    """Run the step with this name. With TARGET=aws, plan it first; a plan without changes is the result.

    Asks for confirmation if the step replaces something or changes more than it creates; `deploy` for any change.
    """
    from pipeline import operations, steps

    with _task(c, name, json) as report:
        deployment = _connect(c, report, overrides, verbose=verbose, adopt=adopt)
        module = operations if name in ("pause", "resume") else steps
        step: Callable[[Deployment], Events[Any]] = getattr(module, name.replace("-", "_"))
        if deployment.settings.target == "aws" and not deployment.dry_run:
            events = list(step(deployment.as_dry_run()))
            planned = changes(events)
            actions = Counter(change.action for change in planned if not change.resource.startswith("zip "))
            altered = actions["updated"] + actions["replaced"] + actions["deleted"]
            if not altered and not actions["created"]:
                report.render(e for e in events if not isinstance(e, Changed) or e.change.action == "unchanged")
                return
            if name == "deploy" or actions["replaced"] or altered > actions["created"]:
                confirm(name, planned, ("y", "yes"), assume_yes=yes)
        report.render(step(deployment))


def _start_local_aws(settings: Settings, task: str) -> Server:
    """Return the local AWS. Starts it if needed. Every task can turn the debugger on; three tasks can turn it off."""
    from localaws import control

    began = time.monotonic()
    server, started = control.start(LOCAL, settings.local_port, settings.local_idle_hours, settings.local_aws_delays)
    if started:
        print(f"+ {'local.start':<16} {server.endpoint}  {time.monotonic() - began:.2f} s", file=sys.stderr)
    if settings.local_debug_port or started or task in ("deploy", "watch", "local.start"):
        source = ROOT / "lambda_src"
        control.set_debugger(LOCAL, settings.local_debug_port, source, wait=settings.local_debug_wait)
    return server


# --- The eight steps --------------------------------------------------------------------------------------------------


@task(iterable=["set"], help=LOCAL_TASK)
def zip_code(c: Context, set: Words = None, json: bool = False) -> None:
    """Step 1: zip lambda_src/ into build/function.zip.

    The same sources always produce the same bytes.
    Settings: FUNCTION_HANDLER, FUNCTION_RUNTIME, FUNCTION_ARCHITECTURE, FUNCTION_LAYERS, CODE_BUCKET.
    """
    from pipeline import steps

    with _task(c, "zip-code", json) as report:
        report.render(steps.zip_code(_settings(report, set), ROOT, dry_run=report.dry_run))


@task(iterable=["set"], help=STEP)
def create_table(c: Context, set: Words = None, adopt: bool = False, yes: bool = False,
                 verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Step 2: create or update the table and its stream.

    Waits until the table is active.
    With TABLE_ARN, only checks the table and its stream.
    Settings: PIPELINE_NAME, TABLE_ARN, TABLE_NAME, TABLE_KEY, TABLE_SORT_KEY, TABLE_BILLING_MODE,
    TABLE_READ_CAPACITY_UNITS, TABLE_WRITE_CAPACITY_UNITS, STREAM_VIEW_TYPE, TABLE_DELETION_PROTECTION_ENABLED,
    TABLE_POINT_IN_TIME_RECOVERY_ENABLED, TABLE_OPTIONS, TAGS.
    """
    _run_step(c, "create-table", set, verbose=verbose, json=json, yes=yes, adopt=adopt)


@task(iterable=["set"], help=STEP)
def create_role(c: Context, set: Words = None, adopt: bool = False, yes: bool = False,
                verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Step 3: create or update the function's role.

    Its trust policy is policies/trust-policy.json.
    With an existing role (ROLE_ARN), only checks that the role has the permissions in policies/.
    Settings: PIPELINE_NAME, ROLE_ARN, ROLE_NAME, ROLE_PERMISSIONS_BOUNDARY, ROLE_MANAGED_POLICY_ARNS, ROLE_OPTIONS,
    TAGS; for the check, also those of put-policy.
    """
    _run_step(c, "create-role", set, verbose=verbose, json=json, yes=yes, adopt=adopt)


@task(iterable=["set"], help=STEP)
def put_policy(c: Context, set: Words = None, adopt: bool = False, yes: bool = False,
               verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Step 4: put the role's inline policies from policies/.

    Settings: PIPELINE_NAME, ROLE_ARN, ROLE_NAME, POLICY_NAME, ON_FAILURE, TABLE_OPTIONS for the key of the table, and
    for the tokens in the documents: AWS_REGION, TABLE_ARN, TABLE_NAME, FUNCTION_NAME, FUNCTION_OPTIONS.
    """
    _run_step(c, "put-policy", set, verbose=verbose, json=json, yes=yes, adopt=adopt)


@task(iterable=["set"], help=STEP)
def create_function(c: Context, set: Words = None, adopt: bool = False, yes: bool = False,
                    verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Step 5: create or update the function and its log group.

    Settings: PIPELINE_NAME, FUNCTION_NAME, ROLE_ARN, ROLE_NAME, FUNCTION_RUNTIME, FUNCTION_HANDLER,
    FUNCTION_MEMORY_SIZE, FUNCTION_TIMEOUT, FUNCTION_ENVIRONMENT, FUNCTION_ARCHITECTURE, FUNCTION_EPHEMERAL_STORAGE,
    FUNCTION_LAYERS, FUNCTION_TRACING, FUNCTION_LOG_FORMAT, FUNCTION_LOG_LEVEL,
    FUNCTION_RESERVED_CONCURRENT_EXECUTIONS, FUNCTION_OPTIONS, FUNCTION_ALIAS, FUNCTION_VERSIONS_KEPT, CODE_BUCKET,
    LOG_RETENTION_IN_DAYS, TAGS.
    """
    _run_step(c, "create-function", set, verbose=verbose, json=json, yes=yes, adopt=adopt)


@task(iterable=["set"], help={**COMMON, "yes": YES})
def map_stream(c: Context, set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:
    """Step 6: create or update the event source mapping.

    The mapping connects the stream to the function. Waits until the mapping is enabled.
    Settings: PIPELINE_NAME, TABLE_ARN, TABLE_NAME, STREAM_VIEW_TYPE, FUNCTION_NAME, FUNCTION_ALIAS,
    STARTING_POSITION, BATCH_SIZE, MAXIMUM_BATCHING_WINDOW_IN_SECONDS, MAXIMUM_RETRY_ATTEMPTS,
    MAXIMUM_RECORD_AGE_IN_SECONDS, BISECT_BATCH_ON_FUNCTION_ERROR, FUNCTION_RESPONSE_TYPES, PARALLELIZATION_FACTOR,
    FILTER_CRITERIA, TUMBLING_WINDOW_IN_SECONDS, ON_FAILURE, MAPPING_ENABLED, MAPPING_OPTIONS, TAGS.
    """
    _run_step(c, "map-stream", set, verbose=verbose, json=json, yes=yes, adopt=False)


@task(iterable=["set"], help={
    "item": 'The item as JSON: {"name": "test3"} or {"name": {"S": "test3"}}.',
    "file": "A file with one item per line. -: standard input.",
    "yes": YES_TABLE,
    **COMMON,
})  # fmt: skip
def put_item(c: Context, item: str = "", file: str = "",
             set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Step 7: put one or many items into the table.

    With TABLE_ARN, asks for confirmation. Settings: PIPELINE_NAME, TABLE_ARN, TABLE_NAME.
    """
    from pipeline import items, steps

    with _task(c, "put-item", json) as report:
        stored = items.Stored(_item_lines(item, file))
        deployment = _connect(c, report, set, verbose=verbose)
        if deployment.settings.table_arn and not deployment.dry_run:
            planned = changes(steps.put_item(deployment.as_dry_run(), stored))
            confirm("put-item", planned, ("y", "yes"), assume_yes=yes)
        report.render(steps.put_item(deployment, stored))


def _item_lines(item: str, file: str) -> Iterator[tuple[str, str]]:
    """Yield the text of each item, and its location for error messages."""
    if item and file:
        raise UserError("pass either --item or --file, not both")
    if item:
        yield "--item", item
        return
    if not file and sys.stdin.isatty():
        raise UserError('no item: pass --item \'{"name": "test3"}\', --file FILE, or one per line on standard input')
    source, number = "standard input" if file in ("", "-") else file, 0
    try:
        with nullcontext(sys.stdin) if file in ("", "-") else open(file, encoding="utf-8") as lines:  # noqa: PTH123
            for place, line in enumerate(lines, 1):
                if line.strip():
                    number += 1
                    yield f"{source} line {place}", line
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source!r} cannot be read: {error}; pass a text file in UTF-8") from None
    if not number:
        raise UserError(f"{source} contains no items; pass one JSON object per line")


@task(iterable=["set"], help={
    "since": "Show logs since 90s, 15m, 2h, or 1d ago, or since a time such as 2026-01-31T08:00:00Z.",
    "filter": "Show only lines that match this CloudWatch Logs filter pattern.",
    "request_id": "Show only the invocation with this request ID.",
    "last": "Number of invocations to show. 0: all.",
    "follow": "Show each new invocation when it ends, until Ctrl-C. With --json: one document per line.",
    "pretty": "Indent JSON lines.",
    "timeout": "Seconds to wait for a log group that does not exist yet. With --follow: no limit.",
    **COMMON,
})  # fmt: skip
def fetch_logs(c: Context, since: str = "1h", filter: str = "", request_id: str = "", last: str = "10",
               follow: bool = False, pretty: bool = False, timeout: str = "30",
               set: Words = None, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Step 8: show the newest invocations, or follow the log.

    Settings: PIPELINE_NAME, FUNCTION_NAME, FUNCTION_OPTIONS.
    """
    from pipeline import log_text, steps, validators

    with _task(c, "fetch-logs", json) as report:
        options: dict[str, Any] = {
            "since_ms": _parsed("--since", since, partial(validators.timestamp, now=time.time())),
            "last": _parsed("--last", last, partial(validators.integer, 0, 1_000_000)),
            "pattern": filter,
            "request_id": request_id,
            "show": partial(log_text.text, pretty=pretty, color=terminal.is_interactive()),
        }
        wait = _parsed("--timeout", timeout, partial(validators.integer, 0, 3600))
        report.streaming, report.live = json and follow, False
        deployment = _connect(c, report, set, verbose=verbose)
        if follow:
            report.render(steps.follow_logs(deployment, until=terminal.until_interrupted(), **options))
        else:
            report.render(steps.fetch_logs(deployment, timeout=wait, **options))


def _parsed(flag: str, value: str, parse: Callable[[str], Parsed]) -> Parsed:
    """Parse the value of a flag. Raises UserError with the allowed values."""
    try:
        return parse(value)
    except ValueError as error:
        raise UserError(f"{flag}: {value!r} is not allowed; allowed: {error}") from None


@task(iterable=["set"], help=STEP)
def create_alarms(c: Context, set: Words = None, adopt: bool = False, yes: bool = False,
                  verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Create or update the alarms that notify ALARM_TOPIC_ARN.

    Without ALARM_TOPIC_ARN, deletes the alarms.
    An alarm costs about 0.10 USD a month: see CloudWatch pricing.
    Settings: PIPELINE_NAME, FUNCTION_NAME, ON_FAILURE, ALARM_TOPIC_ARN, ALARM_ITERATOR_AGE, ALARM_ERRORS,
    ALARM_THROTTLES, ALARM_NOTES, TAGS.
    """
    _run_step(c, "create-alarms", set, verbose=verbose, json=json, yes=yes, adopt=adopt)


# --- The chains -------------------------------------------------------------------------------------------------------


@task(iterable=["set"], help=STEP)
def deploy(c: Context, set: Words = None, adopt: bool = False, yes: bool = False,
           verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Run steps 1 to 6. A second run changes nothing."""
    _run_step(c, "deploy", set, verbose=verbose, json=json, yes=yes, adopt=adopt)


@task(iterable=["set"], help={
    "observe": "Write nothing, and find the next record that someone else causes.",
    "write": "Also write the item to another team's table (TABLE_ARN), after confirmation.",
    "yes": YES_TABLE,
    **COMMON,
})  # fmt: skip
def smoke(c: Context, observe: bool = False, write: bool = False,
          yes: bool = False, set: Words = None, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Test: write an item, find it in the log, delete it.

    Settings: PIPELINE_NAME, TABLE_ARN, TABLE_NAME, FUNCTION_NAME, FUNCTION_OPTIONS, ROLE_ARN, ROLE_NAME,
    SMOKE_TIMEOUT, SMOKE_ITEM.
    """
    from pipeline import smoke as smoke_test

    with _task(c, "smoke", json) as report:
        if observe and write:
            raise UserError("pass either --observe or --write, not both")
        deployment = _connect(c, report, set, verbose=verbose)
        table = deployment.settings.table_name
        if deployment.settings.table_arn and not observe:
            if not write:
                ways = "Pass --observe to find the next record without writing, or --write to put a test item"
                raise UserError(f"table {table} belongs to another team (TABLE_ARN). {ways}")
            confirm("smoke", [Change(f"item in table {table}", "created")], (table,), assume_yes=yes)
        report.render(smoke_test.run(deployment, observe=observe))


@task(iterable=["set"], help={
    "delete_data": "Delete the table even if it holds items.",
    "backup": "With --delete-data: back up the table first, and wait until the backup is available.",
    "keep_logs": "Keep the log group.",
    **STEP,
})  # fmt: skip
def clean(c: Context, delete_data: bool = False, backup: bool = False, keep_logs: bool = False, set: Words = None,
          adopt: bool = False, yes: bool = False, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Delete everything except a table that holds items."""
    from pipeline import teardown

    with _task(c, "clean", json) as report:
        if backup and not delete_data:
            raise UserError("--backup requires --delete-data, because clean keeps a table that holds items without it")
        deployment = _connect(c, report, set, verbose=verbose, adopt=adopt)
        options = {"delete_data": delete_data, "back_up": backup, "keep_logs": keep_logs}
        if not deployment.dry_run:
            planned = changes(teardown.clean(deployment.as_dry_run(), **options))  # raises for what it must not delete
            if deployment.settings.target == "aws":
                confirm("clean", planned, (deployment.settings.pipeline_name,), assume_yes=yes)
        report.render(teardown.clean(deployment, **options))


# --- Around them ------------------------------------------------------------------------------------------------------


@task(iterable=["set"], help={"smoke": "Run a smoke test after each save.", **COMMON, "yes": YES})
def watch(c: Context, smoke: bool = False,
          set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Deploy each save of code, policies or .env, and follow the log."""
    from pipeline import settings as declared
    from pipeline import watch as watching

    with _task(c, "watch", json) as report:
        report.streaming, report.live = json and not report.dry_run, False
        deployment = _connect(c, report, set, verbose=verbose)
        if smoke and deployment.settings.table_arn:
            raise UserError("--smoke is not allowed with TABLE_ARN: it would write to another team's table")
        env_file, load = declared.find_env_file(ROOT, os.environ) or ROOT / ".env", partial(_settings, report, set)
        options: dict[str, Any] = {"until": terminal.until_interrupted, "render": report.render, "prove": smoke}
        step = partial(watching.watch, env_file=env_file, load=load, **options)
        _render_confirmed(report, deployment, step, yes=yes)


@task(iterable=["set"], help={"check": "Exit with code 2 if a resource differs from the settings, for CI.", **COMMON})
def status(c: Context, check: bool = False, set: Words = None, verbose: bool = False, json: bool = False) -> None:
    """Show the state of every resource, and what differs."""
    from pipeline import status as pipeline_status

    with _task(c, "status", json) as report:
        result = pipeline_status.collect(_connect(c, report, set, verbose=verbose))
        report.result("\n".join(result.lines()), result.document())
    if check and result.drifted:
        differ = f"{len(result.drifted)} of {len(result.changes)} resources differ from the settings"
        raise Exit(f"status: {differ}; to update them, run: invoke deploy", code=2)


@task(iterable=["set"], help=COMMON)
def doctor(c: Context, set: Words = None, verbose: bool = False, json: bool = False) -> None:
    """Find the cause of a problem. Only reads."""
    from localaws.lambda_ import runtimes
    from pipeline import doctor as pipeline_doctor

    with _task(c, "doctor", json) as report:
        deployment = _connect(c, report, set, verbose=verbose)
        is_local = deployment.settings.target == "local"
        note = runtimes.missing_isolation(sys.executable, LOCAL) if is_local else ""
        report.render(pipeline_doctor.diagnose(deployment, note))


@task(iterable=["set"], help={"format": "text: a text drawing. mermaid: a Mermaid flowchart for Markdown.", **COMMON})
def graph(c: Context, format: str = "text", set: Words = None, verbose: bool = False, json: bool = False) -> None:
    """Draw the deployed pipeline with states and counts."""
    from pipeline import graph as pipeline_graph

    with _task(c, "graph", json) as report:
        if format not in ("text", "mermaid"):
            raise UserError(f"--format: {format!r} is not allowed; allowed: text or mermaid")
        report.render(pipeline_graph.draw(_connect(c, report, set, verbose=verbose), mermaid=format == "mermaid"))


@task(iterable=["set"], help={"write": "Write the settings and policies, and tag the resources.", **COMMON, "yes": YES})
def adopt(c: Context, write: bool = False, set: Words = None, yes: bool = False,
          verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Show what a deploy would change in existing resources."""
    from pipeline import adopt as adopting
    from pipeline import settings as declared

    with _task(c, "adopt", json) as report:
        deployment = _connect(c, report, set, verbose=verbose)
        env_file, overrides = declared.find_env_file(ROOT, os.environ), declared.parse_overrides(set or ())
        adoption = adopting.collect(
            deployment,
            env_file or ROOT / ".env",
            lambda texts: declared.load(env_file, os.environ, {**overrides, **texts}),
            lambda texts: declared.load(env_file, {}, texts),
        )
        if write and not report.dry_run:
            if deployment.settings.target == "aws":
                confirm("adopt", [change for change, _ in adoption.writes], ("y", "yes"), assume_yes=yes)
            report.render(adopting.write(adoption))
        else:
            report.dry_run = True  # shows every attribute on a separate line
            report.render(adopting.show(adoption))


@task(iterable=["set"], help={
    "format": "sh: a shell script. md: a Markdown page. py: Invoke tasks that need only boto3.",
    "task": "With --format py: print only this task, such as create-table.",
    "check": "Exit with code 1 if this file is out of date. .md: a page. .py: Invoke tasks. Others: a script.",
    "set": COMMON["set"],
})  # fmt: skip
def runbook(c: Context, format: str = "sh", task: str = "", check: str = "", set: Words = None) -> None:
    """Print the procedure as a script, a page, or Invoke tasks."""
    from pipeline import runbook as runbooks
    from pipeline.runbook import python

    with _task(c, "runbook", json=False) as report:
        kind = Path(check).suffix[1:] if check.endswith((".md", ".py")) else format
        write: Any = {"sh": runbooks.script, "md": runbooks.page, "py": partial(python.tasks, task=task)}.get(kind)
        if not write:
            raise UserError(f"--format: {format!r} is not allowed; allowed: sh, md or py")
        if task and kind != "py":
            raise UserError(f"--task: {task!r} is not allowed with --format {kind}; pass it with --format py")
        text = write(_settings(report, set), ROOT)
        if check:
            command = f"invoke runbook --format {kind}" + (f" --task {task}" if task else "")
            runbooks.compare(Path(check), text, command)
        report.result(f"{check} is up to date" if check else text.rstrip("\n"))


FOR = "Limit the policy to deploy, smoke, status, clean, or operate (day two). Repeatable, or comma-separated."


@task(iterable=["for_", "set"], help={"for": FOR, **LOCAL_TASK})
def permissions(c: Context, for_: Words = None, set: Words = None, json: bool = False) -> None:
    """Print the IAM policy that you need to run the tasks."""
    from json import dumps
    from tempfile import TemporaryDirectory

    from localaws import rehearsal
    from pipeline import permissions, session, validators

    with _task(c, "permissions", json) as report, TemporaryDirectory(prefix="permissions-") as folder:
        parse = partial(validators.string_list, "|".join(permissions.GROUPS), ", ".join(permissions.GROUPS))
        groups = _parsed("--for", ",".join(for_ or permissions.GROUPS), parse)
        settings, place = replace(_settings(report, set), function_environment={}), Path(folder)
        account = settings.aws_account_id or settings.role_arn.partition("::")[2][:12]
        if settings.target == "aws" and not account:
            raise UserError("AWS_ACCOUNT_ID is empty; set it, because the policy names resources by account")
        settings = replace(settings, target="local")
        steps = partial(permissions.rehearse, groups, settings, ROOT, place, rehearsal.leave_note)
        policy = rehearsal.record(
            place,
            lambda endpoint, access_key: session.connect(settings, endpoint, access_key=access_key),
            lambda *clients: report.render(steps(*clients)),
            account=account,
            existing=f"{settings} arn:aws:s3:::{settings.code_bucket}",
        )
        report.result(dumps(policy, indent=2), policy)


# --- Day two ----------------------------------------------------------------------------------------------------------


@task(iterable=["set"], help={**COMMON, "yes": YES})
def pause(c: Context, set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:
    """Day two: disable the mapping. It keeps its position.

    Prints the time before which you must resume it.
    Settings: PIPELINE_NAME, TABLE_NAME, TABLE_ARN, FUNCTION_NAME, MAPPING_ENABLED.
    """
    _run_step(c, "pause", set, verbose=verbose, json=json, yes=yes, adopt=False)


@task(iterable=["set"], help={**COMMON, "yes": YES})
def resume(c: Context, set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:
    """Day two: enable the mapping again.

    Settings: PIPELINE_NAME, TABLE_NAME, TABLE_ARN, FUNCTION_NAME.
    """
    _run_step(c, "resume", set, verbose=verbose, json=json, yes=yes, adopt=False)


def _selection(since: str, until: str, key: str, filter: str, last: str) -> dict[str, Any]:
    from pipeline import validators

    past = partial(validators.timestamp, now=time.time())
    since_ms = _parsed("--since", since, past) if since else 0
    until_ms = _parsed("--until", until, past) if until else 0
    if until_ms and since_ms > until_ms:
        raise UserError(f"--until: {until!r} is before --since {since!r}; choose a later time")
    count = _parsed("--last", last, partial(validators.integer, 1, 1_000_000)) if last else 0
    return {"since": since_ms, "until": until_ms, "key": key, "pattern": filter, "last": count}


@task(iterable=["set"], help={"to": "The version to run. Default: the previous version.", **COMMON, "yes": YES})
def rollback(c: Context, to: str = "",
             set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Day two: point FUNCTION_ALIAS at the previous version.

    Settings: PIPELINE_NAME, FUNCTION_NAME, FUNCTION_ALIAS.
    """
    from pipeline import operations

    with _task(c, "rollback", json) as report:
        step = partial(operations.rollback, version=to)
        _render_confirmed(report, _connect(c, report, set, verbose=verbose), step, yes=yes)


@task(iterable=["set"], help=SELECT)
def records(c: Context, since: str = "", until: str = "", key: str = "", filter: str = "", last: str = "",
            set: Words = None, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Day two: show the records in the stream.

    Does not affect the mapping. Reads every shard from its oldest record.
    Settings: PIPELINE_NAME, TABLE_NAME, TABLE_ARN, STREAM_VIEW_TYPE.
    """
    from pipeline import records as stream_records

    with _task(c, "records", json) as report:
        selection = _selection(since, until, key, filter, last)
        report.render(stream_records.records(_connect(c, report, set, verbose=verbose), **selection))


@task(iterable=["set"], help={"to": "local: run the code in lambda_src/, on the local AWS.", **SELECT, "yes": YES})
def replay(c: Context, since: str = "", until: str = "", key: str = "", filter: str = "", last: str = "", to: str = "",
           set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Day two: send records in the stream to the function again.

    Sends them as the mapping does: in order, in batches, and filtered.
    With --to local, the settings of create-function apply too. Settings: PIPELINE_NAME, TABLE_NAME, TABLE_ARN,
    STREAM_VIEW_TYPE, FUNCTION_NAME.
    """
    from pipeline import replay as replays

    with _task(c, "replay", json) as report:
        selection = _selection(since, until, key, filter, last)
        if to not in ("", "local"):
            raise UserError(f"--to: {to!r} is not allowed; allowed: local")
        on_local = (*(set or ()), "TARGET=local", "TABLE_ARN=", "ROLE_ARN=")
        local = _connect(c, report, on_local, verbose=verbose) if to else None
        deployment = _connect(c, report, set, verbose=verbose)
        _render_confirmed(report, deployment, partial(replays.replay, to=local, **selection), yes=yes or bool(to))


@task(iterable=["set"], help={"skip_superseded": "Skip records whose items have changed since.", **COMMON, "yes": YES})
def redrive(c: Context, skip_superseded: bool = False,
            set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Day two: send failed records to the function again.

    Finds the records through the messages in the ON_FAILURE queue or bucket, and deletes handled messages.
    Settings: PIPELINE_NAME, TABLE_NAME, TABLE_ARN, FUNCTION_NAME, FUNCTION_TIMEOUT, ON_FAILURE.
    """
    from pipeline import replay as replays

    with _task(c, "redrive", json) as report:
        step = partial(replays.redrive, skip_superseded=skip_superseded)
        _render_confirmed(report, _connect(c, report, set, verbose=verbose), step, yes=yes)


def _render_confirmed(report: Report, d: Deployment, step: Callable[[Deployment], Events[None]], *, yes: bool) -> None:
    """Run a step. With TARGET=aws, first show what it will do and ask for confirmation."""
    if d.settings.target == "aws" and not d.dry_run and not yes:
        report.render(step(d.as_dry_run()))
        confirm(report.task, [], ("y", "yes"), assume_yes=False)
    report.render(step(d))


@task(iterable=["set"], help={
    "items": "Number of items to write, and then to delete.",
    "rate": "Number of items to write per second. 0: as fast as possible.",
    "connections": "Number of connections to write over.",
    "yes": YES,
    **COMMON,
})  # fmt: skip
def load(c: Context, items: str = "1000", rate: str = "0", connections: str = "10",
         set: Words = None, yes: bool = False, verbose: bool = False, json: bool = False) -> None:  # fmt: skip
    """Measure throughput and latency with many items.

    Settings: PIPELINE_NAME, TABLE_ARN, TABLE_NAME, FUNCTION_NAME, FUNCTION_OPTIONS, ROLE_ARN, ROLE_NAME,
    SMOKE_TIMEOUT, SMOKE_ITEM.
    """
    from pipeline import load as load_test
    from pipeline import validators

    with _task(c, "load", json) as report:
        connection_count = partial(validators.integer, 1, load_test.MAX_CONNECTIONS)
        options: dict[str, Any] = {
            "total": _parsed("--items", items, partial(validators.integer, 1, 10_000_000)),
            "rate": _parsed("--rate", rate, partial(validators.decimal, 0, 1_000_000)),
            "connections": _parsed("--connections", connections, connection_count),
        }
        deployment = _connect(c, report, set, verbose=verbose)
        if deployment.settings.table_arn:
            raise UserError("load never writes to another team's table; unset TABLE_ARN")
        if deployment.settings.target == "aws" and not report.dry_run:
            print(load_test.cost(options["total"]), file=sys.stderr)
            confirm("load", [], ("y", "yes"), assume_yes=yes)
        report.render(load_test.run(deployment, **options))


# --- The local AWS ----------------------------------------------------------------------------------------------------


@task(name="start", iterable=["set"], help=LOCAL_TASK)
def local_start(c: Context, set: Words = None, json: bool = False) -> None:
    """Start the local AWS and print its endpoint URL.

    Settings: LOCAL_PORT, LOCAL_IDLE_HOURS, LOCAL_AWS_DELAYS, LOCAL_DEBUG_PORT, LOCAL_DEBUG_WAIT.
    """
    with _task(c, "local.start", json) as report:
        server = _start_local_aws(_settings(report, set), report.task)
        report.result(server.endpoint, {"endpoint": server.endpoint, "pid": server.pid})


@task(name="stop", help={"json": COMMON["json"]})
def local_stop(c: Context, json: bool = False) -> None:
    """Stop the local AWS and delete its data."""
    from localaws import control

    with _task(c, "local.stop", json) as report:
        report.render([Started("local.stop")])
        stopped = control.stop(LOCAL)
        absent = Change("local AWS", "absent", note="it was not running")
        change = Change(f"local AWS at {stopped.endpoint}", "deleted") if stopped else absent
        report.render([Changed("local.stop", change)])


@task(name="status", help={"json": COMMON["json"]})
def local_status(c: Context, json: bool = False) -> None:
    """Show the local AWS. Exits with code 1 if it is not running."""
    from localaws import control

    with _task(c, "local.status", json) as report:
        if not (server := control.status(LOCAL)):
            raise UserError("the local AWS is not running; start it with: invoke local.start")
        log = str(LOCAL / "server.log")
        values = {"endpoint": server.endpoint, "pid": server.pid, "log": log}
        report.result(f"running at {server.endpoint}, process {server.pid}, log {log}", values)


local = Collection("local", local_start, local_stop, local_status)
STEPS = (zip_code, create_table, create_role, put_policy, create_function, map_stream, put_item, fetch_logs)
DAY_TWO = (pause, resume, rollback, records, replay, redrive, load)
AROUND = (create_alarms, deploy, smoke, clean, watch, status, doctor, graph, adopt, runbook, permissions)
namespace = Collection(*STEPS, *AROUND, *DAY_TWO, local, dev.namespace)


def _with_suggestion(error: ParseError) -> str:
    """Invoke's message about an unknown task or flag, with a similar name. Invoke has no hook for this."""
    import difflib

    message = str(error.args[0])
    unknown = re.fullmatch(r"No idea what '(.+)' is!", message)
    known = [*namespace.task_names, *(error.context.flags if error.context else ())]
    near = difflib.get_close_matches(unknown[1], known, n=1) if unknown else ()
    return f"{message} Did you mean {near[0]}?" if near else message


ParseError.__str__ = _with_suggestion  # type: ignore[method-assign, assignment]
