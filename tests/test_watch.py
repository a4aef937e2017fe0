"""watch: what is saved is deployed, and the log is followed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.project import bare_environment, target_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.forked import ForkedProject
    from tests.harness.project import Project

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

NAME = "stream-demo"


class Watch:
    """A running `invoke watch`, and what it has printed since the last look."""

    def __init__(self, project: Project, *words: str, **settings: str) -> None:
        self.project = project
        self.printed = project.folder / "printed"
        with self.printed.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "invoke", "watch", *words],
                cwd=project.folder,
                env={**bare_environment(), "LOCAL_PORT": "0", **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.read = 0
        self.wait_for("Ctrl-C ends")

    def wait_for(self, pattern: str) -> str:
        """Wait until this was printed. Return what was printed since the last wait."""
        deadline = time.monotonic() + 30
        while not re.search(pattern, text := self.printed.read_text()[self.read :], re.DOTALL):
            assert time.monotonic() < deadline, f"{pattern} is not in {text}"
            assert self.process.poll() is None, text
            time.sleep(0.02)
        self.read += len(text)
        return text

    def save(self, name: str, text: str, until: str) -> str:
        """Write a file, as an editor does. Return what was printed until this pattern."""
        path = self.project.folder / name
        draft = path.with_name(f"{path.name}~")
        draft.write_text(text)
        draft.replace(path)
        return self.wait_for(until)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=20)


@pytest.fixture(scope="module")
def watch(new_project: Callable[[], Project]) -> Iterator[Watch]:
    started = Watch(new_project())
    yield started
    started.process.kill()


def put(project: Project, name: str) -> None:
    project.client("dynamodb").put_item(TableName=NAME, Item={"name": {"S": name}})


def changes(printed: str) -> list[str]:
    return re.findall(r"^[+~!-] ([\w-]+)", printed, re.MULTILINE)


@pytest.mark.proof
def test_saved_code_is_deployed_and_what_it_prints_is_shown(watch: Watch) -> None:
    code = (watch.project.folder / "lambda_src" / "example.py").read_text()
    printed = watch.save("lambda_src/example.py", code + "\nprint('new code')\n", "up to date")
    assert changes(printed) == ["zip-code", "create-function"]
    put(watch.project, "one")
    watch.wait_for('new code\n.*"S": "one".*REPORT')


@pytest.mark.proof
def test_a_saved_policy_is_put(watch: Watch) -> None:
    policy = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}'
    assert changes(watch.save("policies/queue-policy.json", policy, "up to date")) == ["put-policy"]


@pytest.mark.proof
def test_saved_settings_change_just_what_they_name(watch: Watch) -> None:
    printed = watch.save(".env", "BATCH_SIZE=7\n", "up to date")
    assert changes(printed) == ["map-stream"]
    assert "BatchSize: 100 -> 7" in printed


@pytest.mark.proof
def test_a_syntax_error_is_shown_and_the_old_code_stays(watch: Watch) -> None:
    lambda_ = watch.project.client("lambda")
    before = lambda_.get_function_configuration(FunctionName=NAME)["CodeSha256"]
    printed = watch.save("lambda_src/helper.py", "def broken(:\n", "is not deployed")
    assert "watch: SyntaxError: invalid syntax (helper.py, line 1)" in printed
    assert lambda_.get_function_configuration(FunctionName=NAME)["CodeSha256"] == before
    assert "create-function" in changes(watch.save("lambda_src/helper.py", "x = 1\n", "up to date"))


@pytest.mark.proof
def test_code_without_the_handler_is_reported_and_watch_goes_on(watch: Watch) -> None:
    code = (watch.project.folder / "lambda_src" / "example.py").read_text()
    watch.save("lambda_src/example.py", "x = 1\n", "example.py does not define lambda_handler")
    watch.save("lambda_src/example.py", code, "up to date")


@pytest.mark.proof
def test_invalid_settings_are_reported_and_the_old_ones_stay(watch: Watch) -> None:
    mapping = watch.project.client("lambda").list_event_source_mappings(FunctionName=NAME)["EventSourceMappings"]
    printed = watch.save(".env", "BATCH_SIZE=many\n", "up to date")
    assert "BATCH_SIZE: 'many' is not allowed" in printed
    assert "The old settings remain in use." in printed
    now = watch.project.client("lambda").list_event_source_mappings(FunctionName=NAME)["EventSourceMappings"]
    assert now == mapping


@pytest.mark.proof
def test_the_settings_of_another_pipeline_are_refused(watch: Watch) -> None:
    printed = watch.save(".env", "PIPELINE_NAME=other\n", "The old settings remain in use")
    assert "PIPELINE_NAME, FUNCTION_NAME: restart watch to apply this change" in printed


@pytest.mark.proof
def test_ctrl_c_ends_with_success(watch: Watch) -> None:
    assert watch.end() == 0


@pytest.mark.proof
def test_smoke_proves_each_save(new_project: Callable[[], Project]) -> None:
    watch = Watch(new_project(), "--smoke")
    code = (watch.project.folder / "lambda_src" / "example.py").read_text()
    watch.save("lambda_src/example.py", f"{code}\nprint('new')\n", "smoke: item reached /aws/lambda/stream-demo")
    broken = code.replace("        handle(record)", "        raise ValueError('broken')")
    watch.save("lambda_src/example.py", broken, "watch: the .*ValueError: broken")
    assert watch.end() == 0


@pytest.mark.proof
def test_a_real_account_is_asked_about_once(new_project: Callable[[], Project]) -> None:
    project = new_project()
    project.run("local.start")
    watch = Watch(project, "--yes", **target_aws(project.endpoint))
    watch.save(".env", "BATCH_SIZE=7\n", "BatchSize: 100 -> 7")
    assert watch.end() == 0


def test_watch_on_a_real_account_needs_an_answer(project: ForkedProject) -> None:
    account: dict[str, Any] = target_aws(project.endpoint)
    refused = project.invoke("watch", **account).expect(1)
    assert "+ create-function  function stream-demo" in refused.stdout
    assert "watch: then deploys each save without confirmation" in refused.stderr
    assert "stdin is not a terminal; pass --yes" in refused.stderr
    assert refused.writes == []


def test_watch_does_not_begin_with_a_syntax_error(project: ForkedProject) -> None:
    helper = project.folder / "lambda_src" / "helper.py"
    helper.write_text("def broken(:\n")
    refused = project.invoke("watch")
    helper.unlink()
    assert "watch: SyntaxError: invalid syntax (helper.py, line 1)" in refused.expect(1).stderr
    assert refused.writes == []


def test_a_dry_run_plans_and_ends(project: ForkedProject) -> None:
    planned = project.invoke("--dry", "watch").expect(0)
    assert "plan: 7 created" in planned.stdout
    assert planned.writes == []


def test_a_smoke_test_of_a_table_of_others_is_refused(project: ForkedProject) -> None:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/theirs"
    assert "--smoke is not allowed with TABLE_ARN" in project.refusal("watch", "--smoke", TABLE_ARN=arn)
