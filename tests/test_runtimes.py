"""What the commands say if this machine lacks what Lambda has: the runtime, and files of the function's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from localaws.lambda_ import interpreters, runtimes
from tests.harness.project import function_code

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject

pytestmark = pytest.mark.proof  # end to end, on a local AWS of its own

MISSING = next(f"python3.{minor}" for minor in range(14, 9, -1) if not interpreters.find(f"python3.{minor}"))
SETTINGS = {"FUNCTION_RUNTIME": MISSING}
OWN = {"FUNCTION_RUNTIME": f"python3.{sys.version_info.minor}"}
ERROR = f"this machine lacks {MISSING}; compiled dependencies may fail to import. Try: uv python install {MISSING[6:]}"


@pytest.fixture(scope="module")
def deployed(project: ForkedProject) -> str:
    """What the first deploy prints."""
    return project.run("deploy", **SETTINGS)


def test_deploy_names_a_missing_runtime(deployed: str) -> None:
    (line,) = [line for line in deployed.splitlines() if ERROR in line]
    assert line.startswith("+ create-function ")


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("command", ["create-function", "status", "doctor", "smoke"])
def test_each_command_names_a_missing_runtime_in_one_line(project: ForkedProject, command: str) -> None:
    ended = project.invoke(command, **SETTINGS).expect(0)
    assert (ended.stdout + ended.stderr).count(ERROR) == 1


@pytest.mark.usefixtures("deployed")
def test_import_that_fails_is_explained_by_the_missing_runtime(project: ForkedProject) -> None:
    """A compiled package fails like this one: its module for another Python has another name."""
    with function_code(project, "import compiled\ndef lambda_handler(event, context): ...\n"):
        project.run("deploy", **SETTINGS)
        error = project.refusal("smoke", SMOKE_TIMEOUT="10", **SETTINGS)
    cause = error[error.index("import fails: ") :]
    assert ERROR in cause
    assert "  try: as above, or set FUNCTION_RUNTIME or FUNCTION_ARCHITECTURE" in cause


@pytest.mark.usefixtures("deployed")
def test_update_to_a_runtime_that_exists_ends_the_note(project: ForkedProject) -> None:
    output = project.run("create-function", **OWN)
    assert f"Runtime: {MISSING} -> {OWN['FUNCTION_RUNTIME']}" in output
    assert ERROR not in output
    project.run("create-function", **SETTINGS)


@pytest.mark.usefixtures("deployed")
def test_doctor_says_what_functions_may_do_here_and_not_on_lambda(project: ForkedProject) -> None:
    text = runtimes.missing_isolation(sys.executable, project.folder / ".local")
    notes = [line for line in project.run("doctor", **SETTINGS).splitlines() if line.startswith("note  Functions ")]
    assert notes == ([f"note  {text}"] if text else [])
