"""Vendoring: for the function's Python and processor, whatever this machine's are, and again when anything changed."""

from __future__ import annotations

import multiprocessing
import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from pipeline import archive, vendor
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.proof  # each test starts uv and pip

PROJECT = """
[project]
name = "ours"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
# The least that a build backend does, so that no index is needed: a wheel with the package's one module.
BACKEND = """
import zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{directory}/ours-1-py3-none-any.whl", "w") as wheel:
        wheel.write("ours.py")
        wheel.writestr("ours-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: ours\\nVersion: 1\\n")
        wheel.writestr("ours-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("ours-1.dist-info/RECORD", "")
    return "ours-1-py3-none-any.whl"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a function's code."""
    (tmp_path / "lambda_src").mkdir()
    (tmp_path / "lambda_src" / "example.py").write_text("def lambda_handler(event, context): pass\n")
    return tmp_path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a wheel into the only source of packages, which pip's settings name."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(folder)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))

    def make(name: str, tag: str = "py3-none-any", version: str = "1.0", requires: str = "") -> None:
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as file:
            file.writestr(f"{name}.py", f"VERSION = {version!r}\n")
            needs = f"Requires-Dist: {requires}\n" if requires else ""
            file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
            file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
            file.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:VERSION\n")
            file.writestr(f"{info}/RECORD", "")

    return make


def install(root: Path, text: str, runtime: str = "python3.13", architecture: str = "x86_64") -> Path:
    requirements = root / "lambda_src" / "requirements.txt"
    requirements.write_text(text)
    return vendor.install(requirements, root / "build" / "vendor", runtime, architecture)


def modules(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py"))


@pytest.mark.parametrize(
    ("runtime", "architecture", "tag"),
    [
        ("python3.13", "x86_64", "cp313-cp313-manylinux_2_34_x86_64"),
        ("python3.12", "arm64", "cp312-cp312-manylinux_2_28_aarch64"),
        ("python3.11", "x86_64", "cp311-cp311-manylinux2014_x86_64"),
        ("python3.10", "arm64", "cp310-cp310-manylinux_2_17_aarch64"),
    ],
)
def test_wheels_are_those_of_the_runtime_and_architecture(
    root: Path, wheel: Callable[..., None], runtime: str, architecture: str, tag: str
) -> None:
    wheel("compiled", tag)
    assert modules(install(root, "compiled\n", runtime, architecture)) == ["compiled"]


@pytest.mark.parametrize(
    "tag",
    ["cp313-cp313-manylinux_2_28_aarch64", "cp312-cp312-manylinux_2_28_x86_64", "cp313-cp313-manylinux_2_35_x86_64"],
)
def test_a_requirement_without_a_wheel_for_the_function_is_named(
    root: Path, wheel: Callable[..., None], tag: str
) -> None:
    wheel("compiled", tag)
    message = r"for python3\.13 on x86_64: .*compiled.*choose a version with a wheel"
    with pytest.raises(UserError, match=message) as error:
        install(root, "compiled==1.0\n")
    assert "\n" not in str(error.value)


def test_a_wheel_for_amazon_linux_2023_is_not_for_amazon_linux_2(root: Path, wheel: Callable[..., None]) -> None:
    wheel("compiled", "cp311-cp311-manylinux_2_28_x86_64")
    with pytest.raises(UserError, match=r"for python3\.11 on x86_64: .*compiled"):
        install(root, "compiled\n", "python3.11")


@pytest.mark.parametrize(("runtime", "installed"), [("python3.10", ["inner", "outer"]), ("python3.13", ["outer"])])
def test_markers_of_dependencies_are_judged_for_the_runtime(
    root: Path, wheel: Callable[..., None], runtime: str, installed: list[str]
) -> None:
    wheel("outer", requires='inner; python_full_version < "3.11.3"')
    wheel("inner")
    assert modules(install(root, "outer\n", runtime)) == installed


@pytest.mark.parametrize(("runtime", "installed"), [("python3.10", ["outer"]), ("python3.14", ["inner", "outer"])])
def test_markers_of_requirements_are_judged_for_the_runtime(
    root: Path, wheel: Callable[..., None], runtime: str, installed: list[str]
) -> None:
    wheel("outer")
    wheel("inner")
    assert modules(install(root, 'outer\ninner; python_version >= "3.14"\n', runtime)) == installed


def test_markers_are_judged_for_the_architecture(root: Path, wheel: Callable[..., None]) -> None:
    wheel("outer")
    wheel("inner")
    text = 'outer\ninner; platform_machine == "aarch64" and sys_platform == "linux"\n'
    assert modules(install(root, text)) == ["outer"]
    assert modules(install(root, text, architecture="arm64")) == ["inner", "outer"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIP_USER", "1"),
        ("PIP_NO_DEPS", "1"),
        ("PIP_TARGET", "elsewhere"),
        ("PIP_CONSTRAINT", "missing.txt"),
        ("PIP_REQUIRE_VIRTUALENV", "1"),
        ("PIP_CONFIG_FILE", "pip.conf"),
        ("UV_CONSTRAINT", "missing.txt"),
        ("UV_SYSTEM_PYTHON", "1"),
    ],
)
def test_settings_of_pip_and_uv_that_say_what_to_install_do_not_count(
    root: Path, wheel: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    wheel("outer", requires="inner")
    wheel("inner")
    (root / "pip.conf").write_text("[install]\nuser = true\nno-deps = true\nonly-binary = none\n")
    monkeypatch.setenv(name, str(root / value) if value.endswith(".conf") else value)
    assert modules(install(root, "outer\n")) == ["inner", "outer"]


def test_an_index_of_pips_settings_counts(
    root: Path, wheel: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel("outer")
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    index = tmp_path / "index" / "outer"
    index.mkdir(parents=True)
    (tmp_path / "wheels" / "outer-1.0-py3-none-any.whl").rename(index / "outer-1.0-py3-none-any.whl")
    (index / "index.html").write_text('<a href="outer-1.0-py3-none-any.whl">outer-1.0-py3-none-any.whl</a>')
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index.parent.as_uri()}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert modules(install(root, "outer\n")) == ["outer"]


def test_a_proxy_of_pips_settings_counts(
    root: Path, wheel: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    del wheel
    monkeypatch.delenv("PIP_NO_INDEX")
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.invalid/simple")
    monkeypatch.setenv("PIP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9|proxy|tunnel"):
        install(root, "outer\n")


def test_uvs_own_settings_of_where_packages_come_from_count(
    root: Path, wheel: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel("outer")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    assert modules(install(root, "outer\n")) == ["outer"]


def test_installed_packages_are_kept_while_nothing_changes(
    root: Path, wheel: Callable[..., None], tmp_path: Path
) -> None:
    wheel("outer")
    first = install(root, "outer==1.0\n")
    (tmp_path / "wheels" / "outer-1.0-py3-none-any.whl").unlink()
    assert install(root, "outer==1.0\n") == first


@pytest.mark.parametrize(
    "line",
    [
        "-r base.txt",
        "--requirement=base.txt",
        "outer\n-c base.txt",
        "outer\n--constraint base.txt",
    ],
)
def test_a_list_that_the_requirements_name_counts(root: Path, wheel: Callable[..., None], line: str) -> None:
    wheel("outer", version="1.0")
    wheel("outer", version="2.0")
    base = root / "lambda_src" / "base.txt"
    base.write_text("outer==1.0\n")
    first = install(root, f"{line}\n")
    base.write_text("outer==2.0\n")
    assert "'1.0'" in (first / "outer.py").read_text()
    assert "'2.0'" in (install(root, f"{line}\n") / "outer.py").read_text()


@pytest.mark.parametrize(
    "line",
    ["./ours", "-e ./ours", "ours @ file://{root}/ours", "{root}/ours # code of ours"],
)
def test_the_code_of_a_local_package_counts(root: Path, wheel: Callable[..., None], line: str) -> None:
    del wheel
    ours = root / "ours"
    ours.mkdir()
    (ours / "pyproject.toml").write_text(PROJECT)
    (ours / "backend.py").write_text(BACKEND + "build_editable = build_wheel\n")
    for text in ("VALUE = 1\n", "VALUE = 2\n"):
        (ours / "ours.py").write_text(text)
        assert (install(root, line.format(root=root)) / "ours.py").read_text() == text


def test_a_changed_list_makes_a_new_zip(root: Path, wheel: Callable[..., None]) -> None:
    wheel("outer")
    wheel("inner")
    (root / "base.txt").write_text("outer\n")
    (root / "lambda_src" / "requirements.txt").write_text("-r ../base.txt\n")

    def build() -> bytes:
        return archive.build(root / "lambda_src", root / "build", "python3.13", "x86_64")

    assert b"outer.py" in build()
    (root / "base.txt").write_text("inner\n")
    assert b"inner.py" in build()


def test_nothing_that_names_this_machine_is_installed(root: Path, wheel: Callable[..., None]) -> None:
    wheel("outer")
    folder = install(root, "outer\n")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    info = "outer-1.0.dist-info"
    assert [name for name in files if not name.startswith(".")] == [
        f"{info}/METADATA",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
        "outer.py",
    ]


def test_installations_at_once_end_with_one_whole_folder(root: Path, wheel: Callable[..., None]) -> None:
    wheel("outer", requires="inner")
    wheel("inner")
    requirements = root / "lambda_src" / "requirements.txt"
    requirements.write_text("outer\n")
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        work = (requirements, root / "build" / "vendor", "python3.13", "x86_64")
        folders = set(pool.starmap(vendor.install, [work] * 4))
    assert [modules(folder) for folder in folders] == [["inner", "outer"]]
    assert list((root / "build" / "vendor").iterdir()) == list(folders)


@pytest.mark.parametrize("text", ["no such package===\n", "-r missing.txt\n", "./missing\n", "missing==1\n"])
def test_what_cannot_be_installed_is_reported_in_one_line(root: Path, wheel: Callable[..., None], text: str) -> None:
    del wheel
    with pytest.raises(UserError, match=r"requirements\.txt: cannot be installed for python3\.13.*Check name") as error:
        install(root, text)
    assert "\n" not in str(error.value)
