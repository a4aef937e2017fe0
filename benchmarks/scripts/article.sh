# The article's AWS CLI commands, with the names and the table of the bare script: `article.sh ENDPOINT`, in an own folder.
set -eu
export AWS_ENDPOINT_URL="$1" AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1 AWS_PAGER=
name=stream-demo
aws dynamodb create-table --table-name $name --billing-mode PAY_PER_REQUEST \
  --attribute-definitions AttributeName=name,AttributeType=S --key-schema AttributeName=name,KeyType=HASH \
  --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES --tags Key=pipeline,Value=$name
aws iam create-role --role-name $name-role --tags Key=pipeline,Value=$name --assume-role-policy-document \
  '{"Version": "2012-10-17", "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}'
aws iam put-role-policy --role-name $name-role --policy-name $name-policy --policy-document \
  '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}]}'
aws iam get-role-policy --role-name $name-role --policy-name $name-policy
printf 'def lambda_handler(event, context):\n    print(event)\n' > example.py
python3 -m zipfile -c example.zip example.py
aws lambda create-function --function-name $name --runtime python3.13 --handler example.lambda_handler \
  --role "$(aws iam get-role --role-name $name-role --query Role.Arn --output text)" --zip-file fileb://example.zip \
  --tags pipeline=$name
aws lambda create-event-source-mapping --function-name $name --enabled --starting-position TRIM_HORIZON \
  --event-source-arn "$(aws dynamodb describe-table --table-name $name --query Table.LatestStreamArn --output text)"
aws dynamodb put-item --table-name $name --item '{"name": {"S": "test3"}}'
stream=None
while [ "$stream" = None ]; do
  stream=$(aws logs describe-log-streams --log-group-name /aws/lambda/$name --query 'logStreams[0].logStreamName' --output text || echo None)
done
aws logs get-log-events --log-group-name /aws/lambda/$name --log-stream-name "$stream"
