"""moto_patches.py fits one version of moto."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_another_version_of_moto_is_refused(tmp_path: Path) -> None:
    code = "import moto, runpy; moto.__version__ = '5.99.0'; runpy.run_module('localaws', run_name='__main__')"
    command = [sys.executable, "-c", code, "--port", "0", "--directory", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, timeout=60, check=False)
    assert result.returncode == 1
    assert "moto 5.99.0 is installed; the local AWS needs moto 5.2.5" in result.stderr
    assert not (tmp_path / "server.json").exists()


def test_lock_files_pin_the_supported_moto() -> None:
    needed = re.search(r'MOTO_VERSION = "(.+)"', (ROOT / "localaws/moto_patches.py").read_text())
    assert needed
    for lock in ("requirements.txt", "requirements-dev.txt"):
        assert f"moto=={needed[1]} " in (ROOT / lock).read_text()
