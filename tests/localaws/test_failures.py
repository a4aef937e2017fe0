"""Errors for what is not here, for malformed requests, and for faults, in the protocol of each service."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

CREDENTIALS = "AWS4-HMAC-SHA256 Credential=local/20260101/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=0"


def error_of(call: Callable[..., Any], **parameters: Any) -> tuple[str, str, int]:
    """The code and the message of a refused call, and how often it was tried again."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    error, metadata = refused.value.response["Error"], refused.value.response["ResponseMetadata"]
    return error["Code"], error["Message"], metadata["RetryAttempts"]


def send(endpoint: str, service: str, target: str, body: str) -> tuple[int, dict[str, Any]]:
    """Send a request that boto3 would not send; return the status and the answer."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=20)
    headers = {"Authorization": CREDENTIALS.format(service), "X-Amz-Target": target}
    connection.request("POST", "/", body, {**headers, "Content-Type": "application/x-amz-json-1.0"})
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("service", "call", "parameters", "code"),
    [
        ("cloudformation", "list_stacks", {}, "InvalidAction"),
        ("apigateway", "get_rest_apis", {}, "UnknownOperationException"),
        ("appstream", "describe_fleets", {}, "UnknownOperationException"),  # CBOR
    ],
)
def test_missing_service_is_named_and_not_retried(
    endpoint: str, service: str, call: str, parameters: dict[str, Any], code: str
) -> None:
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "eu-west-1"}
    options: Any = {"endpoint_url": endpoint, "config": Config(retries={"max_attempts": 2}), **keys}
    client: Any = boto3.client(service, **options)  # type: ignore[call-overload]
    expected = f"The local AWS does not have the service '{service}'. See docs/local-aws.md, \"What is missing\"."
    assert error_of(getattr(client, call), **parameters) == (code, expected, 0)


@pytest.mark.parametrize(
    ("service", "call", "parameters", "operation", "code"),
    [
        ("lambda", "get_account_settings", {}, "GetAccountSettings", "UnknownOperationException"),
        ("dynamodb", "list_contributor_insights", {}, "ListContributorInsights", "UnknownOperationException"),
        ("iam", "get_mfa_device", {"SerialNumber": "x" * 9}, "GetMFADevice", "InvalidAction"),
    ],
)
def test_missing_operation_is_named_and_not_retried(
    client: Callable[[str], Any], service: str, call: str, parameters: dict[str, Any], operation: str, code: str
) -> None:
    got, message, retries = error_of(getattr(client(service), call), **parameters)
    assert (got, retries) == (code, 0)
    assert message.startswith(f"The local AWS does not have the operation {operation} of the service '{service}'.")


def test_unsigned_head_of_a_missing_object_is_not_found(endpoint: str) -> None:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=20)
    connection.request("HEAD", "/bucket/key")
    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize("service", ["dynamodb", "logs"])
@pytest.mark.parametrize("body", ["{", "[]", '"x"', '{"a": "\\ud800"}'])
def test_body_that_is_no_json_object_is_a_serialization_error(endpoint: str, service: str, body: str) -> None:
    target = {"dynamodb": "DynamoDB_20120810.ListTables", "logs": "Logs_20140328.DescribeLogGroups"}[service]
    status, answer = send(endpoint, service, target, body)
    assert (status, answer["__type"].rpartition("#")[2]) == (400, "SerializationException")


def test_compressed_request_is_served(client: Callable[[str], Any]) -> None:
    data = [{"MetricName": f"metric-{number}", "Value": 1} for number in range(500)]  # boto3 compresses 10 KB and more
    client("cloudwatch").put_metric_data(Namespace="compressed", MetricData=data)
    assert len(client("cloudwatch").list_metrics(Namespace="compressed")["Metrics"]) == 500


def test_missing_parameter_is_a_validation_error(endpoint: str) -> None:
    status, answer = send(endpoint, "ssm", "AmazonSSM.GetParameter", "{}")
    message = "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"
    assert (status, answer) == (400, {"__type": "ValidationException", "message": message})


def test_parameter_of_another_type_is_a_serialization_error(endpoint: str) -> None:
    status, answer = send(endpoint, "ssm", "AmazonSSM.GetParameter", '{"Name": 1}')
    message = "The value of name cannot be converted to String"
    assert (status, answer) == (400, {"__type": "SerializationException", "message": message})


def test_request_to_dynamodb_without_an_operation_is_refused(endpoint: str) -> None:
    status, answer = send(endpoint, "dynamodb", "DynamoDB", "{}")
    assert (status, answer["__type"].rpartition("#")[2]) == (400, "UnknownOperationException")


def test_fault_has_the_protocol_of_the_service(endpoint: str) -> None:
    # moto takes a parameter for required that is optional.
    target = "AmazonEC2ContainerServiceV20141113.DescribeCapacityProviders"
    status, answer = send(endpoint, "ecs", target, "{}")
    assert (status, answer["__type"]) == (500, "InternalFailure")


@pytest.mark.parametrize(
    "operation", ["PutItem", "UpdateItem", "BatchWriteItem", "TransactWriteItems", "Query", "CreateTable"]
)
def test_malformed_request_is_never_a_fault(endpoint: str, operation: str) -> None:
    model: Any = botocore.session.get_session().get_service_model("dynamodb")
    members = model.operation_model(operation).input_shape.members
    values: tuple[Any, ...] = (1, "x", [], {}, [None], [{}], {"a": None}, {"table": [{"PutRequest": {}}]})
    requests = [{"TableName": "table", member: value} for member in members for value in values]
    answers = [send(endpoint, "dynamodb", f"DynamoDB_20120810.{operation}", json.dumps(each)) for each in requests]
    assert [each for each in zip(answers, requests, strict=True) if each[0][0] != 400] == []


ROLE_PATTERN = r"satisfy regular expression pattern: [\w+=,.@-]+"


@pytest.mark.parametrize(
    ("service", "call", "parameters", "code", "problem"),
    [
        (
            "iam",
            "get_role",
            {"RoleName": "/service-role/a"},
            "ValidationError",
            f"Value '/service-role/a' at 'roleName' failed to satisfy constraint: Member must {ROLE_PATTERN}",
        ),
        (
            "iam",
            "create_role",
            {"RoleName": "a" * 65, "AssumeRolePolicyDocument": "{}"},
            "ValidationError",
            (
                f"Value '{'a' * 65}' at 'roleName' failed to satisfy constraint: "
                "Member must have length less than or equal to 64"
            ),
        ),
        (
            "sts",
            "assume_role",
            {"RoleArn": "arn:aws:iam::000000000000:role/a", "RoleSessionName": "me", "DurationSeconds": 60},
            "ValidationError",
            (
                "Value '60' at 'durationSeconds' failed to satisfy constraint: "
                "Member must have value greater than or equal to 900"
            ),
        ),
        (
            "logs",
            "filter_log_events",
            {"logGroupName": "a", "limit": 10001},
            "InvalidParameterException",
            "Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000",
        ),
        (
            "cloudwatch",
            "put_metric_alarm",
            {"AlarmName": "a", "EvaluationPeriods": 0, "ComparisonOperator": "GreaterThanThreshold"},
            "ValidationError",
            (
                "Value '0' at 'evaluationPeriods' failed to satisfy constraint: "
                "Member must have value greater than or equal to 1"
            ),
        ),
        (
            "lambda",
            "list_functions",
            {"MaxItems": 0},
            "ValidationException",
            "Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
    ],
)
def test_parameter_that_the_service_model_forbids_is_refused_in_the_words_of_the_service(
    unchecked_client: Callable[[str], Any], service: str, call: str, parameters: dict[str, Any], code: str, problem: str
) -> None:
    """Recorded for `limit`: LocalStack, tests/aws/services/logs/test_logs_filter_events.snapshot.json.

    Users of Terraform and of the Serverless Framework quote the texts about role names.
    """
    expected = f"1 validation error detected: {problem}"
    assert error_of(getattr(unchecked_client(service), call), **parameters) == (code, expected, 0)


@pytest.mark.parametrize("service", ["iam", "lambda"])
def test_parameter_that_is_no_number_is_a_serialization_error(
    unchecked_client: Callable[[str], Any], service: str
) -> None:
    call = {"iam": "list_roles", "lambda": "list_functions"}[service]
    code, _, _ = error_of(getattr(unchecked_client(service), call), MaxItems="many")
    assert code == "SerializationException"
