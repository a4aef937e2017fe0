"""The common causes that keep records out of the function's log, each with its name, evidence, and a command to fix it.

This module only reads. It skips what the caller is not allowed to read.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

import filter_patterns

from . import external, log_reader, metrics, parameters, records, role_check, steps
from .deployment import Deployment
from .log_reader import Invocation
from .resources import function, mapping, role, table
from .resources.change import OWNER_TAG

_RECENT_SECONDS = 15 * 60
_RECORDS_READ, _INVOCATIONS_READ = 2000, 1000
# This many invocations in a minute, each after a record, mean that the function writes its own table.
_LOOP_INVOCATIONS = 10
# One failed invocation can be a transient fault. Two mean a broken function, if no other invocation succeeds.
_FAILED_INVOCATIONS = 2
_CODE = "correct lambda_src/, then: invoke deploy"
_HANDLER = f"check FUNCTION_HANDLER ({{0.function_handler}}); {_CODE}"
_TIMEOUT = "raise FUNCTION_TIMEOUT ({0.function_timeout} s), then: invoke create-function"
_MEMORY = "raise FUNCTION_MEMORY_SIZE ({0.function_memory_size} MB), then: invoke create-function"
# Patterns of what Lambda logs, with the cause and what to do.
_FAILURES = (
    (r"Unable to import module '(\S+)': No module named '\1'", "handler missing in the zip", _HANDLER),
    (r"HandlerNotFound|Handler '\S*' missing|Bad handler", "handler missing in the zip", _HANDLER),
    (r"Unable to import|ImportModuleError|UserCodeSyntaxError|Syntax error", "import fails", _CODE),
    (r"Task timed out after", "timeout", _TIMEOUT),
    (r"signal: killed|MemoryError|OutOfMemory", "out of memory", _MEMORY),
    ("", "handler fails", _CODE),
)


@dataclass(frozen=True)
class Cause:
    """A cause: its name, the evidence, and what to do. `certain` is false if the cause can be temporary."""

    name: str
    evidence: str
    fix: str
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence}\n  try: {self.fix}"


@dataclass(frozen=True)
class Parts:
    """The deployed resources, as the resource modules describe them. None for a missing resource.

    `mapping` is the one on the table's current stream.
    """

    table: dict[str, Any] | None
    function: dict[str, Any] | None
    role: dict[str, Any] | None
    mapping: dict[str, Any] | None


def look(d: Deployment) -> Parts:
    """Describe the pipeline's resources. The role is {} if it is ROLE_ARN, or if the caller cannot read it."""
    settings, client = d.settings, d.client
    if settings.table_arn:
        current: dict[str, Any] | None = external.describe_table(d)
    else:
        current = table.describe(client("dynamodb"), settings.table_name, tags=False)
    described = partial(role.describe, client("iam"), settings.role_name)
    current_role = {} if settings.role_arn else _if_readable(described, {})
    current_function = function.describe(client("lambda"), settings.function_name)
    stream = current["LatestStreamArn"] if current and current["StreamSpecification"]["StreamEnabled"] else ""
    current_mapping = mapping.describe(client("lambda"), settings.function_name, stream)
    return Parts(current, current_function, current_role, current_mapping)


