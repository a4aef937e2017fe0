"""Invoke runs the deployed code.

Sources: Lambda API reference "Invoke", Lambda guide "Using the Lambda runtime API" and "Define Lambda function handler
in Python", and answers recorded from AWS in LocalStack's tests of Lambda.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localaws.lambda_ import interpreters
from tests.localaws.conftest import REGION, clients, start
from tests.localaws.deployed import allow, deploy, zipped
from tests.localaws.pipe import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.localaws.deployed import Deployed


@pytest.fixture(scope="module")
def pure_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Clients of a local AWS that runs functions on the pure-Python runtime client, as on macOS."""
    process, url = start(tmp_path_factory.mktemp("pure"), "--pure-client")
    yield clients(url)
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(scope="module", params=["client", "pure_client"])
def either(request: pytest.FixtureRequest) -> Any:
    """Clients of a local AWS with AWS's runtime client, and of one with ours."""
    return request.getfixturevalue(request.param)


def error_of(call: Callable[[], Any]) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


CONTEXT = """
def handler(event, context):
    names = ("function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "log_group_name",
             "log_stream_name", "aws_request_id")
    seen = {name: getattr(context, name) for name in names}
    custom = context.client_context.custom if context.client_context else None
    return {**seen, "remaining": context.get_remaining_time_in_millis(), "custom": custom}
"""


def test_invoke_passes_the_event_and_returns_the_result(either: Any) -> None:
    assert deploy(either).invoke({"a": ["ü", 1.5, None]}).payload == {"a": ["ü", 1.5, None]}


def test_missing_payload_is_an_empty_event(client: Any) -> None:
    answer = client("lambda").invoke(FunctionName=deploy(client).name)
    assert json.loads(answer["Payload"].read()) == {}


def test_context_object_describes_the_function(either: Any) -> None:
    function = deploy(either, CONTEXT, MemorySize=256, Timeout=5)
    seen = function.invoke().payload
    assert 4000 < seen.pop("remaining") <= 5000
    assert seen.pop("aws_request_id")
    assert seen == {
        "function_name": function.name,
        "function_version": "$LATEST",
        "invoked_function_arn": function.arn,
        "memory_limit_in_mb": "256",
        "log_group_name": f"/aws/lambda/{function.name}",
        "log_stream_name": function.streams()[0],
        "custom": None,
    }


def test_request_id_is_the_same_in_response_context_and_log(client: Any) -> None:
    result = deploy(client, CONTEXT).invoke()
    assert result.payload["aws_request_id"] == result.request_id
    assert f"START RequestId: {result.request_id} " in result.log


def test_client_context_reaches_the_context_object(either: Any) -> None:
    context = base64.b64encode(json.dumps({"custom": {"a": "b"}}).encode()).decode()
    assert deploy(either, CONTEXT).invoke(ClientContext=context).payload["custom"] == {"a": "b"}


def test_environment_has_the_variables_of_lambda_and_of_the_function(client: Any) -> None:
    code = "import os\ndef handler(event, context): return dict(os.environ)"
    function = deploy(client, code, Environment={"Variables": {"OWN": "value"}}, MemorySize=256)
    seen = function.invoke().payload
    assert {
        "OWN": "value",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "_HANDLER": "code.handler",
        "TZ": ":UTC",
    }.items() <= seen.items()


def test_function_does_not_inherit_the_environment_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_SECRET", "leaked")
    server, client = own_server(tmp_path)
    seen = deploy(client, "import os\ndef handler(event, context): return dict(os.environ)").invoke().payload
    server.terminate()
    server.wait(timeout=10)
    assert "leaked" not in seen.values()
    assert seen["AWS_ACCESS_KEY_ID"] != os.environ.get("AWS_ACCESS_KEY_ID")


@pytest.mark.parametrize("library", ["boto3", "botocore", "urllib3", "dateutil", "jmespath"])
def test_function_can_import_the_libraries_of_the_runtime(client: Any, library: str) -> None:
    code = f"import {library}\ndef handler(event, context): return {library}.__name__"
    assert deploy(client, code).invoke().payload == library


def test_function_cannot_import_the_libraries_of_the_host(client: Any) -> None:
    result = deploy(client, "import flask").invoke()
    assert result.payload["errorMessage"] == "Unable to import module 'code': No module named 'flask'"


