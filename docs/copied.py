import boto3
from steps import table

dynamodb = boto3.client("dynamodb")
made = table.ensure(
    dynamodb,
    {
        "TableName": "orders",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    },
)
if made.pending:
    table.wait(dynamodb, "orders")
print(made.resource, made.action, [difference.setting for difference in made.diffs])