def of_parts(d: Deployment, parts: Parts) -> Iterator[Cause]:
    """Yield the causes in the resources: one is missing, disabled, or in another place than the settings say."""
    settings, entry = d.settings, parts.mapping
    if not parts.table and not parts.function:
        yield _nothing_deployed(d, parts)
        return
    if not parts.table:
        yield Cause("no table", f"table {settings.table_name} does not exist", "invoke create-table map-stream")
    if not parts.function:
        yield Cause("no function", f"function {settings.function_name} does not exist", "invoke deploy")
    if parts.role is None:
        yield Cause("no role", f"role {settings.role_name} does not exist", "invoke create-role put-policy")
    if not parts.table or not parts.function:
        return
    if not parts.table["StreamSpecification"]["StreamEnabled"]:
        yield Cause("stream off", f"table {settings.table_name} has no stream", "invoke create-table map-stream")
    elif not entry:
        source = f"the stream of table {settings.table_name}, {parts.table['LatestStreamArn']}"
        mappings = mapping.of_function(d.client("lambda"), settings.function_name)
        old = [each for each in mappings if f":table/{settings.table_name}/" in each["EventSourceArn"]]
        if old:
            evidence = f"mapping {old[0]['UUID']} reads {old[0]['EventSourceArn']}, not {source}"
            yield Cause("mapping on an old stream", evidence, "invoke map-stream")
        else:
            evidence = f"function {settings.function_name} has no mapping on {source}"
            yield Cause("no mapping", evidence, "invoke map-stream")
    elif error := entry["FilterCriteriaError"]:
        fix = f"allow Lambda and yourself to use key {entry['KMSKeyArn']}, then: invoke map-stream"
        yield Cause("filter cannot be decrypted", f"{error.get('ErrorCode')}: {error.get('Message')}", fix)
    elif not entry["Enabled"]:
        evidence = f"mapping {entry['UUID']} is {entry['State']} ({entry['StateTransitionReason']})"
        fix = "invoke resume" if settings.mapping_enabled else "set MAPPING_ENABLED=true, then: invoke map-stream"
        yield Cause("mapping disabled", evidence, fix)
    yield from _of_function(d, parts.function)


def _nothing_deployed(d: Deployment, parts: Parts) -> Cause:
    settings = d.settings
    evidence = f"neither table {settings.table_name} nor function {settings.function_name} exists in region "
    evidence += f"{settings.aws_region} of account {d.caller_identity['Account']}"
    if parts.role and parts.role["Tags"].get(OWNER_TAG) == settings.pipeline_name:
        evidence += f", but role {settings.role_name} exists (roles are global)"
        return Cause("wrong region", evidence, "set AWS_REGION to the region of the pipeline, or: invoke deploy")
    return Cause("not deployed, or wrong region or account", evidence, "invoke deploy, or set AWS_REGION/AWS_PROFILE")


def _of_function(d: Deployment, current: Mapping[str, Any]) -> Iterator[Cause]:
    name = f"function {current['FunctionName']}"
    fix = "correct what AWS names, then: invoke create-function"
    for state, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
        if current[state] == "Failed":
            yield Cause("function failed", f"{state} of {name} is Failed: {current[reason]}", fix)
    if current["ReservedConcurrentExecutions"] == 0:
        fix = "raise or unset FUNCTION_RESERVED_CONCURRENT_EXECUTIONS, then: invoke create-function"
        yield Cause("function throttled", f"the reserved concurrency of {name} is 0, so it never runs", fix)
    group, expected = current["LoggingConfig"]["LogGroup"], parameters.log_group_name(d.settings)
    if group != expected:
        evidence = f"{name} logs to {group}, but the settings name {expected}"
        yield Cause("log group of another name", evidence, "invoke create-function, or: invoke adopt")


def find(d: Deployment, parts: Parts, counts: Callable[[Invocation], bool] = lambda _: True) -> Iterator[Cause]:
    """Yield the causes that apply, most basic first. `counts` selects the recent invocations to consider.

    Call it twice within seconds of a deploy, because AWS may not show the new policies yet.
    """
    blocking = False
    for cause in of_parts(d, parts):
        blocking = True
        yield cause
    if blocking or not parts.table or not parts.mapping:
        return
    recent = [each for each in _if_readable(partial(_recent, d), []) if each.ended]
    invocations = [each for each in recent if counts(each)][-_FAILED_INVOCATIONS:]
    broken = is_broken(invocations)
    if broken:
        yield from _of_blocked_shard(d, parts, recent)
        yield of_failure(d, parts, invocations[-1])
    yield from _of_role(d, parts)
    yield from _of_throttles(d)
    result = parts.mapping["LastProcessingResult"]
    if invocations and invocations[-1].failure:
        if not broken:
            yield replace(of_failure(d, parts, invocations[-1]), certain=False)
    elif result.startswith("PROBLEM"):
        evidence = f"LastProcessingResult of mapping {parts.mapping['UUID']} is {result}"
        yield Cause("mapping reports a problem", evidence, "invoke fetch-logs, then invoke map-stream", certain=False)
    yield from _of_records(d, parts, recent, idle=result.startswith("No records"))


