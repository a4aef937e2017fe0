"""One module per AWS resource: plain functions on a boto3 client. `change.py` holds what they share."""
