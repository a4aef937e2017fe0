"""Regions outside the partition `aws`, from a record to the bucket that gets it when the function fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.localaws.deployed import allow, policy
from tests.localaws.pipe import build, until

if TYPE_CHECKING:
    from pathlib import Path

CALL_STS = (
    "import boto3; open(os.environ['OUTPUT'], 'a').write(boto3.client('sts').get_caller_identity()['Arn']); 1 / 0"
)


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("cn-north-1", "aws-cn"),
        pytest.param("us-gov-west-1", "aws-us-gov", marks=pytest.mark.proof),
        pytest.param("eusc-de-east-1", "aws-eusc", marks=pytest.mark.proof),
    ],
)
def test_failed_record_reaches_a_bucket(endpoint: str, tmp_path: Path, region: str, partition: str) -> None:
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=region)
    pipe = build(lambda service: session.client(service, endpoint_url=endpoint), tmp_path, CALL_STS)  # type: ignore[call-overload]
    s3, lambda_, bucket = pipe.client("s3"), pipe.client("lambda"), f"bucket-{pipe.table}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    document = policy(
        allow(["dynamodb:*"], f"arn:{partition}:dynamodb:{region}:*"),
        allow(["logs:*"], f"arn:{partition}:logs:{region}:*"),
        allow(["s3:PutObject"], f"arn:{partition}:s3:::{bucket}/*"),
    )
    pipe.client("iam").put_role_policy(RoleName=pipe.role, PolicyName="allowed", PolicyDocument=document)
    arn = lambda_.get_function(FunctionName=pipe.function)["Configuration"]["FunctionArn"]
    destination = {"OnFailure": {"Destination": f"arn:{partition}:s3:::{bucket}"}}
    mapping = pipe.map(FunctionName=arn, MaximumRetryAttempts=0, DestinationConfig=destination)
    pipe.put("a")
    (found,) = until(lambda: s3.list_objects_v2(Bucket=bucket).get("Contents"))
    record = json.loads(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
    assert (
        record["requestContext"]["functionArn"]
        == arn
        == f"arn:{partition}:lambda:{region}:000000000000:function:{pipe.function}"
    )
    assert f"arn:{partition}:sts::000000000000:assumed-role/{pipe.role}/" in pipe.output.read_text()
    assert mapping["EventSourceMappingArn"].startswith(f"arn:{partition}:lambda:{region}:")
    assert lambda_.invoke(FunctionName=arn, InvocationType="DryRun")["StatusCode"] == 204
    log = pipe.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{pipe.function}")["events"]
    assert any("ZeroDivisionError" in event["message"] for event in log)
