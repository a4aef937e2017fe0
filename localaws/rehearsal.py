"""Rehearse in a local AWS of its own, and generate the policy that the rehearsal needs. For another process to call.

A rehearsal may need resources that exist in a real account: `create` creates what an ARN names.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from localaws import ACCOUNT_ID, control
from localaws.iam import generated_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Client = Callable[[str], Any]

# IAM user guide, "IAM and AWS STS quotas".
_MANAGED_POLICY_CHARACTERS = 6144
_SERVICES = ("dynamodb", "iam", "kms", "lambda", "s3", "sns", "sqs")
_NAMED = re.compile(r"arn:[\w-]+:[\w-]+:[\w-]*:(?:\d{12}|aws)?:[^\s'\"]+|(?<![\w/:])alias/[\w/-]+")
_EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def record(
    directory: Path,
    connect: Callable[[str, str], Client],
    rehearse: Callable[[Client, Client], None],
    *,
    account: str,
    existing: str,
) -> dict[str, Any]:
    """Call `rehearse` with the clients of a user and of the root user; return the policy that the user needed.

    `connect` returns clients for an endpoint and an access key. `account` is the ID of the account, "" for that of
    made-up credentials. What the text `existing` names, by ARNs or as aliases of KMS keys, is created first. Raises
    ControlError, also for a policy that is too long.
    """
    server, _ = control.start(directory, port=0, idle_hours=0.1, access_log=True)
    try:
        root = connect(server.endpoint, account or ACCOUNT_ID)
        for arn in named(existing):
            create(lambda owner: connect(server.endpoint, owner), account or ACCOUNT_ID, arn)
        iam = root("iam")
        user = iam.create_user(UserName="user")["User"]["Arn"]
        iam.put_user_policy(UserName="user", PolicyName="everything", PolicyDocument=_document(_EVERYTHING))
        key = iam.create_access_key(UserName="user")["AccessKey"]["AccessKeyId"]
        rehearse(connect(server.endpoint, key), root)
        policy = generated_policy.generate(directory, user)
    finally:
        control.stop(directory)
    # Without white space, which IAM does not count.
    characters = len("".join(json.dumps(policy).split()))
    if characters > _MANAGED_POLICY_CHARACTERS:
        raise control.ControlError(
            f"The policy has {characters} characters; allowed in a managed policy: {_MANAGED_POLICY_CHARACTERS}. "
            "Generate several for fewer tasks: --for deploy, --for clean"
        )
    return policy


def named(text: str) -> list[str]:
    """The ARNs and the aliases of KMS keys in a text."""
    return [*dict.fromkeys(_NAMED.findall(text))]


def create(client_of: Callable[[str], Client], account: str, arn: str) -> None:
    """Create a table, a role, a managed policy, a queue, a topic, a bucket, a layer version, a KMS key or its alias.

    `client_of` returns the clients of an account. `account` uses the resource: it may use a table of another account,
    and owns a bucket. A role trusts Lambda and may do everything. Other resources, and what AWS owns, are left out.
    """
    _, _, service, _, owner, name = arn.split(":", 5) if arn.startswith("arn:") else ("", "", "kms", "", account, arn)
    if service not in _SERVICES or owner == "aws":
        return
    client = client_of(owner or account)(service)
    fifo = {"FifoQueue" if service == "sqs" else "FifoTopic": "true"} if name.endswith(".fifo") else {}
    if service == "dynamodb":
        _create_table(client, name.rpartition("/")[2], account)
    elif service == "iam":
        _create_in_iam(client, *name.split("/"))
    elif service == "sqs":
        client.create_queue(QueueName=name, Attributes=fifo)
    elif service == "sns":
        client.create_topic(Name=name, Attributes=fifo)
    elif service == "s3":
        region = client.meta.region_name
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):  # named twice
            client.create_bucket(Bucket=name, **place)
    elif service == "kms" and name.startswith("alias/"):
        client.create_alias(AliasName=name, TargetKeyId=client.create_key()["KeyMetadata"]["KeyId"])
    elif service == "kms" and name.startswith("key/"):
        client.create_key(Tags=[{"TagKey": "_custom_id_", "TagValue": name.partition("/")[2]}])
    elif name.startswith("layer:"):
        _, layer, version = name.split(":")
        for _ in range(int(version)):
            client.publish_layer_version(LayerName=layer, Content={"ZipFile": _zip()})


def leave_note(client: Client, destination: str, function_arn: str, record: Mapping[str, Any]) -> None:
    """Put a note about a discarded record into a queue or bucket, as Lambda does, and in a queue another message.

    `record` is as in an event of the function, and in the last shard of its stream.
    """
    stream = record["eventSourceARN"]
    shards = client("dynamodbstreams").describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
    number = record["dynamodb"]["SequenceNumber"]
    batch = {
        "shardId": shards[-1]["ShardId"],
        "startSequenceNumber": number,
        "endSequenceNumber": number,
        "approximateArrivalOfFirstRecord": "",
        "batchSize": 1,
        "streamArn": stream,
    }
    context = {"functionArn": function_arn}
    note = json.dumps({"requestContext": context, "DDBStreamBatchInfo": batch, "payload": {"Records": [record]}})
    service, _, account, name = destination.split(":")[2:]
    if service == "s3":
        client("s3").put_object(Bucket=name, Key="aws/lambda/note", Body=note)
    else:
        url = client("sqs").get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        for text in (note, "other"):
            client("sqs").send_message(QueueUrl=url, MessageBody=text)


def _create_table(dynamodb: Any, name: str, user: str) -> None:
    table = dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    if table["TableArn"].split(":")[4] == user:
        return
    for arn in (table["TableArn"], table["LatestStreamArn"]):
        statement = {"Effect": "Allow", "Principal": {"AWS": user}, "Action": "dynamodb:*", "Resource": arn}
        dynamodb.put_resource_policy(ResourceArn=arn, Policy=_document(statement))


def _create_in_iam(iam: Any, kind: str, *names: str) -> None:
    """Create a role or a managed policy. The last of its names is its own, the others are its path."""
    *folders, name = names
    path = "/".join(["", *folders, ""])
    if kind == "policy":
        iam.create_policy(PolicyName=name, Path=path, PolicyDocument=_document(_EVERYTHING))
    elif kind == "role":
        iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=_document(_TRUST))
        iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=_document(_EVERYTHING))


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("python/empty.py", "")
    return buffer.getvalue()
