import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inflateSync } from "node:zlib";
import { photo } from "../../data/make-photo.mjs";
import { TABLES, failing, fakeClient, memoryDocuments, named, noSubsegment as subsegment } from "../fakes.js";
import { assignmentStore } from "../src/assignments.js";
import { categories, photographer, product, products } from "../src/read.js";
import { receivePhoto } from "../src/receive-photo.js";
import { acceptPhoto, askForPhoto, assign, release } from "../src/workflow.js";

/** A shop with products and photographers, of whom the first has waited longest. */
function shop({ productIds = ["mug", "pot"], photographers = ["p1", "p2"], ...options } = {}) {
  const documents = memoryDocuments(options);
  for (const id of productIds)
    documents.table("products").set(id, { id, category: "Kitchen", name: id, brand: "b", description: "d", price: 1 });
  photographers.forEach((id, n) =>
    documents
      .table("photographers")
      .set(id, { id, name: id, phone: `+4179000000${n}`, state: "available", since: `2026-02-01T00:00:0${n}.000Z` }),
  );
  const assignments = assignmentStore({ documents, tables: TABLES, now: () => new Date("2026-02-02T00:00:00Z"), pause: async () => {} });
  const step = (make, more) => make({ assignments, documents, tables: TABLES, subsegment, ...more });
  return { documents, assignments, step, state: (id) => documents.table("photographers").get(id).state };
}

test("who has waited longest is assigned, and to one product only", async () => {
  const { step, documents, state } = shop();
  assert.deepEqual(await step(assign)({ product: "mug", execution: "e1#1" }), { id: "p1", name: "p1", phone: "+41790000000" });
  assert.equal((await step(assign)({ product: "pot", execution: "e2#1" })).id, "p2");
  assert.deepEqual(documents.table("products").get("mug").assignment, { execution: "e1#1", photographer: "p1" });
  assert.deepEqual([state("p1"), state("p2")], ["assigned", "assigned"]);
});

test("a step that is repeated finds the photographer of its first attempt", async () => {
  const { step, state } = shop();
  await step(assign)({ product: "mug", execution: "e1#1" });
  assert.equal((await step(assign)({ product: "mug", execution: "e1#1" })).id, "p1");
  assert.equal(state("p2"), "available");
});

test("a photographer whom another workflow takes first is passed over", async () => {
  let table;
  const { step, documents } = shop({
    before: (name, { TransactItems }) => {
      if (name === "TransactWriteCommand" && TransactItems[0].Update.Key.id === "p1")
        table.set("p1", { ...table.get("p1"), state: "assigned" });
    },
  });
  table = documents.table("photographers");
  assert.equal((await step(assign)({ product: "mug", execution: "e1#1" })).id, "p2");
});

test("without a photographer or a product the state machine is told which", async () => {
  await assert.rejects(shop({ photographers: [] }).step(assign)({ product: "mug", execution: "e" }), { name: "NoPhotographerAvailable" });
  await assert.rejects(shop().step(assign)({ product: "none", execution: "e" }), { name: "ProductGone" });
});

test("transactions that meet are tried again, though not for ever", async () => {
  const meeting = (times) =>
    shop({
      before: (name) => {
        if (name === "TransactWriteCommand" && times-- > 0)
          throw named("TransactionCanceledException", { CancellationReasons: [{ Code: "TransactionConflict" }] });
      },
    }).step(assign);
  assert.equal((await meeting(3)({ product: "mug", execution: "e" })).id, "p1");
  await assert.rejects(meeting(100)({ product: "mug", execution: "e" }), { name: "TransactionCanceledException" });
});

const ASSIGNED = { product: "mug", execution: "e1#1", photographer: { id: "p1", name: "p1", phone: "+41790000000" } };

async function awaiting(more) {
  const made = shop(more);
  await made.step(assign)({ product: "mug", execution: "e1#1" });
  await made.step(askForPhoto)({ ...ASSIGNED, token: "t1" });
  return made;
}

test("the photographer is told by a text message, or the log is", async () => {
  const { step, documents } = await awaiting();
  assert.equal(documents.table("photographers").get("p1").token, "t1");
  assert.equal(documents.table("photographers").get("p1").state, "awaiting");
  const sns = fakeClient();
  assert.deepEqual(await step(askForPhoto, { sns })({ ...ASSIGNED, token: "t2" }), { sent: true });
  assert.equal(sns.sent[0].input.PhoneNumber, "+41790000000");
  assert.match(sns.sent[0].input.Message, /product mug/);
  assert.equal(documents.table("photographers").get("p1").token, "t2", "a second attempt has a token of its own");
});

test("who is no longer assigned is not asked", async () => {
  const { step } = await awaiting();
  await step(release)(ASSIGNED);
  await assert.rejects(step(askForPhoto)({ ...ASSIGNED, token: "t2" }), { name: "ConditionalCheckFailedException" });
});

test("an accepted photo is the product's, and the photographer is free", async () => {
  const { step, documents, state } = await awaiting();
  const accept = step(acceptPhoto);
  assert.deepEqual(await accept({ ...ASSIGNED, photo: { key: "k" } }), { product: "mug", image: "k", first: true });
  const { image, photographer: by, assignment } = documents.table("products").get("mug");
  assert.deepEqual([image, by, assignment], ["k", "p1", undefined]);
  assert.equal(state("p1"), "available");
  assert.equal(documents.table("photographers").get("p1").token, undefined);
  assert.equal((await accept({ ...ASSIGNED, photo: { key: "k" } })).first, false, "a repeated step changes nothing");
});

