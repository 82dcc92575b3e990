// Adds the face to the collection, so that it is found again. Beside it the thumbnail is made.
import { IndexFacesCommand } from "@aws-sdk/client-rekognition";
import { PhotoNotUsable, aboutPhoto } from "./errors.js";

export const indexFace =
  ({ rekognition, bucket, collection, subsegment }) =>
  async ({ userId, photo }) => {
    const { FaceRecords: records = [], UnindexedFaces: refused = [] } = await subsegment("index", { photo }, () =>
      aboutPhoto(() =>
        rekognition.send(
          new IndexFacesCommand({
            CollectionId: collection,
            ExternalImageId: userId,
            Image: { S3Object: { Bucket: bucket, Name: `photos/${photo}` } },
            MaxFaces: 1,
            QualityFilter: "AUTO",
          }),
        ),
      ),
    );
    if (records.length === 0) {
      const reasons = refused.flatMap(({ Reasons }) => Reasons ?? []).join(", ");
      throw new PhotoNotUsable(`the face could not be indexed${reasons && `: ${reasons}`}`);
    }
    return { faceId: records[0].Face.FaceId };
  };