def test_later_layer_wins(client: Any) -> None:
    arns = [
        client("lambda").publish_layer_version(
            LayerName=name, Content={"ZipFile": zipped(f"NAME = {name!r}", name="python/layered.py")}
        )["LayerVersionArn"]
        for name in ("lower", "upper")
    ]
    function = deploy(client, "import layered\ndef handler(event, context): return layered.NAME", Layers=arns)
    assert function.invoke().payload == "upper"


@pytest.mark.proof  # asks a dozen interpreters
@pytest.mark.parametrize("version", [f"3.{minor}" for minor in range(9, 15)])
def test_function_runs_on_the_python_of_its_runtime_if_installed(either: Any, version: str) -> None:
    """Another Python than the server's cannot import the C runtime client, so it uses ours."""
    code = "import sys\ndef handler(event, context): return '%d.%d' % sys.version_info[:2]"
    own = ".".join(map(str, sys.version_info[:2]))
    expected = version if interpreters.find(f"python{version}") else own
    assert deploy(either, code, Runtime=f"python{version}").invoke().payload == expected


# A Python that this machine lacks, and an architecture that it has not.
MISSING = next(f"python3.{minor}" for minor in range(15, 8, -1) if not interpreters.find(f"python3.{minor}"))
OTHER = "x86_64" if platform.machine() in ("arm64", "aarch64") else "arm64"


def runtime_error(function: Deployed) -> str:
    """The error that the configuration shows about the runtime; "" if there is none."""
    configuration = function.client("lambda").get_function_configuration(FunctionName=function.name)
    return str(configuration["RuntimeVersionConfig"].get("Error", {}).get("Message", ""))


def test_configuration_and_log_name_a_missing_interpreter_and_the_command_that_installs_it(client: Any) -> None:
    function = deploy(client, Runtime=MISSING)
    function.invoke()
    error = runtime_error(function)
    assert f"lacks {MISSING}; compiled dependencies may fail to import. Try: uv python install {MISSING[6:]}, " in error
    assert function.lines()[0].endswith(f"\tError: {error}\n")


def test_configuration_names_another_architecture(client: Any) -> None:
    function = deploy(client, Runtime=f"python3.{sys.version_info.minor}", Architectures=[OTHER])
    assert f", not on Linux {OTHER}; compiled dependencies may fail to import" in runtime_error(function)


def test_function_of_another_language_cannot_be_invoked(client: Any) -> None:
    function = deploy(client, Runtime="nodejs22.x")
    assert error_of(function.invoke)[0] == "InvalidRuntimeException"
    assert "The function has the runtime nodejs22.x, but" in runtime_error(function)


@pytest.mark.proof  # the server searches again after five seconds
def test_interpreter_that_is_installed_later_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path))
    server, client = own_server(tmp_path / "server")
    function = deploy(client, "import os\ndef handler(event, context): return os.environ.get('NEW')", Runtime=MISSING)
    assert function.invoke().payload is None
    python = tmp_path / f"cpython-{MISSING[6:]}.0" / "bin" / MISSING
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec echo {MISSING} $0\nNEW=1 exec {sys.executable} "$@"\n')
    python.chmod(0o700)
    until(lambda: function.invoke().payload == "1")
    server.terminate()
    server.wait(timeout=10)


def test_warm_process_is_reused(client: Any) -> None:
    function = deploy(client, "import os\ndef handler(event, context): return os.getpid()")
    assert function.invoke().payload == function.invoke().payload


def test_new_code_replaces_the_process(client: Any) -> None:
    function = deploy(client, "def handler(event, context): return 'old'")
    function.invoke()
    client("lambda").update_function_code(
        FunctionName=function.name, ZipFile=zipped("def handler(event, context): return 'new'")
    )
    assert function.invoke().payload == "new"


def test_new_code_has_the_path_of_the_old(client: Any) -> None:
    code = "def handler(event, context): return __file__, {!r}"
    one = deploy(client, code.format("old"))
    before = one.invoke().payload
    client("lambda").update_function_code(FunctionName=one.name, ZipFile=zipped(code.format("new")))
    assert (before[1], one.invoke().payload) == ("old", [before[0], "new"])


