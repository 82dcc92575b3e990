// Passwords by scrypt (RFC 7914), with their own salt and the cost written beside them, so that it can be raised later.
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

const derive = promisify(scrypt);

// 16 MiB and some 50 ms of a whole processor.
const COST = { N: 16_384, r: 8, p: 1 };
const KEY_BYTES = 32;

export async function hashPassword(password) {
  const salt = randomBytes(16);
  const key = await derive(password, salt, KEY_BYTES, COST);
  return ["scrypt", COST.N, COST.r, COST.p, salt.toString("base64url"), key.toString("base64url")].join("$");
}

/** Without a hash (nobody has that address) it takes as long as with one, and is false. */
export async function passwordMatches(password, stored) {
  const [, N, r, p, salt, key] = (stored ?? `scrypt$${COST.N}$${COST.r}$${COST.p}$c2FsdA$`).split("$");
  const expected = Buffer.from(key, "base64url");
  const actual = await derive(password, Buffer.from(salt, "base64url"), KEY_BYTES, { N: Number(N), r: Number(r), p: Number(p) });
  return stored !== undefined && actual.length === expected.length && timingSafeEqual(actual, expected);
}
