// Reads the catalogue, and how a photographer stands.
import { GetCommand, QueryCommand, ScanCommand } from "@aws-sdk/lib-dynamodb";
import { HttpError, answer, http } from "./http.js";

const DEFAULT_LIMIT = 20;
const LARGEST_LIMIT = 100;

const shown = ({ id, category, name, brand, description, price, image }) => ({
  id,
  category,
  name,
  brand,
  description,
  price,
  image: image ?? null,
});

/** A shop has few categories: they are read whole. */
export const categories = ({ documents, tables, subsegment }) =>
  http(async () => {
    const names = [];
    await subsegment("categories", {}, async () => {
      let from;
      do {
        const { Items, LastEvaluatedKey } = await documents.send(
          new ScanCommand({ TableName: tables.categories, ExclusiveStartKey: from }),
        );
        names.push(...Items.map(({ name }) => name));
        from = LastEvaluatedKey;
      } while (from);
    });
    return answer(200, { categories: names.sort() });
  });

export const products = ({ documents, tables, subsegment }) =>
  http(async (request) => {
    const { category, limit = String(DEFAULT_LIMIT), after } = request.queryStringParameters ?? {};
    if (!category) throw new HttpError(400, "say which category: /products?category=…");
    const most = /^\d{1,3}$/.test(limit) ? Number(limit) : 0;
    if (most < 1 || most > LARGEST_LIMIT) throw new HttpError(400, `limit must be a whole number from 1 to ${LARGEST_LIMIT}`);
    if (after !== undefined && !/^[\w-]{1,64}$/.test(after)) throw new HttpError(400, "after must be the `next` of an earlier answer");
    const { Items, LastEvaluatedKey } = await subsegment("products", { category }, () =>
      documents.send(
        new QueryCommand({
          TableName: tables.products,
          IndexName: "by-category",
          KeyConditionExpression: "#category = :category",
          ExpressionAttributeNames: { "#category": "category" },
          ExpressionAttributeValues: { ":category": category },
          ExclusiveStartKey: after && { category, id: after },
          Limit: most,
        }),
      ),
    );
    return answer(200, { products: Items.map(shown), next: LastEvaluatedKey?.id ?? null });
  });

export const product = ({ documents, tables, subsegment }) =>
  http(async (request) => {
    const id = request.pathParameters?.product ?? "";
    const { Item } = await subsegment("product", {}, () => documents.send(new GetCommand({ TableName: tables.products, Key: { id } })));
    if (!Item) throw new HttpError(404, `there is no product ${id}`);
    return answer(200, shown(Item));
  });

/** For photographers: what am I to do? Neither number nor token is told. */
export const photographer = ({ assignments }) =>
  http(async (request) => {
    const id = request.pathParameters?.photographer ?? "";
    const found = await assignments.photographer(id);
    if (!found) throw new HttpError(404, `there is no photographer ${id}`);
    return answer(200, { id, name: found.name, state: found.state, since: found.since, product: found.product ?? null });
  });
