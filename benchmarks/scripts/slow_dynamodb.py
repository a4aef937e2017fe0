"""A table that takes 20 ms for a BatchWriteItem and stores nothing: `slow_dynamodb.py` prints its port.

With the local AWS behind both sides, its own work on two cores would be most of what is measured.
"""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECONDS = 0.02
ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/stream-demo"
TABLE = {
    "TableName": "stream-demo",
    "TableArn": ARN,
    "TableStatus": "ACTIVE",
    "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    "LatestStreamArn": f"{ARN}/stream/2026-01-01T00:00:00.000",
}
ANSWERS: dict[str, Any] = {
    "DescribeTable": {"Table": TABLE},
    "DescribeContinuousBackups": {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}},
    "ListTagsOfResource": {"Tags": [{"Key": "pipeline", "Value": "stream-demo"}]},
    "BatchWriteItem": {"UnprocessedItems": {}},
}
CALLER = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::000000000000:user/someone</Arn>"
    "<Account>000000000000</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
)


class Handler(BaseHTTPRequestHandler):
    """Answers the calls of put-item and of batch_writer."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet a response
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer one call."""
        self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if operation == "BatchWriteItem":
            time.sleep(SECONDS)
        answer = (json.dumps(ANSWERS[operation]) if operation else CALLER).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
