"""`invoke adopt`: resources made by hand become a pipeline of ours, unchanged."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.test_article_cli import ARTICLE, LOGS, PUT, shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.forked import ForkedProject

NAMES = """# The names in the article.
AWS_REGION=ap-northeast-1
TABLE_NAME=test
FUNCTION_NAME=test
ROLE_NAME=lambda_invoke_by_dynamodb
"""


def test_article(project: ForkedProject, tmp_path: Path) -> None:
    assert shell(project, tmp_path, ARTICLE + PUT).returncode == 0
    (project.folder / ".env").write_text(NAMES)
    time.sleep(3)
    print(project.run("adopt"))
    print(project.run("--echo", "adopt", "--write"))
    print((project.folder / ".env").read_text())
    o = project.invoke("--dry", "deploy")
    print(o.stdout, o.stderr)
    assert 0
