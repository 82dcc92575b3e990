"""A function with OpenTelemetry's own SDK, which finds the receiver by itself."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("test")


def handler(event, context):
    parts = dict(part.split("=") for part in os.environ["_X_AMZN_TRACE_ID"].split(";"))
    parent = trace.SpanContext(
        int(parts["Root"][2:].replace("-", ""), 16), int(parts["Parent"], 16), True, trace.TraceFlags(trace.TraceFlags.SAMPLED))
    around = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    attributes = {"faas.invocation_id": context.aws_request_id, "number": 5, "list": ["a", "b"]}
    with tracer.start_as_current_span("handler", around, trace.SpanKind.SERVER, attributes):
        call = {"rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": "GetObject", "aws.s3.bucket": "files"}
        with tracer.start_as_current_span("S3.GetObject", kind=trace.SpanKind.CLIENT, attributes=call):
            pass
    return {}
