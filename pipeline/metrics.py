"""CloudWatch metrics of the function. They arrive with a delay of a minute or more."""

from datetime import datetime, timedelta, timezone
from typing import Any

from .deployment import Deployment

MINUTES = 15


def datapoints(d: Deployment, metric: str, statistic: str, minutes: int = MINUTES) -> list[dict[str, Any]]:
    """The metric's data points of the last minutes, five minutes each, in any order.

    AWS aligns periods to the clock, so the result can contain one period more.
    CloudWatch API reference: GetMetricStatistics.
    """
    now = datetime.now(timezone.utc)
    points: list[dict[str, Any]] = d.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": "FunctionName", "Value": d.settings.function_name}],
        StartTime=now - timedelta(minutes=minutes),
        EndTime=now,
        Period=300,
        Statistics=[statistic],
    )["Datapoints"]
    return points
