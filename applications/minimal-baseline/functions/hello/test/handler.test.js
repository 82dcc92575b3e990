import assert from "node:assert/strict";
import { test } from "node:test";

import { respond } from "../respond.js";

test("the answer names the request", () => {
  const answer = respond({ requestContext: { requestId: "c6af9ac6" } });
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.headers["Content-Type"], "application/json");
  assert.deepEqual(JSON.parse(answer.body), { message: "hello", requestId: "c6af9ac6" });
});

test("an event without a request context is answered too", () => {
  for (const event of [{}, null, undefined, { requestContext: {} }]) {
    assert.deepEqual(JSON.parse(respond(event).body), { message: "hello", requestId: null });
  }
});

test("the handler answers whether or not a trace is open", async () => {
  // Outside of Lambda there is no segment: the SDK is told not to mind.
  process.env.AWS_XRAY_CONTEXT_MISSING = "IGNORE_ERROR";
  const { handler } = await import("../index.js");
  assert.equal((await handler({})).statusCode, 200);
});
