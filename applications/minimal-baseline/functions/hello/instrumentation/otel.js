import { AwsXrayUdpSpanExporter } from "@aws/aws-distro-opentelemetry-exporter-xray-udp";
import { ROOT_CONTEXT, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

// Each span goes to Lambda's X-Ray daemon as soon as it ends: the environment may be frozen after the answer.
const exporter = new AwsXrayUdpSpanExporter(process.env.AWS_XRAY_DAEMON_ADDRESS);
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = provider.getTracer("minimal-baseline");

/** The platform's span around this invocation: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`. */
function invocation(header = "") {
  const parts = Object.fromEntries(header.split(";").map((part) => part.split("=")));
  if (!parts.Root || !parts.Parent) {
    return ROOT_CONTEXT;
  }
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId: parts.Root.slice(2).replace("-", ""),
    spanId: parts.Parent,
    traceFlags: parts.Sampled === "1" ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
  });
}

/** Runs `work` within a span of OpenTelemetry. */
export async function traced(name, work) {
  const span = tracer.startSpan(name, {}, invocation(process.env._X_AMZN_TRACE_ID));
  try {
    return await work();
  } catch (error) {
    span.recordException(error);
    span.setStatus({ code: SpanStatusCode.ERROR });
    throw error;
  } finally {
    span.end();
  }
}
