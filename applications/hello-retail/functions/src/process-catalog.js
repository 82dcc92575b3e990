// Keeps the catalogue by its events. Messages come at least once and in any order: each event leaves the same behind, whenever and however often it comes.
import { SendMessageCommand } from "@aws-sdk/client-sqs";
import { GetCommand, PutCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { checkEvent } from "./events.js";
import { eachRecord, traceHeader } from "./records.js";

const conditionFailed = (error) => error.name === "ConditionalCheckFailedException";

export function processCatalog({ documents, sqs, tables, photoQueue, subsegment }) {
  async function create({ eventId, occurredAt, data }, record) {
    try {
      await documents.send(
        new PutCommand({
          TableName: tables.products,
          Item: { ...data, createdBy: eventId, createdAt: occurredAt, pricedAt: occurredAt },
          ConditionExpression: "attribute_not_exists(#id)",
          ExpressionAttributeNames: { "#id": "id" },
        }),
      );
    } catch (error) {
      if (!conditionFailed(error)) throw error;
      const { Item: product } = await documents.send(new GetCommand({ TableName: tables.products, Key: { id: data.id } }));
      if (product?.createdBy !== eventId) throw new Error(`there is another product ${data.id}`);
      // This message has been here before, and may not have come further than this.
    }
    await documents.send(new PutCommand({ TableName: tables.categories, Item: { name: data.category } }));
    await sqs.send(
      new SendMessageCommand({
        QueueUrl: photoQueue,
        MessageBody: JSON.stringify({ type: "photo/request", product: data.id, eventId }),
        // The photo belongs to the request that made the product, not to this invocation, which serves several.
        ...(traceHeader(record) && {
          MessageSystemAttributes: { AWSTraceHeader: { DataType: "String", StringValue: traceHeader(record) } },
        }),
      }),
    );
  }

  /** The price that was set last holds, not the one that came last. */
  async function changePrice({ occurredAt, data }) {
    try {
      await documents.send(
        new UpdateCommand({
          TableName: tables.products,
          Key: { id: data.id },
          UpdateExpression: "SET #price = :price, #pricedAt = :at",
          ConditionExpression: "attribute_exists(#id) AND #pricedAt < :at",
          ExpressionAttributeNames: { "#id": "id", "#price": "price", "#pricedAt": "pricedAt" },
          ExpressionAttributeValues: { ":price": data.price, ":at": occurredAt },
        }),
      );
    } catch (error) {
      if (!conditionFailed(error)) throw error;
      const { Item: product } = await documents.send(new GetCommand({ TableName: tables.products, Key: { id: data.id } }));
      // It may still come: then the price is tried again.
      if (!product) throw new Error(`there is no product ${data.id}`);
    }
  }

  const work = { "product/create": create, "product/price": changePrice };
  return eachRecord({ parse: checkEvent, name: "catalog", subsegment }, async (event, record) => {
    if (!Object.hasOwn(work, event.type)) throw new Error(`${event.type} is not for the catalogue`);
    await work[event.type](event, record);
  });
}
