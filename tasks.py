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
from dataclasses import asdict
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Collection, Context, Exit, task

# Invoke tells Python not to keep what it compiled (unless --write-pyc): every command would compile the project anew.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from pipeline import settings as declared  # noqa: E402
from pipeline.resources.change import Change, UserError, check_owner  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from localaws.control import Server
    from pipeline.report import Report
    from pipeline.settings import Settings
    from pipeline.steps import Run

ROOT = Path(__file__).resolve().parent
LOCAL = ROOT / ".local"

PROOFS = ("crash", "cycles", "faults", "records", "runbook")

ADOPT = "Take over what stands already and carries no tag of this pipeline."
JSON = "Print one JSON document (docs/json.md) on stdout, and the lines on stderr."
YES = "Do not ask: with TARGET=aws this is asked about otherwise."
COMMON = {"verbose": "Tell every call to AWS, and its time, on stderr.", "json": JSON}


def _help(*settings: str, **more: str) -> dict[str, str]:
    """Help texts: of settings, as they are declared, and of what is a task's own."""
    told = {each.field: f"{each.told} [{each.name}]" for each in declared.declarations()}
    return {name: told[name] for name in settings} | more


@contextmanager
def _task(name: str, given: Mapping[str, Any]) -> Iterator[Report]:
    """One task's report; what goes wrong in it ends here, as one message on stderr and exit code 1."""
    from botocore.exceptions import BotoCoreError, ClientError

    from localaws.control import ControlError
    from pipeline.failure import failure
    from pipeline.report import Report

    report = Report(name, as_json=given.get("json", False), planned=bool(given["c"].config.run.dry), now=name)
    try:
        yield report
    except (UserError, ControlError, declared.SettingsError) as error:
        report.end(message := f"{report.now}: {error}")
        raise Exit(message) from error
    except (ClientError, BotoCoreError) as error:
        report.end(message := failure(report.now, error))
        raise Exit(message) from error
    except OSError as error:
        if not error.filename:
            raise  # not about a file: nothing that a person could mend
        report.end(message := f"{report.now}: {error.filename}: {error.strerror}")
        raise Exit(message) from error
    except KeyboardInterrupt:
        report.end(message := f"{report.now}: interrupted{report.standing()}")
        raise Exit(message, code=130) from None
    report.end()


def _settings(given: Mapping[str, Any], report: Report) -> Settings:
    """Settings from `.env`, the shell, and those among a task's parameters that are settings."""
    names = {each.field for each in declared.declarations()}
    parameters = {name: value for name, value in given.items() if name in names}
    found = declared.load(declared.find_env_file(ROOT, os.environ), os.environ, parameters)
    report.about = {"pipeline": found.pipeline_name, "target": found.target, "region": found.aws_region}
    return found


def _begin(report: Report, given: Mapping[str, Any]) -> Run:
    """Settings and clients for a task, from its parameters; starts the embedded AWS if that is the target."""
    from pipeline import cleaning, echo, session, steps

    settings, dry = _settings(given, report), report.planned
    endpoint = _local_aws(settings).endpoint if settings.target == "local" else None
    told = echo.printer(ROOT / "build", sys.stderr.write) if given["c"].config.run.echo else None
    aws = session.connect(settings, endpoint, dry=dry, verbose=given.get("verbose", False), echo=told)
    run = steps.Run(settings, aws, ROOT, dry=dry, adopt=given.get("adopt", False))
    report.standing = partial(cleaning.standing, run)
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


@task(help=_help("function_handler", "function_runtime", "function_architecture", json=JSON))
def zip_code(
    c: Context,
    function_handler: str | None = None,
    function_runtime: str | None = None,
    function_architecture: str | None = None,
    json: bool = False,
) -> None:
    """Zip lambda_src/ into build/function.zip: same sources, same bytes."""
    given = locals()
    from pipeline import steps

    with _task("zip-code", given) as report, report.step("zip-code") as tell:
        tell(steps.zip_code(_settings(given, report), ROOT, dry=report.planned)[0])


