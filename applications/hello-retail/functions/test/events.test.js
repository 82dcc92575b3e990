import assert from "node:assert/strict";
import { test } from "node:test";
import { EVENT, TABLES, failing, fakeClient, memoryDocuments, named, noSubsegment as subsegment, productEvent, record } from "../fakes.js";
import { InvalidEvent, checkEvent } from "../src/events.js";
import { processCatalog } from "../src/process-catalog.js";
import { processPhotographers } from "../src/process-photographers.js";
import { requestPhotos } from "../src/request-photos.js";
import { writeEvent } from "../src/write-event.js";

const TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const registration = { type: "photographer/register", data: { id: "p1", name: "Pat", phone: "+41790000000" } };

const writing = (respond) => {
  const sqs = fakeClient(respond);
  return { sqs, write: writeEvent({ sqs, queues: { catalog: "catalog-queue", photographers: "photographer-queue" }, subsegment }) };
};

const http = (body) => ({ body: typeof body === "string" ? body : JSON.stringify(body), isBase64Encoded: false });

test("events go to the queue of their kind", async () => {
  const { sqs, write } = writing();
  const { statusCode, body } = await write(http(productEvent()));
  assert.equal(statusCode, 202);
  assert.deepEqual(JSON.parse(body), { eventId: EVENT });
  await write(http(registration));
  assert.deepEqual(
    sqs.sent.map(({ input }) => input.QueueUrl),
    ["catalog-queue", "photographer-queue"],
  );
  assert.deepEqual(JSON.parse(sqs.sent[0].input.MessageBody), productEvent());
});

test("bad events are refused with what is wrong, and go nowhere", async () => {
  const { sqs, write } = writing();
  const refused = async (body, status, message) => {
    const answer = await write(http(body));
    assert.equal(answer.statusCode, status);
    assert.match(JSON.parse(answer.body).message, message);
  };
  await refused("{", 400, /not JSON/);
  await refused("[]", 400, /not a JSON object/);
  await refused({ type: "constructor", data: {} }, 422, /^type must be one of/);
  await refused(productEvent({ data: null }), 422, /^data must be an object/);
  await refused(productEvent({ eventId: "x" }), 422, /^eventId/);
  await refused(productEvent({ occurredAt: "soon" }), 422, /^occurredAt/);
  const data = (changes) => productEvent({ data: { ...productEvent().data, ...changes } });
  await refused(data({ id: "a b" }), 422, /^data.id must be made of/);
  await refused(data({ name: "" }), 422, /^data.name/);
  await refused(data({ price: 12.5 }), 422, /^data.price must be a whole number of cents/);
  await refused(data({ price: -1 }), 422, /^data.price/);
  await refused({ ...registration, data: { ...registration.data, phone: "079" } }, 422, /^data.phone must be a phone number/);
  assert.equal(sqs.sent.length, 0);
});

test("a queue that cannot be reached fails the invocation", async () => {
  await assert.rejects(writing(failing("ServiceUnavailable")).write(http(productEvent())), { name: "ServiceUnavailable" });
});

test("what an event's type does not know is dropped", () => {
  assert.deepEqual(checkEvent({ ...productEvent(), data: { ...productEvent().data, image: "x" }, admin: true }), productEvent());
  assert.throws(() => checkEvent(null), InvalidEvent);
});

const catalog = (options) => {
  const documents = memoryDocuments(options);
  const sqs = fakeClient(options?.respond);
  const process = processCatalog({ documents, sqs, tables: TABLES, photoQueue: "photo-queue", subsegment });
  return { documents, sqs, process: (...events) => process({ Records: events.map((event, n) => record(`m${n}`, event, TRACE)) }) };
};

const done = { batchItemFailures: [] };
const price = (cents, occurredAt) => ({ type: "product/price", occurredAt, data: { id: "mug", price: cents } });

