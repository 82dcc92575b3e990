// DynamoDB in memory, as far as the stores use it: keys, indexes, conditions, transactions, pages. What it does not know is an error.

export const noSubsegment = (_name, _annotations, work) => work();

const KEYS = {
  users: ["key"],
  follows: ["follower", "followed"],
  articles: ["key"],
  tags: ["tag", "place"],
  favorites: ["user", "article"],
  counters: ["kind", "name"],
  comments: ["article", "id"],
};

const INDEXES = { "by-time": ["kind", "place"], "by-author": ["author", "place"] };

const named = (name, message, more) => Object.assign(new Error(message ?? name), { name, ...more });

function holds(condition, names, values, item) {
  if (!condition) return true;
  return condition.split(" AND ").every((part) => {
    const [, exists, key] = /^attribute_(exists|not_exists)\((#\w+)\)$/.exec(part) ?? [];
    if (exists) return (item?.[names[key]] !== undefined) === (exists === "exists");
    const [, left, right] = /^(#\w+) = (:\w+)$/.exec(part) ?? [];
    if (!left) throw new Error(`the fake does not know the condition ${part}`);
    return item?.[names[left]] === values[right];
  });
}

function updated(expression, names, values, item) {
  const next = { ...item };
  const [, kind, rest] = /^(SET|ADD) (.+)$/.exec(expression) ?? [];
  for (const part of rest.split(", ")) {
    const [, name, value] = (kind === "SET" ? /^(#\w+) = (:\w+)$/ : /^(#\w+) (:\w+)$/).exec(part) ?? [];
    if (!name) throw new Error(`the fake does not know the update ${expression}`);
    next[names[name]] = kind === "SET" ? values[value] : (next[names[name]] ?? 0) + values[value];
  }
  return next;
}

/** `pageSize`: how many items a query gives at most. `before(name, input)` may throw in place of an answer. */
export function memoryDocuments({ pageSize = 3, before = () => {} } = {}) {
  const tables = new Map(Object.keys(KEYS).map((name) => [name, new Map()]));
  const known = (name) => {
    if (!tables.has(name)) throw named("ResourceNotFoundException", `no table ${name}`);
    return tables.get(name);
  };
  const keyOf = (name, item) => {
    if (KEYS[name].some((part) => item[part] === undefined)) throw named("ValidationException", `a key of ${name} is missing`);
    return JSON.stringify(KEYS[name].map((part) => item[part]));
  };
  const onlyKey = (name, key) => {
    if (Object.keys(key).length !== KEYS[name].length) throw named("ValidationException", `not a key of ${name}`);
    return keyOf(name, key);
  };

  const change = {
    Put: ({ TableName, Item, ...rest }) => [TableName, keyOf(TableName, Item), rest, () => Item],
    Delete: ({ TableName, Key, ...rest }) => [TableName, onlyKey(TableName, Key), rest, () => undefined],
    Update: ({ TableName, Key, ...rest }) => [
      TableName,
      onlyKey(TableName, Key),
      rest,
      (item) => updated(rest.UpdateExpression, rest.ExpressionAttributeNames, rest.ExpressionAttributeValues, item ?? Key),
    ],
  };

  const prepared = (kind, input) => {
    const [name, key, { ConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues }, next] = change[kind](input);
    const table = known(name);
    const ok = holds(ConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues, table.get(key));
    const apply = () => {
      const item = next(table.get(key));
      if (item === undefined) table.delete(key);
      else table.set(key, structuredClone(item));
      return item;
    };
    return { ok, apply, place: `${name} ${key}` };
  };

  const single = (kind) => (input) => {
    const { ok, apply } = prepared(kind, input);
    if (!ok) throw named("ConditionalCheckFailedException");
    const item = apply();
    return input.ReturnValues === "UPDATED_NEW" ? { Attributes: item } : {};
  };

  const answers = {
    GetCommand: ({ TableName, Key }) => ({ Item: structuredClone(known(TableName).get(onlyKey(TableName, Key))) }),
    PutCommand: single("Put"),
    DeleteCommand: single("Delete"),
    UpdateCommand: single("Update"),
    BatchGetCommand: ({ RequestItems }) => {
      const [[name, { Keys }]] = Object.entries(RequestItems);
      if (Keys.length === 0 || Keys.length > 100) throw named("ValidationException", "1 to 100 keys");
      if (new Set(Keys.map((key) => onlyKey(name, key))).size !== Keys.length) throw named("ValidationException", "a key twice");
      // Half of what is asked, as DynamoDB may.
      const half = Keys.slice(0, Math.ceil(Keys.length / 2));
      const rest = Keys.slice(half.length);
      return {
        Responses: { [name]: half.map((key) => structuredClone(known(name).get(keyOf(name, key)))).filter(Boolean) },
        UnprocessedKeys: rest.length > 0 ? { [name]: { Keys: rest } } : {},
      };
    },
    BatchWriteCommand: ({ RequestItems }) => {
      const [[name, requests]] = Object.entries(RequestItems);
      if (requests.length === 0 || requests.length > 25) throw named("ValidationException", "1 to 25 requests");
      for (const { DeleteRequest } of requests) known(name).delete(onlyKey(name, DeleteRequest.Key));
      return {};
    },
    QueryCommand: ({
      TableName,
      IndexName,
      ExpressionAttributeNames,
      ExpressionAttributeValues,
      ScanIndexForward,
      ExclusiveStartKey,
      Limit = pageSize,
    }) => {
      const [partition, sort] = IndexName ? INDEXES[IndexName] : KEYS[TableName];
      if (ExpressionAttributeNames["#key"] !== partition) throw named("ValidationException", "not the partition key");
      const items = [...known(TableName).values()]
        .filter((item) => item[partition] === ExpressionAttributeValues[":key"] && item[sort] !== undefined)
        .sort((left, right) => (left[sort] < right[sort] ? -1 : 1) * (ScanIndexForward ? 1 : -1));
      const from = ExclusiveStartKey ? items.findIndex((item) => keyOf(TableName, item) === ExclusiveStartKey.after) + 1 : 0;
      const page = items.slice(from, from + Math.min(Limit, pageSize));
      const more = from + page.length < items.length;
      return { Items: structuredClone(page), LastEvaluatedKey: more ? { after: keyOf(TableName, page.at(-1)) } : undefined };
    },
    TransactWriteCommand: ({ TransactItems }) => {
      const parts = TransactItems.map((part) => prepared(...Object.entries(part)[0]));
      if (parts.length > 100 || new Set(parts.map(({ place }) => place)).size !== parts.length)
        throw named("ValidationException", "one item twice");
      if (parts.some(({ ok }) => !ok)) {
        throw named("TransactionCanceledException", "cancelled", {
          CancellationReasons: parts.map(({ ok }) => ({ Code: ok ? "None" : "ConditionalCheckFailed" })),
        });
      }
      parts.forEach(({ apply }) => apply());
      return {};
    },
  };

  return {
    tables,
    async send(command) {
      const name = command.constructor.name;
      await before(name, command.input);
      if (!answers[name]) throw new Error(`the fake does not know ${name}`);
      return answers[name](command.input);
    },
  };
}
