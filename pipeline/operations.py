"""Operations on a deployed pipeline: pause and resume the mapping, and roll the alias back."""

from datetime import datetime, timedelta, timezone
from functools import partial

from . import metrics, parameters
from .deployment import Deployment
from .events import Changed, Events, Result, Started, finish
from .resources import alias, mapping
from .resources.change import Change, UserError, check_owner, retry
from .steps import existing


def pause(d: Deployment) -> Events[None]:
    """Disable the mapping and wait. Reports the time before which it must be enabled, or AWS trims unread records."""
    yield Started("pause")
    time, source = _oldest_unread(d)
    change = yield from _set_enabled(d, "pause", enabled=False)
    if change.action == "unchanged":
        yield Result("The mapping was already disabled. Records expire after 24 hours.", {"resume_before": None})
        return
    deadline = f"{time + timedelta(hours=24):%Y-%m-%dT%H:%M:%SZ}"
    text = f"Resume before {deadline}, 24 hours after {source}. AWS can then start to remove unread records."
    if d.settings.mapping_enabled:
        text += "\ndeploy and map-stream enable the mapping again, because MAPPING_ENABLED is true."
    yield Result(text, {"resume_before": deadline})


def resume(d: Deployment) -> Events[None]:
    """Enable the mapping and wait. It continues where it was disabled."""
    yield Started("resume")
    yield from _set_enabled(d, "resume", enabled=True)


def _set_enabled(d: Deployment, step: str, *, enabled: bool) -> Events[Change]:
    stream_arn, lambda_ = existing(d, "table")["LatestStreamArn"], d.client("lambda")
    check_owner(f"function {d.settings.function_name}", existing(d, "function")["Tags"], d.settings.pipeline_name)
    change = retry(lambda: mapping.set_enabled(lambda_, d.settings.function_name, stream_arn, enabled=enabled))
    state = "Enabled" if enabled else "Disabled"
    wait = partial(mapping.wait, lambda_, change.attributes["UUID"], (state,))
    yield from finish(step, change, f"to become {state}", wait)
    return change


def _oldest_unread(d: Deployment) -> tuple[datetime, str]:
    """A lower bound for the time of the oldest unread record, and its source.

    IteratorAge is the age of the last record of a batch when the function received it. Unread records are newer, even
    if the function has received none since, because it is throttled or its role cannot read the stream.
    """
    try:
        points = metrics.datapoints(d, "IteratorAge", "Maximum", minutes=24 * 60)
    except d.client("cloudwatch").exceptions.ClientError:
        points = []  # pausing does not require the permission to read metrics
    if not points:
        return datetime.now(timezone.utc), "the pause, because IteratorAge has no data from the last 24 hours"
    newest = max(points, key=lambda point: point["Timestamp"])
    time: datetime = newest["Timestamp"] - timedelta(milliseconds=newest["Maximum"])
    age, when = f"{newest['Maximum']:.0f} ms", f"{newest['Timestamp']:%Y-%m-%dT%H:%M:%SZ}"
    return time, f"the last record that the function received (IteratorAge was {age} at {when})"


def rollback(d: Deployment, *, version: str = "") -> Events[None]:
    """Point the alias at a published version, by default the previous one."""
    yield Started("rollback")
    name, live, lambda_ = d.settings.function_name, d.settings.function_alias, d.client("lambda")
    if not live:
        raise UserError("FUNCTION_ALIAS is empty, so no versions are published. Set it, as in FUNCTION_ALIAS=live")
    check_owner(f"function {name}", existing(d, "function")["Tags"], d.settings.pipeline_name)
    current = alias.existing(lambda_, parameters.alias(d.settings))
    published = {entry["Version"]: alias.summary(entry) for entry in alias.versions(lambda_, name)[1:]}
    previous = current["FunctionVersion"]
    chosen = version or max((each for each in published if int(each) < int(previous)), key=int, default="")
    known = f"allowed: a version of function {name}: {', '.join(published) or 'none'}"
    if not chosen:
        raise UserError(f"alias {live} is at version {previous}, and no earlier version exists; {known}")
    if chosen not in published:
        raise UserError(f"--to: {chosen!r} is not allowed; {known}")
    if chosen == previous and not current["RoutingConfig"]:
        raise UserError(f"alias {live} is already at version {chosen}; {known}")
    yield Changed("rollback", retry(lambda: alias.point_at(lambda_, parameters.alias(d.settings), chosen)))
    moved, was = "would move" if d.dry_run else "moved", published.get(previous, f"version {previous}")
    yield Result(f"Alias {live} {moved} from {was} to {published[chosen]}.", {"from": previous, "to": chosen})
