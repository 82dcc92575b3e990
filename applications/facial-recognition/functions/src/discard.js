// Takes back what an index step and a thumbnail step have made: of a registration that failed half-way, or of the one before.
import { DeleteFacesCommand } from "@aws-sdk/client-rekognition";
import { DeleteObjectCommand } from "@aws-sdk/client-s3";

export const discard =
  ({ rekognition, s3, bucket, collection, subsegment }) =>
  async ({ index, thumbnail }) =>
    subsegment("discard", {}, async () => {
      const work = [];
      if (index?.faceId) work.push(rekognition.send(new DeleteFacesCommand({ CollectionId: collection, FaceIds: [index.faceId] })));
      if (thumbnail?.key) work.push(s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: thumbnail.key })));
      // Both are tried whatever becomes of the other; both may be repeated.
      const failed = (await Promise.allSettled(work)).find(({ status }) => status === "rejected");
      if (failed) throw failed.reason;
      return { discarded: work.length };
    });
