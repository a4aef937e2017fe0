"""The zip: reproducible, complete, within Lambda's limits, and with the handler."""

from __future__ import annotations

import io
import os
import random
import stat
import zipfile
from pathlib import Path

import pytest

from pipeline import archive
from pipeline.resources.change import UserError

ROOT = Path(__file__).resolve().parents[2]
CODE = "def lambda_handler(event, context):\n    return None\n"


def build(source: Path, cache: Path | None = None) -> bytes:
    return archive.build(source, cache or source.parent / "vendor", "python3.13", "x86_64")


def names(zipped: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(zipped)).namelist()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    (folder / "deep").mkdir(parents=True)
    (folder / "example.py").write_text(CODE)
    (folder / "deep" / "data.json").write_text("{}")
    return folder


def test_the_same_sources_give_the_same_bytes_whatever_their_time_mode_and_order(source: Path, tmp_path: Path) -> None:
    first = build(source)
    again = tmp_path / "again"
    (again / "deep").mkdir(parents=True)
    (again / "deep" / "data.json").write_text("{}")
    (again / "example.py").write_text(CODE)
    (again / "example.py").chmod(0o600)
    os.utime(again / "example.py", (1, 1))
    assert build(again) == first


def test_the_zip_of_the_project_contains_only_its_source() -> None:
    assert names(build(ROOT / "lambda_src")) == ["example.py"]


@pytest.mark.parametrize(
    "left_out", [".env", ".env.prod", ".git/config", "__pycache__/example.cpython-313.pyc", "example.pyc", "deep/.env"]
)
def test_hidden_and_compiled_files_are_left_out(source: Path, left_out: str) -> None:
    before = build(source)
    path = source / left_out
    path.parent.mkdir(exist_ok=True)
    path.write_text("secret")
    assert build(source) == before


def test_only_executable_files_stay_executable(source: Path) -> None:
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o700)
    modes = {
        e.filename: stat.S_IMODE(e.external_attr >> 16) for e in zipfile.ZipFile(io.BytesIO(build(source))).infolist()
    }
    assert (modes["tool"], modes["example.py"]) == (0o755, 0o644)


def test_a_symbolic_link_is_an_error(source: Path) -> None:
    (source / "link.py").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match=r"link\.py is a symbolic link"):
        build(source)


def test_a_missing_folder_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder"):
        build(tmp_path / "nowhere")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no files"):
        build(tmp_path / "empty")


def test_the_digest_is_the_code_sha256_of_lambda() -> None:
    assert archive.sha256(b"") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_more_than_250_mb_unzipped_is_an_error_that_lists_the_largest_files(source: Path) -> None:
    with (source / "model.bin").open("wb") as file:
        file.truncate(251 * 2**20)
    with pytest.raises(UserError, match=r"251\.0 MB unzipped; allowed: 250 MB.*model\.bin \(251\.0 MB\)"):
        build(source)


def test_more_than_50_mb_zipped_is_an_error_that_lists_the_largest_files(source: Path) -> None:
    (source / "model.bin").write_bytes(random.Random(1).randbytes(51 * 2**20))  # noqa: S311 - not for secrets
    with pytest.raises(UserError, match=r"MB zipped; allowed: 50 MB.*model\.bin"):
        build(source)


def test_files_that_compress_to_less_than_50_mb_are_accepted(source: Path) -> None:
    with (source / "zeros.bin").open("wb") as file:
        file.truncate(60 * 2**20)
    assert len(build(source)) < 2**20


def handler(source: Path, name: str) -> None:
    archive.check_handler(build(source), name, "python3.13")


def test_a_handler_in_the_zip_is_accepted(source: Path) -> None:
    handler(source, "example.lambda_handler")


def test_a_handler_in_a_package_is_accepted(source: Path) -> None:
    (source / "deep" / "__init__.py").write_text("try:\n    from x import run\nexcept ImportError:\n    run = None\n")
    handler(source, "deep.run")


def test_a_handler_behind_a_star_import_is_accepted(source: Path) -> None:
    (source / "star.py").write_text("from example import *\n")
    handler(source, "star.lambda_handler")


def test_a_handler_in_a_missing_file_is_an_error_that_lists_the_files(source: Path) -> None:
    with pytest.raises(
        UserError, match=r"'exmaple\.lambda_handler': the zip has no exmaple\.py; its Python files: .*example\.py"
    ):
        handler(source, "exmaple.lambda_handler")


def test_a_handler_that_the_file_does_not_define_is_an_error_that_lists_its_names(source: Path) -> None:
    with pytest.raises(UserError, match=r"example\.py defines no handler; it defines: lambda_handler"):
        handler(source, "example.handler")


def wheel(folder: Path, name: str, tag: str) -> None:
    """Write a minimal wheel, which pip installs without an index."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as archive_:
        archive_.writestr(f"{name}.py", "VALUE = 1\n")
        archive_.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive_.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive_.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:VALUE\n")
        archive_.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip uses as the only source of packages."""
    folder = tmp_path / "wheels"
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(folder)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def test_requirements_are_vendored_for_the_runtime_and_architecture(source: Path, wheels: Path) -> None:
    wheel(wheels, "vendored", "cp313-cp313-manylinux_2_28_x86_64")
    (source / "requirements.txt").write_text("vendored==1.0\n")
    assert "vendored.py" in names(build(source))


def test_vendored_files_contain_no_path_of_this_machine(source: Path, wheels: Path) -> None:
    wheel(wheels, "vendored", "py3-none-any")
    (source / "requirements.txt").write_text("vendored==1.0\n")
    vendored = [
        name for name in names(build(source)) if name not in ("example.py", "deep/data.json", "requirements.txt")
    ]
    info = "vendored-1.0.dist-info"
    assert vendored == [f"{info}/METADATA", f"{info}/WHEEL", f"{info}/entry_points.txt", "vendored.py"]


def test_vendored_requirements_are_cached_by_their_hash(source: Path, wheels: Path) -> None:
    wheel(wheels, "vendored", "py3-none-any")
    (source / "requirements.txt").write_text("vendored==1.0\n")
    first = build(source)
    (wheels / "vendored-1.0-py3-none-any.whl").unlink()
    assert build(source) == first


@pytest.mark.parametrize("tag", ["cp313-cp313-manylinux_2_28_aarch64", "cp312-cp312-manylinux_2_28_x86_64"])
def test_a_requirement_without_a_wheel_for_the_function_is_an_error(source: Path, wheels: Path, tag: str) -> None:
    wheel(wheels, "vendored", tag)
    (source / "requirements.txt").write_text("vendored==1.0\n")
    with pytest.raises(UserError, match=r"no wheels for python3\.13 on x86_64.*vendored"):
        build(source)
