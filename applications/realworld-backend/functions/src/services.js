// What the environment names, made once for each instance of a function.
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { stores } from "./stores.js";
import { tokenMaker } from "./tokens.js";
import { subsegment, traced } from "./tracing.js";

const documents = DynamoDBDocumentClient.from(traced(new DynamoDBClient({})));

export const services = { ...stores(documents, process.env.TABLE_PREFIX), tokens: tokenMaker(process.env.JWT_SECRET), subsegment };
