"""Random sequences of all calls that write items: each answer, the items and the records are those of a model.

`invoke dev.soak --only writes` tries 3,000 sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.local_aws import local_aws
from tests.localaws.conftest import clients
from tests.localaws.dynamodb import comparison

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.localaws.dynamodb.calls import Request

pytestmark = pytest.mark.proof


def test_no_record_is_lost_or_invented_by_any_call(
    tmp_path: Path, count: Callable[[int, int], int], record_figures: Callable[[str], None]
) -> None:
    sequences = count(60, 3000)
    sent = 0
    with local_aws(tmp_path) as aws:
        client = clients(aws.endpoint)
        tables = comparison.create_tables(client("dynamodb"))

        @settings(max_examples=sequences, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(comparison.requests, min_size=5, max_size=20))
        def compare(requests: list[Request]) -> None:
            nonlocal sent
            comparison.check(client, tables, requests)
            sent += len(requests)

        compare()
    record_figures(f"{sequences} sequences of {sent} requests: no answer, item or record differs from the model")
