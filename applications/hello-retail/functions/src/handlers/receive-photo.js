import { S3Client } from "@aws-sdk/client-s3";
import { SFNClient } from "@aws-sdk/client-sfn";
import { receivePhoto } from "../receive-photo.js";
import { assignments, subsegment, traced } from "../services.js";

export const handler = receivePhoto({
  assignments,
  s3: traced(new S3Client({})),
  states: traced(new SFNClient({})),
  bucket: process.env.BUCKET,
  subsegment,
});
