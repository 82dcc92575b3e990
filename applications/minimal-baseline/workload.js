// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
import http from "k6/http";
import { check } from "k6";

export const options = { vus: 1, iterations: 10 };

export default function () {
  const answer = http.get(`${__ENV.BASE_URL}/hello`, { tags: { name: "hello" }, timeout: "10s" });
  check(answer, { "status is 200": (response) => response.status === 200 });
}
