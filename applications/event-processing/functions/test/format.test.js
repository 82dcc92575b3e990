import assert from "node:assert/strict";
import { test } from "node:test";
import { format } from "../src/format.js";
import { fakeClient, reading, record, recordingSubsegment } from "../fakes.js";

const TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

const made = (respond) => {
  const sqs = fakeClient(respond);
  const { opened, subsegment } = recordingSubsegment();
  return { sqs, opened, handler: format({ sqs, queueUrl: "https://queue", subsegment }) };
};

test("events go on formatted, each with the trace of its own request", async () => {
  const { sqs, opened, handler } = made();
  const result = await handler({ Records: [record("a", reading(), TRACE), record("b", reading({ source: "roof-2" }))] });
  assert.deepEqual(result, { batchItemFailures: [] });
  const [{ input }] = sqs.sent;
  assert.equal(input.QueueUrl, "https://queue");
  assert.deepEqual(
    input.Entries.map(({ MessageBody }) => JSON.parse(MessageBody).message),
    ["roof-1 measured 20.00 °C", "roof-2 measured 20.00 °C"],
  );
  assert.deepEqual(input.Entries[0].MessageSystemAttributes, { AWSTraceHeader: { DataType: "String", StringValue: TRACE } });
  assert.equal(input.Entries[1].MessageSystemAttributes, undefined);
  assert.equal(opened[0].originating_trace_id, "1-5759e988-bd862e3fe1be46a994272793");
  assert.equal(opened[1].originating_trace_id, undefined);
});

test("one bad event does not hold up the others", async () => {
  const { sqs, handler } = made();
  const result = await handler({ Records: [record("bad", "{"), record("good", reading()), record("unknown", reading({ type: "x" }))] });
  assert.deepEqual(result.batchItemFailures, [{ itemIdentifier: "bad" }, { itemIdentifier: "unknown" }]);
  assert.equal(sqs.sent[0].input.Entries.length, 1);
});

test("a message that the queue refuses is delivered again, and only that", async () => {
  const { handler } = made((input) => ({ Failed: [{ Id: input.Entries[1].Id, Code: "InternalError", Message: "later" }] }));
  const result = await handler({ Records: [record("a", reading()), record("b", reading())] });
  assert.deepEqual(result.batchItemFailures, [{ itemIdentifier: "b" }]);
});

test("when the queue cannot be reached, all are delivered again", async () => {
  const { handler } = made(() => {
    throw new Error("unreachable");
  });
  const result = await handler({ Records: [record("a", reading()), record("bad", "{"), record("b", reading())] });
  assert.deepEqual(result.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier).sort(), ["a", "b", "bad"]);
});

test("nothing is sent when nothing can be", async () => {
  const { sqs, handler } = made();
  await handler({ Records: [record("bad", "{")] });
  assert.equal(sqs.sent.length, 0);
});
