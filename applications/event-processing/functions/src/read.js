// Reads what has been stored: a page of events, or the latest one.
import { TYPES } from "./events.js";
import { HttpError, answer, http } from "./http.js";

const DEFAULT_LIMIT = 20;
const LARGEST_LIMIT = 100;

const typeOf = ({ type }) => {
  if (type !== undefined && !TYPES.includes(type)) throw new HttpError(400, `type must be one of ${TYPES.join(", ")}`);
  return type;
};

const limitOf = ({ limit = String(DEFAULT_LIMIT) }) => {
  const value = /^\d{1,3}$/.test(limit) ? Number(limit) : 0;
  if (value < 1 || value > LARGEST_LIMIT) throw new HttpError(400, `limit must be a whole number from 1 to ${LARGEST_LIMIT}`);
  return value;
};

export const cursorOf = ({ occurredAt, id }) => Buffer.from(JSON.stringify([occurredAt, id])).toString("base64url");

const beforeOf = ({ before }) => {
  if (before === undefined) return undefined;
  try {
    const [occurredAt, id] = JSON.parse(Buffer.from(before, "base64url").toString("utf8"));
    if (new Date(occurredAt).toISOString() === occurredAt && /^[0-9a-f-]{36}$/.test(id)) return { occurredAt, id };
  } catch {
    // Said below, as for every other cursor that is none of ours.
  }
  throw new HttpError(400, "before must be the `next` of an earlier answer");
};

export const list = ({ store, subsegment }) =>
  http(async (request) => {
    const query = request.queryStringParameters ?? {};
    const wanted = { type: typeOf(query), limit: limitOf(query), before: beforeOf(query) };
    // One more than asked for tells whether there is a next page.
    const found = await subsegment("list", { event_type: wanted.type, limit: wanted.limit }, () =>
      store.list({ ...wanted, limit: wanted.limit + 1 }),
    );
    const events = found.slice(0, wanted.limit);
    return answer(200, { events, next: found.length > events.length ? cursorOf(events.at(-1)) : null });
  });

export const latest = ({ store, subsegment }) =>
  http(async (request) => {
    const type = typeOf(request.queryStringParameters ?? {});
    const [event] = await subsegment("latest", { event_type: type }, () => store.list({ type, limit: 1 }));
    return answer(200, { event: event ?? null });
  });
