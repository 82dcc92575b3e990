// Who takes the photo of which product. A photographer is "available", "assigned" or "awaiting" (has been told, and the workflow waits for the photo).
// The product names its assignment, too: a step that is repeated finds what its first attempt has done.
import { GetCommand, QueryCommand, TransactWriteCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";

const CANDIDATES = 10;
const ATTEMPTS = 6;

const named = (name) =>
  class extends Error {
    constructor(message) {
      super(message);
      this.name = name;
    }
  };

/** All are at work: the state machine waits and tries again. */
export const NoPhotographerAvailable = named("NoPhotographerAvailable");

/** There is nothing to take a photo of any more. */
export const ProductGone = named("ProductGone");

const REMOVE_ASSIGNMENT = "REMOVE #product, #execution, #token";
const OF_PHOTOGRAPHER = { "#state": "state", "#since": "since", "#product": "product", "#execution": "execution", "#token": "token" };

export function assignmentStore({
  documents,
  tables,
  now = () => new Date(),
  pause = (ms) => new Promise((done) => setTimeout(done, ms)),
}) {
  const get = async (TableName, id) => (await documents.send(new GetCommand({ TableName, Key: { id }, ConsistentRead: true }))).Item;

  /** True, or false when a condition did not hold. Transactions that meet are tried again. */
  async function transact(parts) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await documents.send(new TransactWriteCommand({ TransactItems: parts }));
        return true;
      } catch (error) {
        const codes = error.CancellationReasons?.map(({ Code }) => Code) ?? [];
        if (codes.includes("ConditionalCheckFailed")) return false;
        if (!codes.includes("TransactionConflict") || attempt === ATTEMPTS) throw error;
        await pause(Math.random() * 20 * 2 ** attempt);
      }
    }
  }

  const freeing = (photographer, { product, execution }) => ({
    Update: {
      TableName: tables.photographers,
      Key: { id: photographer },
      UpdateExpression: `SET #state = :available, #since = :now ${REMOVE_ASSIGNMENT}`,
      ConditionExpression: "#product = :product AND #execution = :execution",
      ExpressionAttributeNames: OF_PHOTOGRAPHER,
      ExpressionAttributeValues: { ":available": "available", ":now": now().toISOString(), ":product": product, ":execution": execution },
    },
  });

  return {
    photographer: (id) => get(tables.photographers, id),

    /** The photographer who has waited longest. `execution` names the attempt of the workflow. */
    async assign(product, execution) {
      const item = await get(tables.products, product);
      if (!item) throw new ProductGone(`there is no product ${product}`);
      if (item.assignment?.execution === execution) return get(tables.photographers, item.assignment.photographer);

      const { Items: candidates } = await documents.send(
        new QueryCommand({
          TableName: tables.photographers,
          IndexName: "by-state",
          KeyConditionExpression: "#state = :state",
          ExpressionAttributeNames: { "#state": "state" },
          ExpressionAttributeValues: { ":state": "available" },
          ScanIndexForward: true,
          Limit: CANDIDATES,
        }),
      );
      for (const photographer of candidates) {
        const taken = await transact([
          {
            Update: {
              TableName: tables.photographers,
              Key: { id: photographer.id },
              UpdateExpression: "SET #state = :assigned, #since = :now, #product = :product, #execution = :execution",
              ConditionExpression: "#state = :available",
              ExpressionAttributeNames: { "#state": "state", "#since": "since", "#product": "product", "#execution": "execution" },
              ExpressionAttributeValues: {
                ":assigned": "assigned",
                ":available": "available",
                ":now": now().toISOString(),
                ":product": product,
                ":execution": execution,
              },
            },
          },
          {
            Update: {
              TableName: tables.products,
              Key: { id: product },
              UpdateExpression: "SET #assignment = :assignment",
              ConditionExpression: "attribute_exists(#id) AND attribute_not_exists(#assignment)",
              ExpressionAttributeNames: { "#id": "id", "#assignment": "assignment" },
              ExpressionAttributeValues: { ":assignment": { execution, photographer: photographer.id } },
            },
          },
        ]);
        if (taken) return photographer;
      }
      throw new NoPhotographerAvailable(`none of ${candidates.length} photographers could be assigned to ${product}`);
    },

    /** From now on a photo of this photographer ends the wait of the workflow. */
    async await(photographer, { product, execution, token }) {
      await documents.send(
        new UpdateCommand({
          TableName: tables.photographers,
          Key: { id: photographer },
          UpdateExpression: "SET #state = :awaiting, #token = :token",
          ConditionExpression: "#product = :product AND #execution = :execution",
          ExpressionAttributeNames: { "#state": "state", "#token": "token", "#product": "product", "#execution": "execution" },
          ExpressionAttributeValues: { ":awaiting": "awaiting", ":token": token, ":product": product, ":execution": execution },
        }),
      );
    },

    /** The product has a photo and the photographer is free, both or neither. False when that has been done before. */
    accept: (photographer, assignment, image) =>
      transact([
        freeing(photographer, assignment),
        {
          Update: {
            TableName: tables.products,
            Key: { id: assignment.product },
            UpdateExpression: "SET #image = :image, #photographer = :photographer REMOVE #assignment",
            ConditionExpression: "attribute_exists(#id)",
            ExpressionAttributeNames: { "#id": "id", "#image": "image", "#photographer": "photographer", "#assignment": "assignment" },
            ExpressionAttributeValues: { ":image": image, ":photographer": photographer },
          },
        },
      ]),

    /** Nothing came of it. False when it has been given up before. */
    release: (photographer, assignment) =>
      transact([
        freeing(photographer, assignment),
        {
          Update: {
            TableName: tables.products,
            Key: { id: assignment.product },
            UpdateExpression: "REMOVE #assignment",
            ConditionExpression: "attribute_exists(#id)",
            ExpressionAttributeNames: { "#id": "id", "#assignment": "assignment" },
          },
        },
      ]),
  };
}
