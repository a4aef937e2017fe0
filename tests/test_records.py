"""Records through a function that does its worst: `invoke soak --only records` sends 10,000."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proofs import records

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.proof


def test_no_record_is_lost_or_invented_or_out_of_order_whatever_the_function_does(tmp_path: Path) -> None:
    with records.project_of(tmp_path, seed=1) as project:
        told, _ = records.prove(project, 300)
    assert told.times >= 299
    assert len(told.given_up) >= 1
