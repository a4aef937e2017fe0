"""A runbook, run as an operator runs it: with the AWS CLI or Invoke, and credentials, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Script:
    """A shell script or a tasks.py, and the endpoint of the AWS that it uses."""

    path: Path
    endpoint: str

    def __call__(self, shell: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script in `shell` with these words and with `variables` in its environment.

        The shell "invoke" runs a tasks.py.
        """
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.path.parent),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            **variables,
        }
        command = [shell, *words] if shell == "invoke" else [shell, "-eu", str(self.path), *words]
        return subprocess.run(
            command, cwd=self.path.parent, env=environment, capture_output=True, text=True, timeout=900, check=False
        )

    def run(self, shell: str, *words: str, **variables: str) -> str:
        """Run the script, assert that it succeeds, and return its stdout."""
        finished = self(shell, *words, **variables)
        assert finished.returncode == 0, f"{' '.join(words)}: {finished.stdout}{finished.stderr}"
        return finished.stdout
