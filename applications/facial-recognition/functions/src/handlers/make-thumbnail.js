import { S3Client } from "@aws-sdk/client-s3";
import { makeThumbnail } from "../make-thumbnail.js";
import { subsegment, traced } from "../tracing.js";

export const handler = makeThumbnail({ s3: traced(new S3Client({})), bucket: process.env.BUCKET, subsegment });
