// Writes the requests of make-items.mjs into the tables of the local target, as the AWS CLI does on AWS.
//   node write-items.mjs FOLDER ENDPOINT
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [folder, endpoint] = process.argv.slice(2);
if (!folder || !endpoint) throw new Error("usage: node write-items.mjs FOLDER ENDPOINT");

const headers = {
  "Content-Type": "application/x-amz-json-1.0",
  "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
  // By its scope the runtime finds the service; nothing else of it is looked at.
  Authorization: "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none",
};
for (const name of readdirSync(folder)) {
  const body = JSON.stringify({ RequestItems: JSON.parse(readFileSync(join(folder, name), "utf8")) });
  const answer = await fetch(endpoint, { method: "POST", headers, body });
  const text = await answer.text();
  if (!answer.ok || Object.keys(JSON.parse(text).UnprocessedItems ?? {}).length > 0) {
    throw new Error(`DynamoDB did not take all of ${name}: ${answer.status} ${text}`);
  }
}
