// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
import http from "k6/http";
import { check } from "k6";

export const options = { vus: 1, iterations: 10 };

const seed = () => Math.floor(Math.random() * 2 ** 32);

export default function () {
  const body = JSON.stringify({ dataset: "reviews.csv", seed: seed() });
  const answer = http.post(`${__ENV.BASE_URL}/models`, body, {
    headers: { "Content-Type": "application/json" },
    tags: { name: "train" },
    timeout: "30s",
  });
  check(answer, { "status is 201": (response) => response.status === 201 });
}
