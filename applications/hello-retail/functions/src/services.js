// What the environment names.
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { assignmentStore } from "./assignments.js";
import { subsegment, traced } from "./tracing.js";

const prefix = process.env.TABLE_PREFIX;

export const tables = { products: `${prefix}products`, categories: `${prefix}categories`, photographers: `${prefix}photographers` };
export const documents = DynamoDBDocumentClient.from(traced(new DynamoDBClient({})));
export const assignments = assignmentStore({ documents, tables });
export { subsegment, traced };
