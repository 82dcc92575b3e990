import assert from "node:assert/strict";
import { test } from "node:test";
import { ingest } from "../src/ingest.js";
import { ID, fakeClient, httpEvent, reading, recordingSubsegment } from "../fakes.js";

const made = (respond) => {
  const sns = fakeClient(respond);
  const { opened, subsegment } = recordingSubsegment();
  return { sns, opened, handler: ingest({ sns, topicArn: "arn:topic", subsegment }) };
};

test("an event is published with its type as an attribute, and its id is answered", async () => {
  const { sns, opened, handler } = made();
  const { statusCode, body } = await handler(httpEvent(reading()));
  assert.equal(statusCode, 202);
  assert.deepEqual(JSON.parse(body), { id: ID, type: "reading", occurredAt: "2026-01-31T12:00:00.000Z" });
  assert.equal(sns.sent.length, 1);
  assert.equal(sns.sent[0].input.TopicArn, "arn:topic");
  assert.deepEqual(JSON.parse(sns.sent[0].input.Message), reading());
  assert.deepEqual(sns.sent[0].input.MessageAttributes, { type: { DataType: "String", StringValue: "reading" } });
  assert.deepEqual(opened, [{ name: "publish", event_type: "reading", event_id: ID }]);
});

test("a body that API Gateway has encoded is read", async () => {
  const { sns, handler } = made();
  const event = { body: Buffer.from(JSON.stringify(reading())).toString("base64"), isBase64Encoded: true };
  assert.equal((await handler(event)).statusCode, 202);
  assert.equal(sns.sent.length, 1);
});

test("bad input is answered with what is wrong, and nothing is published", async () => {
  const { sns, handler } = made();
  const refused = async (body, status, message) => {
    const answer = await handler(httpEvent(body));
    assert.equal(answer.statusCode, status);
    assert.match(JSON.parse(answer.body).message, message);
  };
  await refused("{", 400, /not JSON/);
  await refused("null", 400, /not a JSON object/);
  await refused("[]", 400, /not a JSON object/);
  await refused({ type: "reading" }, 422, /^source must/);
  assert.equal((await handler({ body: null })).statusCode, 400);
  assert.equal(sns.sent.length, 0);
});

test("a topic that refuses fails the invocation", async () => {
  const { handler } = made(() => {
    throw new Error("no topic");
  });
  await assert.rejects(handler(httpEvent(reading())), /no topic/);
});