test("who is released can be assigned again, and an old workflow does not release a new assignment", async () => {
  const { step, state } = await awaiting({ photographers: ["p1"] });
  await step(release)(ASSIGNED);
  assert.equal(state("p1"), "available");
  await step(assign)({ product: "pot", execution: "e2#1" });
  await step(release)(ASSIGNED);
  assert.equal(state("p1"), "assigned");
});

const upload = (id, bytes = photo()) => ({ pathParameters: { photographer: id }, body: bytes.toString("base64"), isBase64Encoded: true });

const receiving = (made, respond) => {
  const s3 = fakeClient();
  const states = fakeClient(respond);
  return { s3, states, receive: made.step(receivePhoto, { s3, states, bucket: "b" }) };
};

test("a photo is stored and wakes the workflow that waits for it", async () => {
  const { s3, states, receive } = receiving(await awaiting());
  const { statusCode, body } = await receive(upload("p1"));
  assert.equal(statusCode, 201);
  const { product: of, photo: key } = JSON.parse(body);
  assert.equal(of, "mug");
  assert.match(key, /^products\/mug\/[0-9a-f-]{36}\.png$/);
  const { Bucket, Key, Body, ContentType } = s3.sent[0].input;
  assert.deepEqual([Bucket, Key, ContentType], ["b", key, "image/png"]);
  assert.ok(Body.equals(photo()));
  assert.equal(states.sent[0].input.taskToken, "t1");
  assert.deepEqual(JSON.parse(states.sent[0].input.output), { key, bytes: photo().length });
});

test("photos that nobody waits for, and what is no photo, are refused and not kept", async () => {
  const { s3, receive } = receiving(await awaiting());
  const refused = async (request, status) => assert.equal((await receive(request)).statusCode, status);
  await refused(upload("p2"), 409);
  await refused(upload("nobody"), 404);
  await refused(upload("p1", Buffer.from("GIF89a")), 415);
  await refused({ pathParameters: { photographer: "p1" }, body: null }, 415);
  await refused(upload("p1", Buffer.concat([photo(), Buffer.alloc(4_500_000)])), 413);
  assert.equal(s3.sent.length, 0);
});

test("a photo that comes too late is taken out again", async () => {
  const late = receiving(await awaiting(), failing("TaskTimedOut"));
  assert.equal((await late.receive(upload("p1"))).statusCode, 409);
  assert.deepEqual(
    late.s3.sent.map(({ name }) => name),
    ["PutObjectCommand", "DeleteObjectCommand"],
  );
  assert.equal(late.s3.sent[0].input.Key, late.s3.sent[1].input.Key);
  const down = receiving(await awaiting(), failing("ServiceUnavailable"));
  await assert.rejects(down.receive(upload("p1")), { name: "ServiceUnavailable" });
  assert.equal(down.s3.sent.length, 2);
});

test("the catalogue is read by category, in pages", async () => {
  const { step, documents } = shop({ productIds: ["a", "b", "c"] });
  for (const name of ["Toys", "Garden", "Kitchen"]) documents.table("categories").set(name, { name });
  const body = async (answer) => JSON.parse((await answer).body);
  assert.deepEqual(await body(step(categories)({})), { categories: ["Garden", "Kitchen", "Toys"] });
  const list = (query) => step(products)({ queryStringParameters: query });
  const first = await body(list({ category: "Kitchen", limit: "2" }));
  assert.deepEqual([first.products.map(({ id }) => id), first.next], [["a", "b"], "b"]);
  const second = await body(list({ category: "Kitchen", limit: "2", after: first.next }));
  assert.deepEqual([second.products.map(({ id }) => id), second.next], [["c"], null]);
  assert.deepEqual(await body(list({ category: "None" })), { products: [], next: null });
  for (const query of [
    null,
    {},
    { category: "Kitchen", limit: "0" },
    { category: "Kitchen", limit: "x" },
    { category: "Kitchen", after: "a b" },
  ]) {
    assert.equal((await list(query)).statusCode, 400, JSON.stringify(query));
  }
});

test("a product is read, with its image once there is one", async () => {
  const { step } = shop();
  const { statusCode, body } = await step(product)({ pathParameters: { product: "mug" } });
  assert.equal(statusCode, 200);
  assert.deepEqual(JSON.parse(body), { id: "mug", category: "Kitchen", name: "mug", brand: "b", description: "d", price: 1, image: null });
  assert.equal((await step(product)({ pathParameters: { product: "none" } })).statusCode, 404);
});

test("a photographer sees the assignment, but neither number nor token", async () => {
  const { step } = await awaiting();
  const { body } = await step(photographer)({ pathParameters: { photographer: "p1" } });
  assert.deepEqual(JSON.parse(body), { id: "p1", name: "p1", state: "awaiting", since: "2026-02-02T00:00:00.000Z", product: "mug" });
  assert.equal((await step(photographer)({ pathParameters: { photographer: "none" } })).statusCode, 404);
});

test("the photo of the workload is what the script draws", () => {
  // Compressors of other versions make other bytes of the same pixels.
  const pixels = (png) => inflateSync(png.subarray(8 + 25 + 8, -12 - 4));
  const stored = readFileSync(new URL("../../data/photo.png", import.meta.url));
  assert.ok(pixels(photo()).equals(pixels(stored)));
});
