"""The steps that wire a DynamoDB stream to a Lambda function, and the commands around them."""
