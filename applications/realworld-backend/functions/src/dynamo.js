// What DynamoDB needs and its client leaves to the caller: batches in portions, pages, transactions that meet each other.
import { BatchGetCommand, BatchWriteCommand, QueryCommand, TransactWriteCommand } from "@aws-sdk/lib-dynamodb";

const LARGEST_GET = 100;
const LARGEST_WRITE = 25;
const ATTEMPTS = 8;

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** Pauses grow and are random, so that those who met do not meet again. */
const pause = (attempt) => wait(Math.random() * 20 * 2 ** attempt);

const portions = (list, size) => Array.from({ length: Math.ceil(list.length / size) }, (_, n) => list.slice(n * size, (n + 1) * size));

/** The items that there are, in no order. Keys must be different. */
export async function getAll(documents, table, keys) {
  const found = await Promise.all(
    portions(keys, LARGEST_GET).map(async (portion) => {
      const items = [];
      let asked = { [table]: { Keys: portion } };
      for (let attempt = 0; asked[table]; attempt += 1) {
        if (attempt === ATTEMPTS) throw new Error(`DynamoDB left ${asked[table].Keys.length} keys of ${table} unread`);
        if (attempt > 0) await pause(attempt);
        const { Responses, UnprocessedKeys = {} } = await documents.send(new BatchGetCommand({ RequestItems: asked }));
        items.push(...(Responses[table] ?? []));
        asked = UnprocessedKeys;
      }
      return items;
    }),
  );
  return found.flat();
}

export async function deleteAll(documents, table, keys) {
  for (const portion of portions(keys, LARGEST_WRITE)) {
    let asked = { [table]: portion.map((Key) => ({ DeleteRequest: { Key } })) };
    for (let attempt = 0; asked[table]; attempt += 1) {
      if (attempt === ATTEMPTS) throw new Error(`DynamoDB left ${asked[table].length} items of ${table} undeleted`);
      if (attempt > 0) await pause(attempt);
      asked = (await documents.send(new BatchWriteCommand({ RequestItems: asked }))).UnprocessedItems ?? {};
    }
  }
}

/** The items below one partition key, at most `limit` of them. */
export async function query(documents, { table, index, key, newestFirst = false, limit = Infinity }) {
  const [[name, value]] = Object.entries(key);
  const items = [];
  let from;
  do {
    const answer = await documents.send(
      new QueryCommand({
        TableName: table,
        IndexName: index,
        KeyConditionExpression: "#key = :key",
        ExpressionAttributeNames: { "#key": name },
        ExpressionAttributeValues: { ":key": value },
        ScanIndexForward: !newestFirst,
        ExclusiveStartKey: from,
        ...(Number.isFinite(limit) && { Limit: limit - items.length }),
      }),
    );
    items.push(...answer.Items);
    from = answer.LastEvaluatedKey;
  } while (from && items.length < limit);
  return items;
}

/** A condition of a transaction did not hold: `index` says of which part. */
export class ConditionFailed extends Error {
  constructor(index) {
    super(`the condition of part ${index} did not hold`);
    this.index = index;
  }
}

/** All or nothing. A transaction that met another one is tried again. */
export async function transact(documents, parts) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await documents.send(new TransactWriteCommand({ TransactItems: parts }));
    } catch (error) {
      const codes = error.CancellationReasons?.map(({ Code }) => Code) ?? [];
      const failed = codes.indexOf("ConditionalCheckFailed");
      if (failed >= 0) throw new ConditionFailed(failed);
      if (!codes.includes("TransactionConflict") || attempt === ATTEMPTS) throw error;
      await pause(attempt);
    }
  }
}

export const absent = (key) => ({ ConditionExpression: "attribute_not_exists(#key)", ExpressionAttributeNames: { "#key": key } });
export const present = (key) => ({ ConditionExpression: "attribute_exists(#key)", ExpressionAttributeNames: { "#key": key } });

/** `SET` of every value. */
export function setting(values) {
  const keys = Object.keys(values);
  return {
    UpdateExpression: `SET ${keys.map((key) => `#${key} = :${key}`).join(", ")}`,
    ExpressionAttributeNames: Object.fromEntries(keys.map((key) => [`#${key}`, key])),
    ExpressionAttributeValues: Object.fromEntries(keys.map((key) => [`:${key}`, values[key]])),
  };
}
