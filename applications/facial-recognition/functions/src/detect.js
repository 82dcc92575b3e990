// The first step: is there one face, large and clear enough to be recognised again?
import { DetectFacesCommand } from "@aws-sdk/client-rekognition";
import { PhotoNotUsable, aboutPhoto } from "./errors.js";

const LEAST_CONFIDENCE = 90;
const LEAST_SHARE_OF_HEIGHT = 0.1;
const LARGEST_TURN_DEGREES = 45;

function refusal(faces) {
  if (faces.length === 0) return "the photo shows no face";
  if (faces.length > 1) return `the photo shows ${faces.length} faces`;
  const [{ Confidence, BoundingBox, Pose, Sunglasses }] = faces;
  if (Confidence < LEAST_CONFIDENCE) return `it is not certain that this is a face (${Confidence.toFixed(0)} %)`;
  if (BoundingBox.Height < LEAST_SHARE_OF_HEIGHT) return "the face is too small";
  const turn = Math.max(...[Pose?.Yaw, Pose?.Pitch].map((angle) => Math.abs(angle ?? 0)));
  if (turn > LARGEST_TURN_DEGREES) return `the face is turned away by ${turn.toFixed(0)} degrees`;
  if (Sunglasses?.Value && Sunglasses.Confidence >= LEAST_CONFIDENCE) return "the face wears sunglasses";
  return undefined;
}

export const detect =
  ({ rekognition, bucket, subsegment }) =>
  async ({ photo }) => {
    const image = { S3Object: { Bucket: bucket, Name: `photos/${photo}` } };
    const { FaceDetails: faces } = await subsegment("detect", { photo }, () =>
      aboutPhoto(() => rekognition.send(new DetectFacesCommand({ Image: image, Attributes: ["DEFAULT", "SUNGLASSES"] }))),
    );
    const reason = refusal(faces);
    if (reason) throw new PhotoNotUsable(reason);
    const [{ Confidence, BoundingBox: box }] = faces;
    return { confidence: Confidence, box: { left: box.Left, top: box.Top, width: box.Width, height: box.Height } };
  };
