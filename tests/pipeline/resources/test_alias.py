"""The alias and its versions, in states that AWS shows only for seconds. tests/test_rollback.py has the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.stub import ANY, Stubber

from pipeline.resources import alias

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
