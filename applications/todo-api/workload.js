// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
import http from "k6/http";
import { check } from "k6";
import exec from "k6/execution";

export const options = { vus: 1, iterations: 20 };

function uuid() {
  const digits = Array.from({ length: 32 }, () => Math.floor(Math.random() * 16).toString(16)).join("");
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join("-");
}

const requests = [
  {
    name: "create", weight: 3, method: "POST", path: () => "/todos", statuses: [201],
    body: () => JSON.stringify({ title: `Todo ${exec.scenario.iterationInTest + 1}` }),
  },
  { name: "list", weight: 2, method: "GET", path: () => "/todos?limit=20", statuses: [200] },
  { name: "get", weight: 3, method: "GET", path: () => "/todos/first", statuses: [200] },
  { name: "done", weight: 1, method: "PUT", path: () => "/todos/first/done", statuses: [200] },
  { name: "delete", weight: 1, method: "DELETE", path: () => `/todos/${uuid()}`, statuses: [204, 404] },
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
