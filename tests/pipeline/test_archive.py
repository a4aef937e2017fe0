"""The zip: reproducible, complete, made once, within Lambda's limits, and with the handler."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import stat
import zipfile
from pathlib import Path

import pytest

from pipeline import archive, settings
from pipeline.resources.change import UserError

ROOT = Path(__file__).resolve().parents[2]
CODE = "def lambda_handler(event, context):\n    return None\n"


def build(source: Path, folder: Path | None = None) -> bytes:
    return archive.build(source, folder or source.parent / "build", "python3.13", "x86_64")


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


def test_the_zip_of_the_project_contains_only_its_source(tmp_path: Path) -> None:
    assert names(build(ROOT / "lambda_src", tmp_path)) == ["example.py"]


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


@pytest.mark.proof  # zips 50 MB
def test_more_than_50_mb_zipped_without_code_bucket_is_an_error_that_lists_the_largest_files(source: Path) -> None:
    (source / "model.bin").write_bytes(random.Random(2).randbytes(52 * 2**20))  # noqa: S311 - not for secrets
    zipped = build(source)
    with pytest.raises(
        UserError, match=r"52\.0 MB zipped; allowed without CODE_BUCKET: 50 MB.*model\.bin \(52\.0 MB\)"
    ):
        archive.check_upload(zipped, "")
    archive.check_upload(zipped, "a-bucket")


def test_code_above_1_mb_is_compressed_and_smaller_code_is_stored(source: Path) -> None:
    (source / "zeros.bin").write_bytes(bytes(2**20 - 1000))
    assert len(build(source)) > 2**20 - 1000
    (source / "zeros.bin").write_bytes(bytes(2**20))
    assert len(build(source)) < 10_000


def test_an_unchanged_zip_is_not_made_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(source)
    monkeypatch.setattr(archive, "_build", lambda *_: b"made again")
    assert build(source) == first


@pytest.mark.parametrize("change", ["content", "mode", "new file", "removed file", "restored time"])
def test_each_change_of_the_sources_makes_a_new_zip(source: Path, change: str) -> None:
    first = build(source)
    example = source / "example.py"
    before = example.stat()
    if change == "content":
        example.write_text(CODE.replace("None", "1234"))
    elif change == "mode":
        example.chmod(0o755)
    elif change == "new file":
        (source / "more.py").write_text("")
    elif change == "removed file":
        (source / "deep" / "data.json").unlink()
    else:
        example.write_text(CODE.replace("None", "1234"))
        os.utime(example, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert build(source) != first


@pytest.mark.parametrize("content", [b"", b"half of a zip"])
def test_a_stored_zip_that_is_damaged_is_made_again(source: Path, content: bytes) -> None:
    first = build(source)
    stored = source.parent / "build" / "function.zip"
    stored.write_bytes(content)
    assert build(source) == first == stored.read_bytes()


def test_another_architecture_makes_a_new_zip(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(source)
    monkeypatch.setattr(archive, "_build", lambda *_: b"made again")
    assert archive.build(source, source.parent / "build", "python3.13", "arm64") == b"made again"


def test_a_dry_run_makes_the_zip_in_memory_only(source: Path) -> None:
    folder = source.parent / "build"
    archive.build(source, folder, "python3.13", "x86_64", write=False)
    assert not folder.exists()


def test_builds_at_once_leave_one_whole_zip(source: Path) -> None:
    (source / "data.bin").write_bytes(random.Random(3).randbytes(2**20))  # noqa: S311 - not for secrets
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        zips = set(pool.map(build, [source] * 8))
    folder = source.parent / "build"
    assert zips == {(folder / "function.zip").read_bytes()}
    assert sorted(path.name for path in folder.iterdir()) == ["function.inputs", "function.zip"]


def handler(source: Path, name: str, *, layers: bool = False) -> None:
    archive.check_handler(build(source), name, "python3.13", layers=layers)


def test_a_handler_in_the_zip_is_accepted(source: Path) -> None:
    handler(source, "example.lambda_handler")


def test_a_handler_in_a_package_is_accepted(source: Path) -> None:
    (source / "deep" / "__init__.py").write_text("try:\n    from x import run\nexcept ImportError:\n    run = None\n")
    handler(source, "deep.run")


def test_a_handler_behind_a_star_import_is_accepted(source: Path) -> None:
    (source / "star.py").write_text("from example import *\n")
    handler(source, "star.lambda_handler")


@pytest.mark.parametrize("module", ["stream-handler", "my-service/01_handler", "my-service/v1.2/handler"])
def test_a_handler_with_a_name_that_only_lambda_can_import_is_accepted(source: Path, module: str) -> None:
    path = source / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CODE)
    name = f"{module}.lambda_handler"
    assert settings.load(None, {}, {"FUNCTION_HANDLER": name}).function_handler == name
    handler(source, name)


@pytest.mark.parametrize("name", ["handler", ".handler", "handler.", "my handler.f", "a" * 127 + ".f"])
def test_a_handler_that_lambda_refuses_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"FUNCTION_HANDLER: .* is not allowed; allowed: MODULE\.FUNCTION"):
        settings.load(None, {}, {"FUNCTION_HANDLER": name})


def test_a_handler_in_a_compiled_module_is_accepted(source: Path) -> None:
    (source / "fast.cpython-313-x86_64-linux-gnu.so").write_bytes(b"")
    handler(source, "fast.handler")


def test_a_handler_that_a_layer_may_have_is_accepted(source: Path) -> None:
    handler(source, "datadog_lambda.handler.handler", layers=True)


def test_a_handler_of_the_zip_is_checked_also_with_layers(source: Path) -> None:
    with pytest.raises(UserError, match=r"example\.py does not define handler"):
        handler(source, "example.handler", layers=True)


def test_a_handler_in_a_missing_file_is_an_error_that_lists_the_files(source: Path) -> None:
    with pytest.raises(
        UserError, match=r"'exmaple\.lambda_handler': the zip has no exmaple\.py; its Python files: .*example\.py"
    ):
        handler(source, "exmaple.lambda_handler")


def test_a_handler_that_the_file_does_not_define_is_an_error_that_lists_its_names(source: Path) -> None:
    with pytest.raises(UserError, match=r"example\.py does not define handler; it defines: lambda_handler"):
        handler(source, "example.handler")
