"""Kill -9 in the midst of deploy, smoke and clean: both commands pick up. `invoke soak` strikes at every point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proofs import crash
from tests.forks import forking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.forks import Forks

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forking(tmp_path_factory.mktemp("crash") / "project") as started:
        yield started


def test_both_commands_pick_up_after_a_kill_at_a_few_of_the_points(forks: Forks) -> None:
    struck, there = crash.prove(forks, 5)
    assert 1 < struck <= 5
    assert there > 100
