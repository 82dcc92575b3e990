// The events of the shop: what each must hold, and which queue it goes to. A new kind of event is a new entry here and a case in its processor.
import { randomUUID } from "node:crypto";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** An event that can never be processed, however often it is tried. */
export class InvalidEvent extends Error {
  constructor(message) {
    super(message);
    this.name = "InvalidEvent";
  }
}

const text = (longest, pattern, said) => (value, key) => {
  if (typeof value !== "string" || value.trim() === "" || value.length > longest)
    throw new InvalidEvent(`${key} must be a text of 1 to ${longest} characters`);
  if (pattern && !pattern.test(value)) throw new InvalidEvent(`${key} must be ${said}`);
  return value.trim();
};

const id = text(64, /^[\w-]+$/, "made of letters, digits, - and _");

/** Money in cents: fractions of numbers are not for prices. */
const cents = (value, key) => {
  if (!Number.isSafeInteger(value) || value < 0 || value > 100_000_000)
    throw new InvalidEvent(`${key} must be a whole number of cents, at most a million`);
  return value;
};

const KINDS = {
  "product/create": {
    queue: "catalog",
    data: { id, category: text(60), name: text(120), brand: text(120), description: text(2_000), price: cents },
  },
  "product/price": { queue: "catalog", data: { id, price: cents } },
  "photographer/register": {
    queue: "photographers",
    data: { id, name: text(120), phone: text(16, /^\+[1-9]\d{6,14}$/, "a phone number such as +41790000000") },
  },
};

export const TYPES = Object.keys(KINDS);

/** A checked event, with nothing in it but what its type knows. */
export function checkEvent(input, now = new Date()) {
  if (input === null || typeof input !== "object") throw new InvalidEvent("an event must be an object");
  const { type, data, eventId = randomUUID(), occurredAt = now.toISOString() } = input;
  if (!Object.hasOwn(KINDS, type)) throw new InvalidEvent(`type must be one of ${TYPES.join(", ")}`);
  if (typeof eventId !== "string" || !UUID.test(eventId)) throw new InvalidEvent("eventId must be a UUID in lower case");
  const moment = typeof occurredAt === "string" ? new Date(occurredAt) : new Date(NaN);
  if (Number.isNaN(moment.getTime())) throw new InvalidEvent("occurredAt must be a time such as 2026-01-31T12:00:00Z");
  if (data === null || typeof data !== "object") throw new InvalidEvent("data must be an object");
  const checked = Object.fromEntries(Object.entries(KINDS[type].data).map(([key, check]) => [key, check(data[key], `data.${key}`)]));
  return { eventId, type, occurredAt: moment.toISOString(), data: checked };
}

export const queueOf = ({ type }) => KINDS[type].queue;
