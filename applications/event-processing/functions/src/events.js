// The kinds of events: what each must hold, and how each is put into words and into a shape that can be stored.
import { randomUUID } from "node:crypto";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const SOURCE = /^[\w.:/-]{1,100}$/;
const MILLISECONDS_OF_A_DAY = 86_400_000;

/** An event that can never be processed, however often it is tried. */
export class InvalidEvent extends Error {}

const number = (data, key, low, high) => {
  const value = data[key];
  if (typeof value !== "number" || !(value >= low && value <= high))
    throw new InvalidEvent(`data.${key} must be a number from ${low} to ${high}`);
  return value;
};

const choice = (data, key, choices) => {
  const value = data[key];
  if (!choices.includes(value)) throw new InvalidEvent(`data.${key} must be one of ${choices.join(", ")}`);
  return value;
};

const text = (data, key, longest) => {
  const value = data[key];
  if (typeof value !== "string" || value.trim() === "" || value.length > longest) {
    throw new InvalidEvent(`data.${key} must be a text of 1 to ${longest} characters`);
  }
  return value.trim();
};

const TO_CELSIUS = {
  celsius: (value) => value,
  fahrenheit: (value) => ((value - 32) * 5) / 9,
  kelvin: (value) => value - 273.15,
};

const SEVERITIES = ["info", "warning", "critical"];
const STATES = ["online", "offline", "maintenance"];

const KINDS = {
  reading: {
    check: (data) => ({ value: number(data, "value", -1000, 10_000), unit: choice(data, "unit", Object.keys(TO_CELSIUS)) }),
    format: ({ source }, data) => {
      const celsius = Math.round(TO_CELSIUS[data.unit](data.value) * 100) / 100;
      return { message: `${source} measured ${celsius.toFixed(2)} °C`, details: { celsius, measured: data } };
    },
  },
  alarm: {
    check: (data) => ({ severity: choice(data, "severity", SEVERITIES), text: text(data, "text", 500) }),
    format: ({ source }, data) => ({
      message: `${data.severity.toUpperCase()} at ${source}: ${data.text}`,
      details: { severity: data.severity, rank: SEVERITIES.indexOf(data.severity), text: data.text },
    }),
  },
  status: {
    check: (data) => ({ from: choice(data, "from", STATES), to: choice(data, "to", STATES) }),
    format: ({ source }, data) => ({
      message: data.from === data.to ? `${source} is still ${data.to}` : `${source} went from ${data.from} to ${data.to}`,
      details: { ...data, changed: data.from !== data.to, available: data.to === "online" },
    }),
  },
};

export const TYPES = Object.keys(KINDS);

/** A checked event, with nothing in it but what its type knows. */
export function checkEvent(input, now = new Date()) {
  if (input === null || typeof input !== "object") throw new InvalidEvent("an event must be an object");
  const { id = randomUUID(), type, source, occurredAt = now.toISOString(), data } = input;
  if (typeof id !== "string" || !UUID.test(id)) throw new InvalidEvent("id must be a UUID in lower case");
  if (!Object.hasOwn(KINDS, type)) throw new InvalidEvent(`type must be one of ${TYPES.join(", ")}`);
  if (typeof source !== "string" || !SOURCE.test(source))
    throw new InvalidEvent("source must be 1 to 100 letters, digits or any of _ . : / -");
  const moment = typeof occurredAt === "string" ? new Date(occurredAt) : new Date(NaN);
  if (Number.isNaN(moment.getTime())) throw new InvalidEvent("occurredAt must be a time such as 2026-01-31T12:00:00Z");
  if (moment - now > MILLISECONDS_OF_A_DAY) throw new InvalidEvent("occurredAt must not be more than a day ahead");
  if (data === null || typeof data !== "object") throw new InvalidEvent("data must be an object");
  return { id, type, source, occurredAt: moment.toISOString(), data: KINDS[type].check(data) };
}

/** The form in which an event is stored: words for people, details for queries. */
export function formatEvent(event) {
  const { id, type, source, occurredAt, data } = event;
  return { id, type, source, occurredAt, ...KINDS[type].format(event, data) };
}
