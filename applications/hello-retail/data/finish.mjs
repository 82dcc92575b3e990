// Sends the photos that workflows still wait for when a load has ended, until nobody has asked for one for a while.
//   node finish.mjs BASE_URL [QUIET_SECONDS]
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const [base, quiet = "10"] = process.argv.slice(2);
if (!base) throw new Error("usage: node finish.mjs BASE_URL [QUIET_SECONDS]");

const PHOTOGRAPHERS = [1, 2, 3, 4].map((number) => `photographer-${number}`);
const PATIENCE = 240_000;
const photo = readFileSync(new URL("photo.png", import.meta.url));

const begun = Date.now();
let wanted = begun;
let sent = 0;
while (Date.now() - wanted < Number(quiet) * 1000) {
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
