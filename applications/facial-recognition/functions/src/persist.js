// Writes down who is registered with which face. Names what the user had before, to be discarded.
import { PutCommand } from "@aws-sdk/lib-dynamodb";

export const persist =
  ({ documents, table, subsegment, now = () => new Date() }) =>
  async ({ userId, photo, registration, face, made }) => {
    const item = {
      userId,
      photo,
      registration,
      faceId: made.index.faceId,
      thumbnail: made.thumbnail.key,
      confidence: face.confidence,
      registeredAt: now().toISOString(),
    };
    const { Attributes: before } = await subsegment("persist", { user_id: userId }, () =>
      documents.send(new PutCommand({ TableName: table, Item: item, ReturnValues: "ALL_OLD" })),
    );
    // An attempt that comes again after it had already succeeded finds its own item.
    const replaced = before && before.registration !== registration ? { thumbnail: { key: before.thumbnail } } : null;
    // A photo that the user had registered before is indexed once: its face has the id that it had, and stays.
    if (replaced && before.faceId !== item.faceId) replaced.index = { faceId: before.faceId };
    return { userId, faceId: item.faceId, thumbnail: item.thumbnail, registeredAt: item.registeredAt, replaced };
  };