def test_new_configuration_replaces_the_process(client: Any) -> None:
    function = deploy(client, "import os\ndef handler(event, context): return os.environ.get('OWN')")
    function.invoke()
    client("lambda").update_function_configuration(
        FunctionName=function.name, Environment={"Variables": {"OWN": "new"}}
    )
    assert function.invoke().payload == "new"


def test_concurrent_invocations_run_in_separate_processes(client: Any, tmp_path: Path) -> None:
    """Each invocation waits until the other one has begun."""
    code = """
        import os, pathlib, time
        def handler(event, context):
            folder = pathlib.Path(os.environ["FOLDER"])
            (folder / event["me"]).touch()
            while not (folder / event["other"]).exists():
                time.sleep(0.01)
            return os.getpid()
    """
    function = deploy(client, code, Timeout=15, Environment={"Variables": {"FOLDER": str(tmp_path)}})
    pids: list[int] = []
    events = ({"me": "a", "other": "b"}, {"me": "b", "other": "a"})
    threads = [
        threading.Thread(target=lambda event=event: pids.append(function.invoke(event).payload)) for event in events
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pids)) == 2


def test_published_version_keeps_its_code(client: Any) -> None:
    function = deploy(client, "def handler(event, context): return 'first'")
    version = client("lambda").publish_version(FunctionName=function.name)["Version"]
    client("lambda").update_function_code(
        FunctionName=function.name, ZipFile=zipped("def handler(event, context): return 'second'")
    )
    result = function.invoke(Qualifier=version)
    assert (result.payload, result.answer["ExecutedVersion"]) == ("first", version)


def test_invoked_arn_has_the_alias(client: Any) -> None:
    function = deploy(client, "def handler(event, context): return context.invoked_function_arn")
    client("lambda").create_alias(FunctionName=function.name, Name="live", FunctionVersion="$LATEST")
    assert function.invoke(FunctionName=f"{function.arn}:live").payload == f"{function.arn}:live"


def test_exception_is_an_unhandled_error_with_its_stack(either: Any) -> None:
    result = deploy(either, "def handler(event, context):\n    raise ValueError('oh')").invoke()
    assert result.error == "Unhandled"
    assert result.payload["errorType"] == "ValueError"
    assert result.payload["errorMessage"] == "oh"
    assert result.payload["requestId"] == result.request_id
    assert result.payload["stackTrace"][0].splitlines()[-1].strip() == "raise ValueError('oh')"


@pytest.mark.parametrize(
    ("code", "handler", "error_type", "message"),
    [
        ("", "absent.handler", "Runtime.ImportModuleError", "Unable to import module 'absent'"),
        ("", "code.absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'code'"),
        ("def (", "code.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'code'"),
        ("", "handler", "Runtime.MalformedHandlerName", "Bad handler 'handler'"),
        ("raise ValueError('at import')", "code.handler", "ValueError", "at import"),
    ],
)
def test_error_at_import_has_its_type_and_no_request_id(
    either: Any, code: str, handler: str, error_type: str, message: str
) -> None:
    result = deploy(either, code, Handler=handler).invoke()
    assert (result.error, result.payload["errorType"], result.payload["requestId"]) == ("Unhandled", error_type, "")
    assert message in result.payload["errorMessage"]


def test_result_that_is_not_json_is_a_marshal_error(client: Any) -> None:
    result = deploy(client, "def handler(event, context): return {1, 2}").invoke()
    assert result.payload["errorType"] == "Runtime.MarshalError"
    assert result.payload["errorMessage"].startswith("Unable to marshal response: Object of type set is not JSON")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("import sys; sys.exit(1)", "exited with error: exit status 1"),
        ("import os; os._exit(0)", "exited without providing a reason"),
        ("import os; os.kill(os.getpid(), 9)", "exited with error: signal: killed"),
    ],
)
def test_process_that_exits_is_a_runtime_exit_error(either: Any, statement: str, reason: str) -> None:
    result = deploy(either, f"def handler(event, context): {statement}").invoke()
    assert result.error == "Unhandled"
    message = f"RequestId: {result.request_id} Error: Runtime {reason}"
    assert result.payload == {"errorType": "Runtime.ExitError", "errorMessage": message}


def test_function_runs_in_a_new_process_after_an_exit(client: Any) -> None:
    function = deploy(client, "import os\ndef handler(event, context): return os._exit(1) if event else 'alive'")
    function.invoke({"exit": True})
    assert function.invoke().payload == "alive"


