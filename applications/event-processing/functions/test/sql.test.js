import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { connection, dataApi, numbered } from "../src/sql.js";
import { eventStore } from "../src/store.js";
import { ID, fakeClient } from "../fakes.js";

const event = (changes = {}) => ({
  id: ID,
  type: "alarm",
  source: "s",
  occurredAt: "2026-01-31T12:00:00.123Z",
  message: "it's :on",
  details: { rank: 2 },
  ...changes,
});

test("named parameters become numbered ones", () => {
  assert.deepEqual(numbered("a = :one AND b = :two OR c = :one"), { text: "a = $1 AND b = $2 OR c = $1", names: ["one", "two"] });
});

test("the Data API gets typed parameters and gives rows", async () => {
  const client = fakeClient(() => ({
    formattedRecords: JSON.stringify([
      { id: ID, type: "alarm", source: "s", message: "m", details: '{"rank":2}', occurred_ms: 1769860800123 },
    ]),
  }));
  const store = eventStore(dataApi({ client, resourceArn: "cluster", secretArn: "secret", database: "events" }));
  assert.deepEqual(await store.list({ type: "alarm", limit: 5 }), [event({ message: "m" })]);
  const { input } = client.sent[0];
  assert.deepEqual([input.resourceArn, input.secretArn, input.database, input.formatRecordsAs], ["cluster", "secret", "events", "JSON"]);
  assert.deepEqual(input.parameters, [
    { name: "limit", value: { longValue: 5 } },
    { name: "type", value: { stringValue: "alarm" } },
  ]);
  assert.match(input.sql, /WHERE type = :type ORDER BY/);
});

test("the Data API stores a batch by one call", async () => {
  const client = fakeClient();
  await eventStore(dataApi({ client, resourceArn: "c", secretArn: "s", database: "d" })).add([event(), event()]);
  assert.equal(client.sent.length, 1);
  assert.equal(client.sent[0].name, "BatchExecuteStatementCommand");
  assert.equal(client.sent[0].input.parameterSets.length, 2);
});

const resuming = (times) =>
  fakeClient((_input, _name, call) => {
    if (call <= times) throw Object.assign(new Error("resuming"), { name: "DatabaseResumingException" });
    return {};
  });

test("a paused database is waited for, though not for ever", async () => {
  const pauses = [];
  const place = { resourceArn: "c", secretArn: "s", database: "d", sleep: async (ms) => pauses.push(ms) };
  await dataApi({ ...place, client: resuming(2) }).query("SELECT 1");
  assert.deepEqual(pauses, [4000, 4000]);
  await assert.rejects(dataApi({ ...place, client: resuming(100) }).query("SELECT 1"), /resuming/);
  assert.equal(pauses.length, 2 + 5);
});

const missingTable = (wrong) => {
  const statements = [];
  const client = fakeClient(({ sql }) => {
    statements.push(sql.trim().split(/\s+/)[0]);
    if (!statements.includes("CREATE"))
      throw Object.assign(new Error('ERROR: relation "events" does not exist; SQLState: 42P01'), { name: "BadRequestException" });
    if (sql.startsWith("CREATE") && wrong) throw new Error(wrong);
    return {};
  });
  return { statements, store: eventStore(dataApi({ client, resourceArn: "c", secretArn: "s", database: "d" })) };
};

test("the first statement on an empty database makes the table", async () => {
  const { statements, store } = missingTable();
  assert.deepEqual(await store.list({ limit: 1 }), []);
  assert.deepEqual(statements, ["SELECT", "CREATE", "CREATE", "CREATE", "SELECT"]);
  const written = missingTable();
  await written.store.add([event()]);
  assert.deepEqual(written.statements, ["INSERT", "CREATE", "CREATE", "CREATE", "INSERT"]);
});

test("who makes the table at the same time as another goes on, other failures are told", async () => {
  const raced = missingTable('ERROR: duplicate key value violates unique constraint "pg_type_typname_nsp_index"; SQLState: 23505');
  await raced.store.add([event()]);
  assert.equal(raced.statements.at(-1), "INSERT");
  await assert.rejects(missingTable("ERROR: permission denied; SQLState: 42501").store.add([event()]), /permission denied/);
});

const fakePool = (failing = () => false) => {
  const log = [];
  const client = {
    async query(statement) {
      const text = statement.text ?? statement;
      if (failing(text)) throw new Error(`failed: ${text.split(" ")[0]}`);
      log.push(text.split(" ")[0].trim());
      return { rows: [] };
    },
    release: (broken) => log.push(broken ? "destroyed" : "released"),
  };
  return { log, connect: async () => client, query: client.query };
};

test("a batch over a connection is one transaction", async () => {
  const pool = fakePool();
  await eventStore(connection(pool)).add([event(), event()]);
  assert.deepEqual(pool.log, ["BEGIN", "INSERT", "INSERT", "COMMIT", "released"]);
});

test("each statement of the store is traced, and the transaction around them is not", async () => {
  const traced = [];
  const trace = async (text, work) => {
    traced.push(text.trim().split(/\s+/)[0]);
    return work();
  };
  const store = eventStore(connection(fakePool(), trace));
  await store.add([event(), event()]);
  assert.deepEqual(await store.list({ limit: 1 }), []);
  assert.deepEqual(traced, ["INSERT", "INSERT", "SELECT"]);
});

test("a batch that fails is rolled back, and a broken connection is not kept", async () => {
  const pool = fakePool((text) => text.startsWith("INSERT"));
  await assert.rejects(eventStore(connection(pool)).add([event()]), /failed: INSERT/);
  assert.deepEqual(pool.log, ["BEGIN", "ROLLBACK", "released"]);

  const gone = fakePool((text) => text !== "BEGIN");
  await assert.rejects(eventStore(connection(gone)).add([event()]), /failed: INSERT/);
  assert.deepEqual(gone.log, ["BEGIN", "destroyed"]);
});

// With a database to try: TEST_DATABASE_URL=postgres://user@localhost/database (its table `events` is dropped).
test(
  "a real PostgreSQL keeps, orders, pages and deduplicates",
  { skip: !process.env.TEST_DATABASE_URL && "TEST_DATABASE_URL is not set" },
  async () => {
    const pool = new pg.Pool({ connectionString: process.env.TEST_DATABASE_URL, max: 1 });
    try {
      await pool.query("DROP TABLE IF EXISTS events");
      const store = eventStore(connection(pool));
      assert.deepEqual(await store.list({ limit: 10 }), [], "an empty database becomes a store by itself");
      const id = (n) => ID.slice(0, -1) + n;
      const all = [
        event({ id: id(1) }),
        event({ id: id(2), type: "status", occurredAt: "2026-01-31T13:00:00.000Z" }),
        event({ id: id(3) }),
      ];
      await store.add(all);
      await store.add([event({ id: id(1), message: "again" })]);
      assert.deepEqual(await store.list({ limit: 10 }), [all[1], all[2], all[0]]);
      assert.deepEqual(await store.list({ limit: 1, before: all[1] }), [all[2]]);
      assert.deepEqual(await store.list({ limit: 10, before: all[2] }), [all[0]]);
      assert.deepEqual(await store.list({ limit: 10, type: "status" }), [all[1]]);
      await assert.rejects(store.add([event({ id: id(4) }), event({ id: "no uuid" })]));
      assert.equal((await store.list({ limit: 10 })).length, 3, "a batch that fails leaves nothing");
    } finally {
      await pool.end();
    }
  },
);
