import boto3
from steps import table

dynamodb = boto3.client("dynamodb")
change = table.ensure(
    dynamodb,
    {
        "TableName": "orders",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    },
)
if change.pending:
    table.wait(dynamodb, "orders")
print(change.resource, change.action, [diff.setting for diff in change.diffs])
