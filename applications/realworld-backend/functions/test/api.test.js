import assert from "node:assert/strict";
import { test } from "node:test";
import { application } from "../application.js";
import { memoryDocuments } from "../fakes.js";

const PASSWORD = "correct horse";

async function signedUp(request, username) {
  const { status, body } = await request("POST", "/users", {
    body: { user: { username, email: `${username}@example.org`, password: PASSWORD } },
  });
  assert.equal(status, 201);
  return body.user.token;
}

async function written(request, token, changes = {}) {
  const article = { title: "How to train", description: "short", body: "long", ...changes };
  const { status, body } = await request("POST", "/articles", { token, body: { article } });
  assert.equal(status, 201);
  return body.article;
}

const fresh = () => {
  const documents = memoryDocuments();
  return { documents, request: application(documents) };
};

const titles = ({ body }) => body.articles.map(({ title }) => title);

test("who registers can log in and is who they are", async () => {
  const { request, documents } = fresh();
  const token = await signedUp(request, "ada");
  const login = await request("POST", "/users/login", { body: { user: { email: "ADA@example.org", password: PASSWORD } } });
  assert.equal(login.status, 200);
  assert.deepEqual({ ...login.body.user, token: "" }, { email: "ada@example.org", token: "", username: "ada", bio: null, image: null });
  for (const known of [token, login.body.user.token]) {
    const { status, body } = await request("GET", "/user", { token: known });
    assert.equal(status, 200);
    assert.equal(body.user.username, "ada");
  }
  assert.ok(!JSON.stringify([...documents.tables.get("users").values()]).includes(PASSWORD));
});

test("a wrong password and an unknown address get the same answer", async () => {
  const { request } = fresh();
  await signedUp(request, "ada");
  const refused = { status: 401, body: { errors: { "email or password": ["is invalid"] } } };
  assert.deepEqual(await request("POST", "/users/login", { body: { user: { email: "ada@example.org", password: "wrong" } } }), refused);
  assert.deepEqual(await request("POST", "/users/login", { body: { user: { email: "eve@example.org", password: PASSWORD } } }), refused);
});

test("names and addresses are unique, whatever their case", async () => {
  const { request, documents } = fresh();
  await signedUp(request, "ada");
  const taken = async (user, key) => {
    const { status, body } = await request("POST", "/users", { body: { user: { password: PASSWORD, ...user } } });
    assert.equal(status, 422);
    assert.deepEqual(body, { errors: { [key]: ["has already been taken"] } });
  };
  await taken({ username: "Ada", email: "other@example.org" }, "username");
  await taken({ username: "other", email: "Ada@Example.org" }, "email");
  assert.equal(documents.tables.get("users").size, 3, "what failed left nothing");
});

test("everything that is wrong with an input is said at once", async () => {
  const { request } = fresh();
  const refused = async (options, status, errors) =>
    assert.deepEqual(await request("POST", "/users", options), { status, body: { errors } });
  await refused({ body: { user: { username: "a b", email: "x", password: "short" } } }, 422, {
    username: ["may hold letters, digits, _ . and - only"],
    email: ["is invalid"],
    password: ["is too short (minimum is 8 characters)"],
  });
  await refused({ body: { user: {} } }, 422, { username: ["can't be blank"], email: ["can't be blank"], password: ["can't be blank"] });
  await refused({ body: { user: { username: "x".repeat(65), email: "a@b", password: PASSWORD } } }, 422, {
    username: ["is too long (maximum is 64 characters)"],
  });
  await refused({ body: {} }, 422, { user: ["can't be blank"] });
  await refused({ body: { user: [] } }, 422, { user: ["can't be blank"] });
  await refused({ raw: "{" }, 400, { body: ["is not JSON"] });
  await refused({ raw: "null" }, 422, { user: ["can't be blank"] });
});

test("private endpoints want a token, and public ones do not care", async () => {
  const { request } = fresh();
  const missing = { status: 401, body: { errors: { token: ["is missing"] } } };
  for (const [method, path] of [
    ["GET", "/user"],
    ["PUT", "/user"],
    ["POST", "/profiles/ada/follow"],
    ["DELETE", "/profiles/ada/follow"],
    ["GET", "/articles/feed"],
    ["POST", "/articles"],
    ["PUT", "/articles/x"],
    ["DELETE", "/articles/x"],
    ["POST", "/articles/x/favorite"],
    ["DELETE", "/articles/x/favorite"],
    ["POST", "/articles/x/comments"],
    ["DELETE", "/articles/x/comments/1"],
  ]) {
    assert.deepEqual(await request(method, path), missing, `${method} ${path}`);
  }
  assert.equal((await request("GET", "/articles", { token: "nonsense" })).status, 401);
  assert.equal((await request("GET", "/tags", { token: "nonsense" })).status, 200);
});

