import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidEvent, checkEvent, formatEvent } from "../src/events.js";
import { reading } from "../fakes.js";

const NOW = new Date("2026-02-01T00:00:00Z");

function formatted(type, data, message, details) {
  const event = formatEvent(checkEvent(reading({ type, data }), NOW));
  assert.equal(event.message, message);
  assert.deepEqual(event.details, details);
}

test("each type is formatted in its own way", () => {
  formatted("reading", { value: 68, unit: "fahrenheit" }, "roof-1 measured 20.00 °C", {
    celsius: 20,
    measured: { value: 68, unit: "fahrenheit" },
  });
  formatted("reading", { value: 0, unit: "kelvin" }, "roof-1 measured -273.15 °C", {
    celsius: -273.15,
    measured: { value: 0, unit: "kelvin" },
  });
  formatted("alarm", { severity: "critical", text: " smoke " }, "CRITICAL at roof-1: smoke", {
    severity: "critical",
    rank: 2,
    text: "smoke",
  });
  formatted("status", { from: "offline", to: "online" }, "roof-1 went from offline to online", {
    from: "offline",
    to: "online",
    changed: true,
    available: true,
  });
  formatted("status", { from: "offline", to: "offline" }, "roof-1 is still offline", {
    from: "offline",
    to: "offline",
    changed: false,
    available: false,
  });
});

test("what may be left out is filled in", () => {
  const event = checkEvent({ type: "reading", source: "s", data: { value: 1, unit: "celsius" } }, NOW);
  assert.match(event.id, /^[0-9a-f-]{36}$/);
  assert.equal(event.occurredAt, NOW.toISOString());
});

test("keys that a type does not know are dropped", () => {
  assert.deepEqual(
    checkEvent(reading({ data: { value: 1, unit: "celsius", extra: "x" }, admin: true }), NOW),
    reading({ data: { value: 1, unit: "celsius" } }),
  );
});

test("what is wrong is named", () => {
  const refused = (changes, said) =>
    assert.throws(
      () => checkEvent(reading(changes), NOW),
      (error) => error instanceof InvalidEvent && said.test(error.message),
    );
  refused({ id: "x" }, /^id must be a UUID/);
  refused({ type: "toString" }, /^type must be one of reading, alarm, status$/);
  refused({ type: undefined }, /^type must/);
  refused({ source: "a b" }, /^source must/);
  refused({ source: "a".repeat(101) }, /^source must/);
  refused({ occurredAt: "yesterday" }, /^occurredAt must be a time/);
  refused({ occurredAt: 17 }, /^occurredAt must be a time/);
  refused({ occurredAt: "2026-02-03T00:00:00Z" }, /a day ahead/);
  refused({ data: null }, /^data must be an object/);
  refused({ data: { value: "68", unit: "celsius" } }, /^data.value must be a number/);
  refused({ data: { value: NaN, unit: "celsius" } }, /^data.value must be a number/);
  refused({ data: { value: 68, unit: "rankine" } }, /^data.unit must be one of/);
  refused({ type: "alarm", data: { severity: "info", text: "  " } }, /^data.text must be a text/);
  refused({ type: "alarm", data: { severity: "info", text: "x".repeat(501) } }, /^data.text must be a text/);
  refused({ type: "status", data: { from: "online", to: "gone" } }, /^data.to must be one of/);
  assert.throws(() => checkEvent(null), InvalidEvent);
  assert.throws(() => checkEvent("text"), InvalidEvent);
});
