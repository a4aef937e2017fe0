"""A stand-in for AWS on this machine: moto, plus a Lambda that runs the code and the poller that feeds it.

Nothing here knows the pipeline: it speaks the AWS API on a loopback port, for any AWS client.
"""

ACCOUNT_ID = "000000000000"
