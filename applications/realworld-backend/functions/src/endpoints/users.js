// Registration, login, and the user's own account.
import { check } from "../checks.js";
import { Refusal, endpoint, unauthorized } from "../http.js";
import { hashPassword, passwordMatches } from "../passwords.js";

const shown = ({ tokens }, { id, email, username, bio, image }) => ({ user: { email, token: tokens.issue(id), username, bio, image } });

/** The account of a token that is valid: it may be gone nevertheless. */
const own = async ({ users }, viewer) => {
  const user = await users.get(viewer);
  if (!user) throw unauthorized("belongs to nobody");
  return user;
};

export const register = (services) =>
  endpoint("public", services.tokens, async ({ body }) => {
    const { password, ...wanted } = check(body(), "user", { required: { username: "username", email: "email", password: "password" } });
    const hash = await services.subsegment("hash-password", {}, () => hashPassword(password));
    return { status: 201, body: shown(services, await services.users.create({ ...wanted, password: hash })) };
  });

export const login = (services) =>
  endpoint("public", services.tokens, async ({ body }) => {
    const { email, password } = check(body(), "user", { required: { email: "email", password: "presented" } });
    const user = await services.users.byEmail(email);
    // Whether the address or the password is wrong is not told, neither by words nor by time.
    if (!(await services.subsegment("verify-password", {}, () => passwordMatches(password, user?.password)))) {
      throw new Refusal(401, { "email or password": ["is invalid"] });
    }
    return { body: shown(services, user) };
  });

export const currentUser = (services) =>
  endpoint("private", services.tokens, async ({ viewer }) => ({ body: shown(services, await own(services, viewer)) }));

export const updateUser = (services) =>
  endpoint("private", services.tokens, async ({ viewer, body }) => {
    const changes = check(body(), "user", {
      optional: { username: "username", email: "email", password: "password", bio: "bio", image: "image" },
    });
    if (changes.password !== undefined)
      changes.password = await services.subsegment("hash-password", {}, () => hashPassword(changes.password));
    return { body: shown(services, await services.users.update(await own(services, viewer), changes)) };
  });