def test_process_killed_while_idle_is_replaced(client: Any) -> None:
    function = deploy(client, "import os\ndef handler(event, context): return os.getpid()")
    killed = function.invoke().payload
    os.kill(killed, 9)
    until(
        lambda: (
            subprocess.run(["ps", "-o", "stat=", "-p", str(killed)], capture_output=True, check=False).stdout[:1]
            in (b"", b"Z")
        )
    )
    result = function.invoke()
    assert (result.error, result.payload != killed) == ("", True)


def test_timeout_kills_the_process_and_its_children(client: Any) -> None:
    """The child would keep the function's output open forever."""
    code = """
        import os, subprocess, time
        def handler(event, context):
            child = subprocess.Popen(["sleep", "1000"])
            print(f"child {child.pid}.")
            time.sleep(1000)
    """
    result = deploy(client, code, Timeout=1).invoke()
    message = f"RequestId: {result.request_id} Error: Task timed out after 1.00 seconds"
    assert result.payload == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    child = int(result.log.partition("child ")[2].partition(".")[0])
    until(lambda: not is_running(child))


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_response_over_six_megabytes_is_refused(either: Any) -> None:
    result = deploy(either, "def handler(event, context): return 'x' * 6291600").invoke()
    assert result.error == "Unhandled"
    assert result.payload == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }


def test_response_of_six_megabytes_succeeds(either: Any) -> None:
    assert len(deploy(either, "def handler(event, context): return 'x' * 6291000").invoke().payload) == 6291000


def test_unknown_request_to_the_runtime_api_is_not_the_response(client: Any) -> None:
    """Another program on the machine may find the port of the function's Runtime API."""
    code = """
        import http.client, os
        def handler(event, context):
            other = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
            other.request("GET", "/")
            return other.getresponse().status
    """
    assert deploy(client, code).invoke().payload == 404


def test_event_over_six_megabytes_is_refused(client: Any) -> None:
    payload = json.dumps("x" * 6291500)
    code, message, status = error_of(lambda: deploy(client).invoke(Payload=payload))
    assert (code, status) == ("RequestEntityTooLargeException", 413)
    assert message == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


def test_payload_that_is_not_json_is_refused(client: Any) -> None:
    code, message, status = error_of(lambda: deploy(client).invoke(Payload=b"{"))
    assert (code, status) == ("InvalidRequestContentException", 400)
    assert message.startswith("Could not parse request body into json")


def test_unknown_function_is_not_found(client: Any) -> None:
    code, message, status = error_of(lambda: client("lambda").invoke(FunctionName="absent"))
    assert (code, status) == ("ResourceNotFoundException", 404)
    assert message == f"Function not found: arn:aws:lambda:{REGION}:000000000000:function:absent"


def test_dry_run_returns_204_and_runs_nothing(client: Any) -> None:
    function = deploy(client)
    assert function.invoke(InvocationType="DryRun").answer["StatusCode"] == 204
    assert function.streams() == []


def test_event_invocation_returns_202_and_runs_later(client: Any) -> None:
    function = deploy(client, "def handler(event, context): print('ran')")
    result = function.invoke(InvocationType="Event")
    assert (result.answer["StatusCode"], result.payload) == (202, None)
    until(lambda: f"START RequestId: {result.request_id} Version: $LATEST\n" in function.lines())
    until(lambda: "ran\n" in function.lines())


def test_failed_event_invocation_is_retried_twice(client: Any) -> None:
    """Lambda guide, "How Lambda handles errors and retries with asynchronous invocation"."""
    function = deploy(client, "def handler(event, context): raise ValueError")
    request_id = function.invoke(InvocationType="Event").request_id
    start_line = f"START RequestId: {request_id} Version: $LATEST\n"
    until(lambda: function.lines().count(start_line) == 3)


def test_reserved_concurrency_of_zero_refuses_every_invocation(client: Any) -> None:
    function = deploy(client)
    client("lambda").put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    code, message, status = error_of(function.invoke)
    assert (code, message, status) == ("TooManyRequestsException", "Rate Exceeded.", 429)


def test_a_hundred_of_an_accounts_concurrent_executions_cannot_be_reserved(client: Any) -> None:
    """Lambda guide, "Configuring reserved concurrency"; the error message that users quote in issues."""
    function = deploy(client)
    with pytest.raises(ClientError, match="UnreservedConcurrentExecution below its minimum value of \\[100\\]"):
        client("lambda").put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=901)


