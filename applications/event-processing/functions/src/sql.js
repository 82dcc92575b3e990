// Two ways to the same PostgreSQL: the RDS Data API (no network of ours) and a connection. Statements name their parameters: `:name`.
import { BatchExecuteStatementCommand, ExecuteStatementCommand } from "@aws-sdk/client-rds-data";

const PARAMETER = /:([a-z_]+)/g;
const RESUME_ATTEMPTS = 6;
const RESUME_PAUSE_MS = 4_000;

const dataApiParameters = (values) =>
  Object.entries(values).map(([name, value]) => ({
    name,
    value: value === null ? { isNull: true } : typeof value === "number" ? { longValue: value } : { stringValue: value },
  }));

/** `sleep` is given in tests. */
export function dataApi({ client, resourceArn, secretArn, database, sleep = (ms) => new Promise((done) => setTimeout(done, ms)) }) {
  const place = { resourceArn, secretArn, database };
  // A cluster that has paused for want of work refuses statements for some seconds while it resumes.
  const send = async (command) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await client.send(command);
      } catch (error) {
        if (error.name !== "DatabaseResumingException" || attempt === RESUME_ATTEMPTS) throw error;
        await sleep(RESUME_PAUSE_MS);
      }
    }
  };
  return {
    async query(sql, values = {}) {
      const result = await send(
        new ExecuteStatementCommand({ ...place, sql, parameters: dataApiParameters(values), formatRecordsAs: "JSON" }),
      );
      return result.formattedRecords ? JSON.parse(result.formattedRecords) : [];
    },
    /** Unlike over a connection, rows before a bad one may stay: statements must bear repetition. */
    async each(sql, rows) {
      await send(new BatchExecuteStatementCommand({ ...place, sql, parameterSets: rows.map(dataApiParameters) }));
    },
  };
}

/** `:name` to `$1`: PostgreSQL's own parameters have numbers. */
export function numbered(sql) {
  const names = [];
  const text = sql.replace(PARAMETER, (_, name) => {
    if (!names.includes(name)) names.push(name);
    return `$${names.indexOf(name) + 1}`;
  });
  return { text, names };
}

/** `pool` is one of `pg`; `traced` runs the work of a statement. */
export function connection(pool, traced = (_text, work) => work()) {
  const run = async (client, { text, names }, values) => {
    const missing = names.find((name) => !Object.hasOwn(values, name));
    if (missing) throw new Error(`the statement's parameter ${missing} has no value`);
    return (await traced(text, () => client.query({ text, values: names.map((name) => values[name]) }))).rows;
  };
  return {
    query: (sql, values = {}) => run(pool, numbered(sql), values),
    /** All rows or none. */
    async each(sql, rows) {
      const statement = numbered(sql);
      const client = await pool.connect();
      let broken;
      try {
        await client.query("BEGIN");
        for (const row of rows) await run(client, statement, row);
        await client.query("COMMIT");
      } catch (error) {
        // A connection that cannot even roll back must not return to the pool.
        await client.query("ROLLBACK").catch((second) => {
          broken = second;
        });
        throw error;
      } finally {
        client.release(broken);
      }
    },
  };
}
