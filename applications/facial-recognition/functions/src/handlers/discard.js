import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { RekognitionClient } from "@aws-sdk/client-rekognition";
import { S3Client } from "@aws-sdk/client-s3";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { discard } from "../discard.js";
import { subsegment, traced } from "../tracing.js";

const { BUCKET: bucket, COLLECTION: collection, TABLE: table } = process.env;

export const handler = discard({
  rekognition: traced(new RekognitionClient({})),
  s3: traced(new S3Client({})),
  documents: DynamoDBDocumentClient.from(traced(new DynamoDBClient({}))),
  bucket,
  collection,
  table,
  subsegment,
});
