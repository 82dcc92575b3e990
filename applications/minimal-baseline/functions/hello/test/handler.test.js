import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { respond } from "../respond.js";

const folder = fileURLToPath(new URL("..", import.meta.url));

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

for (const instrumentation of ["otel", "xray", "none", undefined]) {
  test(`the handler answers whether or not a trace is open, with ${instrumentation}`, () => {
    const { INSTRUMENTATION, _X_AMZN_TRACE_ID, ...env } = process.env;
    // Outside of Lambda there is no segment: the X-Ray SDK is told not to mind.
    env.AWS_XRAY_CONTEXT_MISSING = "IGNORE_ERROR";
    if (instrumentation) {
      env.INSTRUMENTATION = instrumentation;
    }
    const ask = `const { handler } = await import("./index.js"); console.log((await handler({})).statusCode)`;
    const asked = spawnSync(process.execPath, ["--input-type=module", "-e", ask], { env, cwd: folder, encoding: "utf8" });
    assert.equal(asked.stdout.trim(), "200", asked.stderr);
  });
}

test("an instrumentation that is not known is named", () => {
  const env = { ...process.env, INSTRUMENTATION: "zipkin" };
  const asked = spawnSync(process.execPath, ["--input-type=module", "-e", `await import("./index.js")`], { env, cwd: folder, encoding: "utf8" });
  assert.match(asked.stderr, /INSTRUMENTATION is "zipkin": set it to otel, xray, none/);
});

test("a span of OpenTelemetry goes to the daemon within the invocation", async () => {
  const daemon = createSocket("udp4");
  await new Promise((resolve) => daemon.bind(0, "127.0.0.1", resolve));
  const received = new Promise((resolve) => daemon.once("message", resolve));
  process.env.AWS_XRAY_DAEMON_ADDRESS = `127.0.0.1:${daemon.address().port}`;
  process.env._X_AMZN_TRACE_ID = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
  const { traced } = await import("../instrumentation/otel.js");
  assert.equal(await traced("respond", () => 5), 5);
  const [header, body] = (await received).toString().split("\n");
  daemon.close();
  assert.deepEqual(JSON.parse(header), { format: "json", version: 1 });
  assert.equal(body.slice(0, 3), "T1S");
  const message = Buffer.from(body.slice(3), "base64");
  for (const part of ["respond", Buffer.from("5759e988bd862e3fe1be46a994272793", "hex"), Buffer.from("53995c3f42cd8ad8", "hex")]) {
    assert.ok(message.includes(part), `${part} in ${message}`);
  }
});
