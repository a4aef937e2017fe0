"""Which module may import which: tasks -> pipeline, localaws; a resource module -> boto3 and change.py."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESOURCES = sorted(path for path in ROOT.glob("pipeline/resources/*.py") if path.stem != "__init__")
OUTSIDE_TESTS = sorted(
    path
    for part in ("tasks.py", "dev.py", "filter_patterns.py", "pipeline", "localaws", "lambda_src", "benchmarks", "docs")
    for path in ((ROOT / part).rglob("*.py") if (ROOT / part).is_dir() else [ROOT / part])
)


def imports(path: Path) -> set[str]:
    """Return the absolute names of the modules that a file imports, also in functions and for type checking."""
    package = path.relative_to(ROOT).parent.parts
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            names |= {
                f"{module}.{alias.name}" if is_module(f"{module}.{alias.name}") else module for alias in node.names
            }
    return names


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def roots(path: Path) -> set[str]:
    """Return the top-level packages that a file imports."""
    return {name.split(".")[0] for name in imports(path)}


def offenders(folder: str, forbidden: set[str]) -> dict[str, set[str]]:
    """Return the files below a folder that import a forbidden package, and which."""
    files = {str(path.relative_to(ROOT)): roots(path) & forbidden for path in OUTSIDE_TESTS}
    return {name: found for name, found in files.items() if found and name.startswith(folder)}


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_a_resource_module_imports_only_boto3_the_standard_library_and_change(path: Path) -> None:
    stubs = {name for name in roots(path) if name.startswith("types_boto3_")}
    assert roots(path) - stubs <= sys.stdlib_module_names | {"boto3", "botocore", "pipeline"}
    assert {name for name in imports(path) if name.startswith("pipeline")} <= {"pipeline.resources.change"}


def test_the_pipeline_imports_neither_the_local_aws_nor_invoke() -> None:
    assert offenders("pipeline/", {"localaws", "moto", "invoke"}) == {}


def test_the_local_aws_imports_neither_the_pipeline_nor_what_reads_settings() -> None:
    assert offenders("localaws/", {"pipeline", "invoke", "dotenv"}) == {}


def test_the_filter_patterns_import_only_the_standard_library() -> None:
    assert roots(ROOT / "filter_patterns.py") <= sys.stdlib_module_names


def test_nothing_outside_the_tests_imports_the_tests_or_the_tasks() -> None:
    assert offenders("", {"tests", "tasks"}) == {}


def test_the_function_imports_only_what_lambda_provides() -> None:
    provided = sys.stdlib_module_names | {"boto3", "botocore"}
    assert {path.name: roots(path) - provided for path in ROOT.glob("lambda_src/*.py")} == {"example.py": set()}


def test_the_tasks_import_invoke_the_pipeline_the_local_aws_and_the_errors_of_botocore() -> None:
    allowed = {"invoke", "pipeline", "localaws", "botocore", "dev"}
    assert roots(ROOT / "tasks.py") <= sys.stdlib_module_names | allowed
    assert roots(ROOT / "dev.py") <= sys.stdlib_module_names | {"invoke"}
    assert {name for name in imports(ROOT / "tasks.py") if name.startswith("botocore")} <= {"botocore.exceptions"}


def test_the_tasks_import_botocore_and_the_local_aws_only_when_they_run() -> None:
    command = [sys.executable, "-c", "import sys, tasks; print(*sys.modules)"]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {name.split(".")[0] for name in loaded} & {"boto3", "botocore", "localaws", "moto"} == set()


def test_no_modules_of_the_pipeline_import_each_other_in_a_circle() -> None:
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.glob("pipeline/**/*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    try:
        TopologicalSorter({name: imports(path) & modules.keys() for name, path in modules.items()}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
