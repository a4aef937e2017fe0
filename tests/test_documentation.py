"""The documentation names what the code can say."""

from __future__ import annotations

import re

import pytest

from tests.harness.project import ROOT

SOURCES = ("causes.py", "doctor.py", "smoke.py")
NAMES = {
    name
    for source in SOURCES
    for name in re.findall(
        r"""Cause\(\s*"([^"]+)"|, "([a-z][^"]+)", _[A-Z]+\)|UserError\(\s*f?"(filter excludes[^:"]+)""",
        (ROOT / "pipeline" / source).read_text(),
    )
    for name in name
    if name
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_troubleshooting_explains_each_cause(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "troubleshooting.md").read_text()
