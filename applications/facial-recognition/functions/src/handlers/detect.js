import { RekognitionClient } from "@aws-sdk/client-rekognition";
import { detect } from "../detect.js";
import { subsegment, traced } from "../tracing.js";

export const handler = detect({ rekognition: traced(new RekognitionClient({})), bucket: process.env.BUCKET, subsegment });
