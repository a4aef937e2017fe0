"""What happens to the process of a function between and during its invocations.

Source: Lambda guide, "Understanding the Lambda execution environment lifecycle".
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localaws.lambda_ import runtimes
from tests.localaws.conftest import clients, start
from tests.localaws.deployed import deploy
from tests.localaws.pipe import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], Any]]]:
    """A local AWS that ends environments after a second; its process and its clients."""
    process, url = start(tmp_path_factory.mktemp("environment"), "--environment-idle", "1")
    yield process, clients(url)
    process.kill()
    process.wait(timeout=10)


def state(process_id: int) -> str:
    """The state of a process: "T" is stopped; "" if it does not exist."""
    ps = subprocess.run(["ps", "-o", "stat=", "-p", str(process_id)], capture_output=True, text=True, check=False)
    return "" if ps.stdout.startswith("Z") else ps.stdout[:1]


CHILD = """
    import os, subprocess
    def handler(event, context):
        return [os.getpid(), subprocess.Popen(["sleep", "60"]).pid]
"""


def test_process_and_its_children_are_frozen_after_the_response(client: Any) -> None:
    assert [state(each) for each in deploy(client, CHILD).invoke().payload] == ["T", "T"]


def test_thread_goes_on_in_the_next_invocation(client: Any) -> None:
    code = """
        import threading, time
        def handler(event, context):
            threading.Timer(0.2, print, ["from the first"]).start()
            time.sleep(event.get("seconds", 0))
    """
    function = deploy(client, code)
    function.invoke()
    time.sleep(0.4)
    assert "from the first" not in "".join(function.lines())
    assert "from the first" in function.invoke({"seconds": 0.3}).log


def test_runtime_that_is_late_to_ask_for_the_next_invocation_gets_it(client: Any) -> None:
    code = """
        import os, time
        from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
        ask = LambdaRuntimeClient.wait_next_invocation
        def ask_late(self):
            time.sleep(0.2)
            return ask(self)
        LambdaRuntimeClient.wait_next_invocation = ask_late
        def handler(event, context):
            return os.getpid()
    """
    function = deploy(client, code)
    assert len({function.invoke().payload for _ in range(3)}) == 1


def test_idle_environment_ends_with_its_children(
    server: tuple[subprocess.Popen[bytes], Callable[[str], Any]],
) -> None:
    processes = deploy(server[1], CHILD).invoke().payload
    until(lambda: not any(map(state, processes)))


def test_frozen_process_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    process, url = start(tmp_path)
    processes = deploy(clients(url), CHILD).invoke().payload
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    until(lambda: not any(map(state, processes)))


def test_frozen_process_ends_with_a_killed_server_that_nohup_started(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process, url = start(tmp_path)
    signal.signal(signal.SIGHUP, before)
    processes = deploy(clients(url), CHILD).invoke().payload
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    until(lambda: not any(map(state, processes)))


ISOLATED = not runtimes.isolation_error(sys.executable, Path(sys.prefix))


@pytest.mark.skipif(not ISOLATED, reason="this system lets no process have mounts of its own")
def test_code_is_in_var_task(client: Any) -> None:
    code = """
        import os
        def handler(event, context):
            return [__file__, os.getcwd(), os.environ["LAMBDA_TASK_ROOT"]]
    """
    assert deploy(client, code).invoke().payload == ["/var/task/code.py", "/var/task", "/var/task"]


@pytest.mark.skipif(not ISOLATED, reason="this system lets no process have mounts of its own")
def test_code_cannot_be_written(client: Any) -> None:
    function = deploy(client, "def handler(event, context): open('new', 'w')")
    assert function.invoke().payload["errorMessage"] == "[Errno 30] Read-only file system: 'new'"


@pytest.mark.skipif(not ISOLATED, reason="this system lets no process have mounts of its own")
def test_rest_of_var_remains(client: Any) -> None:
    names = deploy(client, "import os\ndef handler(event, context): return os.listdir('/var')").invoke().payload
    assert {*names} == {each.name for each in Path("/var").iterdir() if each.is_dir()} | {"task"}


@pytest.fixture(scope="module")
def outside_tmp() -> Iterator[Callable[[str], Any]]:
    """Clients of a local AWS that needs nothing in /tmp."""
    if not ISOLATED or any(Path("/tmp") in path.parents for path in (ROOT, Path(sys.prefix))):  # noqa: S108
        pytest.skip("this system lets no process have mounts of its own, or this project or its Python is in /tmp")
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as directory:
        process, url = start(Path(directory))
        yield clients(url)
        process.terminate()
        process.wait(timeout=10)


def test_new_environment_has_an_empty_tmp_of_the_size_that_is_set(outside_tmp: Any) -> None:
    code = """
        import os
        def handler(event, context):
            names, size = os.listdir("/tmp"), os.statvfs("/tmp")
            open("/tmp/note", "w").close()
            return [names, size.f_blocks * size.f_frsize // 2**20]
    """
    function = deploy(outside_tmp, code, EphemeralStorage={"Size": 600})
    assert [function.invoke().payload for _ in range(2)] == [[[], 600], [["note"], 600]]


def test_other_files_of_the_machine_cannot_be_written(outside_tmp: Any) -> None:
    function = deploy(outside_tmp, f"def handler(event, context): open({str(ROOT / 'build' / 'new')!r}, 'w')")
    assert function.invoke().payload["errorMessage"].startswith("[Errno 30] Read-only file system: ")


def test_files_in_tmp_do_not_count_as_memory_of_the_function(outside_tmp: Any) -> None:
    code = """
        def handler(event, context):
            with open("/tmp/large", "wb") as file:
                for _ in range(300):
                    file.write(bytes(2**20))
            return "more than 128 MB"
    """
    assert deploy(outside_tmp, code).invoke().payload == "more than 128 MB"


def test_functions_share_tmp_with_a_server_in_it(client: Any, tmp_path: Path) -> None:
    if Path("/tmp") not in tmp_path.resolve().parents:  # noqa: S108
        pytest.skip("the server of the tests is elsewhere")
    deploy(client, f"def handler(event, context): open({str(tmp_path / 'new')!r}, 'w')").invoke()
    assert (tmp_path / "new").exists()


def test_missing_isolation_is_explained() -> None:
    text = runtimes.missing_isolation("/usr/bin/false", Path("/"))
    assert text == "Functions do not have their code in /var/task, and can write all files: no reason"


FILL = "b'x' * 500_000_000"


@pytest.mark.parametrize(
    "statement",
    [f"len({FILL})", f'__import__("subprocess").run([__import__("sys").executable, "-c", "len({FILL})"])'],
    ids=["process", "child"],
)
def test_process_that_exceeds_its_memory_is_killed(client: Any, statement: str) -> None:
    result = deploy(client, f"def handler(event, context): {statement}", Timeout=30).invoke()
    message = f"RequestId: {result.request_id} Error: Runtime exited with error: signal: killed"
    assert (result.error, result.payload) == ("Unhandled", {"errorType": "Runtime.ExitError", "errorMessage": message})
    assert f"{message}\nRuntime.ExitError\nEND RequestId: {result.request_id}\nREPORT" in result.log
    assert "Memory Size: 128 MB\tMax Memory Used: 128 MB\t" in result.log
    assert "Status: error\tError Type: Runtime.ExitError" in result.log


@pytest.mark.proof  # a function may be measured just then: several attempts
def test_process_goes_on_for_a_moment_after_it_exceeds_its_memory(client: Any) -> None:
    function = deploy(client, "def handler(event, context): print(len(b'x' * 135_000_000), 'bytes')", Timeout=30)
    until(lambda: {"135000000 bytes\n"} & {*function.lines()} or not function.invoke())
    assert function.invoke().error == "Unhandled"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not tell which pages are shared")
def test_memory_that_children_share_with_the_process_counts_once(client: Any) -> None:
    code = """
        import multiprocessing, time
        data = b"x" * 60_000_000
        def handler(event, context):
            children = [multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.3,)) for _ in range(3)]
            [child.start() for child in children]
            [child.join() for child in children]
            return len(data)
    """
    assert deploy(client, code, Timeout=30).invoke().payload == 60_000_000
