"""Deleted pipelines leave nothing in the server. `invoke soak --only cycles` deletes a thousand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from soak import cycles

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.proof


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_deleted_pipelines_leave_no_thread_file_process_or_memory(tmp_path: Path) -> None:
    cycles.prove(tmp_path, 5)
