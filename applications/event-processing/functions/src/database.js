// The database that the environment names: `DATABASE_URL`, or else the cluster of the stack.
import { RDSDataClient } from "@aws-sdk/client-rds-data";
import pg from "pg";
import { connection, dataApi } from "./sql.js";
import { eventStore } from "./store.js";
import { statement, traced } from "./tracing.js";

export function storeOf(environment) {
  const { DATABASE_URL: connectionString, CLUSTER_ARN: resourceArn, SECRET_ARN: secretArn, DATABASE_NAME: database } = environment;
  if (connectionString) {
    // An instance of the function runs one invocation at a time, so one connection is enough.
    const pool = new pg.Pool({ connectionString, max: 1, connectionTimeoutMillis: 5_000, idleTimeoutMillis: 60_000 });
    pool.on("error", (error) => console.error(JSON.stringify({ message: "an idle connection was lost", error: error.message })));
    const { host, pathname } = new URL(connectionString);
    return eventStore(connection(pool, statement(`${pathname.slice(1)}@${host}`, `postgresql://${host}${pathname}`)));
  }
  if (!resourceArn || !secretArn || !database) throw new Error("set DATABASE_URL, or CLUSTER_ARN, SECRET_ARN and DATABASE_NAME");
  return eventStore(dataApi({ client: traced(new RDSDataClient({})), resourceArn, secretArn, database }));
}
