// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
import http from "k6/http";
import { check } from "k6";

export const options = { vus: 1, iterations: 10 };

const image = open("data/sample.jpg", "b");

function uuid() {
  const digits = Array.from({ length: 32 }, () => Math.floor(Math.random() * 16).toString(16)).join("");
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join("-");
}

export default function () {
  const answer = http.put(`${__ENV.BASE_URL}/images/${uuid()}.jpg`, image, {
    headers: { "Content-Type": "image/jpeg" },
    tags: { name: "upload" },
    timeout: "25s",
  });
  check(answer, { "status is 201": (response) => response.status === 201 });
}