test("the token of an account that is gone opens nothing", async () => {
  const { request, documents } = fresh();
  const token = await signedUp(request, "ada");
  documents.tables.get("users").clear();
  assert.deepEqual(await request("GET", "/user", { token }), { status: 401, body: { errors: { token: ["belongs to nobody"] } } });
});

test("an account is changed, with its name, address and password", async () => {
  const { request, documents } = fresh();
  const token = await signedUp(request, "ada");
  await signedUp(request, "grace");
  const changed = await request("PUT", "/user", {
    token,
    body: {
      user: {
        username: "countess",
        email: "countess@example.org",
        password: "another one",
        bio: "first",
        image: "https://example.org/a.png",
      },
    },
  });
  assert.equal(changed.status, 200);
  assert.deepEqual(
    { ...changed.body.user, token: "" },
    { username: "countess", email: "countess@example.org", token: "", bio: "first", image: "https://example.org/a.png" },
  );
  assert.equal((await request("GET", "/profiles/countess")).status, 200);
  assert.equal((await request("GET", "/profiles/ada")).status, 404);
  assert.equal(
    (await request("POST", "/users/login", { body: { user: { email: "countess@example.org", password: "another one" } } })).status,
    200,
  );
  await signedUp(request, "ada");
  assert.equal(documents.tables.get("users").size, 9);

  const taken = await request("PUT", "/user", { token, body: { user: { email: "grace@example.org", bio: "x" } } });
  assert.deepEqual(taken, { status: 422, body: { errors: { email: ["has already been taken"] } } });
  assert.equal((await request("GET", "/user", { token })).body.user.bio, "first", "nothing of a refused change is kept");
  assert.equal((await request("PUT", "/user", { token, body: { user: { bio: null } } })).body.user.bio, null);
  assert.equal((await request("PUT", "/user", { token, body: { user: {} } })).status, 200);
});

test("profiles tell whether they are followed by who asks", async () => {
  const { request } = fresh();
  const ada = await signedUp(request, "ada");
  await signedUp(request, "grace");
  const profile = (following) => ({ status: 200, body: { profile: { username: "grace", bio: null, image: null, following } } });
  assert.deepEqual(await request("GET", "/profiles/grace"), profile(false));
  assert.deepEqual(await request("POST", "/profiles/grace/follow", { token: ada }), profile(true));
  assert.deepEqual(await request("POST", "/profiles/grace/follow", { token: ada }), profile(true));
  assert.deepEqual(await request("GET", "/profiles/grace", { token: ada }), profile(true));
  assert.deepEqual(await request("GET", "/profiles/grace"), profile(false));
  assert.deepEqual(await request("DELETE", "/profiles/grace/follow", { token: ada }), profile(false));
  assert.deepEqual(await request("GET", "/profiles/grace", { token: ada }), profile(false));
  assert.equal((await request("POST", "/profiles/ada/follow", { token: ada })).status, 422);
  assert.deepEqual(await request("GET", "/profiles/nobody"), { status: 404, body: { errors: { profile: ["not found"] } } });
});

test("an article is written, read, changed and deleted by its author alone", async () => {
  const { request, documents } = fresh();
  const ada = await signedUp(request, "ada");
  const eve = await signedUp(request, "eve");
  const article = await written(request, ada, { title: " Über Drachen! ", tagList: ["b", "a", "b"] });
  assert.match(article.slug, /^uber-drachen-[0-9a-f]{8}$/);
  assert.deepEqual(article.tagList, ["a", "b"]);
  assert.deepEqual(Object.keys(article).sort(), [
    "author",
    "body",
    "createdAt",
    "description",
    "favorited",
    "favoritesCount",
    "slug",
    "tagList",
    "title",
    "updatedAt",
  ]);
  assert.deepEqual(article.author, { username: "ada", bio: null, image: null, following: false });
  assert.deepEqual((await request("GET", `/articles/${article.slug}`)).body.article, article);

  const path = `/articles/${article.slug}`;
  const forbidden = { status: 403, body: { errors: { article: ["is not yours"] } } };
  assert.deepEqual(await request("PUT", path, { token: eve, body: { article: { body: "mine" } } }), forbidden);
  assert.deepEqual(await request("DELETE", path, { token: eve }), forbidden);

  const { body } = await request("PUT", path, { token: ada, body: { article: { title: "On dragons", body: "longer" } } });
  assert.match(body.article.slug, /^on-dragons-/);
  assert.equal(body.article.body, "longer");
  assert.equal(body.article.description, "short");
  assert.ok(body.article.updatedAt > article.updatedAt);
  assert.equal((await request("GET", path)).status, 404, "the old slug leads nowhere");

  const next = `/articles/${body.article.slug}`;
  assert.deepEqual(await request("DELETE", next, { token: ada }), { status: 200, body: {} });
  assert.deepEqual(await request("GET", next), { status: 404, body: { errors: { article: ["not found"] } } });
  assert.equal(documents.tables.get("articles").size, 0);
  assert.equal(documents.tables.get("tags").size, 0);
  assert.deepEqual((await request("GET", "/tags")).body, { tags: [] });
});

