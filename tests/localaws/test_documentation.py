"""The tests that docs/local-aws.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "local-aws.md").read_text()
SOURCE = "".join(path.read_text() for path in HERE.rglob("test_*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:\w+/)?test_\w+(?:\.py)?)`", PAGE))))
def test_named_test_exists(name: str) -> None:
    assert (HERE / name).exists() if name.endswith(".py") else f"def {name}" in SOURCE
