// Takes back what an index step and a thumbnail step have made: of a registration that failed half-way (of `userId`), or of the one before.
import { DeleteFacesCommand } from "@aws-sdk/client-rekognition";
import { DeleteObjectCommand } from "@aws-sdk/client-s3";
import { GetCommand } from "@aws-sdk/lib-dynamodb";

export const discard =
  ({ rekognition, s3, documents, bucket, collection, table, subsegment }) =>
  async ({ userId, index, thumbnail }) =>
    subsegment("discard", {}, async () => {
      const deleteFace = async (faceId) => {
        // The same photo has the same face: that of a user who is registered with it stays.
        const { Item: user } = userId
          ? await documents.send(new GetCommand({ TableName: table, Key: { userId }, ConsistentRead: true }))
          : {};
        if (user?.faceId === faceId) return false;
        await rekognition.send(new DeleteFacesCommand({ CollectionId: collection, FaceIds: [faceId] }));
        return true;
      };
      const work = [];
      if (index?.faceId) work.push(deleteFace(index.faceId));
      if (thumbnail?.key) work.push(s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: thumbnail.key })));
      // Both are tried whatever becomes of the other; both may be repeated.
      const ends = await Promise.allSettled(work);
      const failed = ends.find(({ status }) => status === "rejected");
      if (failed) throw failed.reason;
      return { discarded: ends.filter(({ value }) => value !== false).length };
    });
