"""The Lambda Runtime API client of sb's local target, for machines without awslambdaric.

Standard library only. Protocol: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import decimal
import http.client
import importlib
import json
import os
import sys
import time
import traceback

BASE = "/2018-06-01/runtime"


class Context:
    """What a handler gets as its second argument."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = json.loads(headers.get("Lambda-Runtime-Client-Context") or "null")
        self.identity = None
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"]) / 1000

    def get_remaining_time_in_millis(self):
        return max(0, int((self._deadline - time.time()) * 1000))


def post(connection, path, body, headers=None):
    connection.request("POST", BASE + path, body, headers or {})
    connection.getresponse().read()


def describe(error):
    return json.dumps(
        {
            "errorMessage": str(error),
            "errorType": type(error).__name__,
            "stackTrace": traceback.format_tb(error.__traceback__),
        }
    ).encode()


def plain(value):
    """What Lambda's own client makes of a value that JSON does not have: DynamoDB's numbers become floating-point ones."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def load(name):
    module, _, function = name.rpartition(".")
    if not module:
        raise ValueError(f"the handler `{name}` must be MODULE.FUNCTION")
    return getattr(importlib.import_module(module.replace("/", ".")), function)


def main():
    host = os.environ["AWS_LAMBDA_RUNTIME_API"]
    connection = http.client.HTTPConnection(host)
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    try:
        handler = load(os.environ["_HANDLER"])
    except BaseException as error:
        traceback.print_exc()
        post(connection, "/init/error", describe(error), {"Lambda-Runtime-Function-Error-Type": "Unhandled"})
        sys.exit(1)
    while True:
        connection.request("GET", BASE + "/invocation/next")
        response = connection.getresponse()
        payload = response.read()
        if response.status != 200:
            return
        context = Context(response.headers)
        os.environ["_X_AMZN_TRACE_ID"] = response.headers.get("Lambda-Runtime-Trace-Id", "")
        path = f"/invocation/{context.aws_request_id}"
        try:
            answer = json.dumps(handler(json.loads(payload or b"null"), context), default=plain).encode()
        except Exception as error:
            traceback.print_exc()
            post(connection, path + "/error", describe(error), {"Lambda-Runtime-Function-Error-Type": "Unhandled"})
        else:
            sys.stdout.flush()
            post(connection, path + "/response", answer, {"Content-Type": "application/json"})


if __name__ == "__main__":
    main()
