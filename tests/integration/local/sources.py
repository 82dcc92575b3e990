"""Functions that call services and write down what invoked them, with the standard library alone."""

import base64
import json
import os
import urllib.request

SCOPE = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/%s/aws4_request, SignedHeaders=host, Signature=none"


def ask(service, method, path, body, headers):
    headers = {**headers, "Authorization": SCOPE % service, "X-Amzn-Trace-Id": os.environ["_X_AMZN_TRACE_ID"]}
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + path, body, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def call(event, context):
    body = event["body"] if isinstance(event["body"], str) else json.dumps(event["body"])
    return ask(event["service"], event["method"], event["path"], body.encode(), event["headers"])


def order(record):
    """What a record asks for: a file to write to, and whether to fail."""
    if "s3" in record:
        at = record["s3"]
        return json.loads(ask("s3", "GET", f"/{at['bucket']['name']}/{at['object']['key'].replace('+', '%20')}", None, {}))
    if "kinesis" in record:
        return json.loads(base64.b64decode(record["kinesis"]["data"]))
    if "dynamodb" in record:
        return json.loads(record["dynamodb"]["NewImage"]["order"]["S"])
    said = json.loads(record["Sns"]["Message"] if "Sns" in record else record["body"])
    # Of an event that failed, the event.
    return said.get("requestPayload", said)


def fail(event, context):
    raise RuntimeError("asked to fail")


def take(event, context):
    failed = []
    for record in event["Records"]:
        asked = order(record)
        line = {"function": context.function_name, "record": record, "trace": os.environ["_X_AMZN_TRACE_ID"],
                "batch": len(event["Records"])}
        with open(asked["note"], "a", encoding="utf-8") as note:
            note.write(json.dumps(line) + "\n")
        if asked.get("fail"):
            number = record.get("kinesis", {}).get("sequenceNumber")
            failed.append({"itemIdentifier": record.get("messageId", number)})
    return {"batchItemFailures": failed}
