// Fills an empty deployment through its own events: photographers first, then products, and waits until they can be read.
// Prints names of things that are there. Run again, it changes nothing.
//   BASE_URL=https://… node seed.mjs
const BASE_URL = process.env.BASE_URL;
const PHOTOGRAPHERS = 4;
const CATEGORIES = ["Kitchen", "Garden"];
const PRODUCTS = 3;
const PATIENCE_MS = 120_000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** The status; answers of the platform that call for patience get some. */
async function call(method, path, body) {
  const until = Date.now() + 20_000;
  for (;;) {
    let said;
    try {
      const answer = await fetch(`${BASE_URL}${path}`, {
        method,
        headers: { "content-type": "application/json" },
        body: body && JSON.stringify(body),
      });
      said = `${answer.status} ${await answer.text()}`;
      if (answer.status < 500 && answer.status !== 429) return { status: answer.status, said };
    } catch (error) {
      said = error.cause?.message ?? error.message;
    }
    if (Date.now() > until) throw new Error(`${method} ${path}: ${said}`);
    await pause(1_000);
  }
}

async function event(id, type, data) {
  // The same event each time: the shop knows that it has had it.
  const eventId = `00000000-0000-4000-8000-${String(id).padStart(12, "0")}`;
  const { status, said } = await call("POST", "/events", { eventId, occurredAt: "2026-01-01T00:00:00.000Z", type, data });
  if (status >= 300) throw new Error(`${type}: ${said}`);
}

async function there(path) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const { status, said } = await call("GET", path);
    if (status === 200) return;
    if (Date.now() > until) throw new Error(`GET ${path} after ${PATIENCE_MS / 1000} s: ${said}`);
    await pause(500);
  }
}

if (!BASE_URL) throw new Error("set BASE_URL");
const photographers = Array.from({ length: PHOTOGRAPHERS }, (_, n) => `photographer-${n + 1}`);
for (const [n, id] of photographers.entries()) {
  await event(n + 1, "photographer/register", { id, name: `Photographer ${n + 1}`, phone: `+4179000000${n}` });
}
const products = [];
for (const category of CATEGORIES) {
  for (let n = 1; n <= PRODUCTS; n += 1) {
    const id = `${category.toLowerCase()}-${n}`;
    products.push(id);
    const description = `The ${n}. thing for the ${category.toLowerCase()}.`;
    await event(100 + products.length, "product/create", {
      id,
      category,
      name: `${category} ${n}`,
      brand: "Clay",
      description,
      price: 1_000 * n,
    });
  }
}
for (const id of photographers) await there(`/photographers/${id}`);
for (const id of products) await there(`/products/${id}`);
console.log(JSON.stringify({ category: CATEGORIES[0], product: products[0] }));
