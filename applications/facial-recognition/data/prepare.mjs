// Puts the photos into the bucket of the local target and registers user-1 by the API, as the AWS CLI does on AWS.
//   node prepare.mjs ENDPOINT AWS_ENDPOINT BUCKET FOLDER EXTENSION
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [endpoint, aws, bucket, folder, extension] = process.argv.slice(2);
if (!extension) throw new Error("usage: node prepare.mjs ENDPOINT AWS_ENDPOINT BUCKET FOLDER EXTENSION");
const REGISTERED_WITHIN = 60_000;

async function ask(method, url, headers, body) {
  const answer = await fetch(url, { method, headers, body });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${text}`);
  return text;
}

for (const name of ["face-1", "face-2", "face-3", "no-face"]) {
  const photo = `${name}.${extension}`;
  const headers = {
    "Content-Type": extension === "png" ? "image/png" : "image/jpeg",
    // By its scope the runtime finds the service; nothing else of it is looked at.
    Authorization: "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none",
  };
  await ask("PUT", `${aws}/${bucket}/photos/${photo}`, headers, readFileSync(join(folder, photo)));
}

// The duplicate needs somebody to be the duplicate of.
const body = JSON.stringify({ userId: "user-1", photo: `face-1.${extension}` });
const { registration } = JSON.parse(await ask("POST", `${endpoint}/registrations`, { "Content-Type": "application/json" }, body));
const until = Date.now() + REGISTERED_WITHIN;
let state = { status: "RUNNING" };
while (state.status === "RUNNING" && Date.now() < until) {
  await sleep(200);
  state = JSON.parse(await ask("GET", `${endpoint}/registrations/${registration}`));
}
if (state.status !== "SUCCEEDED") throw new Error(`user-1 was not registered: ${JSON.stringify(state)}`);
