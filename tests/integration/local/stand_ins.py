"""A function that calls services which stand-ins answer, with the standard library alone."""

import json
import os
import secrets
import socket
import time
import urllib.error
import urllib.request

SCOPE = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/%s/aws4_request, SignedHeaders=host, Signature=none"


def call(event, context):
    """Calls the service `service`, and records it as AWS's X-Ray SDK does."""
    trace = dict(part.split("=") for part in os.environ["_X_AMZN_TRACE_ID"].split(";"))
    headers = {"Authorization": SCOPE % event["service"], "X-Amz-Target": "Service.Do", "Content-Type": "application/x-amz-json-1.1"}
    begun = time.time()
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + "/", json.dumps(event["input"]).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            said = {"status": answer.status, "answer": json.load(answer)}
    except urllib.error.HTTPError as error:
        said = {"status": error.code, "kind": error.headers["x-amzn-errortype"], "answer": json.load(error)}
    subsegment = {
        "id": secrets.token_hex(8), "trace_id": trace["Root"], "parent_id": trace["Parent"], "type": "subsegment", "name": event["service"],
        "namespace": "aws", "start_time": begun, "end_time": time.time(), "aws": {"operation": "Do"},
    }
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.sendto(b'{"format": "json", "version": 1}\n' + json.dumps(subsegment).encode(), (host, int(port)))
    return said
