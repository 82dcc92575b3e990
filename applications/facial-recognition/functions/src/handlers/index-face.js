import { RekognitionClient } from "@aws-sdk/client-rekognition";
import { indexFace } from "../index-face.js";
import { subsegment, traced } from "../tracing.js";

const { BUCKET: bucket, COLLECTION: collection } = process.env;

export const handler = indexFace({ rekognition: traced(new RekognitionClient({})), bucket, collection, subsegment });
