"""Takes an order over HTTP and hands it to the second function without waiting for its result."""

import base64
import hashlib
import hmac
import json
import os
import time
import urllib.parse
import urllib.request
import uuid

import tracing


def handler(event, context):
    try:
        order = json.loads(body_of(event) or "{}")
    except ValueError:
        return answer(400, {"message": "the body must be JSON"})
    if not isinstance(order, dict):
        return answer(400, {"message": "an order is a JSON object"})
    order.setdefault("id", str(uuid.uuid4()))
    with tracing.subsegment("hand over") as header:
        invoke(os.environ["PROCESS_FUNCTION"], order, header)
    return answer(202, {"id": order["id"]})


def body_of(event):
    body = event.get("body")
    return base64.b64decode(body) if body and event.get("isBase64Encoded") else body


def answer(status, body):
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(body),
    }


def invoke(function, payload, trace_header):
    """An asynchronous invocation through the Lambda Invoke API, with the trace passed on."""
    region = os.environ["AWS_REGION"]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_LAMBDA", f"https://lambda.{region}.amazonaws.com")
    path = f"/2015-03-31/functions/{urllib.parse.quote(function)}/invocations"
    data = json.dumps(payload).encode()
    headers = {"X-Amz-Invocation-Type": "Event", "X-Amzn-Trace-Id": trace_header}
    headers |= signature(region, urllib.parse.urlsplit(endpoint).netloc, path, data)
    request = urllib.request.Request(endpoint + path, data=data, method="POST", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()


def signature(region, host, path, data):
    """AWS's request signature, version 4, over host and time."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    signed = {"host": host, "x-amz-date": moment}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        signed["x-amz-security-token"] = token
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = f"POST\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(data).hexdigest()}"
    scope = f"{moment[:8]}/{region}/lambda/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in [moment[:8], region, "lambda", "aws4_request"]:
        key = hmac.digest(key, part.encode(), "sha256")
    proof = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    headers = {name.title(): value for name, value in signed.items() if name != "host"}
    return headers | {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={proof}"
    }
