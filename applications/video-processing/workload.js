// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
import http from "k6/http";
import { check } from "k6";

export const options = { vus: 1, iterations: 10 };

const requests = [
  {
    name: "transcode", weight: 3, method: "POST", path: () => "/videos", statuses: [201],
    body: () => JSON.stringify({ video: "sample.avi", format: "mp4" }),
  },
  {
    name: "preview", weight: 1, method: "POST", path: () => "/videos", statuses: [201],
    body: () => JSON.stringify({ video: "sample.avi", format: "avi", scale: 0.5 }),
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
    timeout: "30s",
  });
  check(answer, { "status is as expected": (response) => request.statuses.includes(response.status) });
}