test("articles need their texts, and tags are limited", async () => {
  const { request } = fresh();
  const token = await signedUp(request, "ada");
  const refused = async (article, errors) =>
    assert.deepEqual(await request("POST", "/articles", { token, body: { article } }), { status: 422, body: { errors } });
  await refused({ title: " ", body: 7 }, { title: ["can't be blank"], description: ["can't be blank"], body: ["can't be blank"] });
  const rest = { title: "t", description: "d", body: "b" };
  await refused({ ...rest, tagList: "a" }, { tagList: ["must be a list of texts of 1 to 50 characters"] });
  await refused({ ...rest, tagList: ["a", ""] }, { tagList: ["must be a list of texts of 1 to 50 characters"] });
  await refused({ ...rest, tagList: Array.from({ length: 21 }, (_, n) => `t${n}`) }, { tagList: ["are too many (maximum is 20)"] });
});

test("lists are newest first, filtered, and in pages", async () => {
  const { request } = fresh();
  const ada = await signedUp(request, "ada");
  const eve = await signedUp(request, "eve");
  const slugs = {};
  for (const [token, title, tagList] of [
    [ada, "1", ["x"]],
    [eve, "2", ["x", "y"]],
    [ada, "3", ["y"]],
    [eve, "4", []],
    [ada, "5", ["x"]],
  ]) {
    slugs[title] = (await written(request, token, { title, tagList })).slug;
  }
  const listed = async (query, expected, count) => {
    const found = await request("GET", `/articles${query}`);
    assert.deepEqual(titles(found), expected, query);
    assert.equal(found.body.articlesCount, count, query);
  };
  await listed("", ["5", "4", "3", "2", "1"], 5);
  await listed("?limit=2", ["5", "4"], 5);
  await listed("?limit=2&offset=3", ["2", "1"], 5);
  await listed("?offset=7", [], 5);
  await listed("?tag=x", ["5", "2", "1"], 3);
  await listed("?tag=x&limit=1&offset=1", ["2"], 3);
  await listed("?tag=unknown", [], 0);
  await listed("?author=ada", ["5", "3", "1"], 3);
  await listed("?author=ada&tag=x", ["5", "1"], 2);
  await listed("?author=ada&tag=x&offset=1", ["1"], 2);
  await listed("?author=nobody", [], 0);
  await listed("?favorited=ada", [], 0);

  for (const title of ["2", "5"]) await request("POST", `/articles/${slugs[title]}/favorite`, { token: ada });
  await listed("?favorited=ada", ["5", "2"], 2);
  await listed("?favorited=ada&author=eve", ["2"], 1);
  await listed("?favorited=ada&tag=y", ["2"], 1);
  await listed("?favorited=nobody", [], 0);
  await request("DELETE", `/articles/${slugs["2"]}`, { token: eve });
  await listed("?favorited=ada", ["5"], 1);
  await listed("?tag=x", ["5", "1"], 2);
  assert.deepEqual((await request("GET", "/tags")).body, { tags: ["x", "y"] });
  assert.ok(!("body" in (await request("GET", "/articles")).body.articles[0]), "lists come without bodies");

  for (const query of ["?limit=0", "?limit=101", "?limit=x", "?offset=-1", "?offset=99999"])
    assert.equal((await request("GET", `/articles${query}`)).status, 422, query);
});

test("the feed holds what the followed have written", async () => {
  const { request } = fresh();
  const ada = await signedUp(request, "ada");
  const [eve, bob] = [await signedUp(request, "eve"), await signedUp(request, "bob")];
  await written(request, eve, { title: "1" });
  await written(request, bob, { title: "2" });
  await written(request, ada, { title: "own" });
  await written(request, eve, { title: "3" });
  assert.deepEqual((await request("GET", "/articles/feed", { token: ada })).body, { articles: [], articlesCount: 0 });
  await request("POST", "/profiles/eve/follow", { token: ada });
  assert.deepEqual(titles(await request("GET", "/articles/feed", { token: ada })), ["3", "1"]);
  await request("POST", "/profiles/bob/follow", { token: ada });
  const page = await request("GET", "/articles/feed?limit=2&offset=1", { token: ada });
  assert.deepEqual(titles(page), ["2", "1"]);
  assert.equal(page.body.articlesCount, 3);
  assert.ok(page.body.articles.every(({ author }) => author.following));
});

