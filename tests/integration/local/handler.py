"""Functions with which the tests look at the local target from inside."""

import decimal
import json
import os
import subprocess
import time
import urllib.request


def echo(event, context):
    return {
        "event": event,
        "pid": os.getpid(),
        "trace": os.environ["_X_AMZN_TRACE_ID"],
        "request_id": context.aws_request_id,
        "remaining": context.get_remaining_time_in_millis(),
        "environment": dict(os.environ),
    }


def tell(event, context):
    print("got", json.dumps(event), flush=True)


def http(event, context):
    if event["httpMethod"] == "DELETE":
        return {"no": "status"}
    if (event.get("queryStringParameters") or {}).get("fail"):
        raise ValueError("asked to fail")
    body = json.dumps({"method": event["httpMethod"], "path": event["path"], "body": event["body"], "parameters": event["pathParameters"]})
    return {"statusCode": 201, "headers": {"X-Own": "yes"}, "body": body}


def sleep(event, context):
    wanted = event.get("child")
    child = subprocess.Popen(["sleep", "60"], start_new_session=wanted == "detached") if wanted else None
    with open(event["note"], "a") as note:
        note.write(f"{os.getpid()} {child.pid if child else 0}\n")
    time.sleep(event["seconds"])
    return os.getpid()


def fail(event, context):
    if event.get("how") == "exit":
        os._exit(3)
    if event.get("how") == "memory":
        return len(bytearray(1 << 30))
    if event.get("how") == "decimal":
        return {"price": decimal.Decimal("1.5")}
    if event.get("how") == "none":
        return os.getpid()
    raise RuntimeError("asked to fail")


def chain(event, context):
    request = urllib.request.Request(
        os.environ["AWS_ENDPOINT_URL_LAMBDA"] + "/2015-03-31/functions/app-Echo/invocations",
        data=b'{"from": "chain"}',
        headers={"X-Amzn-Trace-Id": os.environ["_X_AMZN_TRACE_ID"], "X-Amz-Invocation-Type": event["type"]},
    )
    with urllib.request.urlopen(request) as response:
        return response.status
