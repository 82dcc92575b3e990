import { RekognitionClient } from "@aws-sdk/client-rekognition";
import { compare } from "../compare.js";
import { subsegment, traced } from "../tracing.js";

const { BUCKET: bucket, COLLECTION: collection, SIMILARITY: threshold } = process.env;

export const handler = compare({
  rekognition: traced(new RekognitionClient({})),
  bucket,
  collection,
  threshold: Number(threshold),
  subsegment,
});
