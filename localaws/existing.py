"""Create what an ARN names, from another process: a rehearsal may need resources that exist in a real account."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Client = Callable[[str], Any]

_EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def create_administrator(iam: Any) -> tuple[str, str]:
    """Create a user who may do everything; return its ARN and its access key. Its calls get into the access log."""
    user = iam.create_user(UserName="administrator")["User"]
    iam.put_user_policy(UserName=user["UserName"], PolicyName="everything", PolicyDocument=_document(_EVERYTHING))
    return user["Arn"], iam.create_access_key(UserName=user["UserName"])["AccessKey"]["AccessKeyId"]


def create(client_of: Callable[[str], Client], account: str, arn: str, *, view_type: str = "") -> None:
    """Create a table with a stream of `view_type`, a role, a queue, a topic, a bucket, a layer version or a KMS alias.

    `client_of` returns the clients of an account. `account` uses the resource: it may read a table of another account,
    and owns a bucket. A role trusts Lambda and may do everything.
    """
    _, _, service, region, owner, name = arn.split(":", 5)
    client = client_of(owner or account)(service)
    if service == "dynamodb":
        _create_table(client, name.rpartition("/")[2], view_type or "NEW_AND_OLD_IMAGES", account)
    elif service == "iam":
        _, *path, role = name.split("/")
        client.create_role(RoleName=role, Path="/".join(["", *path, ""]), AssumeRolePolicyDocument=_document(_TRUST))
        client.put_role_policy(RoleName=role, PolicyName="everything", PolicyDocument=_document(_EVERYTHING))
    elif service == "sqs":
        client.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if name.endswith(".fifo") else {})
    elif service == "sns":
        client.create_topic(Name=name, Attributes={"FifoTopic": "true"} if name.endswith(".fifo") else {})
    elif service == "s3":
        region = client.meta.region_name
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        client.create_bucket(Bucket=name, **place)
    elif service == "kms":
        client.create_alias(AliasName=name, TargetKeyId=client.create_key()["KeyMetadata"]["KeyId"])
    elif service == "lambda":
        _, layer, version = name.split(":")
        for _ in range(int(version)):
            client.publish_layer_version(LayerName=layer, Content={"ZipFile": _zip()})


def _create_table(dynamodb: Any, name: str, view_type: str, reader: str) -> None:
    table = dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": view_type},
    )["TableDescription"]
    if table["TableArn"].split(":")[4] == reader:
        return
    for arn in (table["TableArn"], table["LatestStreamArn"]):
        statement = {"Effect": "Allow", "Principal": {"AWS": reader}, "Action": "dynamodb:*", "Resource": arn}
        dynamodb.put_resource_policy(ResourceArn=arn, Policy=_document(statement))


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("python/empty.py", "")
    return buffer.getvalue()
