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
  { name: "one-todo", weight: 1, sequence: oneTodo },
];

// Each request with what the one before answered; after a failure the rest is not sent.
function oneTodo() {
  const created = send({
    name: "create-own", method: "POST", path: () => "/todos", statuses: [201],
    body: () => JSON.stringify({ title: `Todo ${exec.scenario.iterationInTest + 1}` }),
  });
  const id = created && created.json("id");
  if (!id) return;
  const path = `/todos/${id}`;
  send({ name: "get-own", method: "GET", path: () => path, statuses: [200], holds: { done: false } }) &&
    send({ name: "done-own", method: "PUT", path: () => `${path}/done`, statuses: [200], holds: { done: true } }) &&
    send({ name: "delete-own", method: "DELETE", path: () => path, statuses: [204] });
}

// As often as its weight says.
function pick() {
  let left = Math.random() * requests.reduce((sum, request) => sum + request.weight, 0);
  return requests.find((request) => (left -= request.weight) < 0) || requests[0];
}

// The answer, or nothing when it is not what is expected.
function send(request) {
  const answer = http.request(request.method, `${__ENV.BASE_URL}${request.path()}`, request.body ? request.body() : null, {
    headers: request.body ? { "Content-Type": "application/json" } : {},
    tags: { name: request.name },
    timeout: "15s",
  });
  const holds = (response) => Object.entries(request.holds || {}).every(([key, value]) => response.json(key) === value);
  const expected = (response) => request.statuses.includes(response.status) && holds(response);
  return check(answer, { "answer is as expected": expected }) ? answer : null;
}

export default function () {
  const picked = pick();
  if (picked.sequence) picked.sequence();
  else send(picked);
}
