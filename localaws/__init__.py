"""A local AWS: moto, plus a Lambda that runs the function's code and a poller that reads the table's stream.

The package knows nothing of the pipeline. It serves the AWS API on a loopback port, to any AWS client.
"""

ACCOUNT_ID = "000000000000"
HOST = "127.0.0.1"
IDENTITY_PATH = "/_localaws"
