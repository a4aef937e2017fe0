"""A function's metrics in CloudWatch: one data point per metric and minute, in the namespace AWS/Lambda.

Lambda developer guide, "Types of metrics for Lambda functions". moto's CloudWatch stores them and answers for them.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from moto.cloudwatch.models import MetricAggregatedDatum, cloudwatch_backends

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaFunction

_NAMESPACE = "AWS/Lambda"
_RETENTION = timedelta(hours=24)  # on AWS, 15 days


class Metrics:
    """The metrics of all functions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = datetime.min  # noqa: DTZ901 - moto's times are naive
        self._this_minute: dict[tuple[str, str, str, str], MetricAggregatedDatum] = {}
        self._stored: deque[tuple[list[MetricAggregatedDatum], MetricAggregatedDatum]] = deque()

    def count(self, function: LambdaFunction, name: str, value: float, unit: str = "Count") -> None:
        """Add a value to the metric's data point of this minute."""
        minute = datetime.now(timezone.utc).replace(second=0, microsecond=0, tzinfo=None)
        key = (function.account_id, function.region, function.function_name, name)
        with self._lock:
            if minute != self._minute:
                self._minute, self._this_minute = minute, {}
            point = self._this_minute.get(key)
            if not point:
                point = self._this_minute[key] = self._new_point(function, name, value, unit)
            point.min, point.max = min(point.min, value), max(point.max, value)
            point.sum += value
            point.sample_count += 1

    def _new_point(self, function: LambdaFunction, name: str, value: float, unit: str) -> MetricAggregatedDatum:
        """Store a new data point where moto reads it, and delete the oldest ones."""
        dimensions = [{"Name": "FunctionName", "Value": function.function_name}]
        point = MetricAggregatedDatum(_NAMESPACE, name, value, value, 0, 0, dimensions, self._minute, unit)
        points: Any = cloudwatch_backends[function.account_id][function.region].metric_data
        points.append(point)
        self._stored.append((points, point))
        while self._stored[0][1].timestamp < self._minute - _RETENTION:
            its_points, old = self._stored.popleft()
            its_points.remove(old)
        return point
