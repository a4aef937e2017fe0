"""A copy of the project whose commands are forked from a warm process, and what its embedded AWS holds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import Project, bare_environment, copy_project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SERVER = Path(__file__).with_name("fork_server.py")
# What differs from one creation of the same thing to the next.
_OF_ITS_OWN = {
    "CreateDate", "CreationDateTime", "EventSourceArn", "EventSourceMappingArn", "LastModified",
    "LastProcessingResult", "LastUpdateToPayPerRequestDateTime", "LatestStreamArn", "LatestStreamLabel",
    "ResponseMetadata", "RevisionId", "RoleId", "RoleLastUsed", "TableId", "UUID", "creationTime", "storedBytes",
}  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (negative: the signal that killed it), what it printed, which calls it made."""

    code: int
    out: str
    err: str
    calls: list[str]

    def expect(self, code: int) -> Ended:
        """Itself, if that was the exit code."""
        if self.code != code:
            raise AssertionError(f"exit code {self.code}, not {code}:\n{self.out}{self.err}")
        return self


@contextmanager
def forking(folder: Path, **settings: str) -> Iterator[Forks]:
    """A project in `folder`, with its embedded AWS and the process that forks; both are ended afterwards."""
    folder.mkdir()
    project = copy_project(folder)
    (folder / "said").mkdir()
    project.run("local.start")
    server = subprocess.Popen(
        [sys.executable, str(_SERVER)],
        cwd=folder,
        env=bare_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Forks(project, server, settings)
    finally:
        server.communicate()
        project.run("local.stop")


class Forks:
    """`forks.invoke("deploy", at=("before", 1, "CreateRole"))`: `invoke`, killed where wanted."""

    def __init__(self, project: Project, server: subprocess.Popen[str], settings: Mapping[str, str]) -> None:
        self.project = project
        self._server = server
        self._settings = settings

    def invoke(
        self, *words: str, at: tuple[str, int, str] | None = None, kill: int = signal.SIGKILL, **settings: Any
    ) -> Ended:
        """Run `invoke` with these words.

        `kill` is sent to it `at` "before" or "after" the how manieth call of an operation; None: never.
        """
        folder = self.project.folder / "said"
        # All is on loopback; and to look for proxies is what a fork on macOS must not do.
        chosen = {**bare_environment(), "no_proxy": "*", "LOCAL_PORT": "0", **self._settings, **settings}
        order = {"words": words, "settings": chosen, "folder": str(folder), "signal": kill, "at": at}
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        calls = (folder / "calls").read_text().split()
        return Ended(code, (folder / "out").read_text(), (folder / "err").read_text(), calls)

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {service: self.project.client(service) for service in ("dynamodb", "iam", "lambda", "logs")}

    def state(self) -> dict[str, Any]:
        """All that the embedded AWS holds, without what differs from one creation of the same thing to the next."""
        dynamodb, iam, lambda_, logs = (self._clients[name] for name in ("dynamodb", "iam", "lambda", "logs"))
        tables = [dynamodb.describe_table(TableName=name)["Table"] for name in dynamodb.list_tables()["TableNames"]]
        functions = [
            lambda_.get_function(FunctionName=each["FunctionName"]) for each in lambda_.list_functions()["Functions"]
        ]
        groups = logs.describe_log_groups()["logGroups"]
        roles = iam.list_roles()["Roles"]
        mappings = lambda_.list_event_source_mappings()["EventSourceMappings"]
        held: dict[str, Any] = _comparable(
            {
                "tables": tables,
                "tags of tables": [dynamodb.list_tags_of_resource(ResourceArn=each["TableArn"]) for each in tables],
                "roles": [iam.get_role(RoleName=each["RoleName"]) for each in roles],
                "policies": [
                    iam.get_role_policy(RoleName=each["RoleName"], PolicyName=name)
                    for each in roles
                    for name in iam.list_role_policies(RoleName=each["RoleName"])["PolicyNames"]
                ],
                "functions": [{**each, "Code": ""} for each in functions],
                "mappings": mappings,
                "tags of mappings": [lambda_.list_tags(Resource=each["EventSourceMappingArn"]) for each in mappings],
                "log groups": groups,
                "tags of log groups": [logs.list_tags_for_resource(resourceArn=each["logGroupArn"]) for each in groups],
            }
        )
        return held

    def holds_nothing(self) -> bool:
        """Whether the embedded AWS is empty."""
        return not any(self.state().values())


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _comparable(each) for name, each in value.items() if name not in _OF_ITS_OWN}
    return [_comparable(each) for each in value] if isinstance(value, list) else value


def count_argument(default: int) -> int:
    """What the script's argument says, as a whole number."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else default