test("a favourite counts once, and is a favourite of who made it one", async () => {
  const { request } = fresh();
  const ada = await signedUp(request, "ada");
  const eve = await signedUp(request, "eve");
  const { slug } = await written(request, ada);
  const path = `/articles/${slug}/favorite`;
  const state = ({ body: { article } }) => [article.favorited, article.favoritesCount];
  assert.deepEqual(state(await request("POST", path, { token: ada })), [true, 1]);
  assert.deepEqual(state(await request("POST", path, { token: ada })), [true, 1]);
  assert.deepEqual(state(await request("POST", path, { token: eve })), [true, 2]);
  assert.deepEqual(state(await request("GET", `/articles/${slug}`)), [false, 2]);
  assert.deepEqual(state(await request("DELETE", path, { token: eve })), [false, 1]);
  assert.deepEqual(state(await request("DELETE", path, { token: eve })), [false, 1]);
  assert.deepEqual(state(await request("GET", `/articles/${slug}`, { token: ada })), [true, 1]);
  assert.equal((await request("POST", "/articles/none/favorite", { token: ada })).status, 404);
});

test("comments are numbered, listed newest first, and deleted by who wrote them", async () => {
  const { request, documents } = fresh();
  const ada = await signedUp(request, "ada");
  const eve = await signedUp(request, "eve");
  const { slug } = await written(request, ada);
  const path = `/articles/${slug}/comments`;
  const add = (token, body) => request("POST", path, { token, body: { comment: { body } } });
  const first = await add(eve, "one");
  assert.equal(first.status, 200);
  assert.deepEqual(Object.keys(first.body.comment).sort(), ["author", "body", "createdAt", "id", "updatedAt"]);
  assert.equal(first.body.comment.id, 1);
  assert.equal(first.body.comment.author.username, "eve");
  for (const body of ["two", "three", "four"]) await add(ada, body);
  const { body } = await request("GET", path);
  assert.deepEqual(
    body.comments.map((comment) => [comment.id, comment.body]),
    [
      [4, "four"],
      [3, "three"],
      [2, "two"],
      [1, "one"],
    ],
  );

  assert.deepEqual(await request("DELETE", `${path}/1`, { token: ada }), { status: 403, body: { errors: { comment: ["is not yours"] } } });
  assert.deepEqual(await request("DELETE", `${path}/1`, { token: eve }), { status: 200, body: {} });
  for (const id of ["1", "99", "x"]) assert.equal((await request("DELETE", `${path}/${id}`, { token: eve })).status, 404, id);
  assert.equal((await add(ada, "five")).body.comment.id, 5, "a number is not given twice");
  assert.deepEqual(await add(ada, " "), { status: 422, body: { errors: { body: ["can't be blank"] } } });

  await request("DELETE", `/articles/${slug}`, { token: ada });
  assert.equal(documents.tables.get("comments").size, 0, "comments go with their article");
});

test("a database that fails, fails the invocation", async () => {
  const request = application(
    memoryDocuments({
      before: () => {
        throw new Error("down");
      },
    }),
  );
  await assert.rejects(request("GET", "/tags"), /down/);
});

test("transactions that meet are tried again, and the third writer is told the truth", async () => {
  let conflicts = 2;
  const documents = memoryDocuments({
    before: (name) => {
      if (name === "TransactWriteCommand" && conflicts-- > 0) {
        throw Object.assign(new Error("cancelled"), {
          name: "TransactionCanceledException",
          CancellationReasons: [{ Code: "None" }, { Code: "TransactionConflict" }],
        });
      }
    },
  });
  await signedUp(application(documents), "ada");
  assert.equal(documents.tables.get("users").size, 3);
});

test("an article that changes while it is changed is not overwritten", async () => {
  const { request, documents } = fresh();
  const token = await signedUp(request, "ada");
  const { slug } = await written(request, token);
  const { send } = documents;
  // Somebody else deletes it between reading and writing.
  documents.send = async (command) => {
    if (command.constructor.name === "TransactWriteCommand") documents.tables.get("articles").clear();
    return send(command);
  };
  const answer = await request("PUT", `/articles/${slug}`, { token, body: { article: { body: "x" } } });
  assert.deepEqual(answer, { status: 422, body: { errors: { article: ["has been changed meanwhile"] } } });
  assert.equal(documents.tables.get("articles").size, 0);
});
