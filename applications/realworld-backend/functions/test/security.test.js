import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { Refusal } from "../src/http.js";
import { hashPassword, passwordMatches } from "../src/passwords.js";
import { tokenMaker } from "../src/tokens.js";

const SECRET = "x".repeat(32);
const DAY = 86_400_000;

const refused = (tokens, authorization, said) =>
  assert.throws(
    () => tokens.verify(authorization),
    (error) => error instanceof Refusal && error.status === 401 && error.errors.token[0] === said,
  );

test("a token tells whose it is, for a week", () => {
  let now = Date.parse("2026-02-01");
  const tokens = tokenMaker(SECRET, () => now);
  const token = tokens.issue("u1");
  assert.equal(tokens.verify(`Token ${token}`), "u1");
  assert.equal(tokens.verify(`bearer ${token}`), "u1");
  now += 7 * DAY - 1000;
  assert.equal(tokens.verify(`Token ${token}`), "u1");
  now += 1000;
  refused(tokens, `Token ${token}`, "has expired");
});

test("the signature is that of RFC 7515", () => {
  const [header, payload, signature] = tokenMaker(SECRET).issue("u1").split(".");
  assert.deepEqual(JSON.parse(Buffer.from(header, "base64url")), { alg: "HS256", typ: "JWT" });
  assert.equal(signature, createHmac("sha256", SECRET).update(`${header}.${payload}`).digest("base64url"));
});

test("tokens that were changed, made elsewhere or unsigned are refused", () => {
  const tokens = tokenMaker(SECRET);
  const [header, payload, signature] = tokens.issue("u1").split(".");
  const forged = Buffer.from(JSON.stringify({ sub: "u2", iat: 0, exp: 9e9 })).toString("base64url");
  const none = Buffer.from(JSON.stringify({ alg: "none", typ: "JWT" })).toString("base64url");
  for (const token of [
    `${header}.${forged}.${signature}`,
    `${none}.${forged}.`,
    `${none}.${payload}.${signature}`,
    `${header}.${payload}.`,
    `${header}.${payload}`,
    `${header}.${payload}.${signature}.x`,
    tokenMaker("y".repeat(32)).issue("u1"),
    "",
  ]) {
    refused(tokens, `Token ${token}`, "is invalid");
  }
  refused(tokens, `Basic ${header}.${payload}.${signature}`, "is invalid");
});

test("a short secret is none", () => {
  assert.throws(() => tokenMaker("short"), /at least 32 bytes/);
  assert.throws(() => tokenMaker(undefined), /at least 32 bytes/);
});

test("a password matches its own hash only, and two hashes of it differ", async () => {
  const [one, two] = await Promise.all([hashPassword("pass phrase"), hashPassword("pass phrase")]);
  assert.notEqual(one, two);
  assert.match(one, /^scrypt\$16384\$8\$1\$/);
  assert.equal(await passwordMatches("pass phrase", one), true);
  assert.equal(await passwordMatches("pass phrase ", one), false);
  assert.equal(await passwordMatches("pass phrase", undefined), false);
});

test("a hash that was made at another cost still matches", async () => {
  // RFC 7914, section 12: scrypt("pleaseletmein", "SodiumChloride", 16384, 8, 1), its first 32 bytes.
  const key = Buffer.from("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2", "hex").toString("base64url");
  const salt = Buffer.from("SodiumChloride").toString("base64url");
  assert.equal(await passwordMatches("pleaseletmein", `scrypt$16384$8$1$${salt}$${key}`), true);
});
