// The same requests on a DynamoDB or what stands for it: TEST_DYNAMODB_ENDPOINT=http://127.0.0.1:8000. Makes its tables, and deletes them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CreateTableCommand, DeleteTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { application } from "../application.js";

const endpoint = process.env.TEST_DYNAMODB_ENDPOINT;
const prefix = `test-${process.pid}-`;

const schema = ([partition, sort]) => [
  { AttributeName: partition, KeyType: "HASH" },
  ...(sort ? [{ AttributeName: sort, KeyType: "RANGE" }] : []),
];

const TABLES = {
  users: { keys: ["key"] },
  follows: { keys: ["follower", "followed"] },
  articles: { keys: ["key"], indexes: { "by-time": ["kind", "place"], "by-author": ["author", "place"] } },
  tags: { keys: ["tag", "place"] },
  favorites: { keys: ["user", "article"] },
  counters: { keys: ["kind", "name"] },
  comments: { keys: ["article", "id"] },
};

test("the API does on DynamoDB what it does in memory", { skip: !endpoint && "TEST_DYNAMODB_ENDPOINT is not set" }, async () => {
  const client = new DynamoDBClient({ endpoint, region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } });
  const documents = DynamoDBDocumentClient.from(client);
  try {
    for (const [name, { keys, indexes = {} }] of Object.entries(TABLES)) {
      const attributes = new Set([keys, ...Object.values(indexes)].flat());
      await client.send(
        new CreateTableCommand({
          TableName: prefix + name,
          BillingMode: "PAY_PER_REQUEST",
          KeySchema: schema(keys),
          AttributeDefinitions: [...attributes].map((AttributeName) => ({
            AttributeName,
            AttributeType: AttributeName === "id" ? "N" : "S",
          })),
          ...(Object.keys(indexes).length > 0 && {
            GlobalSecondaryIndexes: Object.entries(indexes).map(([IndexName, parts]) => ({
              IndexName,
              KeySchema: schema(parts),
              Projection: { ProjectionType: "ALL" },
            })),
          }),
        }),
      );
    }
    const request = application(documents, { prefix });
    const sign = async (username) =>
      (await request("POST", "/users", { body: { user: { username, email: `${username}@x.org`, password: "long enough" } } })).body.user
        .token;
    const [ada, eve] = [await sign("ada"), await sign("eve")];
    const again = await request("POST", "/users", { body: { user: { username: "ada", email: "new@x.org", password: "long enough" } } });
    assert.deepEqual(again.body, { errors: { username: ["has already been taken"] } });

    const write = async (token, title, tagList) =>
      (await request("POST", "/articles", { token, body: { article: { title, description: "d", body: "b", tagList } } })).body.article.slug;
    const slugs = [await write(ada, "1", ["x"]), await write(eve, "2", ["x", "y"]), await write(ada, "3", [])];
    const titles = async (path, token) => (await request("GET", path, { token })).body.articles.map(({ title }) => title);
    assert.deepEqual(await titles("/articles"), ["3", "2", "1"]);
    assert.deepEqual(await titles("/articles?limit=1&offset=1"), ["2"]);
    assert.deepEqual(await titles("/articles?tag=x"), ["2", "1"]);
    assert.deepEqual(await titles("/articles?author=ada"), ["3", "1"]);

    await request("POST", "/profiles/eve/follow", { token: ada });
    assert.deepEqual(await titles("/articles/feed", ada), ["2"]);
    for (const expected of [1, 1]) {
      assert.equal((await request("POST", `/articles/${slugs[1]}/favorite`, { token: ada })).body.article.favoritesCount, expected);
    }
    assert.deepEqual(await titles("/articles?favorited=ada"), ["2"]);
    assert.equal((await request("DELETE", `/articles/${slugs[1]}/favorite`, { token: ada })).body.article.favoritesCount, 0);

    const comment = await request("POST", `/articles/${slugs[0]}/comments`, { token: eve, body: { comment: { body: "c" } } });
    assert.equal(comment.body.comment.id, 1);
    assert.equal((await request("GET", `/articles/${slugs[0]}/comments`)).body.comments.length, 1);
    const moved = await request("PUT", `/articles/${slugs[0]}`, { token: ada, body: { article: { title: "moved" } } });
    assert.equal(moved.status, 200);
    assert.equal((await request("PUT", "/user", { token: eve, body: { user: { username: "eva" } } })).status, 200);
    assert.equal((await request("GET", "/profiles/eve")).status, 404);
    assert.deepEqual((await request("GET", "/tags")).body, { tags: ["x", "y"] });
    assert.equal((await request("DELETE", `/articles/${moved.body.article.slug}`, { token: ada })).status, 200);
    assert.deepEqual(await titles("/articles"), ["3", "2"]);
  } finally {
    for (const name of Object.keys(TABLES)) await client.send(new DeleteTableCommand({ TableName: prefix + name })).catch(() => {});
  }
});
