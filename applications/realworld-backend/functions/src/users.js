// Users, and who follows whom.
//
// Table `users`, key `key`: the user at `id#ID`; at `name#NAME` and `email#ADDRESS` stands whose they are, which makes both unique.
// Table `follows`, keys `follower` and `followed`.
import { randomUUID } from "node:crypto";
import { DeleteCommand, GetCommand, PutCommand } from "@aws-sdk/lib-dynamodb";
import { ConditionFailed, absent, getAll, query, setting, transact } from "./dynamo.js";
import { invalid } from "./http.js";

const TAKEN = "has already been taken";

const byId = (id) => ({ key: `id#${id}` });
const byName = (username) => ({ key: `name#${username.toLowerCase()}` });
const byEmail = (email) => ({ key: `email#${email.toLowerCase()}` });

export function userStore(documents, { users: table, follows }) {
  const get = async (key) => (await documents.send(new GetCommand({ TableName: table, Key: key }))).Item;
  const through = async (pointer) => {
    const owner = await get(pointer);
    return owner && get(byId(owner.id));
  };
  const claim = (pointer, id) => ({ Put: { TableName: table, Item: { ...pointer, id }, ...absent("key") } });
  const release = (pointer) => ({ Delete: { TableName: table, Key: pointer } });

  return {
    get: (id) => get(byId(id)),
    byName: (username) => through(byName(username)),
    byEmail: (email) => through(byEmail(email)),

    async create({ username, email, password }) {
      const id = randomUUID();
      const user = { id, username, email, password, bio: null, image: null };
      try {
        await transact(documents, [
          claim(byName(username), id),
          claim(byEmail(email), id),
          { Put: { TableName: table, Item: { ...byId(id), ...user }, ...absent("key") } },
        ]);
      } catch (error) {
        if (error instanceof ConditionFailed) throw invalid({ [error.index === 0 ? "username" : "email"]: [TAKEN] });
        throw error;
      }
      return user;
    },

    /** `changes` of a user as just read: when name or address has changed meanwhile, it fails, for it would release another's. */
    async update(user, changes) {
      if (Object.keys(changes).length === 0) return user;
      const parts = [];
      const claims = [];
      const move = (field, key) => {
        if (changes[field] === undefined || key(changes[field]).key === key(user[field]).key) return;
        claims[parts.length] = field;
        parts.push(claim(key(changes[field]), user.id), release(key(user[field])));
      };
      move("username", byName);
      move("email", byEmail);
      const set = setting(changes);
      parts.push({
        Update: {
          TableName: table,
          Key: byId(user.id),
          ...set,
          ConditionExpression: "#was_username = :was_username AND #was_email = :was_email",
          ExpressionAttributeNames: { ...set.ExpressionAttributeNames, "#was_username": "username", "#was_email": "email" },
          ExpressionAttributeValues: { ...set.ExpressionAttributeValues, ":was_username": user.username, ":was_email": user.email },
        },
      });
      try {
        await transact(documents, parts);
      } catch (error) {
        if (!(error instanceof ConditionFailed)) throw error;
        throw invalid({ [claims[error.index] ?? "user"]: [claims[error.index] ? TAKEN : "has been changed meanwhile"] });
      }
      return { ...user, ...changes };
    },

    async follow(follower, followed) {
      await documents.send(new PutCommand({ TableName: follows, Item: { follower, followed } }));
    },
    async unfollow(follower, followed) {
      await documents.send(new DeleteCommand({ TableName: follows, Key: { follower, followed } }));
    },
    followedBy: async (follower) => (await query(documents, { table: follows, key: { follower } })).map(({ followed }) => followed),

    /** The users of these ids as `viewer` sees them: `Map` of id to profile. */
    async profiles(ids, viewer) {
      const unique = [...new Set(ids)];
      const [users, followed] = await Promise.all([
        getAll(documents, table, unique.map(byId)),
        viewer
          ? getAll(
              documents,
              follows,
              unique.map((id) => ({ follower: viewer, followed: id })),
            )
          : [],
      ]);
      const following = new Set(followed.map((item) => item.followed));
      return new Map(users.map((user) => [user.id, profileOf(user, following.has(user.id))]));
    },
  };
}

export const profileOf = ({ username, bio, image }, following) => ({ username, bio, image, following });
