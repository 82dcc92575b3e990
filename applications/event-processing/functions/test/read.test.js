import assert from "node:assert/strict";
import { test } from "node:test";
import { cursorOf, latest, list } from "../src/read.js";
import { ID, httpEvent, noSubsegment } from "../fakes.js";

const events = (count) =>
  Array.from({ length: count }, (_, n) => ({ id: ID.slice(0, -2) + String(n).padStart(2, "0"), occurredAt: "2026-01-31T12:00:00.000Z" }));

const made = (handler, found) => {
  const asked = [];
  const store = {
    async list(wanted) {
      asked.push(wanted);
      return found.slice(0, wanted.limit);
    },
  };
  return { asked, handler: handler({ store, subsegment: noSubsegment }) };
};

test("a page tells where the next one begins", async () => {
  const { asked, handler } = made(list, events(5));
  const page = JSON.parse((await handler(httpEvent("", { limit: "2", type: "alarm" }))).body);
  assert.equal(page.events.length, 2);
  assert.deepEqual(asked, [{ type: "alarm", limit: 3, before: undefined }]);

  await handler(httpEvent("", { before: page.next }));
  assert.deepEqual(asked[1], { type: undefined, limit: 21, before: { occurredAt: events(2)[1].occurredAt, id: events(2)[1].id } });
});

test("the last page has no next one", async () => {
  const { handler } = made(list, events(2));
  assert.equal(JSON.parse((await handler(httpEvent("", { limit: "2" }))).body).next, null);
  assert.deepEqual(JSON.parse((await made(list, []).handler(httpEvent(""))).body), { events: [], next: null });
});

test("queries that make no sense are refused before the database is asked", async () => {
  const { asked, handler } = made(list, []);
  const refused = async (query) => assert.equal((await handler(httpEvent("", query))).statusCode, 400, JSON.stringify(query));
  await refused({ limit: "0" });
  await refused({ limit: "101" });
  await refused({ limit: "1e1" });
  await refused({ limit: "" });
  await refused({ type: "x" });
  await refused({ before: "x" });
  await refused({ before: cursorOf({ occurredAt: "2026'--", id: ID }) });
  await refused({ before: cursorOf({ occurredAt: "2026-01-31T12:00:00.000Z", id: "';--" }) });
  assert.deepEqual(asked, []);
});

test("the latest event, or none", async () => {
  assert.deepEqual(JSON.parse((await made(latest, events(3)).handler(httpEvent("", { type: "status" }))).body), { event: events(1)[0] });
  assert.deepEqual(JSON.parse((await made(latest, []).handler({ queryStringParameters: null })).body), { event: null });
  assert.equal((await made(latest, []).handler(httpEvent("", { type: "constructor" }))).statusCode, 400);
});
