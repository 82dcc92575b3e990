// Other users, and following them.
import { endpoint, invalid, notFound } from "../http.js";
import { profileOf } from "../users.js";

const named = async ({ users }, { username = "" }) => {
  const user = await users.byName(username);
  if (!user) throw notFound("profile");
  return user;
};

export const profile = (services) =>
  endpoint("optional", services.tokens, async ({ viewer, path }) => {
    const { id } = await named(services, path);
    return { body: { profile: (await services.users.profiles([id], viewer)).get(id) } };
  });

export const follow = (services) =>
  endpoint("private", services.tokens, async ({ viewer, path }) => {
    const user = await named(services, path);
    if (user.id === viewer) throw invalid({ profile: ["is your own"] });
    await services.users.follow(viewer, user.id);
    return { body: { profile: profileOf(user, true) } };
  });

export const unfollow = (services) =>
  endpoint("private", services.tokens, async ({ viewer, path }) => {
    const user = await named(services, path);
    await services.users.unfollow(viewer, user.id);
    return { body: { profile: profileOf(user, false) } };
  });
