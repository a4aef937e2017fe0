"""Versions and aliases.

Sources: Lambda guide "Manage Lambda function versions" and "Create an alias for a Lambda function", Lambda API
reference PublishVersion, DeleteFunction, UpdateAlias, and error messages that users quote in issues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.deployed import deploy, zipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.localaws.deployed import Deployed

KEY = "arn:aws:kms:eu-west-1:000000000000:key/11111111-2222-3333-4444-555555555555"
WHO = """
import os
def handler(event, context):
    return [{answer!r}, context.function_version, os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
            context.invoked_function_arn.partition(":function:")[2], context.log_stream_name]
"""


@pytest.fixture
def lambda_(client: Callable[[str], Any]) -> Any:
    return client("lambda")


@pytest.fixture
def function(client: Callable[[str], Any]) -> Deployed:
    """A function with the versions 1 and 2, and the alias live, which names version 1."""
    deployed = deploy(client, WHO.format(answer="old"))
    lambda_ = client("lambda")
    lambda_.publish_version(FunctionName=deployed.name)
    lambda_.create_alias(FunctionName=deployed.name, Name="live", FunctionVersion="1")
    lambda_.update_function_code(FunctionName=deployed.name, ZipFile=zipped(WHO.format(answer="new")), Publish=True)
    return deployed


def versions(lambda_: Any, name: str) -> list[str]:
    pages = lambda_.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    return [each["Version"] for page in pages for each in page["Versions"]]


def message_of(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def test_an_unchanged_function_has_no_second_version(lambda_: Any, function: Deployed) -> None:
    assert lambda_.publish_version(FunctionName=function.name)["Version"] == "2"


def test_a_configuration_that_is_put_back_has_no_new_version(lambda_: Any, function: Deployed) -> None:
    for timeout in (9, 3):
        lambda_.update_function_configuration(FunctionName=function.name, Timeout=timeout)
    assert lambda_.publish_version(FunctionName=function.name)["Version"] == "2"


def test_a_version_keeps_its_configuration(lambda_: Any, function: Deployed) -> None:
    lambda_.update_function_configuration(FunctionName=function.name, KMSKeyArn=KEY)
    version = lambda_.get_function_configuration(FunctionName=function.name, Qualifier="2")
    assert "KMSKeyArn" not in version


def test_the_number_of_a_deleted_version_is_not_used_again(lambda_: Any, function: Deployed) -> None:
    lambda_.delete_function(FunctionName=function.name, Qualifier="2")
    assert lambda_.publish_version(FunctionName=function.name)["Version"] == "3"


def test_a_version_that_an_alias_names_is_not_deleted(lambda_: Any, function: Deployed) -> None:
    """As users quote it: cloud-custodian issue 6739."""
    why = message_of(lambda_.delete_function, FunctionName=function.name, Qualifier="1")
    refusal = "ResourceConflictException: Unable to delete version because the following aliases reference it: [live]"
    assert why == refusal


def test_deleting_a_version_that_does_not_exist_is_no_error(lambda_: Any, function: Deployed) -> None:
    lambda_.delete_function(FunctionName=function.name, Qualifier="99")
    assert versions(lambda_, function.name) == ["$LATEST", "1", "2"]


def test_the_latest_version_is_not_deleted_alone(lambda_: Any, function: Deployed) -> None:
    refused = message_of(lambda_.delete_function, FunctionName=function.name, Qualifier="$LATEST")
    assert refused.endswith("$LATEST version cannot be deleted without deleting the function.")


def test_only_the_code_that_the_request_names_is_published(lambda_: Any, function: Deployed) -> None:
    digest = lambda_.get_function_configuration(FunctionName=function.name)["CodeSha256"]
    refused = message_of(lambda_.publish_version, FunctionName=function.name, CodeSha256="other")
    assert f"CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({digest})." in refused


def test_versions_are_listed_in_pages(lambda_: Any, function: Deployed) -> None:
    page = lambda_.list_versions_by_function(FunctionName=function.name, MaxItems=2)
    assert [each["Version"] for each in page["Versions"]] == ["$LATEST", "1"]


def test_the_versions_of_an_unknown_function_are_not_found(lambda_: Any) -> None:
    assert message_of(lambda_.list_versions_by_function, FunctionName="none").startswith("ResourceNotFoundException")


def test_an_alias_runs_its_version(function: Deployed) -> None:
    *who, stream = function.invoke(Qualifier="live").payload
    assert (who, "/[1]" in stream) == (["old", "1", "1", f"{function.name}:live"], True)


def test_the_next_invocation_of_an_alias_runs_its_new_version(lambda_: Any, function: Deployed) -> None:
    function.invoke(Qualifier="live")
    lambda_.update_alias(FunctionName=function.name, Name="live", FunctionVersion="2")
    assert function.invoke(Qualifier="live").payload[0] == "new"


def test_an_alias_of_another_revision_is_not_updated(lambda_: Any, function: Deployed) -> None:
    alias = {"FunctionName": function.name, "Name": "live"}
    read = lambda_.get_alias(**alias)["RevisionId"]
    lambda_.update_alias(**alias, Description="changed", RevisionId=read)
    why = message_of(lambda_.update_alias, **alias, FunctionVersion="2", RevisionId=read)
    assert why.startswith("PreconditionFailedException: The Revision Id provided does not match")


def test_an_alias_cannot_name_an_unknown_version(lambda_: Any, function: Deployed) -> None:
    why = message_of(lambda_.update_alias, FunctionName=function.name, Name="live", FunctionVersion="99")
    assert why == f"ResourceNotFoundException: Function not found: {function.arn}:99"


def test_an_unknown_alias_is_not_found(lambda_: Any, function: Deployed) -> None:
    why = message_of(lambda_.get_alias, FunctionName=function.name, Name="none")
    assert why == f"ResourceNotFoundException: Cannot find alias arn: {function.arn}:none"


def test_deleting_the_function_deletes_its_aliases(lambda_: Any, function: Deployed) -> None:
    lambda_.delete_function(FunctionName=function.name)
    why = message_of(lambda_.get_alias, FunctionName=function.name, Name="live")
    assert why.startswith("ResourceNotFoundException")
