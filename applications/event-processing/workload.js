// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
import http from "k6/http";
import { check } from "k6";

export const options = { vus: 1, iterations: 10 };

const random = () => Math.floor(Math.random() * 2 ** 32);

const ingest = (name, weight, event) => ({
  name,
  weight,
  status: 202,
  method: "POST",
  path: "/events",
  body: () => JSON.stringify(event()),
});

const requests = [
  ingest("ingest-reading", 6, () => ({
    type: "reading",
    source: `sensor-${random()}`,
    data: { value: Number(`21.${random()}`), unit: "celsius" },
  })),
  ingest("ingest-status", 2, () => ({ type: "status", source: `gate-${random()}`, data: { from: "offline", to: "online" } })),
  ingest("ingest-alarm", 1, () => ({
    type: "alarm",
    source: `pump-${random()}`,
    data: { severity: "warning", text: "pressure is falling" },
  })),
  { name: "latest", weight: 4, status: 200, method: "GET", path: "/events/latest", body: () => null },
  { name: "list", weight: 2, status: 200, method: "GET", path: "/events?type=reading&limit=20", body: () => null },
];
const total = requests.reduce((sum, { weight }) => sum + weight, 0);

function pick() {
  let left = Math.random() * total;
  return requests.find(({ weight }) => (left -= weight) < 0) ?? requests.at(-1);
}

export default function () {
  const { name, status, method, path, body } = pick();
  const answer = http.request(method, `${__ENV.BASE_URL}${path}`, body(), {
    headers: { "Content-Type": "application/json" },
    tags: { name },
    timeout: "30s",
  });
  check(answer, { [`${name}: status is ${status}`]: (response) => response.status === status });
}
