// What an empty deployment is filled with before it is loaded, as requests for `aws dynamodb batch-write-item`: authors, articles with tags, a
// reader who follows and likes. The application's own stores make the items, in a DynamoDB in memory, so they are what it would have written.
// Nothing is called: the functions stay cold. Prints what the workload needs, such as the reader's token, which JWT_SECRET signs.
//   JWT_SECRET=… node make-items.mjs FOLDER TABLE_PREFIX        (after npm ci in functions)
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { memoryDocuments } from "../functions/fakes.js";
import { hashPassword } from "../functions/src/passwords.js";
import { stores } from "../functions/src/stores.js";
import { tokenMaker } from "../functions/src/tokens.js";

const AUTHORS = 8;
const ARTICLES = 4;
const TAGS = ["cloud", "latency", "tracing", "queues", "storage", "cost"];
const LARGEST_BATCH = 25;
const PASSWORD = "the password of everybody";

/** A value in DynamoDB's own JSON. */
function marshalled(value) {
  if (value === null) return { NULL: true };
  if (typeof value === "string") return { S: value };
  if (typeof value === "number") return { N: String(value) };
  if (typeof value === "boolean") return { BOOL: value };
  if (Array.isArray(value)) return { L: value.map(marshalled) };
  return { M: marshalledItem(value) };
}

const marshalledItem = (item) => Object.fromEntries(Object.entries(item).map(([key, value]) => [key, marshalled(value)]));

const [folder, prefix] = process.argv.slice(2);
if (!folder || !prefix) throw new Error("usage: JWT_SECRET=… node make-items.mjs FOLDER TABLE_PREFIX");
const tokens = tokenMaker(process.env.JWT_SECRET);

// An article a minute, up to now: the order is certain, and what the load writes is newer.
let clock = Date.now() - AUTHORS * ARTICLES * 60_000;
const documents = memoryDocuments();
const { users, articles, comments } = stores(documents, "", () => new Date((clock += 60_000)));
const password = await hashPassword(PASSWORD);
const signUp = (username) => users.create({ username, email: `${username}@example.org`, password });

const reader = await signUp("reader");
const written = [];
for (let author = 1; author <= AUTHORS; author += 1) {
  const { id, username } = await signUp(`author-${author}`);
  for (let n = 1; n <= ARTICLES; n += 1) {
    const tagList = [...new Set([TAGS[(author + n) % TAGS.length], TAGS[(author * n) % TAGS.length]])].sort();
    const title = `${username} on ${tagList[0]}, part ${n}`;
    written.push(
      await articles.create(id, {
        title,
        description: `What to know about ${tagList[0]}`,
        body: "A paragraph of some length. ".repeat(40),
        tagList,
      }),
    );
  }
  if (author % 2 === 1) await users.follow(reader.id, id);
}
const [read, discussed, liked] = written;
for (let n = 1; n <= 5; n += 1) await comments.add(read, reader.id, `Remark ${n}`);
await articles.favorite(reader.id, liked);

const puts = [...documents.tables].flatMap(([table, items]) =>
  [...items.values()].map((item) => ({ table: prefix + table, put: { PutRequest: { Item: marshalledItem(item) } } })),
);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
for (let from = 0; from < puts.length; from += LARGEST_BATCH) {
  const batch = {};
  for (const { table, put } of puts.slice(from, from + LARGEST_BATCH)) (batch[table] ??= []).push(put);
  writeFileSync(`${folder}/${String(from).padStart(5, "0")}.json`, JSON.stringify(batch));
}
console.log(
  JSON.stringify({
    token: tokens.issue(reader.id),
    email: reader.email,
    password: PASSWORD,
    read: read.slug,
    discussed: discussed.slug,
    liked: liked.slug,
    tag: TAGS[0],
  }),
);
