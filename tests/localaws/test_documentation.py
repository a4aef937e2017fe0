"""Each row of the tables in docs/local-aws.md names tests, and they exist."""

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


@pytest.mark.parametrize("heading", ["What matches AWS", "What differs"])
def test_each_row_names_a_test(heading: str) -> None:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert rows
    assert [row for row in rows if "`test_" not in row.split(" | ")[-1] and "/test_" not in row.split(" | ")[-1]] == []
