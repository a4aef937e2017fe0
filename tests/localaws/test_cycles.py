"""What is deleted leaves nothing behind in the server: `invoke soak --only cycles` does it a thousand times."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.proofs import cycles

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.proof


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_deleted_pipelines_leave_no_thread_file_process_or_memory(tmp_path: Path) -> None:
    cycles.prove(tmp_path, 5)