def test_reserved_concurrency_of_one_refuses_a_second_invocation(client: Any, tmp_path: Path) -> None:
    code = """
        import os, pathlib, time
        def handler(event, context):
            folder = pathlib.Path(os.environ["FOLDER"])
            (folder / "began").touch()
            while not (folder / "go").exists():
                time.sleep(0.01)
    """
    function = deploy(client, code, Timeout=20, Environment={"Variables": {"FOLDER": str(tmp_path)}})
    client("lambda").put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=1)
    function.invoke(InvocationType="Event")
    until((tmp_path / "began").exists)
    code_of_second, _, status = error_of(function.invoke)
    (tmp_path / "go").touch()
    assert (code_of_second, status) == ("TooManyRequestsException", 429)


def test_topic_invokes_a_subscribed_function(client: Any) -> None:
    function = deploy(client, "def handler(event, context): print(event['Records'][0]['Sns']['Message'])")
    topic = client("sns").create_topic(Name=function.name)["TopicArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function.arn)
    client("sns").publish(TopicArn=topic, Message="published")
    until(lambda: "published\n" in function.lines())


def test_deleted_function_leaves_no_process(client: Any) -> None:
    function = deploy(client, "import os\ndef handler(event, context): return os.getpid()")
    process_id = function.invoke().payload
    client("lambda").delete_function(FunctionName=function.name)
    until(lambda: not is_running(process_id))


@pytest.mark.proof  # starts a local AWS of its own
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_idle_processes_end_with_the_server(tmp_path: Path, number: int) -> None:
    server, client = own_server(tmp_path)
    process_id = deploy(client, "import os\ndef handler(event, context): return os.getpid()").invoke().payload
    server.send_signal(number)
    server.wait(timeout=10)
    until(lambda: not is_running(process_id))


@pytest.mark.proof  # starts a local AWS of its own
def test_busy_processes_end_with_the_server(tmp_path: Path) -> None:
    server, client = own_server(tmp_path)
    code = """
        import os, pathlib, time
        def handler(event, context):
            pathlib.Path(os.environ["PID"]).write_text(f"{os.getpid()}.")
            time.sleep(1000)
    """
    note = tmp_path / "pid"
    function = deploy(client, code, Timeout=900, Environment={"Variables": {"PID": str(note)}})
    function.invoke(InvocationType="Event")
    until(lambda: note.exists() and note.read_text().endswith("."))
    server.terminate()
    server.wait(timeout=10)
    until(lambda: not is_running(int(note.read_text()[:-1])))


def own_server(folder: Path) -> tuple[subprocess.Popen[bytes], Callable[[str], Any]]:
    """Start a local AWS for one test; return its process and clients."""
    server, url = start(folder)
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=REGION)
    return server, lambda service: session.client(service, endpoint_url=url)


def test_function_calls_other_services_of_the_local_aws(client: Any) -> None:
    code = """
        import boto3
        def handler(event, context):
            return boto3.client("sts").get_caller_identity()["Arn"]
    """
    function: Deployed = deploy(client, code, statements=(allow(["logs:*"]),), Timeout=10)
    role = function.role.rpartition("/")[2]
    assert function.invoke().payload == f"arn:aws:sts::000000000000:assumed-role/{role}/{function.name}"


def test_function_that_is_deleted_while_it_runs_ends_its_invocation(client: Callable[[str], Any]) -> None:
    """Its process ends afterwards, and a function of the same name gets a new one."""
    code = "import os, time\ndef handler(event, context):\n  time.sleep(1)\n  return os.getpid()"
    one, payloads = deploy(client, code), []
    running = threading.Thread(target=lambda: payloads.append(one.invoke().payload))
    running.start()
    until(one.streams)
    client("lambda").delete_function(FunctionName=one.name)
    options = {"Runtime": "python3.11", "Handler": "code.handler", "Code": {"ZipFile": zipped(code)}}
    client("lambda").create_function(FunctionName=one.name, Role=one.role, **options)
    running.join()
    (process,) = payloads
    with pytest.raises(ProcessLookupError):
        until(lambda: os.kill(process, 0))
    assert one.invoke().payload != process
