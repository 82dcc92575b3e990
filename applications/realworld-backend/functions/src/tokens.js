// JSON Web Tokens with HMAC-SHA256 (RFC 7519, RFC 7515).
import { createHmac, timingSafeEqual } from "node:crypto";
import { unauthorized } from "./http.js";

const LIFETIME_SECONDS = 7 * 24 * 60 * 60;
const LEAST_SECRET_BYTES = 32;

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

const HEADER = encode({ alg: "HS256", typ: "JWT" });

export function tokenMaker(secret, now = () => Date.now()) {
  if (Buffer.byteLength(secret ?? "") < LEAST_SECRET_BYTES)
    throw new Error(`the secret of the tokens must have at least ${LEAST_SECRET_BYTES} bytes`);
  const seconds = () => Math.floor(now() / 1000);
  const sign = (text) => createHmac("sha256", secret).update(text).digest();
  return {
    issue(userId) {
      const issued = seconds();
      const text = `${HEADER}.${encode({ sub: userId, iat: issued, exp: issued + LIFETIME_SECONDS })}`;
      return `${text}.${sign(text).toString("base64url")}`;
    },
    /** The user's id in an `Authorization` header: `Token …`, as the specification has it, or `Bearer …`. */
    verify(authorization) {
      const [, token] = /^(?:Token|Bearer)\s+(\S+)$/i.exec(authorization) ?? [];
      const parts = token?.split(".") ?? [];
      // Only the header that is issued here is accepted: a token does not choose how it is checked.
      if (parts.length !== 3 || parts[0] !== HEADER) throw unauthorized("is invalid");
      const given = Buffer.from(parts[2], "base64url");
      const expected = sign(`${parts[0]}.${parts[1]}`);
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw unauthorized("is invalid");
      const { sub, exp } = JSON.parse(Buffer.from(parts[1], "base64url").toString("utf8"));
      if (exp <= seconds()) throw unauthorized("has expired");
      return sub;
    },
  };
}
