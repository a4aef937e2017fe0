"""The alias and its versions, in states that AWS shows only for seconds. tests/test_rollback.py has the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import ANY, Stubber

from pipeline.resources import alias
from pipeline.resources.change import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

LIVE = {"FunctionName": "jobs", "Name": "live", "Description": "pipeline=jobs"}


def test_a_version_that_not_every_server_knows_yet_is_waited_for(aws: Callable[[str], Any]) -> None:
    with Stubber(aws("lambda")) as stub:
        stub.add_client_error("get_alias", "ResourceNotFoundException")
        stub.add_response("list_versions_by_function", {"Versions": [{"Version": "$LATEST"}]})
        stub.add_response("publish_version", {"Version": "1"})
        stub.add_client_error("get_function_configuration", "ResourceNotFoundException")
        stub.add_response("get_function_configuration", {"State": "Active"})
        stub.add_response("create_alias", {}, {**LIVE, "FunctionVersion": "1"})

        assert alias.ensure(aws("lambda"), LIVE).action == "created"


@pytest.mark.parametrize("publish", [True, False], ids=["new", "published before"])
def test_the_alias_is_not_pointed_at_a_version_that_failed(aws: Callable[[str], Any], publish: bool) -> None:
    """Lambda guide, "Lambda SnapStart and function states"."""
    listed = [{"Version": each, "Timeout": 3 if each == "1" or publish else 9} for each in ("$LATEST", "1")]
    listed += [{"Version": "2", "Timeout": 9}] if not publish else []
    at_one = {"Name": "live", "FunctionVersion": "1", "RevisionId": "r", "Description": "pipeline=jobs"}
    with Stubber(aws("lambda")) as stub:
        stub.add_response("get_alias", at_one)
        stub.add_response("list_versions_by_function", {"Versions": listed})
        if publish:
            stub.add_response("publish_version", {"Version": "2"})
        stub.add_response("get_function_configuration", {"State": "Failed", "StateReason": "init failed"})

        with pytest.raises(UserError, match=r"version jobs:2: State is Failed: init failed\. The alias stays"):
            alias.ensure(aws("lambda"), LIVE, publish=publish)
        stub.assert_no_pending_responses()


def test_a_rollback_is_recorded_although_a_list_does_not_show_the_newest_version_yet(
    aws: Callable[[str], Any],
) -> None:
    stale = {"Versions": [{"Version": each} for each in ("$LATEST", "1", "2")]}
    with Stubber(aws("lambda")) as stub:
        stub.add_response(
            "get_alias", {"Name": "live", "FunctionVersion": "3", "RevisionId": "r", "Description": "pipeline=jobs"}
        )
        stub.add_response("list_versions_by_function", stale)
        expected = {
            "FunctionName": "jobs",
            "Name": "live",
            "RevisionId": "r",
            "FunctionVersion": "2",
            "Description": "pipeline=jobs; rolled back from version 3",
            "RoutingConfig": ANY,
        }
        stub.add_response("update_alias", {}, expected)

        alias.point_at(aws("lambda"), LIVE, "2")
