// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
// What is read is what data/seed.mjs has made.
import http from "k6/http";
import { check } from "k6";
import exec from "k6/execution";

export const options = { vus: 1, iterations: 10 };

const photo = open("data/photo.png", "b");
const json = { "Content-Type": "application/json" };

const get = (name, weight, path) => ({ name, weight, method: "GET", path, headers: {}, body: () => null, statuses: [200] });
const event = (name, weight, type, data) => ({
  name,
  weight,
  method: "POST",
  path: "/events",
  headers: json,
  body: () => JSON.stringify({ type, data: data() }),
  statuses: [202],
});
const sendPhoto = (n) => ({
  name: `send-photo-${n}`,
  weight: 2,
  method: "POST",
  path: `/photographers/photographer-${n}/photos`,
  headers: { "Content-Type": "image/png" },
  body: () => photo,
  statuses: [201, 409],
});

const requests = [
  get("categories", 6, "/categories"),
  get("products", 10, "/products?category=Kitchen&limit=20"),
  get("product", 10, "/products/kitchen-1"),
  event("create-product", 4, "product/create", () => ({
    id: crypto.randomUUID(),
    category: "Made to measure",
    name: `Mug ${exec.scenario.iterationInTest + 1}`,
    brand: "Clay",
    description: "Every one is different.",
    price: 1250,
  })),
  event("change-price", 2, "product/price", () => ({ id: "kitchen-1", price: 1990 })),
  sendPhoto(1),
  sendPhoto(2),
  sendPhoto(3),
  sendPhoto(4),
];
const total = requests.reduce((sum, { weight }) => sum + weight, 0);

function pick() {
  let left = Math.random() * total;
  return requests.find(({ weight }) => (left -= weight) < 0) ?? requests.at(-1);
}

export default function () {
  const { name, method, path, headers, body, statuses } = pick();
  const answer = http.request(method, `${__ENV.BASE_URL}${path}`, body(), {
    headers,
    tags: { name },
    responseCallback: http.expectedStatuses(...statuses),
    timeout: "30s",
  });
  check(answer, { [`${name}: status is ${statuses.join(" or ")}`]: (response) => statuses.includes(response.status) });
}
