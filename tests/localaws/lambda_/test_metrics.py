"""A function's metrics in CloudWatch. Lambda developer guide, "Types of metrics for Lambda functions"."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.localaws.pipe import Pipe, build, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def pipe(client: Callable[[str], Any], tmp_path: Path) -> Callable[..., Pipe]:
    return lambda behavior="return None": build(client, tmp_path, behavior)


def figure(client: Callable[[str], Any], function: str, metric: str, statistic: str) -> float | None:
    now = datetime.now(timezone.utc)
    points = client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=1),
        Period=600,
        Statistics=[statistic],
    )["Datapoints"]
    return sum(point[statistic] for point in points) if points else None


def test_invocations_and_errors_are_counted(client: Callable[[str], Any], pipe: Callable[..., Pipe]) -> None:
    one = pipe('assert "bad" not in names')
    one.map(BatchSize=1, MaximumRetryAttempts=0)
    one.put("good", "bad", "fine")
    until(lambda: figure(client, one.function, "Invocations", "Sum") == 3)
    assert figure(client, one.function, "Errors", "Sum") == 1


def test_iterator_age_is_recorded(client: Callable[[str], Any], pipe: Callable[..., Pipe]) -> None:
    one = pipe()
    one.map()
    one.put("a")
    until(lambda: figure(client, one.function, "IteratorAge", "Maximum") is not None)
    assert 0 <= (figure(client, one.function, "IteratorAge", "Maximum") or -1) < 60_000


def test_function_that_never_ran_has_no_data_points(client: Callable[[str], Any], pipe: Callable[..., Pipe]) -> None:
    assert figure(client, pipe().function, "Invocations", "Sum") is None
