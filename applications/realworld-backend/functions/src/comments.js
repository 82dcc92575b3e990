// Comments. Table `comments`, keys `article` and `id`: numbers, counted for each article, as the specification has numbers.
import { DeleteCommand, GetCommand, PutCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { deleteAll, query } from "./dynamo.js";
import { notFound } from "./http.js";

export function commentStore(documents, { articles, comments: table }, now = () => new Date()) {
  return {
    async add(article, author, body) {
      let id;
      try {
        const { Attributes } = await documents.send(
          new UpdateCommand({
            TableName: articles,
            Key: { key: `id#${article.id}` },
            UpdateExpression: "ADD #last :one",
            ConditionExpression: "attribute_exists(#key)",
            ExpressionAttributeNames: { "#last": "lastComment", "#key": "key" },
            ExpressionAttributeValues: { ":one": 1 },
            ReturnValues: "UPDATED_NEW",
          }),
        );
        id = Attributes.lastComment;
      } catch (error) {
        if (error.name === "ConditionalCheckFailedException") throw notFound("article");
        throw error;
      }
      const createdAt = now().toISOString();
      const comment = { article: article.id, id, author, body, createdAt, updatedAt: createdAt };
      await documents.send(new PutCommand({ TableName: table, Item: comment }));
      return comment;
    },
    get: async (article, id) => (await documents.send(new GetCommand({ TableName: table, Key: { article: article.id, id } }))).Item,
    list: (article) => query(documents, { table, key: { article: article.id }, newestFirst: true }),
    async remove(article, id) {
      await documents.send(new DeleteCommand({ TableName: table, Key: { article: article.id, id } }));
    },
    async removeAll(article) {
      const items = await query(documents, { table, key: { article: article.id } });
      await deleteAll(
        documents,
        table,
        items.map(({ id }) => ({ article: article.id, id })),
      );
    },
  };
}