def is_broken(invocations: list[Invocation]) -> bool:
    """Whether at least two invocations ended, all of them failed, and no earlier invocation is still running."""
    ended = [each for each in invocations if each.ended]
    running = [each for each in invocations if not each.ended]
    return (
        len(ended) >= _FAILED_INVOCATIONS
        and all(each.failure for each in ended)
        and all(each.started_ms >= ended[-1].started_ms for each in running)  # a retry, not another batch
    )


def of_failure(d: Deployment, parts: Parts, invocation: Invocation) -> Cause:
    """The cause of a failed invocation, as its log shows it."""
    text = f"{invocation.failure}\n{invocation.report}"
    name, fix = next((name, fix) for pattern, name, fix in _FAILURES if re.search(pattern, text))
    evidence = text.rstrip() if name == "out of memory" else invocation.failure
    if name == "import fails" and (error := function.runtime_error(parts.function or {})):
        # A compiled package is for the runtime that the settings name.
        evidence, fix = f"{evidence}\n{error}", f"as above, or set FUNCTION_RUNTIME or FUNCTION_ARCHITECTURE; or {fix}"
    return Cause(name, evidence, fix.format(d.settings))


def _recent(d: Deployment) -> list[Invocation]:
    """The newest invocations of the last minutes or, if there are none, at the end of the log."""
    logs, group = d.client("logs"), parameters.log_group_name(d.settings)
    since_ms = int((time.time() - _RECENT_SECONDS) * 1000)
    newest = log_reader.select(logs, group, since_ms=since_ms, last=_INVOCATIONS_READ)
    return list(newest) or log_reader.latest(logs, group)


def _of_blocked_shard(d: Deployment, parts: Parts, recent: list[Invocation]) -> Iterator[Cause]:
    """Yield the cause if Lambda retries a record until it expires, which blocks the records after it."""
    entry = parts.mapping or {}
    if entry["MaximumRetryAttempts"] != -1 or not is_broken(recent[-_FAILED_INVOCATIONS:]):
        return
    first = next(each for each in reversed(recent) if each is recent[0] or not each.failure)
    since = (first if first.failure else recent[recent.index(first) + 1]).started_ms / 1000
    # A batch begins when it is full, or when its window ends.
    oldest = int((since - entry["MaximumBatchingWindowInSeconds"] - 2) * 1000)
    record = _if_readable(lambda: next(records.select(d, entry["EventSourceArn"], since=oldest), None), None)
    which = f" (probably {records.name_of(record)})" if record else ""
    age = entry["MaximumRecordAgeInSeconds"]
    until = records.time_text(since + (age if age > 0 else records.RETENTION.total_seconds()))
    evidence = f"Lambda has retried a record{which} since {records.time_text(since)}, and will retry it until {until}"
    fix = "set MAXIMUM_RETRY_ATTEMPTS and ON_FAILURE, then: invoke map-stream; or " + _CODE
    yield Cause("a record blocks the shard", f"{evidence}:\n{recent[-1].failure}", fix)


def _of_role(d: Deployment, parts: Parts) -> Iterator[Cause]:
    role_arn = str((parts.function or {})["Role"])
    key_arn = external.table_key_arn(d, parts.table or {})
    documents = steps.role_documents(d, role_arn, key_arn, write=False)
    check = partial(role_check.missing, d.client("iam"), role_arn, d.settings.aws_region, documents)
    problem, statements, _ = _if_readable(check, ("", [], []))
    fix = "invoke create-role put-policy" if not d.settings.role_arn else "ask the owner of ROLE_ARN to change the role"
    if problem:
        yield Cause("role cannot be assumed by Lambda", problem.rstrip(), fix)
    for prefixes, name in ((("dynamodb", "kms"), "role cannot read the stream"), ("logs", "role cannot write logs")):
        lacking = [each for each in statements if any(action.startswith(prefixes) for action in each["Action"])]
        if lacking:
            listed = "; ".join(f"{', '.join(each['Action'])} on {', '.join(each['Resource'])}" for each in lacking)
            yield Cause(name, f"the policies of role {role_arn} do not allow {listed}", fix)


