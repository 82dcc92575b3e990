// Sends the photos that workflows still wait for when a load has ended. With SERVICES, the address of the local target's services, until no
// workflow runs; without it, until nobody has waited for a photo for a while.
//   node finish.mjs BASE_URL [SERVICES]
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const [base, services] = process.argv.slice(2);
if (!base) throw new Error("usage: node finish.mjs BASE_URL [SERVICES]");

const PHOTOGRAPHERS = [1, 2, 3, 4].map((number) => `photographer-${number}`);
const PATIENCE = 240_000;
const QUIET = 30_000;
const photo = readFileSync(new URL("photo.png", import.meta.url));

async function workflows(operation, input) {
  const answer = await fetch(services, {
    method: "POST",
    headers: {
      "Content-Type": "application/x-amz-json-1.0",
      "X-Amz-Target": `AWSStepFunctions.${operation}`,
      // By its scope the runtime finds the service; nothing else of it is looked at.
      Authorization: "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=none",
    },
    body: JSON.stringify(input),
  });
  if (!answer.ok) throw new Error(`${operation}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

const begun = Date.now();
let wanted = begun;
async function ended() {
  if (!services) return Date.now() - wanted > QUIET;
  const [{ stateMachineArn }] = (await workflows("ListStateMachines", {})).stateMachines;
  return (await workflows("ListExecutions", { stateMachineArn, statusFilter: "RUNNING" })).executions.length === 0;
}

let sent = 0;
while (!(await ended())) {
  if (Date.now() - begun > PATIENCE) throw new Error(`photos are still waited for after ${PATIENCE / 1000} s`);
  for (const photographer of PHOTOGRAPHERS) {
    const url = `${base}/photographers/${photographer}/photos`;
    const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "image/png" }, body: photo });
    if (answer.status === 201) sent += 1;
    else if (![409, 429, 502, 504].includes(answer.status)) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
    // 409: nobody waits for it.
    if (answer.status !== 409) wanted = Date.now();
    else await answer.body?.cancel();
  }
  await sleep(500);
}
console.log(`${sent} photos were still waited for`);
