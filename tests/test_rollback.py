"""Versions, the alias and `rollback`. Tests that publish versions have a pipeline of their own."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.forked import KillPoint
from tests.harness.project import target_aws

if TYPE_CHECKING:
    from tests.harness.forked import ForkedProject, Outcome

pytestmark = pytest.mark.proof  # many deploys, end to end: CI runs them with the proofs

# Each version handles a record by writing its name and its own answer to a file.
HANDLER = """
import json

def lambda_handler(event, context):
    with open({handled!r}, "a") as handled:
        for record in event["Records"]:
            print(json.dumps(record))
            handled.write(record["dynamodb"]["Keys"]["name"]["S"] + " {answer}\\n")
"""


@dataclass
class Pipeline:
    """A pipeline whose code the test changes."""

    project: ForkedProject
    name: str
    alias: str = "live"
    its_answer: str = "old"

    def invoke(self, *words: str, code: int = 0, **settings: str) -> Outcome:
        """Run a task with the code of this pipeline, as all pipelines share the project."""
        source = HANDLER.format(handled=str(self.project.folder / self.name), answer=self.its_answer)
        (self.project.folder / "lambda_src" / "example.py").write_text(source)
        settings = {"PIPELINE_NAME": self.name, "FUNCTION_ALIAS": self.alias, **settings}
        return self.project.invoke(*words, **settings).expect(code)

    def deploy(self, answer: str = "", **settings: str) -> Outcome:
        """Deploy, with code that gives this answer."""
        self.its_answer = answer or self.its_answer
        return self.invoke("deploy", code=0, **settings)

    def answer(self) -> str:
        """Put an item, and return the answer of the version that handled it."""
        name = uuid.uuid4().hex
        self.invoke("put-item", "--item", json.dumps({"name": name}))
        deadline = time.monotonic() + 15
        while True:
            handled = [line.split() for line in (self.project.folder / self.name).read_text().splitlines()]
            if answers := [answer for key, answer in handled if key == name]:
                return answers[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @property
    def function(self) -> Any:
        return self.project.client("lambda")

    @property
    def live(self) -> str:
        """The version that the alias names."""
        return str(self.function.get_alias(FunctionName=self.name, Name=self.alias)["FunctionVersion"])

    @property
    def versions(self) -> list[str]:
        listed = self.function.list_versions_by_function(FunctionName=self.name)["Versions"]
        return [each["Version"] for each in listed][1:]

    @property
    def mapping(self) -> tuple[str, str]:
        """The UUID of the mapping, and what it invokes."""
        mappings = self.function.list_event_source_mappings()["EventSourceMappings"]
        (found,) = [each for each in mappings if each["FunctionArn"].split(":")[6] == self.name]
        return found["UUID"], found["FunctionArn"].partition(":function:")[2]


def create(project: ForkedProject, alias: str = "live") -> Pipeline:
    """Deploy a pipeline whose first version answers old."""
    pipeline = Pipeline(project, f"p-{uuid.uuid4().hex[:8]}", alias)
    (project.folder / pipeline.name).touch()
    pipeline.deploy()
    return pipeline


@pytest.fixture
def pipeline(project: ForkedProject) -> Pipeline:
    """A pipeline with one version."""
    return create(project)


@pytest.fixture
def without_alias(project: ForkedProject) -> Pipeline:
    return create(project, "")


@pytest.fixture(scope="module")
def deployed(project: ForkedProject) -> Pipeline:
    pipeline = create(project)
    pipeline.deploy("new")
    return pipeline


@pytest.fixture
def twice(deployed: Pipeline) -> Pipeline:
    """A pipeline whose alias names the second of its versions, which answers new. The tests move only the alias."""
    deployed.function.update_alias(
        FunctionName=deployed.name, Name="live", FunctionVersion="2", Description=f"pipeline={deployed.name}"
    )
    return deployed


def test_each_change_of_the_code_publishes_a_version_that_the_mapping_invokes(twice: Pipeline) -> None:
    assert (twice.versions, twice.live, twice.answer()) == (["1", "2"], "2", "new")


def test_a_change_of_the_configuration_publishes_a_version(pipeline: Pipeline) -> None:
    pipeline.deploy(FUNCTION_TIMEOUT="9")
    assert pipeline.live == "2"


def test_a_second_deploy_writes_nothing(twice: Pipeline) -> None:
    assert twice.deploy().writes == []


def test_tags_publish_no_version(pipeline: Pipeline) -> None:
    pipeline.deploy(TAGS='{"team": "a"}')
    assert pipeline.versions == ["1"]


def test_rollback_runs_the_version_before(twice: Pipeline) -> None:
    ended = twice.invoke("rollback", "--json")
    assert (twice.live, twice.answer()) == ("1", "old")
    assert json.loads(ended.stdout)["result"] == {"from": "2", "to": "1"}


def test_rollback_says_what_the_alias_was_and_is(twice: Pipeline) -> None:
    *_, text = twice.invoke("rollback").stdout.splitlines()
    hashes = [
        twice.function.get_function_configuration(FunctionName=twice.name, Qualifier=each)["CodeSha256"][:8]
        for each in ("2", "1")
    ]
    assert text.startswith("Alias live moved from version 2 (")
    assert all(each in text for each in hashes)


def test_a_dry_rollback_writes_nothing(twice: Pipeline) -> None:
    ended = twice.invoke("rollback", "--dry")
    assert (ended.writes, "FunctionVersion: 2 -> 1" in ended.stdout) == ([], True)
    assert "Alias live would move from version 2 (" in ended.stdout


def test_rollback_to_the_newest_version_ends_the_rollback(twice: Pipeline) -> None:
    before = twice.function.get_alias(FunctionName=twice.name, Name="live")["Description"]
    twice.invoke("rollback")
    twice.invoke("rollback", "--to", "2")
    after = twice.function.get_alias(FunctionName=twice.name, Name="live")["Description"]
    assert (twice.live, after) == ("2", before)


def test_a_deploy_without_a_change_keeps_a_rollback_and_says_so(twice: Pipeline) -> None:
    twice.invoke("rollback")
    assert "rolled back from version 2 to 1" in twice.deploy().stdout
    assert twice.live == "1"


def test_a_deploy_of_other_code_ends_a_rollback(pipeline: Pipeline) -> None:
    pipeline.deploy("new")
    pipeline.invoke("rollback")
    pipeline.deploy("newest")
    assert (pipeline.live, pipeline.answer()) == ("3", "newest")


@pytest.mark.parametrize(
    "point", [KillPoint("before", "PublishVersion"), KillPoint("after", "PublishVersion")], ids=str
)
def test_the_deploy_after_one_that_was_killed_moves_the_alias(pipeline: Pipeline, point: KillPoint) -> None:
    words = ("deploy", "--set", f"PIPELINE_NAME={pipeline.name}", "--set", "FUNCTION_ALIAS=live")
    pipeline.project.kill_at(point, *words, "--set", "FUNCTION_TIMEOUT=9").expect(-9)
    pipeline.deploy(FUNCTION_TIMEOUT="9")
    assert (pipeline.live, pipeline.versions) == ("2", ["1", "2"])


def test_an_alias_that_was_moved_by_hand_is_moved_back(twice: Pipeline) -> None:
    twice.function.update_alias(FunctionName=twice.name, Name="live", FunctionVersion="1")
    assert "FunctionVersion: 1 -> 2" in twice.deploy().stdout


def test_status_shows_the_versions_and_a_rollback(twice: Pipeline) -> None:
    twice.invoke("rollback")
    document = json.loads(twice.invoke("status", "--json", "--check").stdout)["result"]
    (alias,) = [each for each in document["resources"] if each["resource"] == f"alias {twice.name}:live"]
    assert alias["note"].startswith("rolled back from version 2 to 1")
    assert [each.partition(" (")[0] for each in document["facts"]["versions"]] == ["version 1", "version 2"]


def test_versions_beyond_those_kept_are_deleted_except_those_that_an_alias_names(pipeline: Pipeline) -> None:
    pipeline.function.create_alias(FunctionName=pipeline.name, Name="mine", FunctionVersion="1")
    for timeout in ("8", "9"):
        pipeline.deploy(FUNCTION_TIMEOUT=timeout, FUNCTION_VERSIONS_KEPT="1")
    assert pipeline.versions == ["1", "3"]


def test_a_plan_names_the_versions_that_a_deploy_deletes(twice: Pipeline) -> None:
    planned = twice.invoke("deploy", "--dry", FUNCTION_TIMEOUT="9", FUNCTION_VERSIONS_KEPT="2").stdout
    deleted = [line.split("  ")[1] for line in planned.splitlines() if line.startswith("- ")]
    assert deleted == [f"version {twice.name}:1"]


def test_the_mapping_keeps_its_place_when_the_alias_is_introduced_and_given_up(without_alias: Pipeline) -> None:
    pipeline = without_alias
    (uuid, _), aliases = pipeline.mapping, ("live", "prod", "")
    for alias in aliases:
        pipeline.alias = alias
        pipeline.invoke("pause")
        pipeline.invoke("put-item", "--item", json.dumps({"name": f"during-{alias}"}))
        pipeline.deploy()
        assert (pipeline.mapping, pipeline.answer()) == ((uuid, f"{pipeline.name}:{alias}".rstrip(":")), "old")
    handled = (pipeline.project.folder / pipeline.name).read_text().split()
    assert [handled.count(f"during-{alias}") for alias in aliases] == [1, 1, 1]


def test_an_alias_that_is_given_up_is_deleted(pipeline: Pipeline) -> None:
    assert f"- map-stream       alias {pipeline.name}:live" in pipeline.deploy(FUNCTION_ALIAS="").stdout
    assert pipeline.function.list_aliases(FunctionName=pipeline.name)["Aliases"] == []


def test_an_alias_of_others_is_not_moved(without_alias: Pipeline) -> None:
    name = without_alias.name
    without_alias.function.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    refused = without_alias.invoke("deploy", code=1, FUNCTION_ALIAS="live").stderr
    assert f"alias {name}:live already exists and has no pipeline tag" in refused
    without_alias.invoke("deploy", "--adopt", FUNCTION_ALIAS="live")


def test_smoke_and_fetch_logs_find_what_a_version_logs(twice: Pipeline) -> None:
    twice.invoke("smoke")
    assert "Version: 2" in twice.invoke("fetch-logs", "--last", "0").stdout


def test_replay_invokes_the_alias(twice: Pipeline) -> None:
    twice.answer()
    twice.invoke("rollback")
    twice.invoke("replay")
    assert "old" in (twice.project.folder / twice.name).read_text().split()


def test_clean_deletes_the_versions_and_the_alias(pipeline: Pipeline) -> None:
    pipeline.invoke("clean")
    document = json.loads(pipeline.invoke("status", "--json").stdout)["result"]
    assert {each["state"] for each in document["resources"]} == {"missing"}


@pytest.mark.parametrize(
    ("words", "settings", "reason"),
    [
        ([], {"FUNCTION_ALIAS": ""}, "FUNCTION_ALIAS is empty"),
        (["--to", "9"], {}, "--to: '9' is not allowed; allowed: a version of function NAME: 1, 2"),
        (["--to", "x"], {}, "--to: 'x' is not allowed"),
        (["--to", "2"], {}, "alias live is already at version 2"),
        ([], {"FUNCTION_ALIAS": "none"}, "alias NAME:none does not exist"),
    ],
)
def test_rollback_says_what_is_wrong(twice: Pipeline, words: list[str], settings: dict[str, str], reason: str) -> None:
    (line,) = twice.invoke("rollback", *words, code=1, **settings).stderr.splitlines()
    assert line.startswith(f"rollback: {reason.replace('NAME', twice.name)}")


def test_rollback_of_the_first_version_has_nothing_to_go_back_to(twice: Pipeline) -> None:
    twice.invoke("rollback")
    refused = twice.invoke("rollback", code=1).stderr
    assert refused.startswith("rollback: alias live is at version 1, and no earlier version exists")


def test_rollback_asks_on_aws(twice: Pipeline) -> None:
    account = target_aws(twice.project.endpoint)
    assert "pass --yes" in twice.invoke("rollback", code=1, **account).stderr
    twice.invoke("rollback", "--yes", **account)
    assert twice.live == "1"
