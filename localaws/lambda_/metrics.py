"""What Lambda tells CloudWatch of a function: one figure a metric and minute, as in the namespace AWS/Lambda.

Lambda developer guide, "Types of metrics for Lambda functions". Kept in moto's CloudWatch, which answers for it.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from moto.cloudwatch.models import MetricAggregatedDatum, cloudwatch_backends

from localaws import ACCOUNT_ID

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaFunction

_NAMESPACE = "AWS/Lambda"
_RETENTION = timedelta(hours=24)  # AWS keeps a minute's figure for 15 days

_lock = threading.Lock()
_latest: dict[tuple[str, str], MetricAggregatedDatum] = {}
_kept: deque[tuple[str, MetricAggregatedDatum]] = deque()


def count(function: LambdaFunction, name: str, value: float, unit: str = "Count") -> None:
    """Add one value to the metric's figure of this minute."""
    minute = datetime.now(timezone.utc).replace(second=0, microsecond=0, tzinfo=None)
    key = (f"{function.region}:{function.function_name}", name)
    with _lock:
        figure = _latest.get(key)
        if not figure or figure.timestamp != minute:
            figure = _latest[key] = _new(function, name, value, unit, minute)
        figure.min, figure.max = min(figure.min, value), max(figure.max, value)
        figure.sum += value
        figure.sample_count += 1


def _new(function: LambdaFunction, name: str, value: float, unit: str, minute: datetime) -> MetricAggregatedDatum:
    """A figure of its own, put where moto looks, and the oldest taken away from there."""
    dimensions = [{"Name": "FunctionName", "Value": function.function_name}]
    figure = MetricAggregatedDatum(_NAMESPACE, name, value, value, 0, 0, dimensions, minute, unit)
    cloudwatch_backends[ACCOUNT_ID][function.region].metric_data.append(figure)
    _kept.append((function.region, figure))
    while _kept[0][1].timestamp < minute - _RETENTION:
        region, old = _kept.popleft()
        cloudwatch_backends[ACCOUNT_ID][region].metric_data.remove(old)
    return figure
