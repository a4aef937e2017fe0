"""The steps: one module per AWS noun, plain functions on a boto3 client."""