def _of_throttles(d: Deployment) -> Iterator[Cause]:
    points = _if_readable(lambda: metrics.datapoints(d, "Throttles", "Sum"), [])
    if count := sum(point["Sum"] for point in points):
        evidence = f"throttled invocations in the last {metrics.MINUTES} minutes: {count:.0f}"
        fix = "raise FUNCTION_RESERVED_CONCURRENT_EXECUTIONS, or the account's quota of concurrent executions"
        yield Cause("function throttled", evidence, fix, certain=False)


def _of_records(d: Deployment, parts: Parts, recent: list[Invocation], *, idle: bool) -> Iterator[Cause]:
    """Yield the causes that the stream's records show. `idle`: the mapping has not delivered any yet."""
    entry = parts.mapping or {}
    found = _if_readable(lambda: list(islice(records.select(d, entry["EventSourceArn"]), _RECORDS_READ)), [])
    patterns = [each["Pattern"] for each in entry["FilterCriteria"].get("Filters", ())]
    matching = list(filter(filter_patterns.any_of(patterns), found))
    if found and not matching:
        evidence = f"no record in the stream matches ({len(found)} checked); {records.name_of(found[-1])} differs in "
        evidence += ", ".join(unmatched(patterns, found[-1]))
        fix = "correct FILTER_CRITERIA, then: invoke map-stream"
        yield Cause("filter excludes the records", evidence, fix, certain=False)
    elif matching and idle and not recent:
        evidence = f"matching records in the stream: {len(matching)}; delivered by mapping {entry['UUID']}: none"
        if entry["StartingPosition"] == "LATEST":
            evidence += ". With LATEST, it skips records from before it starts to read, minutes after its creation"
            fix = "invoke replay, or set STARTING_POSITION=TRIM_HORIZON, then: invoke map-stream"
            yield Cause("records before LATEST", evidence, fix, certain=False)
        else:
            window = entry["MaximumBatchingWindowInSeconds"]
            evidence += f"; batching window: {window} s" if window else ""
            fix = "wait, because AWS may take minutes to start; then: invoke pause resume"
            yield Cause("readable but not delivered", evidence, fix, certain=False)
    runs = [each for each in recent if each.started_ms / 1000 > time.time() - 60]
    written = [each for each in found if each["dynamodb"]["ApproximateCreationDateTime"] > time.time() - 60]
    if min(len(runs), len(written)) >= _LOOP_INVOCATIONS and _may_write(d, parts):
        evidence = f"its role can write to the table; in the last minute, {len(written)} records caused {len(runs)} "
        evidence += "invocations"
        fix = "if no one else writes this often: invoke pause, then change what the function writes, or filter it"
        yield Cause("function may write its own table (a loop)", evidence, fix, certain=False)


def _may_write(d: Deployment, parts: Parts) -> bool:
    role_arn, arn = str((parts.function or {})["Role"]), str((parts.table or {})["TableArn"])
    document = {"write": parameters.allow(["dynamodb:PutItem"], arn)}
    check = partial(role_check.missing, d.client("iam"), role_arn, d.settings.aws_region, document)
    _, missing, unknown = _if_readable(check, ("", [], ["all"]))
    return not missing and not unknown


def unmatched(patterns: list[str], record: Mapping[str, Any]) -> list[str]:
    """The paths of the filter patterns, such as "dynamodb.NewImage.done", that a record does not match.

    Returns the paths of the pattern with the fewest mismatches; none if a pattern matches.
    """
    return min((list(_unmatched(json.loads(each), record, ())) for each in patterns), key=len, default=[])


def _unmatched(pattern: Mapping[str, Any], record: Mapping[str, Any], outer: tuple[str, ...]) -> Iterator[str]:
    for name, rules in pattern.items():
        if isinstance(rules, dict):
            yield from _unmatched(rules, record, (*outer, name))
            continue
        single: dict[str, Any] = {name: rules}
        for each in reversed(outer):
            single = {each: single}
        if not filter_patterns.compile_pattern(json.dumps(single))(record):
            yield ".".join((*outer, name))


def _if_readable(call: Callable[[], Any], otherwise: Any) -> Any:
    """Return the result of a call, or `otherwise` if the caller is not allowed to make it."""
    try:
        return call()
    except ClientError as error:
        if "Denied" not in error.response["Error"]["Code"]:
            raise
        return otherwise
