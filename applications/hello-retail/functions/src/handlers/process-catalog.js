import { SQSClient } from "@aws-sdk/client-sqs";
import { processCatalog } from "../process-catalog.js";
import { documents, subsegment, tables, traced } from "../services.js";

export const handler = processCatalog({
  documents,
  tables,
  sqs: traced(new SQSClient({})),
  photoQueue: process.env.PHOTO_QUEUE,
  subsegment,
});
