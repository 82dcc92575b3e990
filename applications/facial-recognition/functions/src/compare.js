// The second step: does the face belong to somebody else? Who registers a new photo of the same face is welcome.
import { SearchFacesByImageCommand } from "@aws-sdk/client-rekognition";
import { FaceAlreadyRegistered, aboutPhoto } from "./errors.js";

const MOST_MATCHES = 20;

export const compare =
  ({ rekognition, bucket, collection, threshold, subsegment }) =>
  async ({ userId, photo }) => {
    const { FaceMatches: matches = [] } = await subsegment("search", { photo }, () =>
      aboutPhoto(() =>
        rekognition.send(
          new SearchFacesByImageCommand({
            CollectionId: collection,
            Image: { S3Object: { Bucket: bucket, Name: `photos/${photo}` } },
            FaceMatchThreshold: threshold,
            MaxFaces: MOST_MATCHES,
          }),
        ),
      ),
    );
    const others = matches.filter(({ Face }) => Face.ExternalImageId !== userId);
    if (others.length > 0) {
      const similarity = Math.max(...others.map(({ Similarity }) => Similarity));
      // Whose face it is, is not the caller's business.
      throw new FaceAlreadyRegistered(`the face belongs to another user (similarity ${similarity.toFixed(1)} %)`);
    }
    return { known: matches.length > 0 };
  };
