import { RekognitionClient } from "@aws-sdk/client-rekognition";
import { S3Client } from "@aws-sdk/client-s3";
import { discard } from "../discard.js";
import { subsegment, traced } from "../tracing.js";

const { BUCKET: bucket, COLLECTION: collection } = process.env;

export const handler = discard({
  rekognition: traced(new RekognitionClient({})),
  s3: traced(new S3Client({})),
  bucket,
  collection,
  subsegment,
});