@task(
    help=_help(
        "table_name",
        "table_key",
        "table_sort_key",
        "table_billing_mode",
        "table_read_capacity_units",
        "table_write_capacity_units",
        "stream_view_type",
        "table_deletion_protection_enabled",
        "table_point_in_time_recovery_enabled",
        "table_options",
        **COMMON,
        adopt=ADOPT,
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
    table_deletion_protection_enabled: str | None = None,
    table_point_in_time_recovery_enabled: str | None = None,
    table_options: str | None = None,
    adopt: bool = False,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """Create the table with its stream on, and wait until it is active."""
    given = locals()
    from pipeline import chains

    with _task("create-table", given) as report, report.step("create-table") as tell:
        chains.create_table(_begin(report, given), tell)


@task(
    help=_help(
        "role_name",
        "role_permissions_boundary",
        "role_managed_policy_arns",
        "role_options",
        **COMMON,
        adopt=ADOPT,
    )
)
def create_role(
    c: Context,
    role_name: str | None = None,
    role_permissions_boundary: str | None = None,
    role_managed_policy_arns: str | None = None,
    role_options: str | None = None,
    adopt: bool = False,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """Create the role that the function runs as, from policies/trust-policy.json."""
    given = locals()
    from pipeline import chains

    with _task("create-role", given) as report, report.step("create-role") as tell:
        chains.create_role(_begin(report, given), tell)


@task(
    help=_help("role_name", "policy_name", "table_name", "function_name", "on_failure", **COMMON, adopt=ADOPT),
)
def put_policy(
    c: Context,
    role_name: str | None = None,
    policy_name: str | None = None,
    table_name: str | None = None,
    function_name: str | None = None,
    on_failure: str | None = None,
    adopt: bool = False,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """Give the role its inline policies, from the documents in policies/."""
    given = locals()
    from pipeline import chains, steps

    with _task("put-policy", given) as report, report.step("put-policy") as tell:
        run = _begin(report, given)
        chains.put_policy(run, steps.existing_role(run)["Arn"], tell)


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
        "function_ephemeral_storage",
        "function_layers",
        "function_tracing",
        "function_log_format",
        "function_log_level",
        "function_reserved_concurrent_executions",
        "function_options",
        "log_retention_in_days",
        **COMMON,
        adopt=ADOPT,
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
    function_ephemeral_storage: str | None = None,
    function_layers: str | None = None,
    function_tracing: str | None = None,
    function_log_format: str | None = None,
    function_log_level: str | None = None,
    function_reserved_concurrent_executions: str | None = None,
    function_options: str | None = None,
    log_retention_in_days: str | None = None,
    adopt: bool = False,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """Create the function from lambda_src/, with its log group, and wait until it is active."""
    given = locals()
    from pipeline import chains, steps

    with _task("create-function", given) as report, report.step("create-function") as tell:
        run = _begin(report, given)
        _, code = steps.zip_code(run.settings, ROOT, dry=run.dry)
        chains.create_function(run, steps.existing_role(run)["Arn"], code, tell)


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
        "tumbling_window_in_seconds",
        "on_failure",
        "mapping_enabled",
        "mapping_options",
        **COMMON,
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
    tumbling_window_in_seconds: str | None = None,
    on_failure: str | None = None,
    mapping_enabled: str | None = None,
    mapping_options: str | None = None,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """Map the table's stream to the function, and wait until the mapping is enabled."""
    given = locals()
    from pipeline import chains, steps

    with _task("map-stream", given) as report, report.step("map-stream") as tell:
        run = _begin(report, given)
        stream_arn = steps.stream_of(steps.existing_table(run))
        # A mapping is its function's: only of a function of ours it is changed.
        owned = steps.existing_function(run)["Tags"]
        check_owner(f"function {run.settings.function_name}", owned, run.settings.pipeline_name)
        chains.map_stream(run, stream_arn, tell)


@task(
    help=_help(
        "table_name",
        item='The item, as JSON: {"name": "test3"} or {"name": {"S": "test3"}}.',
        file="A file with one such item a line; -: standard input.",
        **COMMON,
    )
)
def put_item(
    c: Context,
    item: str | None = None,
    file: str | None = None,
    table_name: str | None = None,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """Put an item into the table, or many from a file or from standard input."""
    given = locals()
    from pipeline import items, steps

    with _task("put-item", given) as report, report.step("put-item") as tell:
        lines = _item_lines(item, file)
        run = _begin(report, given)
        found = steps.existing_table(run)
        parsed = [(where, items.parse(text, where)) for where, text in lines]
        for where, each in parsed:
            items.check(each, found, where)
        tell(items.put(run.aws("dynamodb"), found, [each for _, each in parsed]))


def _item_lines(item: str | None, file: str | None) -> Iterable[tuple[str, str]]:
    """Each item's text, with the name it has in errors."""
    if item and file:
        raise UserError("--item and --file: give one of them")
    if item:
        return [("--item", item)]
    try:
        if file and file != "-":
            text, source = Path(file).read_text(encoding="utf-8"), file
        elif file or not sys.stdin.isatty():
            text, source = sys.stdin.read(), "standard input"
        else:
            raise UserError(
                'no item: give --item \'{"name": "test3"}\', --file FILE, or one item a line on standard input'
            )
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file: {file!r} cannot be read: {error}") from None
    lines = [(f"{source} line {number}", line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise UserError(f"{source} holds no item; one a line is wanted")
    return lines


@task(
    help=_help(
        "function_name",
        since="How far back: 90s, 15m, 2h, 1d, or a time such as 2026-01-31T08:00:00Z.",
        filter="Only lines that match this CloudWatch Logs filter pattern.",
        request_id="Only the invocation of this request id.",
        last="The newest so many invocations; 0: all.",
        timeout="Seconds to wait for a log group that is not there yet.",
        **COMMON,
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
    json: bool = False,
) -> None:
    """Show what the function logged: its newest invocations, whole, across log streams."""
    given = locals()
    from pipeline import allowed, logs, wanted

    with _task("fetch-logs", given) as report:
        since_ms = _parsed("--since", since, partial(allowed.moment, now=time.time()))
        seconds = _parsed("--timeout", timeout, allowed.number(0, 3600))
        newest = _parsed("--last", last, allowed.number(0, 1_000_000))
        run = _begin(report, given)
        group = wanted.log_group_name(run.settings)
        logs.wait(run.aws("logs"), group, seconds)
        events = logs.fetch(run.aws("logs"), group, since_ms=since_ms, pattern=filter, request_id=request_id)
        shown = logs.invocations(events)[-newest:]
        report.result(
            "\n".join(line for invocation in shown for line in invocation.lines),
            invocations=[asdict(invocation) for invocation in shown],
        )


def _parsed(flag: str, value: str, parse: Callable[[str], int]) -> int:
    """A flag's value, or UserError with what is allowed."""
    try:
        return parse(value)
    except ValueError as error:
        raise UserError(f"{flag}: {value!r} is not allowed; allowed: {error}") from None


# --- The chains -------------------------------------------------------------------------------------------------------


@task(help={"adopt": ADOPT, "yes": YES, **COMMON})
def deploy(c: Context, adopt: bool = False, yes: bool = False, verbose: bool = False, json: bool = False) -> None:
    """Build everything, or change what is not as the settings say: a second run changes nothing."""
    given = locals()
    from pipeline import chains, question

    with _task("deploy", given) as report:
        run = _begin(report, given)
        if run.settings.target == "aws" and not run.dry:
            question.ask(run, "deploy", chains.plan(run), ("y", "yes"), answered=yes)
        chains.deploy(run, report)


@task(help=_help("smoke_timeout", "smoke_item", **COMMON))
def smoke(
    c: Context,
    smoke_timeout: str | None = None,
    smoke_item: str | None = None,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """Prove it: put an item of its own, see it in the function's log, remove it."""
    given = locals()
    from pipeline import items, steps
    from pipeline import smoke as proof

    with _task("smoke", given) as report, report.step("smoke") as tell:
        run = _begin(report, given)
        if run.dry:
            raise UserError("a proof cannot be planned; run it without --dry")
        extra = items.parse(dumps(run.settings.smoke_item), "SMOKE_ITEM") if run.settings.smoke_item else {}
        proved = proof.prove(run.aws, steps.deployed(run), extra, run.settings.smoke_timeout)
        tell(Change(f"function {run.settings.function_name}", "unchanged", note=proved.text))
        report.result(f"  record      {proved.line}\n  request id  {proved.request_id}", **asdict(proved))


@task(
    help={
        "delete_data": "Delete the table also when it holds items.",
        "backup": "With --delete-data: back up the table first, and wait until that is done.",
        "keep_logs": "Keep the log group.",
        "yes": YES,
        **COMMON,
    }
)
def clean(
    c: Context,
    delete_data: bool = False,
    backup: bool = False,
    keep_logs: bool = False,
    yes: bool = False,
    verbose: bool = False,
    json: bool = False,
) -> None:
    """Remove everything but a table that holds items, and ask AWS whether anything is left."""
    given = locals()
    from pipeline import cleaning, question

    with _task("clean", given) as report, report.step("clean") as tell:
        if backup and not delete_data:
            raise UserError("--backup goes with --delete-data: without it a table that holds items is kept anyway")
        run = _begin(report, given)
        how = {"delete_data": delete_data, "backup_first": backup, "keep_logs": keep_logs}
        # What must not go is told before anything goes.
        changes: Iterable[Change] = list(cleaning.clean(run.planned(), **how))
        if not run.dry:
            if run.settings.target == "aws":
                question.ask(run, "clean", changes, (run.settings.pipeline_name,), answered=yes)
            changes = cleaning.clean(run, **how)
        kept = []
        for change in changes:
            if change.action != "absent":
                tell(change)
            if change.action in ("unchanged", "created"):
                kept.append(change.resource)
        if run.dry:
            return
        if left := cleaning.not_gone(run, kept):
            raise UserError(f"still there after deletion: {', '.join(left)}; run it again")
        note = f"nothing is left but {', '.join(kept)}" if kept else "nothing is left"
        tell(Change(f"pipeline {run.settings.pipeline_name}", "absent", note=note))


# --- Around them ------------------------------------------------------------------------------------------------------


@task(help={"check": "Exit 2 when anything is not as the settings say, for CI.", **COMMON})
def status(c: Context, check: bool = False, verbose: bool = False, json: bool = False) -> None:
    """Show every resource, its state, and what differs from the settings."""
    given = locals()
    from pipeline import status as standing

    with _task("status", given) as report:
        found = standing.look(_begin(report, given))
        report.result("\n".join(found.lines()), **found.document())
    if check and found.drifted:
        raise Exit(f"status: {len(found.drifted)} of {len(found.changes)} are not as the settings say", code=2)


@task(help={"format": "sh: a shell script that runs. md: a page for people."})
def runbook(c: Context, format: str = "sh") -> None:  # noqa: A002 - the flag's name
    """Write the whole procedure as AWS CLI commands; nothing is asked of the target."""
    given = locals()
    from tempfile import TemporaryDirectory

    from localaws import control
    from pipeline import recording, runbook_text

    with _task("runbook", given) as report, TemporaryDirectory() as folder:
        written = {"sh": runbook_text.script, "md": runbook_text.page}.get(format)
        if not written:
            raise UserError(f"--format: {format!r} is not allowed; allowed: sh or md")
        settings = _settings(given, report)
        aws, _ = control.start(Path(folder), 0, 1)
        try:
            report.result(written(settings, recording.record(settings, aws.endpoint, ROOT)).rstrip("\n"))
        finally:
            control.stop(Path(folder))


# --- The embedded AWS -------------------------------------------------------------------------------------------------


@task(name="start", help={"json": JSON})
def local_start(c: Context, json: bool = False) -> None:
    """Start the embedded AWS if it does not run, and print its endpoint URL alone."""
    given = locals()
    with _task("local.start", given) as report:
        server = _local_aws(_settings(given, report))
        report.result(server.endpoint, endpoint=server.endpoint, pid=server.pid)


@task(name="stop", help={"json": JSON})
def local_stop(c: Context, json: bool = False) -> None:
    """End the embedded AWS; what was in it is gone."""
    given = locals()
    from localaws import control

    with _task("local.stop", given) as report, report.step("local.stop") as tell:
        stopped = control.stop(LOCAL)
        what = f"embedded AWS at {stopped.endpoint}" if stopped else "embedded AWS"
        tell(Change(what, "deleted" if stopped else "absent", note="" if stopped else "it was not running"))


@task(name="status", help={"json": JSON})
def local_status(c: Context, json: bool = False) -> None:
    """Say whether the embedded AWS runs, and where; exit 1 when it does not."""
    given = locals()
    from localaws import control

    with _task("local.status", given) as report:
        running = control.status(LOCAL)
        if not running:
            raise UserError("the embedded AWS is not running; start it with: invoke local.start")
        log = LOCAL / "server.log"
        told = f"running at {running.endpoint}, process {running.pid}, log {log}"
        report.result(told, endpoint=running.endpoint, pid=running.pid, log=str(log))


# --- For those who work on the project -------------------------------------------------------------------------------


@task(help={"runs": "How often each side is measured.", "long": "Many records too, for a quarter of an hour."})
def bench(c: Context, runs: str = "7", long: bool = False) -> None:
    """Measure how long things take, side by side with the least that could do the same."""
    given = locals()
    from pipeline import allowed

    with _task("bench", given):
        number = _parsed("--runs", runs, allowed.number(1, 1000))
        for module in ("calls", "speed", "volume") if long else ("calls", "speed"):
            subprocess.run([sys.executable, "-m", f"benchmarks.{module}", str(number)], cwd=ROOT, check=True)


@task(
    help={
        "count": "How many points, cycles, seeds, records or settings of each; 0: as many as each has by itself.",
        "only": f"One of {', '.join(PROOFS)}.",
    }
)
def soak(c: Context, count: str = "0", only: str = "") -> None:
    """Prove at length what the tests prove in short: crashes, leaks, faults, records, policies, runbooks."""
    given = locals()
    from pipeline import allowed

    with _task("soak", given):
        number = _parsed("--count", count, allowed.number(0, 1_000_000))
        if only not in ("", *PROOFS):
            raise UserError(f"--only: {only!r} is not allowed; allowed: {', '.join(PROOFS)}")
        for proof in [only] if only else PROOFS:
            words = [sys.executable, "-m", f"soak.{proof}", *([str(number)] if number else [])]
            if subprocess.run(words, cwd=ROOT, check=False).returncode:
                raise UserError(f"{proof} is not proved; what it met stands above")


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
    runbook,
    clean,
    status,
    bench,
    soak,
    local,
)