test("a product and its category appear, and a photo is asked for", async () => {
  const { documents, sqs, process } = catalog();
  assert.deepEqual(await process(productEvent()), done);
  assert.equal(documents.table("products").get("mug").price, 1250);
  assert.deepEqual([...documents.table("categories").keys()], ["Kitchen"]);
  const [{ input }] = sqs.sent;
  assert.deepEqual(JSON.parse(input.MessageBody), { type: "photo/request", product: "mug", eventId: EVENT });
  assert.equal(input.MessageSystemAttributes.AWSTraceHeader.StringValue, TRACE);
});

test("an event that comes twice changes nothing, and another product of the same id fails", async () => {
  const { documents, process } = catalog();
  await process(productEvent());
  await process(price(900, "2026-02-02T00:00:00.000Z"));
  assert.deepEqual(await process(productEvent()), done);
  assert.equal(documents.table("products").get("mug").price, 900);
  const other = productEvent({ eventId: EVENT.replace("0b", "1b") });
  assert.deepEqual(await process(other, productEvent()), { batchItemFailures: [{ itemIdentifier: "m0" }] });
});

test("an event whose first attempt died before the photo was asked for is finished by the second", async () => {
  let dead = true;
  const { sqs, process } = catalog({
    respond: () => {
      if (dead) throw new Error("gone");
      return {};
    },
  });
  assert.deepEqual(await process(productEvent()), { batchItemFailures: [{ itemIdentifier: "m0" }] });
  dead = false;
  assert.deepEqual(await process(productEvent()), done);
  assert.equal(sqs.sent.length, 2);
});

test("the price that was set last holds, whichever comes last", async () => {
  const { documents, process } = catalog();
  const failed = { batchItemFailures: [{ itemIdentifier: "m0" }] };
  assert.deepEqual(await process(price(900, "2026-02-03T00:00:00.000Z")), failed, "the product is not there yet");
  await process(productEvent());
  assert.deepEqual(await process(price(900, "2026-02-03T00:00:00.000Z")), done);
  assert.deepEqual(await process(price(800, "2026-02-02T00:00:00.000Z")), done);
  assert.equal(documents.table("products").get("mug").price, 900);
});

test("what does not belong into a queue fails, and only that", async () => {
  const { process } = catalog();
  assert.deepEqual(await process(registration, "{", productEvent()), {
    batchItemFailures: [{ itemIdentifier: "m0" }, { itemIdentifier: "m1" }],
  });
});

test("a photographer registers, and keeps the assignment when registering again", async () => {
  const documents = memoryDocuments();
  const process = processPhotographers({ documents, tables: TABLES, subsegment, now: () => new Date("2026-02-01T00:00:00Z") });
  assert.deepEqual(await process({ Records: [record("m0", registration), record("m1", productEvent())] }), {
    batchItemFailures: [{ itemIdentifier: "m1" }],
  });
  const photographer = documents.table("photographers").get("p1");
  assert.deepEqual(photographer, { id: "p1", name: "Pat", phone: "+41790000000", state: "available", since: "2026-02-01T00:00:00.000Z" });
  documents.table("photographers").set("p1", { ...photographer, state: "awaiting", product: "mug" });
  await process({ Records: [record("m0", { ...registration, data: { ...registration.data, name: "Patricia" } })] });
  assert.deepEqual(documents.table("photographers").get("p1"), { ...photographer, name: "Patricia", state: "awaiting", product: "mug" });
});

test("one event starts one workflow", async () => {
  const message = { type: "photo/request", product: "mug", eventId: EVENT };
  const started = async (respond, body, expected) => {
    const states = fakeClient(respond);
    assert.deepEqual(await requestPhotos({ states, workflow: "arn", subsegment })({ Records: [record("m0", body)] }), expected);
    return states.sent;
  };
  const [{ input }] = await started(undefined, message, done);
  assert.deepEqual(input, { stateMachineArn: "arn", name: EVENT, input: '{"product":"mug"}' });
  await started(
    () => {
      throw named("ExecutionAlreadyExists");
    },
    message,
    done,
  );
  await started(failing("ThrottlingException"), message, { batchItemFailures: [{ itemIdentifier: "m0" }] });
  assert.deepEqual(await started(undefined, { type: "photo/request" }, { batchItemFailures: [{ itemIdentifier: "m0" }] }), []);
});
