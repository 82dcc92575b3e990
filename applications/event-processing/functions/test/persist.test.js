import assert from "node:assert/strict";
import { test } from "node:test";
import { persist } from "../src/persist.js";
import { record, recordingSubsegment } from "../fakes.js";

const made = (refuses = () => false) => {
  const stored = [];
  const store = {
    async add(events) {
      if (events.some(refuses)) throw new Error("refused");
      stored.push(events.map(({ id }) => id));
    },
  };
  const { opened, subsegment } = recordingSubsegment();
  return { stored, opened, handler: persist({ store, subsegment }) };
};

test("a batch is stored at once", async () => {
  const { stored, opened, handler } = made();
  const trace = (n) => `Root=1-5759e988-${String(n).repeat(24)};Parent=53995c3f42cd8ad8;Sampled=1`;
  const result = await handler({
    Records: [record("a", { id: 1 }, trace(1)), record("b", { id: 2 }, trace(2)), record("c", { id: 3 }, trace(1))],
  });
  assert.deepEqual(result, { batchItemFailures: [] });
  assert.deepEqual(stored, [[1, 2, 3]]);
  assert.deepEqual(opened, [
    { name: "store", events: 3, originating_trace_id: `1-5759e988-${"1".repeat(24)} 1-5759e988-${"2".repeat(24)}` },
  ]);
});

test("when a batch fails, each event is tried for itself and only the bad one comes back", async () => {
  const { stored, handler } = made((event) => event.id === 2);
  const result = await handler({ Records: [record("a", { id: 1 }), record("b", { id: 2 }), record("c", { id: 3 })] });
  assert.deepEqual(result.batchItemFailures, [{ itemIdentifier: "b" }]);
  assert.deepEqual(stored, [[1], [3]]);
});

test("a single event that fails is tried once", async () => {
  const { opened, handler } = made(() => true);
  const result = await handler({ Records: [record("a", { id: 1 })] });
  assert.deepEqual(result.batchItemFailures, [{ itemIdentifier: "a" }]);
  assert.equal(opened.length, 1);
});

test("a message that is no JSON comes back, the rest is stored", async () => {
  const { stored, handler } = made();
  const result = await handler({ Records: [record("bad", "{"), record("b", { id: 2 })] });
  assert.deepEqual(result.batchItemFailures, [{ itemIdentifier: "bad" }]);
  assert.deepEqual(stored, [[2]]);
});
