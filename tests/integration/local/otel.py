"""A chain of three functions, through a queue and a bus, each with a tracer of OpenTelemetry of its own: the standard library alone."""

import contextlib
import gzip
import json
import os
import secrets
import time
import urllib.request

SCOPE = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/%s/aws4_request, SignedHeaders=host, Signature=none"


class Tracer:
    """The spans of one invocation."""

    def __init__(self, compress=False):
        parts = dict(part.split("=") for part in os.environ["_X_AMZN_TRACE_ID"].split(";"))
        self.trace = parts["Root"][2:].replace("-", "")
        self.root, self.parent, self.compress, self.spans = parts["Root"], parts["Parent"], compress, []

    @contextlib.contextmanager
    def span(self, name, kind, **attributes):
        id, parent = secrets.token_hex(8), self.parent
        attributes = [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in attributes.items()]
        span = {"traceId": self.trace, "spanId": id, "parentSpanId": parent, "name": name, "kind": kind, "attributes": attributes,
                "startTimeUnixNano": str(time.time_ns())}
        self.parent = id
        try:
            yield span
        finally:
            span["endTimeUnixNano"] = str(time.time_ns())
            self.parent = parent
            self.spans.append(span)

    def header(self):
        return f"Root={self.root};Parent={self.parent};Sampled=1"

    def export(self):
        resource = {"attributes": [{"key": "cloud.platform", "value": {"stringValue": "aws_lambda"}}]}
        message = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": self.spans}]}]}
        if os.environ["COPY"]:
            with open(os.environ["COPY"], "a", encoding="utf-8") as copy:
                copy.write(json.dumps(message) + "\n")
        body, headers = json.dumps(message).encode(), {"Content-Type": "application/json"}
        if self.compress:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="POST")) as answer:
            assert json.load(answer) == {}, "all spans are taken"


def ask(tracer, service, target, version, body):
    headers = {"Authorization": SCOPE % service, "X-Amz-Target": target, "X-Amzn-Trace-Id": tracer.header(),
               "Content-Type": f"application/x-amz-json-{version}"}
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def first(event, context):
    tracer = Tracer()
    with tracer.span("first", 2, faas__invocation_id=context.aws_request_id):
        with tracer.span("check order", 1):
            time.sleep(0.002)
        with tracer.span("jobs send", 4, rpc__system="aws-api", rpc__service="SQS", rpc__method="SendMessage"):
            ask(tracer, "sqs", "AmazonSQS.SendMessage", "1.0", {"QueueUrl": os.environ["JOBS"], "MessageBody": event["body"]})
    tracer.export()
    return {"statusCode": 202, "body": json.dumps({"traceparent": event["headers"].get("traceparent")})}


def second(event, context):
    for record in event["Records"]:
        tracer = Tracer(compress=True)
        sender = dict(part.split("=") for part in record["attributes"]["AWSTraceHeader"].split(";"))
        with tracer.span("second", 5, faas__invocation_id=context.aws_request_id) as span:
            span["links"] = [{"traceId": sender["Root"][2:].replace("-", ""), "spanId": sender["Parent"]}]
            with tracer.span("market put", 3, rpc__system="aws-api", rpc__service="EventBridge", rpc__method="PutEvents"):
                entry = {"Source": "shop", "DetailType": "sold", "Detail": record["body"], "EventBusName": "market"}
                answer = ask(tracer, "events", "AWSEvents.PutEvents", "1.1", {"Entries": [entry]})
                assert answer["FailedEntryCount"] == 0, answer
        tracer.export()


def third(event, context):
    tracer = Tracer()
    # As instrumentations that take the parent from the event: of a span that is in no trace.
    tracer.parent = secrets.token_hex(8)
    with tracer.span("third", 2, faas__invocation_id=context.aws_request_id):
        with tracer.span("pack", 1):
            time.sleep(0.001 * (event["detail"]["number"] % 3))
    tracer.export()
