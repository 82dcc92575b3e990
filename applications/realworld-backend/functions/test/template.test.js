// The template wires every endpoint, and each function may do exactly what it does.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ROUTES, application } from "../application.js";
import { memoryDocuments } from "../fakes.js";

const TABLES = {
  Users: "users",
  Follows: "follows",
  Articles: "articles",
  ArticleTags: "tags",
  Favorites: "favorites",
  Counters: "counters",
  Comments: "comments",
};

/** `METHOD /path` to `{handler, allowed}`, read from the template line by line: every function is written in the same form. */
function wired() {
  const functions = new Map();
  let handler;
  let allowed;
  let actions;
  let path;
  for (const line of readFileSync(new URL("../../template.yaml", import.meta.url), "utf8").split("\n")) {
    const [, key, value] = /^\s+(CodeUri|Action|Resource|Path|Method): (.+)$/.exec(line) ?? [];
    if (key === "CodeUri") [handler, allowed] = [/functions\/([\w-]+)\/$/.exec(value)[1], new Set()];
    if (key === "Action") actions = value.match(/dynamodb:\w+/g);
    if (key === "Resource") for (const action of actions) allowed.add(`${action} ${TABLES[/!GetAtt (\w+)\.Arn/.exec(value)[1]]}`);
    if (key === "Path") path = value;
    if (key === "Method") functions.set(`${value.toUpperCase()} ${path}`, { handler, allowed });
  }
  return functions;
}

/** What IAM calls the actions of a command. */
function actionsOf(name, input) {
  if (name === "TransactWriteCommand") {
    return input.TransactItems.map((part) => Object.entries(part)[0]).map(([kind, { TableName }]) => `dynamodb:${kind}Item ${TableName}`);
  }
  if (name === "BatchGetCommand" || name === "BatchWriteCommand") {
    return Object.keys(input.RequestItems).map((table) => `dynamodb:${name.replace("Command", "Item")} ${table}`);
  }
  return [`dynamodb:${name === "QueryCommand" ? "Query" : name.replace("Command", "Item")} ${input.TableName}`];
}

test("every endpoint has a function of its own", () => {
  assert.deepEqual([...wired().keys()].sort(), Object.keys(ROUTES).sort());
  for (const { handler } of wired().values()) readFileSync(new URL(`../src/handlers/${handler}.js`, import.meta.url));
});

test("each function may do what it does, and nothing else", async () => {
  const used = new Map(Object.keys(ROUTES).map((route) => [route, new Set()]));
  let current;
  const documents = memoryDocuments({ before: (name, input) => actionsOf(name, input).forEach((action) => used.get(current).add(action)) });
  const request = application(documents);
  const call = async (route, options, values = {}, query = "") => {
    current = route;
    const [method, template] = route.split(" ");
    const answer = await request(method, template.replace(/\{(\w+)\}/g, (_, key) => values[key]) + query, options);
    assert.ok(answer.status < 300, `${route}: ${JSON.stringify(answer)}`);
    return answer.body;
  };
  const user = (username) => ({ username, email: `${username}@x.org`, password: "long enough" });

  const { token } = (await call("POST /users", { body: { user: user("ada") } })).user;
  const eve = (await call("POST /users", { body: { user: user("eve") } })).user.token;
  await call("POST /users/login", { body: { user: user("ada") } });
  await call("GET /user", { token });
  await call("PUT /user", { token: eve, body: { user: { username: "eva" } } });
  await call("POST /profiles/{username}/follow", { token: eve }, { username: "ada" });
  await call("GET /profiles/{username}", { token: eve }, { username: "ada" });
  const { slug } = (await call("POST /articles", { token, body: { article: { title: "t", description: "d", body: "b", tagList: ["x"] } } }))
    .article;
  await call("POST /articles/{slug}/favorite", { token: eve }, { slug });
  await call("GET /articles/{slug}", { token: eve }, { slug });
  for (const query of ["", "?tag=x", "?author=ada", "?favorited=eva"]) await call("GET /articles", { token: eve }, {}, query);
  await call("GET /articles/feed", { token: eve });
  await call("GET /tags");
  for (const body of ["one", "two"]) await call("POST /articles/{slug}/comments", { token: eve, body: { comment: { body } } }, { slug });
  await call("GET /articles/{slug}/comments", { token }, { slug });
  await call("DELETE /articles/{slug}/comments/{id}", { token: eve }, { slug, id: 1 });
  await call("DELETE /articles/{slug}/favorite", { token: eve }, { slug });
  await call("DELETE /profiles/{username}/follow", { token: eve }, { username: "ada" });
  const moved = (await call("PUT /articles/{slug}", { token, body: { article: { title: "u" } } }, { slug })).article.slug;
  await call("DELETE /articles/{slug}", { token }, { slug: moved });

  for (const [route, { allowed }] of wired()) assert.deepEqual([...allowed].sort(), [...used.get(route)].sort(), route);
});
