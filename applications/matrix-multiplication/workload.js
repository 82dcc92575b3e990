// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
import http from "k6/http";
import { check } from "k6";

export const options = { vus: 1, iterations: 10 };

const seed = () => Math.floor(Math.random() * 2 ** 32);

const requests = [
  {
    name: "serial", weight: 1, method: "POST", path: () => "/multiplications", statuses: [200],
    body: () => JSON.stringify({ size: 100, seed: seed() }),
  },
  {
    name: "parallel", weight: 1, method: "POST", path: () => "/multiplications", statuses: [200],
    body: () => JSON.stringify({ size: 240, grid: 3, seed: seed() }),
  },
];

// As often as its weight says.
function pick() {
  let left = Math.random() * requests.reduce((sum, request) => sum + request.weight, 0);
  return requests.find((request) => (left -= request.weight) < 0) || requests[0];
}

export default function () {
  const request = pick();
  const answer = http.request(request.method, `${__ENV.BASE_URL}${request.path()}`, request.body ? request.body() : null, {
    headers: request.body ? { "Content-Type": "application/json" } : {},
    tags: { name: request.name },
    timeout: "15s",
  });
  check(answer, { "status is as expected": (response) => request.statuses.includes(response.status) });
}
