import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { persist } from "../persist.js";
import { subsegment, traced } from "../tracing.js";

const documents = DynamoDBDocumentClient.from(traced(new DynamoDBClient({})));

export const handler = persist({ documents, table: process.env.TABLE, subsegment });
