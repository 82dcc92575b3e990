// What the handlers are given instead of AWS: clients that remember what they were sent and answer what a test says.

export const noSubsegment = (_name, _annotations, work) => work();

/** Remembers the subsegments that were opened. */
export function recordingSubsegment() {
  const opened = [];
  const subsegment = (name, annotations, work) => {
    opened.push({ name, ...annotations });
    return work();
  };
  return { opened, subsegment };
}

/** An SDK client. `respond(input, name)` gives an answer or throws. */
export function fakeClient(respond = () => ({})) {
  const sent = [];
  return {
    sent,
    async send(command) {
      const name = command.constructor.name;
      sent.push({ name, input: command.input });
      return respond(command.input, name, sent.length);
    },
  };
}

export const httpEvent = (body, query) => ({
  body: typeof body === "string" ? body : JSON.stringify(body),
  isBase64Encoded: false,
  queryStringParameters: query ?? null,
});

export const record = (messageId, body, trace) => ({
  messageId,
  body: typeof body === "string" ? body : JSON.stringify(body),
  attributes: { ApproximateReceiveCount: "1", ...(trace && { AWSTraceHeader: trace }) },
});

export const ID = "0b0e8a4e-7d7c-4f0f-9a51-3f0e0a3d2c11";

export const reading = (changes = {}) => ({
  id: ID,
  type: "reading",
  source: "roof-1",
  occurredAt: "2026-01-31T12:00:00.000Z",
  data: { value: 68, unit: "fahrenheit" },
  ...changes,
});
