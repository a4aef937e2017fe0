"""Who may import whom: tasks -> pipeline and localaws; a noun -> boto3, botocore, the standard library, change.py."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOUNS = ("table", "backup", "role", "function", "mapping", "logs")


def imports(path: Path) -> set[str]:
    """The modules that a file imports, ours with their package in front."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level and node.module:
            found.add(f"{path.parent.name}.{node.module}")
        elif isinstance(node, ast.ImportFrom) and node.level:
            found |= {f"{path.parent.name}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


def room(name: str) -> list[Path]:
    return sorted((ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_stands_on_boto3_the_standard_library_and_change_alone(noun: str) -> None:
    allowed = sys.stdlib_module_names | {"boto3", "botocore", "pipeline"}
    found = {name for name in imports(ROOT / "pipeline" / f"{noun}.py") if not name.startswith("types_boto3_")}
    assert {name.split(".")[0] for name in found} <= allowed
    assert {name for name in found if name.startswith("pipeline")} <= {"pipeline.resources.change"}


@pytest.mark.parametrize("path", room("pipeline"), ids=lambda path: path.name)
def test_the_pipeline_knows_neither_the_embedded_aws_nor_the_command_line(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"localaws", "tasks", "tests", "invoke", "moto"}


@pytest.mark.parametrize("path", room("localaws"), ids=lambda path: path.name)
def test_the_embedded_aws_knows_neither_the_pipeline_nor_the_command_line(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"pipeline", "tasks", "tests", "invoke", "dotenv"}


@pytest.mark.parametrize("path", room("lambda_src"), ids=lambda path: path.name)
def test_the_function_stands_on_what_lambda_has(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)} <= sys.stdlib_module_names | {"boto3", "botocore"}
