import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { users } from "../user.js";
import { subsegment, traced } from "../tracing.js";

const documents = DynamoDBDocumentClient.from(traced(new DynamoDBClient({})));

export const handler = users({ documents, table: process.env.TABLE, subsegment });
