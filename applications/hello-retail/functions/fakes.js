// What the handlers are given instead of AWS: clients that remember what they were sent, and a DynamoDB in memory that knows keys, indexes,
// conditions and transactions as far as they are used here. What it does not know is an error.

export const noSubsegment = (_name, _annotations, work) => work();

/** An SDK client. `respond(input, name)` gives an answer or throws. */
export function fakeClient(respond = () => ({})) {
  const sent = [];
  return {
    sent,
    async send(command) {
      const name = command.constructor.name;
      sent.push({ name, input: command.input });
      return respond(command.input, name);
    },
  };
}

export const named = (name, more) => Object.assign(new Error(name), { name, ...more });

export const failing = (name) => () => {
  throw named(name);
};

export const TABLES = { products: "products", categories: "categories", photographers: "photographers" };

const KEYS = { products: "id", categories: "name", photographers: "id" };
const INDEXES = { "by-category": ["category", "id"], "by-state": ["state", "since"] };

function holds({ ConditionExpression, ExpressionAttributeNames: names, ExpressionAttributeValues: values }, item = {}) {
  return (ConditionExpression ?? "").split(" AND ").every((part) => {
    if (part === "") return true;
    const [, exists, key] = /^attribute_(exists|not_exists)\((#\w+)\)$/.exec(part) ?? [];
    if (exists) return (item[names[key]] !== undefined) === (exists === "exists");
    const [, left, sign, right] = /^(#\w+) ([=<]) (:\w+)$/.exec(part) ?? [];
    if (!left || names[left] === undefined || values[right] === undefined) throw new Error(`the fake does not know the condition ${part}`);
    return sign === "=" ? item[names[left]] === values[right] : item[names[left]] < values[right];
  });
}

function updated({ UpdateExpression, ExpressionAttributeNames: names, ExpressionAttributeValues: values }, item) {
  const next = { ...item };
  const [, set, remove] = /^(?:SET (.+?))?(?: ?REMOVE (.+))?$/.exec(UpdateExpression);
  for (const part of set?.split(/, (?=#)(?![^(]*\))/) ?? []) {
    const [, key, kept, value] = /^(#\w+) = (?:if_not_exists\((#\w+), )?(:\w+)\)?$/.exec(part) ?? [];
    if (!key || names[key] === undefined || values[value] === undefined) throw new Error(`the fake does not know the update ${part}`);
    next[names[key]] = kept ? (item[names[kept]] ?? values[value]) : values[value];
  }
  for (const key of remove?.split(", ") ?? []) {
    if (names[key] === undefined) throw new Error(`the fake does not know the name ${key}`);
    delete next[names[key]];
  }
  return next;
}

/** `before(name, input)` may throw in place of an answer. */
export function memoryDocuments({ before = () => {} } = {}) {
  const tables = new Map(Object.keys(KEYS).map((name) => [name, new Map()]));
  const prepared = (input) => {
    const table = tables.get(input.TableName);
    const key = (input.Item ?? input.Key)[KEYS[input.TableName]];
    const item = table.get(key);
    return {
      ok: holds(input, item),
      apply: () => table.set(key, structuredClone(input.Item ?? updated(input, item ?? input.Key))),
    };
  };
  const single = (input) => {
    const { ok, apply } = prepared(input);
    if (!ok) throw named("ConditionalCheckFailedException");
    apply();
    return {};
  };
  const answers = {
    GetCommand: ({ TableName, Key }) => ({ Item: structuredClone(tables.get(TableName).get(Key[KEYS[TableName]])) }),
    PutCommand: single,
    UpdateCommand: single,
    TransactWriteCommand: ({ TransactItems }) => {
      const parts = TransactItems.map(({ Update }) => prepared(Update));
      if (parts.some(({ ok }) => !ok)) {
        throw named("TransactionCanceledException", {
          CancellationReasons: parts.map(({ ok }) => ({ Code: ok ? "None" : "ConditionalCheckFailed" })),
        });
      }
      parts.forEach(({ apply }) => apply());
      return {};
    },
    ScanCommand: ({ TableName, ExclusiveStartKey }) => {
      const items = [...tables.get(TableName).values()];
      const from = ExclusiveStartKey?.from ?? 0;
      return { Items: items.slice(from, from + 2), LastEvaluatedKey: from + 2 < items.length ? { from: from + 2 } : undefined };
    },
    QueryCommand: ({ TableName, IndexName, ExpressionAttributeValues, ExclusiveStartKey, Limit }) => {
      const [partition, sort] = INDEXES[IndexName];
      const [wanted] = Object.values(ExpressionAttributeValues);
      const items = [...tables.get(TableName).values()]
        .filter((item) => item[partition] === wanted && (!ExclusiveStartKey || item[sort] > ExclusiveStartKey[sort]))
        .sort((left, right) => (left[sort] < right[sort] ? -1 : 1));
      const page = items.slice(0, Limit);
      return { Items: structuredClone(page), LastEvaluatedKey: page.length < items.length ? { id: page.at(-1).id } : undefined };
    },
  };
  return {
    table: (name) => tables.get(name),
    async send(command) {
      const name = command.constructor.name;
      await before(name, command.input);
      if (!answers[name]) throw new Error(`the fake does not know ${name}`);
      return answers[name](command.input);
    },
  };
}

export const record = (messageId, body, trace) => ({
  messageId,
  body: typeof body === "string" ? body : JSON.stringify(body),
  attributes: { ApproximateReceiveCount: "1", ...(trace && { AWSTraceHeader: trace }) },
});

export const EVENT = "0b0e8a4e-7d7c-4f0f-9a51-3f0e0a3d2c11";

export const productEvent = (changes = {}) => ({
  eventId: EVENT,
  type: "product/create",
  occurredAt: "2026-02-01T12:00:00.000Z",
  data: { id: "mug", category: "Kitchen", name: "Mug", brand: "Clay", description: "Blue", price: 1250 },
  ...changes,
});
