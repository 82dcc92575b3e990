// Events in PostgreSQL.

const COLUMNS = `CAST(id AS text) AS id, type, source, message, CAST(details AS text) AS details,
  CAST(EXTRACT(EPOCH FROM occurred_at) * 1000 AS bigint) AS occurred_ms`;

const SCHEMA = [
  `CREATE TABLE IF NOT EXISTS events (
    id uuid PRIMARY KEY,
    type text NOT NULL,
    source text NOT NULL,
    occurred_at timestamptz NOT NULL,
    message text NOT NULL,
    details jsonb NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
  )`,
  "CREATE INDEX IF NOT EXISTS events_by_time ON events (occurred_at DESC, id DESC)",
  "CREATE INDEX IF NOT EXISTS events_by_type ON events (type, occurred_at DESC, id DESC)",
];

// Queues deliver at least once: a second delivery changes nothing.
const INSERT = `INSERT INTO events (id, type, source, occurred_at, message, details)
  VALUES (CAST(:id AS uuid), :type, :source, CAST(:occurred_at AS timestamptz), :message, CAST(:details AS jsonb))
  ON CONFLICT (id) DO NOTHING`;

const fromRow = (row) => ({
  id: row.id,
  type: row.type,
  source: row.source,
  occurredAt: new Date(Number(row.occurred_ms)).toISOString(),
  message: row.message,
  details: JSON.parse(row.details),
});

const toRow = (event) => ({
  id: event.id,
  type: event.type,
  source: event.source,
  occurred_at: event.occurredAt,
  message: event.message,
  details: JSON.stringify(event.details),
});

/** PostgreSQL's code of an error, which the Data API gives as part of its message. */
const codeOf = (error) => error.code ?? /SQLState: (\w{5})/.exec(error.message)?.[1];

const UNDEFINED_TABLE = "42P01";
/** What is made by two at once is refused to one of them: the table, or the name that it takes. */
const MADE_MEANWHILE = new Set(["42P07", "23505"]);

export function eventStore(sql) {
  async function createSchema() {
    for (const statement of SCHEMA) {
      try {
        await sql.query(statement);
      } catch (error) {
        if (!MADE_MEANWHILE.has(codeOf(error))) throw error;
      }
    }
  }

  /** The first statement on an empty database makes the table, and is then tried again. */
  async function withTable(work) {
    try {
      return await work();
    } catch (error) {
      if (codeOf(error) !== UNDEFINED_TABLE) throw error;
    }
    await createSchema();
    return work();
  }

  return {
    /** When it fails, any of them may be stored; adding them again does no harm. */
    add: (events) => withTable(() => sql.each(INSERT, events.map(toRow))),
    /** Newest first; `before` is the place of the last event of the page before. */
    async list({ type, limit, before }) {
      const conditions = [];
      const values = { limit };
      if (type) {
        conditions.push("type = :type");
        values.type = type;
      }
      if (before) {
        conditions.push("(occurred_at, id) < (CAST(:before_time AS timestamptz), CAST(:before_id AS uuid))");
        values.before_time = before.occurredAt;
        values.before_id = before.id;
      }
      const where = conditions.length > 0 ? `WHERE ${conditions.join(" AND ")}` : "";
      const rows = await withTable(() =>
        sql.query(`SELECT ${COLUMNS} FROM events ${where} ORDER BY occurred_at DESC, id DESC LIMIT :limit`, values),
      );
      return rows.map(fromRow);
    },
  };
}
