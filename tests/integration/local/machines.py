"""Functions that a state machine calls, with the standard library alone."""

import json
import os
import urllib.request


def echo(event, context):
    return {"statusCode": 200, "body": event["path"]} if isinstance(event, dict) and "path" in event else event


def break_off(event, context):
    raise ValueError("it broke")


def later(event, context):
    body = json.dumps({"taskToken": event["token"], "output": json.dumps({"late": True})}).encode()
    scope = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=none"
    headers = {"Authorization": scope, "X-Amz-Target": "AWSStepFunctions.SendTaskSuccess",
               "Content-Type": "application/x-amz-json-1.0"}
    urllib.request.urlopen(urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], body, headers)).read()
