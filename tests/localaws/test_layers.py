"""The layers of localaws: imports go down, never in a circle, and only API modules have routes."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "localaws").rglob("*.py")
}
# The top layer first. Each package may import those below it, and the modules of the bottom layer.
LAYERS = [
    ["localaws.rehearsal"],
    ["localaws.__main__"],
    ["localaws.moto_patches"],
    ["localaws.mappings"],
    ["localaws.lambda_"],
    ["localaws.cloudwatch", "localaws.dynamodb", "localaws.logs"],
    ["localaws.iam"],
    ["localaws.server"],
    ["localaws.failures"],
    ["localaws.service_model", "localaws.control"],
    ["localaws.errors"],
    ["localaws.signature", "localaws.delays", "localaws.database", "localaws.peers", "localaws.keys"],
    ["localaws"],
]
# Modules that see HTTP requests: the API modules, and those that every request passes through.
SEES_REQUESTS = {
    "localaws.__main__",
    "localaws.server",
    "localaws.errors",
    "localaws.failures",
    "localaws.signature",
    "localaws.iam.actions",
    "localaws.iam.authorization",
    "localaws.iam.call",
    "localaws.dynamodb.api",
    "localaws.dynamodb.streams_api",
    "localaws.lambda_.api",
    "localaws.mappings.api",
}


def imports(name: str) -> set[str]:
    """The modules that a module imports, also those for type checking only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {member if member in MODULES else str(node.module) for member in members}
    return found


def unit(name: str) -> str:
    """The package of a module, or the module itself if it is at the top level of localaws."""
    return ".".join(name.split(".")[:2])


def layer(name: str) -> int:
    return next(number for number, units in enumerate(LAYERS) if unit(name) in units)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_imports_its_own_package_and_lower_layers(name: str) -> None:
    ours = {each for each in imports(name) if each.split(".")[0] == "localaws"}
    assert {each for each in ours if unit(each) != unit(name) and layer(each) <= layer(name)} == set()


def test_no_import_cycle() -> None:
    graph = {name: imports(name) & MODULES.keys() - {name} for name in MODULES}
    assert set(graphlib.TopologicalSorter(graph).static_order()) >= MODULES.keys()


@pytest.mark.parametrize("name", sorted(MODULES.keys() - SEES_REQUESTS))
def test_only_api_modules_see_requests(name: str) -> None:
    assert not {each for each in imports(name) if each.split(".")[0] == "werkzeug"}


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"localaws.moto_patches"}))
def test_only_moto_patches_changes_moto(name: str) -> None:
    """No `setattr`, and no assignment to a member of a module or class that is imported from moto."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    from_moto = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "moto"
        for alias in node.names
    }
    targets = [target for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets]
    changed = {ast.unparse(each).split(".")[0] for each in targets if isinstance(each, ast.Attribute)}
    assert not changed & from_moto
    assert "setattr(" not in ast.unparse(tree)
