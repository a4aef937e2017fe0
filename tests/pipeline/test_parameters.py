"""Settings -> the parameters of AWS's create calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from pipeline import parameters
from pipeline.resources.change import UserError, is_recorded, record, tag_map
from pipeline.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping

STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/stream-demo/stream/2026-01-31T08:00:00.000"
ROLE = "arn:aws:iam::123456789012:role/stream-demo-role"
GROUP = '{"LoggingConfig": {"LogGroup": "/jobs/nightly"}}'
# Parameters of other calls, which the resource modules make after the create call.
OTHER_CALLS = {"PointInTimeRecoverySpecification", "ManagedPolicyArns", "ReservedConcurrentExecutions"}
EVERYTHING = {
    "TABLE_SORT_KEY": "at:N",
    "TABLE_BILLING_MODE": "PROVISIONED",
    "TABLE_OPTIONS": '{"TableClass": "STANDARD"}',
    "ROLE_PERMISSIONS_BOUNDARY": "arn:aws:iam::123456789012:policy/boundary",
    "ROLE_OPTIONS": '{"MaxSessionDuration": 7200}',
    "FUNCTION_LOG_FORMAT": "JSON",
    "FUNCTION_LAYERS": "arn:aws:lambda:us-east-1:123456789012:layer:numpy:1",
    "FUNCTION_OPTIONS": GROUP,
    "FILTER_CRITERIA": '{"Filters": [{"Pattern": "{}"}]}',
    "ON_FAILURE": "arn:aws:sqs:us-east-1:123456789012:discarded",
    "MAPPING_OPTIONS": '{"MetricsConfig": {"Metrics": ["EventCount"]}}',
    "TAGS": '{"stage": "test"}',
}


def settings(**overrides: str) -> Settings:
    return load(None, {}, overrides)


def created(chosen: Settings) -> dict[str, dict[str, Any]]:
    """Return the parameters of each create call, by service and operation."""
    function = parameters.function(chosen, ROLE, b"zip")
    role = parameters.role(chosen, {"Version": "2012-10-17"})
    return {
        "dynamodb CreateTable": parameters.table(chosen),
        # The resource module turns these into the lists and texts that the call takes.
        "iam CreateRole": {**role, "AssumeRolePolicyDocument": "{}"},
        "lambda CreateFunction": function,
        "lambda CreateEventSourceMapping": parameters.mapping(chosen, STREAM),
    }


@pytest.mark.parametrize("overrides", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("operation", created(settings()))
def test_aws_accepts_the_parameters(operation: str, overrides: Mapping[str, str]) -> None:
    service, name = operation.split(" ")
    model: Any = botocore.session.get_session().get_service_model(service)
    sent = {key: value for key, value in created(settings(**overrides))[operation].items() if key not in OTHER_CALLS}
    sent = {key: value for key, value in sent.items() if value != ""}  # "": none
    report = ParamValidator().validate(sent, model.operation_model(name).input_shape)
    assert not report.has_errors(), report.generate_report()


def test_a_mapping_without_a_destination_and_filters_is_created_without_their_parameters() -> None:
    """AWS: "The Destination field is required for an OnFailure configuration"."""
    assert not {"DestinationConfig", "FilterCriteria"} & parameters.mapping(settings(), STREAM).keys()


def test_every_resource_has_the_tag_of_its_pipeline_and_the_tags_of_the_settings() -> None:
    chosen = settings(PIPELINE_NAME="nightly", TAGS='{"stage": "test"}')
    tags = {"stage": "test", **record(["stage"]), "pipeline": "nightly"}
    as_list = [{"Key": name, "Value": value} for name, value in tags.items()]
    assert parameters.table(chosen)["Tags"] == parameters.role(chosen, {})["Tags"] == as_list
    assert parameters.function(chosen, ROLE, b"")["Tags"] == parameters.mapping(chosen, STREAM)["Tags"] == tags
    assert parameters.log_group(chosen)["tags"] == tags


def test_the_table_has_the_keys_of_the_settings() -> None:
    table = parameters.table(settings(TABLE_KEY="a:b:S", TABLE_SORT_KEY="at:N"))
    assert table["KeySchema"] == [
        {"AttributeName": "a:b", "KeyType": "HASH"},
        {"AttributeName": "at", "KeyType": "RANGE"},
    ]
    assert table["AttributeDefinitions"] == [
        {"AttributeName": "a:b", "AttributeType": "S"},
        {"AttributeName": "at", "AttributeType": "N"},
    ]


def test_the_table_has_capacity_units_only_when_they_are_provisioned() -> None:
    units = {"TABLE_READ_CAPACITY_UNITS": "2", "TABLE_WRITE_CAPACITY_UNITS": "3"}
    assert "ProvisionedThroughput" not in parameters.table(settings(**units))
    provisioned = parameters.table(settings(TABLE_BILLING_MODE="PROVISIONED", **units))
    assert provisioned["ProvisionedThroughput"] == {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}


def test_the_function_has_a_log_level_only_with_the_json_format() -> None:
    text = parameters.function(settings(FUNCTION_LOG_LEVEL="DEBUG"), ROLE, b"")
    assert text["LoggingConfig"] == {"LogFormat": "Text"}
    as_json = parameters.function(settings(FUNCTION_LOG_FORMAT="JSON", FUNCTION_LOG_LEVEL="DEBUG"), ROLE, b"")
    assert as_json["LoggingConfig"] == {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"}


def test_function_options_extend_the_logging_configuration() -> None:
    function = parameters.function(settings(FUNCTION_OPTIONS=GROUP), ROLE, b"")
    assert function["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/jobs/nightly"}


def test_the_log_group_is_that_of_the_function_or_of_its_options() -> None:
    assert parameters.log_group_name(settings(FUNCTION_NAME="jobs")) == "/aws/lambda/jobs"
    assert parameters.log_group(settings(FUNCTION_OPTIONS=GROUP))["logGroupName"] == "/jobs/nightly"


def test_a_retention_of_0_days_keeps_the_logs_forever() -> None:
    assert parameters.log_group(settings(LOG_RETENTION_IN_DAYS="0"))["retentionInDays"] is None
    assert parameters.log_group(settings(LOG_RETENTION_IN_DAYS="7"))["retentionInDays"] == 7


def test_the_mapping_reports_batch_item_failures_only_if_the_setting_says_so() -> None:
    chosen = settings(FUNCTION_RESPONSE_TYPES="ReportBatchItemFailures")
    assert parameters.mapping(chosen, STREAM)["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert parameters.mapping(settings(), STREAM)["FunctionResponseTypes"] == []


def test_the_tags_of_the_role_record_its_managed_policies_too() -> None:
    managed = "arn:aws:iam::123456789012:policy/managed"
    tags = tag_map(parameters.role(settings(ROLE_MANAGED_POLICY_ARNS=managed), {})["Tags"])
    assert is_recorded(managed, tags)


@pytest.mark.parametrize(
    ("destination", "actions", "resources"),
    [
        ("arn:aws:sqs:us-east-1:123456789012:q", ["sqs:SendMessage"], "arn:aws:sqs:us-east-1:123456789012:q"),
        ("arn:aws:sns:us-east-1:123456789012:t", ["sns:Publish"], "arn:aws:sns:us-east-1:123456789012:t"),
        ("arn:aws:s3:::bucket", ["s3:ListBucket", "s3:PutObject"], ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]),
    ],
)
def test_the_on_failure_policy_allows_delivery_to_the_destination_and_nothing_else(
    destination: str, actions: list[str], resources: str | list[str]
) -> None:
    (statement,) = parameters.on_failure_policy(destination)["Statement"]
    assert statement == {"Effect": "Allow", "Action": actions, "Resource": resources}


def test_the_tokens_of_the_policies_are_those_of_the_account_and_the_settings() -> None:
    tokens = parameters.policy_tokens(
        settings(AWS_REGION="cn-north-1", TABLE_NAME="orders", FUNCTION_OPTIONS=GROUP),
        "arn:aws-cn:sts::123456789012:assumed-role/admin/me",
    )
    assert tokens == {
        "AWS::Partition": "aws-cn",
        "AWS::Region": "cn-north-1",
        "AWS::AccountId": "123456789012",
        "TableAccountId": "123456789012",
        "TableName": "orders",
        "FunctionName": "stream-demo",
        "LogGroupName": "/jobs/nightly",
    }


def test_the_account_of_the_table_is_that_of_table_arn() -> None:
    arn = "arn:aws:dynamodb:us-east-1:210987654321:table/orders"
    tokens = parameters.policy_tokens(settings(TABLE_ARN=arn), "arn:aws:iam::123456789012:root")
    assert (tokens["AWS::AccountId"], tokens["TableAccountId"]) == ("123456789012", "210987654321")


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("TABLE_OPTIONS", {"BillingMode": "PROVISIONED"}, "TABLE_OPTIONS: BillingMode has a dedicated setting"),
        ("ROLE_OPTIONS", {"ManagedPolicyArns": []}, "ROLE_OPTIONS: ManagedPolicyArns has a dedicated setting"),
        ("FUNCTION_OPTIONS", {"Environment": {"Variables": {"A": "b"}}}, "Environment has a dedicated setting"),
        ("FUNCTION_OPTIONS", {"Tags": {"stage": "test"}}, "FUNCTION_OPTIONS: Tags has a dedicated setting"),
        ("FUNCTION_OPTIONS", {"LoggingConfig": {"LogFormat": "JSON"}}, "LogFormat has a dedicated setting"),
        ("MAPPING_OPTIONS", {"FilterCriteria": {"Filters": []}}, "FilterCriteria has a dedicated setting"),
        ("MAPPING_OPTIONS", {"DestinationConfig": {}}, "MAPPING_OPTIONS: DestinationConfig has a dedicated setting"),
        ("FILTER_CRITERIA", {"Filters": [{"pattern": "{}"}]}, "FILTER_CRITERIA: FilterCriteria: Unknown parameter in "),
    ],
)
def test_options_cannot_set_a_parameter_that_has_a_setting(setting: str, value: Any, error: str) -> None:
    with pytest.raises(UserError, match=error):
        parameters.check(settings(**{setting: json.dumps(value)}))


def test_check_accepts_the_defaults_and_every_kind_of_option() -> None:
    parameters.check(settings())
    parameters.check(settings(**EVERYTHING))


def test_no_limit_of_on_demand_throughput_is_left_out_as_create_table_refuses_it() -> None:
    """What adopt writes for a table with one limit."""
    options = '{"OnDemandThroughput": {"MaxReadRequestUnits": 5, "MaxWriteRequestUnits": -1}}'
    assert parameters.table(settings(TABLE_OPTIONS=options))["OnDemandThroughput"] == {"MaxReadRequestUnits": 5}
